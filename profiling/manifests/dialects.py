"""Sizes and CPUs as each platform writes them. The same text means different numbers: `512M` is 512,000,000 bytes to
Kubernetes and 536,870,912 to Docker, and `512m` is half a byte to Kubernetes.

Every parser takes the value as YAML, TOML or JSON gave it, matches all of it, and raises ValueError with what is allowed.
"""

from __future__ import annotations

import re
from fractions import Fraction

from profiling.units import shortened

MIB = 2**20
_MORE_THAN_ANY = 2**62
_LONGEST = 40

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_BELOW_ONE = {"m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9)}
_SCALES: dict[str, int | Fraction] = {**_DECIMAL, **_BINARY, **_BELOW_ONE}
_QUANTITY = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([-+]?[0-9]{1,3}))?")
_RAM = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([kmgtp]?)(i?b?)", re.IGNORECASE)
_RAM_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_ECS_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?(gb)", re.IGNORECASE)
_ECS_CPU = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?vcpu", re.IGNORECASE)


def kubernetes_bytes(value: object) -> int:
    """Bytes of a quantity, rounded up as Kubernetes does: `512Mi`, `512M` (decimal), `1e9`, `536870912`.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    text = _written(value)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{_quoted(value)} is no Kubernetes quantity{_nearly(text)}")
    number, suffix = match[1], match[2] or ""
    if suffix in _BELOW_ONE:
        size = float(_amount(number) * _BELOW_ONE[suffix])
        meant = f"; write {number}Mi (binary) or {number}M (decimal)" if suffix == "m" else ""
        raise ValueError(f"{_quoted(value)} is {size:g} bytes: {suffix!r} divides{meant}")
    return _whole(_quantity(match), value, up=True)


def kubernetes_cpus(value: object) -> float:
    """CPUs of a quantity: `500m` is half a CPU, as is `0.5`."""
    match = _QUANTITY.fullmatch(_written(value))
    if match is None or (match[2] or "").endswith("i"):
        raise ValueError(f"{_quoted(value)} is no number of CPUs; write it like 500m, 0.5 or 2")
    return _bounded(_quantity(match), value)


def docker_bytes(value: object) -> int:
    """Bytes of a size for Docker and Compose, always binary and cut to whole bytes: `512m`, `512mb`, `0.5g`, `536870912`.

    Source: RAMInBytes of docker/go-units, which Compose uses.
    """
    match = _RAM.fullmatch(_written(value))
    if match is None or (match[3] and match[3] in "iI" and not match[2]):
        raise ValueError(
            f"{_quoted(value)} is no size to Docker; write it like 512m, 512mb, 0.5g or 536870912 (b, k, m, g are binary)"
        )
    return _whole(_amount(match[1]) * _RAM_UNITS[match[2].lower()], value)


def compose_cpus(value: object) -> float:
    """CPUs of Compose: `0.5`, `"0.50"`, `2`."""
    return _plain_number(value, "CPUs; write it like 0.5 or 2")


def fly_bytes(value: object) -> int:
    """Bytes of Fly's `memory`: `512mb`, `1gb` (binary), and a bare number is megabytes.

    Source: https://fly.io/docs/reference/configuration/#memory
    """
    text = _written(value)
    if re.fullmatch(r"[0-9]+", text):
        return _whole(Fraction(int(text) * MIB), value)
    match = _RAM.fullmatch(text)
    if match is None or not match[2]:
        raise ValueError(f"{_quoted(value)} is no size to Fly; write it like 512mb or 1gb, or in megabytes like 512")
    return _whole(_amount(match[1]) * _RAM_UNITS[match[2].lower()], value)


def fly_cpus(value: object) -> float:
    """CPUs of Fly: a whole number."""
    if not re.fullmatch(r"[0-9]+", _written(value)):
        raise ValueError(f"{_quoted(value)} is no number of CPUs to Fly; write it like 1, 2, 4, 8 or 16")
    return _bounded(Fraction(int(_written(value))), value)


def ecs_bytes(value: object) -> int:
    """Bytes of a task definition's `memory`: a whole number of MiB, or `1 GB`, `.5GB` (1 GB is 1024 MiB) for the task.

    Source: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
    """
    text = _written(value)
    if re.fullmatch(r"[0-9]+", text):
        return _whole(Fraction(int(text) * MIB), value)
    match = _ECS_SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f'{_quoted(value)} is no memory to ECS; write whole MiB like 512, or for the task "0.5 GB"')
    return _whole(_amount(match[1]) * 1024 * MIB, value)


def ecs_cpus(value: object) -> float:
    """CPUs of a task definition's `cpu`: 1024 units are one, or `1 vCPU`, `.5 vCPU` for the task."""
    text = _written(value)
    if re.fullmatch(r"[0-9]+", text):
        return _bounded(Fraction(int(text), 1024), value)
    match = _ECS_CPU.fullmatch(text)
    if match is None:
        raise ValueError(f'{_quoted(value)} is no CPU to ECS; write units like 256 (1024 are one CPU), or "0.25 vCPU"')
    return _bounded(_amount(match[1]), value)


def _quantity(match: re.Match[str]) -> Fraction:
    number, suffix, exponent = match.groups()
    if exponent:
        return _amount(number) * Fraction(10) ** int(exponent)
    return _amount(number) * _SCALES[suffix or ""]


def _nearly(text: str) -> str:
    """What was probably meant."""
    match = re.fullmatch(r"([0-9.]+) ?([kmgt])(i?)b?", text, re.IGNORECASE)
    if match is None:
        return "; write it like 512Mi (binary), 512M (decimal) or 536870912"
    letter = match[2].upper()
    return f"; write {match[1]}{letter}i (binary) or {match[1]}{letter if letter != 'K' else 'k'} (decimal)"


def _plain_number(value: object, meant: str) -> float:
    if not _NUMBER.fullmatch(_written(value)):
        raise ValueError(f"{_quoted(value)} is no number of {meant}")
    return _bounded(_amount(_written(value)), value)


def _written(value: object) -> str:
    """The value as text, without blanks around it; "" for what is neither text nor number, or too long to be a size."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return ""
    text = str(value).strip(" ")
    return text if len(text) <= _LONGEST else ""


def _amount(digits: str) -> Fraction:
    whole, _, rest = digits.partition(".")
    return Fraction(int(whole + rest or "0"), 10 ** len(rest))


def _whole(amount: Fraction, value: object, *, up: bool = False) -> int:
    if amount >= _MORE_THAN_ANY:
        raise ValueError(f"{_quoted(value)} is more than any machine has")
    return -(-amount.numerator // amount.denominator) if up else int(amount)


def _bounded(amount: Fraction, value: object) -> float:
    if amount >= _MORE_THAN_ANY:
        raise ValueError(f"{_quoted(value)} is more than any machine has")
    return float(amount)


def _quoted(value: object) -> str:
    kinds: dict[type, str] = {dict: "a table", list: "a list"}
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return "a number with more digits than any size"
    return kinds.get(type(value)) or repr(shortened(value) if isinstance(value, str) else value)

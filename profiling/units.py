"""Text to numbers and back: byte sizes, durations, percentages. Parsed once, printed once.

`Mi` and `MiB` are binary and `MB` is decimal, as the IEC and SI say. A bare `M` or `K` means different numbers to
different tools (Kubernetes: decimal, Docker: binary), so this dialect refuses it instead of guessing.
"""

from __future__ import annotations

import re

_BYTE_UNITS = {
    "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_SECOND_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

_MORE_THAN_ANY = 2.0**62

KIB = 2**10
MIB = 2**20


def shortened(text: str, most: int = 40) -> str:
    """`text`, cut where it would fill the screen."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def parse_bytes(text: str) -> int:
    """Bytes meant by `text`: "512MiB", "0.5GiB", "300 MB", "1048576".

    Raises ValueError, with what is allowed, for anything else: no sign, no bare "M", nothing behind the unit.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text)
    unit = match[2].lower() if match else ""
    if match and unit in ("k", "m", "g", "t"):
        upper = unit.upper()
        raise ValueError(
            f"{text!r} is ambiguous: {match[2]} is decimal to some tools and binary to others;"
            f" write {upper}iB (binary) or {upper}B (decimal)"
        )
    if not match or (unit and unit not in _BYTE_UNITS):
        raise ValueError(f"{text!r} is no size in bytes; write it like 512MiB, 1.5GiB, 300MB or 1048576")
    size = float(match[1]) * _BYTE_UNITS[unit or "b"]
    if not size < _MORE_THAN_ANY:
        raise ValueError(f"{shortened(text)!r} is more than any machine has")
    return round(size)


def parse_seconds(text: str) -> float:
    """Seconds meant by `text`: "20s", "500ms", "2m", "1.5h", "20". Raises ValueError for anything else."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if not match or (match[2] and match[2] not in _SECOND_UNITS):
        raise ValueError(f"{text!r} is no duration; write it like 20s, 500ms, 2m or 1h")
    seconds = float(match[1]) * _SECOND_UNITS[match[2] or "s"]
    if not seconds < _MORE_THAN_ANY:
        raise ValueError(f"{shortened(text)!r} is longer than anybody waits")
    return seconds


def parse_fraction(text: str) -> float:
    """The fraction meant by a percentage: "10%" is 0.1. Raises ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no percentage; write it like 10% or 0.5%")
    return float(match[1]) / 100


def format_bytes(size: float | None) -> str:
    """A size as people read it, in binary units with three significant digits or more: "408 MiB", "1.25 GiB"."""
    if size is None:
        return "–"
    sign, size = ("-", -size) if size < 0 else ("", size)
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            value = size / scale
            digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
            return f"{sign}{value:.{digits}f} {unit}"
    return f"{sign}{size:.0f} B"


def format_ms(ms: float | None) -> str:
    """A latency as people read it: "8.2 ms", "640 ms", "1.9 s"."""
    if ms is None:
        return "–"
    if ms >= 1000:
        return f"{ms / 1000:.2f} s" if ms < 10_000 else f"{ms / 1000:.0f} s"
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def format_seconds(seconds: float | None) -> str:
    """A duration as people read it: "0.4 s", "20 s", "3 min 20 s", "23 h 50 min"."""
    if seconds is None:
        return "–"
    if seconds >= 7200:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if seconds >= 100:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{seconds:.1f} s" if seconds != int(seconds) else f"{seconds:.0f} s"


def format_number(value: float) -> str:
    """A number as people read it: "0", "0.8", "8.4", "110", "2,700"."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def format_change(fraction: float) -> str:
    """A relative change with its sign and three significant digits at most: "+3.02 %", "-0.04 %", "+120 %"."""
    percent = fraction * 100
    digits = 0 if abs(percent) >= 100 else 1 if abs(percent) >= 10 else 2
    return f"{percent:+.{digits}f} %"


def format_percent(fraction: float | None) -> str:
    """A fraction as a percentage that never rounds to a clean 0 or 100 when it is not: "99.9 %", "<0.1 %"."""
    if fraction is None:
        return "–"
    if 0 < fraction < 0.001:
        return "<0.1 %"
    if 0.999 < fraction < 1:
        return ">99.9 %"
    percent = round(fraction * 100, 9)  # 0.07 * 100 is not quite 7
    return f"{percent:.0f} %" if percent == int(percent) else f"{percent:.1f} %"

"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from loadtests.workers import MAX_WORKERS, Workers
from profiling import reference
from profiling.errors import ConfigError
from profiling.judging.growth import FIRST_REQUESTS, MIN_ANSWERS, MIN_LOAD_S
from profiling.manifests.node import MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES
from profiling.measuring import capture
from profiling.measuring.sandboxes.containers import ENGINES
from profiling.units import MIB, format_bytes, parse_bytes, parse_fraction, parse_seconds

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _Text(click.ParamType[Any]):
    """A click type from one of our parsers: what it raises is shown as click shows its own errors."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parse_memory(text: str) -> int:
    """A limit that a service can have, in whole pages. Raises ValueError."""
    size = parse_bytes(text)
    if not MIN_MEMORY_BYTES <= size < 1 << 62:
        raise ValueError(f"{text!r} is no limit that a service can have; it must be 1MiB or more")
    return size - size % 4096  # the kernel keeps whole pages


def _capture(text: str) -> int:
    size = parse_bytes(text)
    if not MIB <= size < 1 << 50:
        raise ValueError(f"{text!r} is no size for a capture; it must be 1MiB or more")
    return size


def _positive_seconds(text: str) -> float:
    seconds = parse_seconds(text)
    if not 0 < seconds <= 7 * 86_400:
        raise ValueError(f"{text!r} must be more than 0 and at most a week")
    return seconds


def _build_arg(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is no argument; write it like PYTHON_IMAGE=python:3.12-slim")
    return name, value


def _cpus(text: str) -> float:
    return _number(text, MIN_CPUS, MAX_CPUS)


def _rate(text: str) -> float:
    return _number(text, 0.01, 100_000)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    bare_ipv6 = ":" in host and not text.startswith("[")
    if not host or bare_ipv6 or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is no address and port; write it like 10.0.0.5:5557, or [fd00::5]:5557")
    return host, int(port)


def _number(text: str, low: float, high: float) -> float:
    value = float(text)
    if not low <= value <= high:  # also true of nan
        raise ValueError(f"{text!r} is not between {low:g} and {high:,g}")
    return value


def _headroom(text: str) -> float:
    share = parse_fraction(text)
    if not share < 1:
        raise ValueError(f"{text!r} leaves nothing to run in; it must be less than 100%")
    return share


MEMORY = _Text("size", parse_memory)
RATE = _Text("number", _rate)
SIZE = _Text("size", parse_bytes)
FRACTION = _Text("share", _headroom)
SECONDS = _Text("duration", _positive_seconds)
ADDRESS = _Text("address", _address)


def target_options(function: Decorated) -> Decorated:
    """What is measured, and under which limits."""
    return _stack(
        function,
        click.option(
            "--target",
            metavar="FILE|NAME",
            help="A config file, or the name of a built-in target (reference, reference-services)."
            " Default: oomproof.toml or [tool.oomproof] here, else reference.",
        ),
        click.option(
            "--checkpoint",
            type=click.Choice(reference.CHECKPOINTS),
            help="How the reference backend loads its weights: pickle (private copies, default) or safetensors (mapped).",
        ),
        click.option(
            "--memory",
            type=MEMORY,
            metavar="SIZE",
            help="Memory limit such as 512MiB. Default: the config file's, else 512MiB.",
        ),
        click.option("--cpus", type=_Text("number", _cpus), metavar="N", help="CPU limit such as 0.5. Default: none."),
        click.option(
            "--port", type=click.IntRange(1, 65535), metavar="PORT", help="Port for the service. Default: a free one."
        ),
        click.option(
            "--sandbox",
            type=click.Choice(["auto", "cgroup", *ENGINES]),
            default="auto",
            show_default=True,
            help="What enforces the limits. auto: a container where the target has an image and an engine answers"
            " (reference: and its image is built), else a cgroup of this machine.",
        ),
        click.option(
            "--build-arg",
            type=_Text("argument", _build_arg),
            multiple=True,
            metavar="K=V",
            help="An argument for the Dockerfile, over the config file's; can be given several times.",
        ),
    )


DURATION_S = 20.0
"""How long the load lasts where nobody says it."""
GATE_DURATION_S = 10.0
"""The same where many runs are made. Growth needs 6 s from the hundredth answer on (`growth.py`), and all else shows sooner."""


def load_options(function: Decorated) -> Decorated:
    """What load is put on it, and by whom; the latter arrives as one argument, `workers`."""
    return _load_options(function, DURATION_S, "")


def gate_load_options(function: Decorated) -> Decorated:
    """What load is put on it in each of many runs."""
    growth = (
        f" Growth per request shows with {MIN_LOAD_S:g} s or more from the {FIRST_REQUESTS}th answer on,"
        f" and {MIN_ANSWERS} answers in all."
    )
    return _load_options(function, GATE_DURATION_S, growth)


def _load_options(function: Decorated, duration_s: float, more: str) -> Decorated:
    return _stack(
        worker_options(function),
        click.option("--users", type=click.IntRange(1, 65_535), metavar="N", help="Simultaneous users. Default: 8."),
        _duration_option(duration_s, more),
        click.option(
            "--rate",
            type=RATE,
            metavar="REQ/S",
            help="Open loop: so many requests per second are due, whatever the answers; latency counts from then."
            " Default: each user sends again once it was answered.",
        ),
    )


def worker_options(function: Decorated) -> Decorated:
    """Who sends it; arrives as one argument, `workers`."""
    return _stack(
        _with_workers(function),
        click.option(
            "--load-processes",
            type=click.IntRange(1, MAX_WORKERS),
            metavar="N",
            help="Share users and rate out over N Locust processes of this machine. Default: one sends it all.",
        ),
        click.option(
            "--load-workers",
            type=click.IntRange(1, MAX_WORKERS),
            metavar="N",
            help="Share them out over N Locust workers on other machines, each started there with"
            " `load-worker HOST:PORT`. Needs --bind.",
        ),
        click.option(
            "--bind",
            type=ADDRESS,
            metavar="HOST:PORT",
            help="Where these workers connect to; a measured service listens on HOST, too, so that they reach it.",
        ),
        click.option(
            "--load-workers-wait",
            type=SECONDS,
            metavar="TIME",
            help="How long to wait for them. Default: 60s.",
        ),
    )


def _with_workers(function: Decorated) -> Decorated:
    """Calls `function` with `workers` instead of the options that say who sends the load."""

    @functools.wraps(function)
    def wrapped(
        *arguments: Any,
        load_processes: int | None,
        load_workers: int | None,
        bind: tuple[str, int] | None,
        load_workers_wait: float | None,
        **options: Any,
    ) -> Any:
        workers = _workers(load_processes, load_workers, bind, load_workers_wait)
        return function(*arguments, workers=workers, **options)

    return wrapped  # type: ignore[return-value]


def _workers(
    processes: int | None, remote: int | None, bind: tuple[str, int] | None, wait_s: float | None
) -> Workers | None:
    """Who sends the load; None: one process. Raises ConfigError."""
    if remote is None:
        for option, value in (("--bind", bind), ("--load-workers-wait", wait_s)):
            if value is not None:
                raise ConfigError(f"{option} is for workers on other machines", "say with --load-workers how many")
        return None if processes is None or processes == 1 else Workers(processes=processes)
    if processes is not None:
        raise ConfigError(
            "--load-processes and --load-workers are both given",
            "leave one out; a worker's machine can give several: load-worker --processes N",
        )
    if bind is None:
        raise ConfigError(
            "--load-workers: the workers need somewhere to connect to",
            "name an address of this machine that they reach, such as --bind 10.0.0.5:5557",
        )
    asked = Workers(remote=remote, bind_host=bind[0], bind_port=bind[1])
    return asked if wait_s is None else msgspec.structs.replace(asked, max_wait_s=wait_s)


def duration_option(function: Decorated) -> Decorated:
    return _duration_option(DURATION_S, "")(function)


def _duration_option(duration_s: float, more: str) -> Callable[[Decorated], Decorated]:
    example = f"{duration_s:g}s"
    return click.option(
        "--duration",
        type=SECONDS,
        metavar="TIME",
        help=f"How long the load lasts, such as {example} or 2m. Default: the config file's, else {example}.{more}",
    )


def capture_option(function: Decorated) -> Decorated:
    """How much the memray pass may record."""
    return click.option(
        "--capture-limit",
        type=_Text("size", _capture),
        default=capture.MAX_CAPTURE_BYTES,
        show_default=format_bytes(capture.MAX_CAPTURE_BYTES).replace(" ", ""),
        metavar="SIZE",
        help="In the memray pass a process's recording ends before its file outgrows this; the service goes on.",
    )(function)


def output_options(function: Decorated) -> Decorated:
    """Where the results go."""
    return _stack(
        function,
        click.option(
            "--out", default="runs", show_default=True, metavar="DIR", help="Directory for the runs' own directories."
        ),
        json_option,
    )


def json_option(function: Decorated) -> Decorated:
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout; everything for people on stderr."
    )(function)


def _stack(function: Decorated, *options: Callable[[Decorated], Decorated]) -> Decorated:
    for option in reversed(options):
        function = option(function)
    return function

"""Levers of the web server: how many workers and threads there are, and what they share. Gunicorn and uvicorn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from profiling.advice.settings import ALREADY, Setting
from profiling.levers import Lever

_FEWEST_THREADS = 4
_RENEWED = 1000
_FREEZE = "gunicorn-preload.conf.py"
_FREEZE_TEXT = """\
import gc

preload_app = True


def pre_fork(server, worker):
    # A collection writes into every object that it looks at, and so copies pages that workers share.
    gc.freeze()
"""
GUIDES = {
    "workers-1": "hosting guides for 512 MB: one worker, since each holds an application of its own",
    "workers-double": "gunicorn's own pages: two workers for each core, and one more",
    "threads": "guides for waiting services: threads share what workers hold several times",
    "preload": "gunicorn's own pages: load the application once, before the workers are forked, and share its pages",
    "preload-freeze": "Python's advice for servers that fork: gc.freeze() beforehand, so that pages stay shared",
    "max-requests": "gunicorn's own pages: renew a worker now and then, so that a leak stays bounded",
}
ADVICE = {
    "workers-1": "one worker process",
    "workers-double": "twice as many worker processes",
    "threads": "one worker with as many threads as there were at all",
    "preload": "the application is loaded once, before workers fork",
    "preload-freeze": "it is loaded once, and the collector leaves what workers share alone",
    "max-requests": f"a worker is renewed after {_RENEWED:,} requests or so",
}
NOT_RENEWED = f"only a worker that served {_RENEWED:,} requests is renewed, and a short load may not get that far"


@dataclass(frozen=True, slots=True)
class Server:
    """What stands in the command line."""

    kind: str
    """`gunicorn`, `uvicorn` or empty."""
    command: tuple[str, ...]
    directory: str

    @classmethod
    def of(cls, setting: Setting) -> Server:
        for word in setting.command:
            name = PurePath(word).name
            if name in ("gunicorn", "uvicorn"):
                return cls(name, setting.command, setting.directory)
        return cls("", setting.command, setting.directory)

    def option(self, *names: str) -> str | None:
        """The value of an option of the command line, the last one given."""
        found = None
        for at, word in enumerate(self.command):
            for name in names:
                if word == name and at + 1 < len(self.command):
                    found = self.command[at + 1]
                elif word.startswith(f"{name}=") or (len(name) == 2 and re.fullmatch(rf"{name}\d+", word)):
                    found = word[len(name) :].lstrip("=")
        return found

    def number(self, setting: Setting, default: int, variable: str, *names: str) -> int:
        text = self.option(*names) or ""
        return int(text) if text.isascii() and text.isdigit() else setting.number(variable, default)

    @property
    def config_file(self) -> str:
        """Gunicorn's own config file, which may say any of this, too; empty: there is none."""
        named = self.option("-c", "--config")
        if named is not None:
            return named
        return "gunicorn.conf.py" if Path(self.directory, "gunicorn.conf.py").is_file() else ""


def levers(setting: Setting) -> tuple[Lever, ...]:
    """Those for a service of this setting."""
    server = Server.of(setting)
    workers = server.number(setting, 1, "WEB_CONCURRENCY", "-w", "--workers")
    threads = server.number(setting, 1, "", "--threads")
    known = not server.config_file or server.option("-w", "--workers") is not None or "WEB_CONCURRENCY" in setting.env
    return (
        _workers("workers-1", 1, server, setting, ALREADY if known and workers == 1 else ""),
        _workers("workers-double", 2 * workers, server, setting, ""),
        _threads(server, workers, threads, known=known),
        _preload(server),
        _preload_and_freeze(server, setting),
        Lever(
            name="max-requests",
            advice=ADVICE["max-requests"],
            guide=GUIDES["max-requests"],
            append=("--max-requests", str(_RENEWED), "--max-requests-jitter", str(_RENEWED // 10)),
            left_out=_not_gunicorn(server),
            caveat=NOT_RENEWED,
        ),
    )


def _workers(name: str, count: int, server: Server, setting: Setting, why: str) -> Lever:
    told = server.kind != "" and (server.option("-w", "--workers") is not None or bool(server.config_file))
    if not server.kind and "WEB_CONCURRENCY" not in setting.env:
        why = "the command names neither gunicorn nor uvicorn, and WEB_CONCURRENCY is not set"
    return Lever(
        name=name,
        advice=ADVICE[name],
        guide=GUIDES[name],
        group="workers",
        env={} if told else {"WEB_CONCURRENCY": str(count)},
        append=("--workers", str(count)) if told else (),
        left_out=why,
    )


def _threads(server: Server, workers: int, threads: int, *, known: bool) -> Lever:
    kind = server.option("-k", "--worker-class")
    why = _not_gunicorn(server)
    if not why and known and workers == 1 and threads > 1:
        why = f"it is one worker with {threads} threads already"
    if not why and kind not in (None, "sync", "gthread"):
        why = f"workers of the class {kind} have no threads"
    return Lever(
        name="threads",
        advice=ADVICE["threads"],
        guide=GUIDES["threads"],
        group="workers",
        append=(
            "--workers", "1", "--worker-class", "gthread", "--threads", str(max(_FEWEST_THREADS, workers * threads)),
        ),
        left_out=why,
    )  # fmt: skip


def _preload(server: Server) -> Lever:
    why = _not_gunicorn(server)
    return Lever(
        name="preload",
        advice=ADVICE["preload"],
        guide=GUIDES["preload"],
        group="preload",
        append=("--preload",),
        left_out=ALREADY if not why and "--preload" in server.command else why,
    )


def _preload_and_freeze(server: Server, setting: Setting) -> Lever:
    why = _not_gunicorn(server)
    if not why and server.config_file:
        why = f"gunicorn reads one config file, and has {server.config_file}: add preload_app and pre_fork there"
    if not why and setting.contained:
        why = "it runs in an image, which has no file of ours"
    return Lever(
        name="preload-freeze",
        advice=ADVICE["preload-freeze"],
        guide=GUIDES["preload-freeze"],
        group="preload",
        append=("--config", f"{{levers}}/{_FREEZE}"),
        files={_FREEZE: _FREEZE_TEXT},
        left_out=why,
    )


def _not_gunicorn(server: Server) -> str:
    if server.kind == "gunicorn":
        return ""
    return "the image's own command is not known here" if not server.command else "the command does not name gunicorn"

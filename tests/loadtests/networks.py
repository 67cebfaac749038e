"""Machines to send load from: network namespaces, each joined to this one by a cable of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Elsewhere:
    """One such machine. `here` is this machine's address as seen from there."""

    def __init__(self, name: str, here: str) -> None:
        self.name = name
        self.here = here

    def start(self, *command: str, clock_ahead_s: int = 0) -> subprocess.Popen[str]:
        """A process there. `clock_ahead_s`: how far its CLOCK_MONOTONIC is ahead, by a time namespace."""
        shifted = ["unshare", "--time", "--monotonic", str(clock_ahead_s)] if clock_ahead_s else []
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *shifted, *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def join(self, port: int, *options: str, host: str = "", clock_ahead_s: int = 0) -> subprocess.Popen[str]:
        """A `load-worker` there."""
        address = f"{host or self.here}:{port}"
        command = (sys.executable, str(ROOT / "cli.py"), "load-worker", address, *options)
        return self.start(*command, clock_ahead_s=clock_ahead_s)


@contextlib.contextmanager
def machines(count: int) -> Iterator[list[Elsewhere]]:
    """So many of them, all of which reach the first one's `here`; removed again."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("root and `ip`, for network namespaces")
    run = secrets.token_hex(2)
    second = secrets.randbelow(200) + 20
    made: list[Elsewhere] = []
    try:
        for number in range(count):
            name, here, there = f"oomproof-{run}-{number}", f"oom{run}{number}", f"oom{run}{number}p"
            net = f"10.{second}.{number + secrets.randbelow(20) * 10}"
            ip("netns", "add", name)
            made.append(Elsewhere(name, f"{net}.1"))
            ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            ip("addr", "add", f"{net}.1/24", "dev", here)
            ip("link", "set", here, "up")
            ip("-n", name, "addr", "add", f"{net}.2/24", "dev", there)
            ip("-n", name, "link", "set", there, "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "route", "add", "default", "via", f"{net}.1")
        yield made
    finally:
        for machine in made:
            # The cable goes with its one end.
            subprocess.run(["ip", "netns", "delete", machine.name], check=False, capture_output=True)


@contextlib.contextmanager
def ended(*processes: subprocess.Popen[str]) -> Iterator[None]:
    """They are gone on the way out, and what they said is shown if a test fails."""
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                said, _ = process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
            print(f"--- {process.args[3:]}\n{said}")  # type: ignore[index]

"""A real engine on what is another machine to us: dockerd in network, process, mount and time namespaces of its own.

We reach it over a veth pair, by TCP and TLS; containers' ports over its own bridge and docker-proxy. Its CLOCK_MONOTONIC
is AHEAD_S ahead of ours. Only its kernel is ours, and so the true offset of the clocks is known.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.containers import leftovers
from profiling.measuring.sandboxes.containers.engine import Engine

AHEAD_S = 1_000_000
_NEEDED = ("dockerd", "containerd", "docker-proxy", "ip", "nsenter", "unshare", "setpriv", "openssl")
_NET = "10.231.{}"
_START_TIMEOUT_S = 30.0
_numbers = itertools.count(1)


def require() -> None:
    """Skip, naming what this machine lacks."""
    if os.geteuid() != 0:
        pytest.skip("not root: namespaces and an engine of our own cannot be made")
    for program in _NEEDED:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("the kernel has no time namespaces")


class RemoteEngine:
    """One at work. `environ` leads to it; `kill` ends it as a power cut would."""

    def __init__(self, undo: contextlib.ExitStack, *, tls: bool) -> None:
        number = next(_numbers)
        self.name = f"oomproof-{os.getpid()}-{number}"
        self._scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="oomproof-remote-")))
        undo.callback(self._remove_cgroups)
        self.link = f"oomp{os.getpid()}-{number}"
        self.address = self._make_network(undo)
        self.socket = self._scratch / "docker.sock"
        self.environ = {"DOCKER_HOST": f"tcp://{self.address}:2376"}
        if tls:
            self._make_certificate()
            self.environ |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(self._scratch)}
        self.log = self._scratch / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(tls),
                env={key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        undo.callback(self.kill)
        self._wait_until_it_answers()

    def cut(self) -> None:
        """From now on nothing comes through, and nobody says so."""
        _run("ip", "link", "set", self.link, "down")

    def kill(self) -> None:
        """SIGKILL for the first process of its pid namespace, which takes all others along: dockerd, containerd, shims,
        containers."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError):
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=20)

    def leftovers(self, engine: Engine) -> list[str]:
        """Its containers, whoever made them, and their cgroups."""
        found = [leftovers.name(container) for container in engine.client.containers.list(all=True, sparse=True)]
        return found + [str(path) for parent in self._cgroups() for path in parent.glob("*/")]

    def _command(self, tls: bool) -> list[str]:
        files = [f"--{key}={self._scratch / name}" for key, name in _FILES.items()]
        dockerd = [
            "dockerd",
            f"--host=tcp://{self.address}:2376",
            f"--host=unix://{self.socket}",
            f"--data-root={self._scratch / 'data'}",
            f"--exec-root={self._scratch / 'exec'}",
            f"--pidfile={self._scratch / 'pid'}",
            "--iptables=false",
            "--ip6tables=false",
            "--bip=10.232.0.1/24",
            f"--cgroup-parent=/{self.name}",
            *(["--tlsverify", *files] if tls else ["--tls=false"]),
        ]
        return [
            *("setpriv", "--pdeathsig", "KILL"),
            *("nsenter", f"--net=/run/netns/{self.name}"),
            *("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("--time", f"--monotonic={AHEAD_S}"),
            # A shell as first process, since orphans want to be reaped. /run holds sockets of the other engine's.
            *("sh", "-c", 'mount -t tmpfs tmpfs /run; "$@"; exit', "sh", *dockerd),
        ]

    def _make_network(self, undo: contextlib.ExitStack) -> str:
        """A namespace, and a link to it; answers with the address at the other end."""
        _run("ip", "netns", "add", self.name)
        undo.callback(_run, "ip", "netns", "delete", self.name)
        _run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        undo.callback(_run, "ip", "link", "delete", self.link)
        taken = _run("ip", "-4", "-o", "address")
        net = next(net for net in (_NET.format(number) for number in range(1, 255)) if f" {net}." not in taken)
        _run("ip", "address", "add", f"{net}.1/30", "dev", self.link)
        _run("ip", "link", "set", self.link, "up")
        _run("ip", "-n", self.name, "address", "add", f"{net}.2/30", "dev", "eth0")
        for name in ("lo", "eth0"):
            _run("ip", "-n", self.name, "link", "set", name, "up")
        return f"{net}.2"

    def _make_certificate(self) -> None:
        """One that vouches for itself, for both sides."""
        key, certificate = (str(self._scratch / name) for name in ("key.pem", "cert.pem"))
        _run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=oomproof"),
            *("-addext", f"subjectAltName=IP:{self.address}"),
            *("-addext", "extendedKeyUsage=serverAuth,clientAuth"),
        )
        shutil.copyfile(certificate, self._scratch / "ca.pem")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while b"API listen on " + self.address.encode() not in (said := self.log.read_bytes()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start in namespaces here: {said.decode(errors='replace')[-300:]}")
            time.sleep(0.02)

    def _cgroups(self) -> list[Path]:
        root = Path("/sys/fs/cgroup")
        return [*root.glob(self.name), *root.glob(f"*/{self.name}")]

    def _remove_cgroups(self) -> None:
        for path in self._cgroups():
            assert tree.kill_all(path)
            assert tree.remove(path)


_FILES = {"tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"}


@contextlib.contextmanager
def remote_engine(*, tls: bool) -> Iterator[RemoteEngine]:
    """Starts one; ends it and removes all that it made, however this ends. Skips where that cannot be."""
    require()
    with contextlib.ExitStack() as undo:
        yield RemoteEngine(undo, tls=tls)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout

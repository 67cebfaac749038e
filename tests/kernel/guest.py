"""Boots a real cgroup v2 kernel in an emulated machine, runs experiments of `tests.kernel.inside` there and hands out their
report.

Plain software emulation (no KVM): works wherever QEMU is installed, in a container, too.
"""

from __future__ import annotations

import json
import lzma
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernel.initramfs import Archive
from tests.kernel.parts import Parts, need

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300.0
_MEMORY_MIB = 768
_DATA_MIB, _SWAP_MIB = 512, 256
_MODULES = ("virtio_pci", "virtio_blk")
_ENGINE_MODULES = ("overlay",)
_OURS = ("profiling", "loadtests", "tests/kernel")
_OUR_FILES = (
    "tests/__init__.py",
    "tests/profiling/__init__.py",
    "tests/profiling/measuring/__init__.py",
    "tests/profiling/measuring/doomed.py",
    "tests/profiling/measuring/nested.py",
)
_LEFT_OUT = re.compile(
    r"(boot|dev|proc|sys|run|tmp|home|root|media|mnt|opt|srv|var|usr/(share|games|include|local|src)|etc/.*shadow.*"
    r"|usr/lib/(apt|dpkg|systemd|udev|python3|git-core)"
    r"|usr/lib/[^/]+/(perl.*|gconv|libicu.*|libperl.*|libapt.*|libgnutls.*|libdb-.*|libstdc.*)"
    r"|usr/lib/python3\.\d+/(test|idlelib|lib2to3|ensurepip|pydoc_data|distutils|tkinter|turtledemo|config-.*)"
    r"|usr/(s?bin)/(perl.*|apt.*|dpkg.*|gpg.*|x86_64.*|debconf.*)|.*/__pycache__/.*\.opt-[12]\.pyc)"
)
"""What no test of a cgroup needs of a Debian root tree."""
_ENGINE = re.compile(r"usr/s?bin/(podman|crun|runc|conmon)|usr/lib/podman|etc/(containers|cni)")
_ENGINE_WHEELS = re.compile(r"docker|requests|urllib3|certifi|idna|charset_normalizer|bin")
_ENGINE_SHARE = "usr/share/containers"
"""Podman's defaults, its seccomp profile among them."""
_LOCKED_UP = "soft lockup"
_INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LANG=C.UTF-8 PYTHONPATH=/opt/oomproof
exec /usr/bin/python3 -m tests.kernel.inside.boot tests.kernel.inside.{experiments}
"""


class GuestError(Exception):
    """The guest did not report; the message says why and shows the end of its console."""


@dataclass(frozen=True)
class Report:
    facts: dict[str, Any]
    """What each experiment found, by name."""
    boot_s: float
    """The kernel's own clock when the experiments began."""
    total_s: float
    """From the start of the emulator to its end, on this machine's clock."""


def boot(parts: Parts, directory: Path, experiments: str = "facts", *, engine: bool = False) -> Report:
    """Boot, wait for the report, and see to the emulator's end. Files go to `directory`. Raises GuestError.

    `experiments`: a module of `inside`; `engine`: with Podman, and the SDK that speaks to it. A guest whose emulated
    processors wait for each other for good, as happens once in a while, is booted once more.
    """
    try:
        return _boot(parts, directory, experiments, engine)
    except GuestError as error:
        if _LOCKED_UP not in str(error):
            raise
        return _boot(parts, directory, experiments, engine)


def _boot(parts: Parts, directory: Path, experiments: str, engine: bool) -> Report:
    initramfs, console, report = directory / "initramfs", directory / "console", directory / "report"
    with initramfs.open("wb") as file:
        _fill(Archive(file), parts, experiments, engine)
    disks = []
    for name, size_mib in (("data", _DATA_MIB), ("swap", _SWAP_MIB)):
        with (directory / name).open("wb") as file:
            file.truncate(size_mib << 20)
        disks += ["-drive", f"file={directory / name},format=raw,if=virtio,cache=unsafe"]
    command = [
        need("setpriv"), "--pdeathsig", "KILL",  # whatever ends us ends the emulator
        need("qemu-system-x86_64"), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "pc,accel=tcg", "-cpu", "max", "-smp", "2", "-m", str(_MEMORY_MIB),
        "-kernel", str(parts.kernel), "-initrd", str(initramfs),
        "-append", "console=ttyS0 quiet panic=-1 softlockup_panic=1 mitigations=off cgroup_no_v1=all psi=1",
        "-serial", f"file:{console}", "-serial", f"file:{report}", *disks,
    ]  # fmt: skip
    began = time.monotonic()
    try:
        # `run` kills the emulator when the time is up, or when we are interrupted.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
        complaint = done.stderr.decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        complaint = f"it did not end within {TIMEOUT_S:g} s"
    total_s = time.monotonic() - began
    initramfs.unlink()
    try:
        said = json.loads(report.read_bytes())
    except (OSError, ValueError) as error:
        seen = console.read_text(errors="replace")[-6000:] if console.exists() else ""
        raise GuestError(f"the guest made no report ({error}); {complaint}\n{seen}") from error
    return Report(facts=said["facts"], boot_s=said["boot_s"], total_s=total_s)


def _fill(archive: Archive, parts: Parts, experiments: str, engine: bool) -> None:
    def of_root(path: str) -> bool:
        return not _LEFT_OUT.fullmatch(path) and (engine or not _ENGINE.fullmatch(path))

    def of_wheels(path: str) -> bool:
        return not path.endswith(".dist-info") and (engine or not _ENGINE_WHEELS.fullmatch(path))

    for name in ("dev", "proc", "sys", "run", "tmp", "data", "var/tmp"):
        archive.directory(name)
    archive.write("init", _INIT.format(experiments=experiments).encode(), 0o755)
    archive.add_tree(parts.root, "", of_root)
    # Where Debian's Python looks by itself: what our modules start does not have our Python path.
    archive.add_tree(parts.wheels, f"usr/local/lib/python{parts.python}/dist-packages", of_wheels)
    if engine:
        archive.add_tree(parts.root / _ENGINE_SHARE, _ENGINE_SHARE)
    for name in _OUR_FILES:
        archive.add(ROOT / name, f"opt/oomproof/{name}")
    for room in _OURS:
        archive.add_tree(ROOT / room, f"opt/oomproof/{room}", lambda path: not path.endswith("__pycache__"))
    order: list[str] = []
    for name in (*_MODULES, *(_ENGINE_MODULES if engine else ())):
        _add_module(archive, parts.modules, name, order)
    archive.write("opt/modules/order", "\n".join(order).encode())
    archive.close()


def _add_module(archive: Archive, modules: Path, name: str, order: list[str]) -> None:
    """The module after those that it depends on; `order` is how they can be loaded. One that the kernel has built in
    has no file."""
    if name in order:
        return
    spelling = re.sub("[-_]", "[-_]", name)
    for path in modules.rglob(f"{spelling}.ko*"):
        code = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", code)
        for other in depends[1].decode().split(",") if depends and depends[1] else []:
            _add_module(archive, modules, other, order)
        archive.write(f"opt/modules/{name}.ko", code)
        order.append(name)

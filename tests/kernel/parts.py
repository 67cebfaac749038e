"""What a guest is made of: a Debian root tree with Python and Podman, a kernel with its modules, the wheels that our modules
import.

Made once and kept in `$XDG_CACHE_HOME/oomproof/kernel-test` (`~/.cache/...`). Whoever has parts already names them:

    OOMPROOF_TEST_ROOT      a root tree with python3, such as a container's base image is made of; with podman, crun and
                            runc for the tests of containers
    OOMPROOF_TEST_KERNEL    a directory that a Debian kernel package was unpacked into

`python -m tests.kernel.parts` makes what is missing and prints where everything lies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
KERNEL_PACKAGE = "linux-image-cloud-amd64"
WHEELS = ("msgspec", "docker", "requests", "urllib3", "certifi", "idna", "charset-normalizer")
"""What `profiling.values` imports, and the container sandbox; the sampler and the keepers run on the standard library alone."""
ENGINE = ("podman", "crun", "runc")
_PACKAGES = ("python3", *ENGINE, "netavark")
"""netavark: a package that podman depends on by what it provides, which debootstrap does not resolve."""
_MAKING_TIMEOUT_S = 600


class MissingError(Exception):
    """Something that a guest needs is not here and cannot be made; the message names it."""


@dataclass(frozen=True)
class Parts:
    root: Path
    """A root tree with python3."""
    python: str
    """Its Python, such as "3.11"."""
    kernel: Path
    """The kernel's image."""
    modules: Path
    """The directory of its modules."""
    wheels: Path
    """A directory for the guest's Python path."""


def find_or_make() -> Parts:
    """All parts; what is not in the cache is made, within minutes. Raises MissingError."""
    need("qemu-system-x86_64")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oomproof" / "kernel-test"
    cache.mkdir(parents=True, exist_ok=True)
    root = _named("OOMPROOF_TEST_ROOT") or _made(cache / f"root-{SUITE}-podman", _make_root)
    kernel = _named("OOMPROOF_TEST_KERNEL") or _made(cache / "kernel", _unpack_kernel)
    python = _python_of(root)
    wheels = _made(cache / f"wheels-{python}-docker", lambda directory: _install_wheels(directory, python))
    return Parts(
        root=root,
        python=python,
        kernel=_only(kernel, "boot/vmlinuz-*", "lib/modules/*/vmlinuz"),
        modules=_only(kernel, "lib/modules/*/kernel", "usr/lib/modules/*/kernel").parent,
        wheels=wheels,
    )


def need_engine(parts: Parts) -> None:
    """Raises MissingError if the root tree has no container engine: one that was named may have none."""
    for name in ENGINE:
        _only(parts.root, f"usr/bin/{name}", f"usr/sbin/{name}")


def need(tool: str) -> str:
    """The path of a program. Raises MissingError if it is not installed."""
    found = shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise MissingError(f"{tool} is not installed")
    return found


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if value and not Path(value).is_dir():
        raise MissingError(f"{variable} names {value}, which is no directory")
    return Path(value) if value else None


def _made(place: Path, make: Callable[[Path], None]) -> Path:
    """`place`, filled by `make` unless it is there: whole or not at all, whoever else makes it at the same time."""
    if place.is_dir():
        return place
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        make(work / "it")
        if not place.is_dir():
            (work / "it").rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def _make_root(directory: Path) -> None:
    debootstrap = need("debootstrap")
    if os.geteuid() != 0:
        raise MissingError("a root tree, which debootstrap makes for root only; OOMPROOF_TEST_ROOT can name one")
    mirror = _mirror()
    _run(
        [debootstrap, "--variant=minbase", f"--include={','.join(_PACKAGES)}", SUITE, str(directory)]
        + ([mirror] if mirror else []),
        "a Debian root tree",
    )


def _mirror() -> str | None:
    """This machine's own Debian mirror; None: debootstrap's default, on a machine that is no Debian."""
    if not re.search(r"^ID=debian$", Path("/etc/os-release").read_text(), re.MULTILINE):
        return None
    sources = Path("/etc/apt")
    for path in (*sources.glob("sources.list.d/*.sources"), sources / "sources.list", *sources.glob("*/*.list")):
        text = path.read_text() if path.is_file() else ""
        found = re.search(r"^URIs:\s*(\S+/debian/?)(?:\s|$)", text, re.MULTILINE) or re.search(
            r"^deb\s+(?:\[[^]]*\]\s+)?(\S+/debian/?)\s", text, re.MULTILINE
        )
        if found:
            return found[1]
    return None


def _unpack_kernel(directory: Path) -> None:
    """The kernel package of the machine's own package source, unpacked and not installed."""
    depends = _run([need("apt-cache"), "depends", KERNEL_PACKAGE], f"the package {KERNEL_PACKAGE}")
    real = re.search(r"Depends: (linux-image-\S+)", depends)
    if real is None:
        raise MissingError(f"the package {KERNEL_PACKAGE} is not known here (apt-get update?)")
    download = directory.parent
    _run([need("apt-get"), "-qq", "download", real[1]], f"the package {real[1]}", cwd=download)
    [package] = download.glob("linux-image-*.deb")
    _run([need("dpkg-deb"), "-x", str(package), str(directory)], f"the content of {package.name}")


def _install_wheels(directory: Path, python: str) -> None:
    """For the guest's Python, whatever runs this."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory), "--no-deps"]
    _run([*pip, "--only-binary=:all:", "--python-version", python, *WHEELS], f"wheels for Python {python}")


def _python_of(root: Path) -> str:
    found = re.fullmatch(r"python(3\.\d+)", Path(os.readlink(_only(root, "usr/bin/python3"))).name)
    if found is None:
        raise MissingError(f"a python3 in {root}")
    return found[1]


def _only(directory: Path, *patterns: str) -> Path:
    for pattern in patterns:
        if found := sorted(directory.glob(pattern)):
            return found[-1]
    raise MissingError(f"{patterns[0]} is not in {directory}")


def _run(command: Sequence[str], what: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, timeout=_MAKING_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{what}: {command[0]} did not end within {_MAKING_TIMEOUT_S} s") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise MissingError(f"{what}: {command[0]} failed: {' '.join(last)}")
    return done.stdout


if __name__ == "__main__":
    made = find_or_make()
    for name in ("root", "kernel", "modules", "wheels"):
        print(f"{name}: {getattr(made, name)}")

"""Experiments with other tools than root's in the root cgroup: a user without rights, the same user with a cgroup of
their own, a tool that has a limit itself, a tool that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.kernel.inside.harness import CGROUPS, Facts, service, wait_until

USER = 1000
_DELEGATED = CGROUPS / "user"


def without_rights() -> Facts:
    return {"said": _as_user(CGROUPS)}


def delegated() -> Facts:
    """As systemd delegates (systemd.resource-control(5), Delegate=): the directory and three of its files."""
    _DELEGATED.mkdir()
    for path in (_DELEGATED, *(_DELEGATED / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
        os.chown(path, USER, USER)
    try:
        return {"said": _as_user(_DELEGATED)}
    finally:
        for below in _DELEGATED.iterdir():
            if below.is_dir():
                below.rmdir()
        _DELEGATED.rmdir()


def limited_itself() -> Facts:
    """A tool inside a limit of 96 MiB is asked for one of 128."""
    with service("", memory_mib=96, command=[sys.executable, "-m", "tests.profiling.measuring.nested", "/tmp"]) as it:
        it.end()
        return {"said": it.log.read_text()}


def killed() -> Facts:
    """SIGKILL of a tool with a running service: its keeper clears up."""
    with subprocess.Popen([sys.executable, "-m", "tests.profiling.measuring.doomed"], stdout=subprocess.PIPE) as tool:
        assert tool.stdout is not None
        cgroup = Path(tool.stdout.readline().decode().strip())
        inside = len((cgroup / "cgroup.procs").read_text().split())
        tool.kill()
    wait_until(lambda: not cgroup.exists())
    return {"inside": inside}


def _as_user(cgroup: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(cgroup)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def main() -> None:
    """As process of its own: enter the cgroup, become the user, and use the sandbox."""
    Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    from profiling.errors import NoLimitError
    from tests.kernel.inside.limits import kill

    try:
        print(json.dumps(kill()))
    except NoLimitError as error:
        print(f"{error.kind}: {error.message}\n{error.hint}")


EXPERIMENTS = (without_rights, delegated, limited_itself, killed)

if __name__ == "__main__":
    main()

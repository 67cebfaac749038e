"""Process 1 of the guest: mounts what a test needs, runs the module that is named as a child, sends the report, switches
off."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

REPORT = "/run/report.json"
_MOUNTS = (
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/dev/shm", "tmpfs"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
)
_libc = ctypes.CDLL(None, use_errno=True)
_REBOOT = 0x01234567  # LINUX_REBOOT_CMD_RESTART of reboot(2): with -no-reboot it ends the emulator
_SYS_FINIT_MODULE = 313


def main() -> None:
    said: dict[str, object] = {}
    try:
        prepare()
        said["boot_s"] = time.clock_gettime(time.CLOCK_BOOTTIME)
        run([sys.executable, "-m", sys.argv[1], REPORT])
        said["facts"] = json.loads(Path(REPORT).read_bytes())
    except BaseException:
        traceback.print_exc()  # on the console, which the host shows when no report came
    else:
        with open("/dev/ttyS1", "w", encoding="ascii") as line:
            json.dump(said, line)
            line.flush()
            _libc.tcdrain(line.fileno())
    sys.stderr.flush()
    os.sync()
    _libc.reboot(_REBOOT)


def prepare() -> None:
    for source, place, kind in _MOUNTS:
        os.makedirs(place, exist_ok=True)
        if _libc.mount(source.encode(), place.encode(), kind.encode(), 0, None):
            raise OSError(ctypes.get_errno(), f"mount {place}")
    os.chmod("/tmp", 0o1777)
    for name in Path("/opt/modules/order").read_text().split():
        with open(f"/opt/modules/{name}.ko", "rb") as module:
            if _libc.syscall(_SYS_FINIT_MODULE, module.fileno(), b"", 0):
                raise OSError(ctypes.get_errno(), f"load the module {name}")
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "/dev/vda"])
    run(["mount", "-o", "noatime", "/dev/vda", "/data"])
    run(["mkswap", "/dev/vdb"])
    run(["swapon", "/dev/vdb"])


def run(command: list[str]) -> None:
    """To its end, reaping whatever orphans end meanwhile. Raises RuntimeError if it failed."""
    process = subprocess.Popen(command, stdout=sys.stderr)
    while True:
        pid, status = os.wait()
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            break
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")


if __name__ == "__main__":
    main()

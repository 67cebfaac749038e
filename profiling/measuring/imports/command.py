"""From a target's command to the command that runs it under the recorder."""

from __future__ import annotations

import base64
import gzip
import subprocess
from dataclasses import dataclass
from pathlib import Path

from profiling.measuring import store
from profiling.measuring.capture import LAUNCHER, CannotTrackError, python_program
from profiling.measuring.capture.command import PythonProgram
from profiling.measuring.interior import Interior

RECORDER = Path(__file__).with_name("recorder.py")
RECORDING = "imports.tsv"
"""What the first process of a start records; a forked child adds its process id (`imports.tsv.4711`)."""
_LAUNCHER_CODE, _RECORDER_CODE = "launcher.pyc", "recorder.bin"
_TIMEOUT_S = 20.0
# The names under which frames of ours stand: the launcher's are known by it, the recorder's are taken for importlib's.
_COMPILE = """
import base64, importlib.util, marshal
for source, name, head in {sources!r}:
    head = importlib.util.MAGIC_NUMBER + bytes(12) if head else b""
    print(base64.b64encode(head + marshal.dumps(compile(source, name, "exec", dont_inherit=True))).decode())
"""


@dataclass(frozen=True, slots=True)
class Recording:
    """How to start one Python program under the recorder."""

    program: PythonProgram
    launcher: bytes
    """The launcher compiled for the program's interpreter; a script that was compiled in the process itself would leave
    memory behind, which the first imports would then take without anybody seeing it (1.3 MiB)."""
    recorder: bytes

    def command(self, interior: Interior, directory: Path, *, lazy: str | None, walk: bool) -> tuple[str, ...]:
        """The command for one start that records into `directory`, which the interior sees; writes what it needs there."""
        for name, code in ((_LAUNCHER_CODE, self.launcher), (_RECORDER_CODE, self.recorder)):
            (directory / name).write_bytes(code)
            (directory / name).chmod(0o644)
        options = ["--recorder", interior.seen(directory / _RECORDER_CODE), "--output"]
        options += [interior.seen(directory / RECORDING), "--walk", "yes" if walk else "no"]
        options += ["--lazy", lazy] if lazy else []
        program = self.program
        launcher = interior.seen(directory / _LAUNCHER_CODE)
        return (program.interpreter, *program.options, launcher, *options, "--", *program.arguments)


def tidy(directory: Path) -> None:
    """After a start: remove what `Recording.command` wrote, and make the recordings a tenth of their size (`.gz`)."""
    for name in (_LAUNCHER_CODE, _RECORDER_CODE):
        (directory / name).unlink(missing_ok=True)
    for path in [path for path in directory.glob(f"{RECORDING}*") if path.suffix != ".gz"]:
        store.write_atomically(path.with_name(f"{path.name}.gz"), gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()


def recording(interior: Interior) -> Recording:
    """How to record the interior's command; starts its interpreter once, about 0.1 s.

    Raises `CannotTrackError` with the reason why that cannot be: another language, no interpreter to be found, ...
    """
    program = python_program(interior)
    sources = (
        (LAUNCHER.read_text(), str(LAUNCHER), True),
        (RECORDER.read_text(), "<frozen importlib._bootstrap>", False),
    )
    command = [program.interpreter, *program.options, "-c", _COMPILE.format(sources=sources)]
    try:
        done = interior.run(command, _TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise CannotTrackError(f"{program.interpreter} did not start within {_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise CannotTrackError(f"{program.interpreter} cannot be started: {error.strerror or error}") from None
    lines = done.stdout.split()
    if done.returncode or len(lines) != len(sources):
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise CannotTrackError(f"{program.interpreter} cannot run the recorder: {said}")
    launcher, recorder = map(base64.b64decode, lines)
    return Recording(program, launcher, recorder)


def importing(modules: tuple[str, ...]) -> str:
    """The program that imports `modules`, one after the other."""
    return "\n".join(f"import {name}" for name in modules)

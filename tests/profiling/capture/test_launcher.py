from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from profiling.measuring.capture import captures, ended_cleanly, held

from .programs import PYTHON, alone, environ, tracked, tracked_command, write

DUMP = """
import json, sys, __main__
names = {
    name: repr(value).split(" at 0x")[0]
    for name, value in vars(__main__).items()
    if name.startswith("__") and name != "__main__"
}
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": str(sys.flags), "main": names,
    "executable": sys.executable, "is_main": globals() is vars(sys.modules["__main__"]), "xoptions": sys._xoptions,
    "excepthook": sys.excepthook is sys.__excepthook__, "warnoptions": sys.warnoptions,
}, indent=1, sort_keys=True))
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A project with the same program as script, module, package, directory and zip file."""
    directory = tmp_path / "project"
    write(directory / "dump.py", DUMP)
    write(directory / "package" / "__init__.py", "")
    write(directory / "package" / "__main__.py", DUMP)
    (directory / "linked.py").symlink_to(directory / "package" / "__main__.py")
    subprocess.run(
        [PYTHON, "-m", "zipfile", "-c", directory / "dump.zip", directory / "package" / "__main__.py"], check=True
    )
    script = write(directory / "tool", f"#!{PYTHON}\n{DUMP}")
    script.chmod(0o755)
    return directory


@pytest.mark.parametrize(
    "command",
    [
        ["python", "dump.py", "a", "-b"],
        ["python", "-u", "-X", "dev", "-W", "error::UserWarning", "package/../dump.py"],
        ["python", "linked.py"],
        ["python", "-I", "dump.py"],
        ["python", "-P", "-O", "dump.py"],
        ["python", "-m", "dump", "-m", "x"],
        ["python", "-m", "package"],
        ["python", "package", "a"],
        ["python", "dump.zip"],
        ["python", "-c", DUMP, "-c", "x"],
        ["./tool", "a"],
    ],
    ids=" ".join,
)
def test_program_sees_what_it_sees_alone(command: list[str], target: Path, tmp_path: Path) -> None:
    expected = alone(command, target)
    assert expected.returncode == 0, expected.stderr
    done = tracked(command, target, tmp_path / "capture.bin")
    assert (done.returncode, done.stderr) == (0, "")
    seen, wanted = json.loads(done.stdout), json.loads(expected.stdout)
    wanted["orig_argv"][0] = seen["orig_argv"][0]  # the interpreter is started by its absolute path
    assert seen == wanted
    assert ended_cleanly(tmp_path / "capture.bin")


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "import sys; sys.exit(7)",
        "import sys; sys.exit('said at the end')",
        "def f(): raise KeyError(1) from ValueError(2)\nf()",
        "raise KeyboardInterrupt",
        "def f(:",
        "import os; os.kill(os.getpid(), 15)",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os._exit(3)",
        "import os; os.abort()",
        "import sys; sys.excepthook = lambda *error: print('hooked', error[0]); 1 / 0",
        "import atexit; atexit.register(print, 'at exit'); raise SystemExit",
        "import threading, time, sys\n"
        "def late():\n    time.sleep(.2); print(globals() is vars(sys.modules['__main__']))\n"
        "threading.Thread(target=late).start()",
        "import signal, os, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); os.kill(os.getpid(), signal.SIGTERM)",
    ],
)
@pytest.mark.parametrize("way", ["script", "-c"])
def test_ends_as_it_ends_alone(way: str, code: str, tmp_path: Path) -> None:
    write(tmp_path / "program.py", code)
    command = ["python", "program.py"] if way == "script" else ["python", "-c", code]
    expected = alone(command, tmp_path)
    done = tracked(command, tmp_path, tmp_path / "capture.bin")
    said, wanted = done.stderr, expected.stderr
    if way == "-c" and sys.version_info >= (3, 13):
        # Since then the interpreter itself shows the lines of its -c in tracebacks.
        said, wanted = said.splitlines()[-1:], wanted.splitlines()[-1:]
    assert (done.returncode, done.stdout, said) == (expected.returncode, expected.stdout, wanted)
    assert ended_cleanly(tmp_path / "capture.bin") == (
        done.returncode not in (-signal.SIGTERM, -signal.SIGKILL, -signal.SIGABRT)
    )


@pytest.mark.parametrize("command", [["python", "-m", "no.such"], ["python", "package"]], ids=" ".join)
def test_missing_module_fails_as_it_fails_alone(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    expected = alone(command, tmp_path)
    done = tracked(command, tmp_path, tmp_path / "capture.bin")
    assert expected.returncode == done.returncode == 1
    assert done.stderr.replace("bin/python3", "bin/python") == expected.stderr.replace("bin/python3", "bin/python")


def test_missing_script_says_so(tmp_path: Path) -> None:
    done = tracked(["python", "nope.py"], tmp_path, tmp_path / "capture.bin")
    assert done.returncode == 2
    assert "can't open file" in done.stderr
    assert "nope.py" in done.stderr


def test_nothing_of_ours_and_no_stub_in_the_process(tmp_path: Path) -> None:
    program = """
        import sys
        ours = [n for n in sys.modules if n.partition('.')[0] in ('profiling', 'loadtests', 'oomproof', 'rich')]
        print(ours, sys.path)
        import rich.progress
        print(rich.progress.Progress.__name__)
    """
    write(tmp_path / "program.py", program)
    expected = alone([PYTHON, "program.py"], tmp_path)
    assert expected.stdout.startswith("[] ["), expected.stderr
    done = tracked(["python", "program.py"], tmp_path, tmp_path / "capture.bin")
    assert done.stdout == expected.stdout, done.stderr


def test_a_memray_that_wants_more_of_rich_gets_it(tmp_path: Path) -> None:
    """The stub leaves out what memray does not use today; another version may: it must start all the same."""
    hook = """
        import sys

        class Picky:
            def find_spec(self, name, path, target=None):
                if name == 'memray._memray' and 'rich.progress' in sys.modules:
                    del sys.modules['rich.progress'].SpinnerColumn
                return None

        sys.meta_path.insert(0, Picky())
    """
    site = tmp_path / "site"
    write(site / "sitecustomize.py", hook)
    write(tmp_path / "program.py", "import sys; print(hasattr(sys.modules['rich.progress'], 'BarColumn'))")
    done = tracked(["python", "program.py"], tmp_path, tmp_path / "capture.bin", PYTHONPATH=str(site))
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert ended_cleanly(tmp_path / "capture.bin")


def test_relative_output_survives_a_change_of_directory(tmp_path: Path) -> None:
    program = """
        import os
        os.chdir('/')
        if os.fork() == 0:
            kept = bytearray(2_000_000)
            os._exit(0)
        os.wait()
    """
    write(tmp_path / "program.py", program)
    launched = tracked(["python", "program.py"], tmp_path, Path(os.path.relpath(tmp_path / "capture.bin")))
    assert launched.returncode == 0, launched.stderr
    first, child = captures(tmp_path / "capture.bin")
    assert ended_cleanly(first)
    assert ended_cleanly(child)


def test_children_of_multiprocessing_are_followed_and_end_cleanly(tmp_path: Path) -> None:
    program = """
        import multiprocessing

        def work(_):
            kept.append(bytearray(3_000_000))

        kept = []
        if __name__ == '__main__':
            with multiprocessing.get_context('fork').Pool(1) as pool:
                pool.map(work, range(2), chunksize=1)
                pool.close()
                pool.join()
    """
    write(tmp_path / "program.py", program)
    done = tracked(["python", "program.py"], tmp_path, tmp_path / "capture.bin")
    assert done.returncode == 0, done.stderr
    found = captures(tmp_path / "capture.bin")
    assert len(found) == 2
    assert all(ended_cleanly(capture) for capture in found)
    (largest, *_) = held(found[1:], "peak", directory=tmp_path)
    assert (largest.frame.file, largest.frame.line) == ("program.py", 4)
    assert largest.bytes == pytest.approx(6_000_000, rel=0.02)


WSGI = """
    kept = []

    def app(environ, start_response):
        kept.append(bytearray(5_000_000))
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [str(__import__('os').getpid()).encode()]
"""


def test_gunicorn_with_two_workers(tmp_path: Path) -> None:
    write(tmp_path / "wsgi.py", WSGI)
    command = ["gunicorn", "wsgi:app", "--workers", "2", "--bind", "127.0.0.1:0", "--no-control-socket"]
    launched = tracked_command(command, tmp_path, tmp_path / "capture.bin")
    with subprocess.Popen(launched, cwd=tmp_path, env=environ(), stderr=subprocess.PIPE, text=True) as process:
        try:
            port, workers = 0, set()
            assert process.stderr is not None
            for line in process.stderr:
                if "Listening at" in line:
                    port = int(line.split("http://127.0.0.1:")[1].split()[0])
                if "Booting worker" in line:
                    workers.add(line.split("pid: ")[1].strip())
                if len(workers) == 2:
                    break
            answered: set[str] = set()
            end = time.monotonic() + 20
            while answered != workers and time.monotonic() < end:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    answered.add(answer.read().decode())
        finally:
            process.terminate()
            process.communicate(timeout=20)
    assert process.returncode == 0
    found = captures(tmp_path / "capture.bin")
    assert {capture.name for capture in found} == {"capture.bin", *(f"capture.bin.{pid}" for pid in workers)}
    assert all(ended_cleanly(capture) for capture in found)
    for capture in found[1:]:
        (largest, *_) = held([capture], "peak", directory=tmp_path)
        assert (largest.frame.function, largest.frame.file, largest.frame.line) == ("app", "wsgi.py", 4)
        assert largest.bytes % 5_000_000 < 100_000

"""Modules of planted size, in real interpreters in real cgroups."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from profiling.import_costs import ImportCosts
from profiling.measuring.capture import CannotTrackError
from profiling.measuring.imports.kernel import counters_lag, default_limit
from tests.helpers import MIB, our_cgroups
from tests.profiling.capture.programs import alone, write

from .recorded import LAZY, holds, module, program, record, under_recorder

TREE = {
    "app": "import pack.inner\nimport last\nheld = bytearray(10 << 20)",
    "pack____init__": "held = bytearray(5 << 20)",
    "pack__inner": "from . import deep\nheld = bytearray(20 << 20)",
    "pack__deep": "held = bytearray(30 << 20)",
    "last": "held = bytearray(7 << 20)",
}


def sizes(costs: ImportCosts) -> dict[str, tuple[float, float]]:
    return {entry.name: (entry.self_anon_bytes / MIB, entry.anon_bytes / MIB) for entry in costs.modules}


@pytest.mark.parametrize("walk", [False, True], ids=["counters", "page tables"])
def test_planted_sizes_are_found_where_they_were_planted(walk: bool, tmp_path: Path) -> None:
    before = our_cgroups()
    found = record(program(tmp_path / "p", **TREE), "app", walk=walk)
    planted = {"app": (10, 72), "pack": (5, 5), "pack.inner": (20, 50), "pack.deep": (30, 30), "last": (7, 7)}
    for name, (own, whole) in planted.items():
        assert holds(module(found, name).self_anon_bytes, own), (name, sizes(found))
        assert holds(module(found, name).anon_bytes, whole), (name, sizes(found))
    assert holds(found.total_anon_bytes, 72)
    assert (found.status, found.complete) == ("pass", True)
    assert module(found, "pack").parent == "app", "a package is loaded for its module, and is none of its parts"
    assert our_cgroups() == before


def test_each_module_has_the_line_that_asked_for_it(tmp_path: Path) -> None:
    found = record(program(tmp_path / "p", **TREE), "app")
    assert {entry.name: entry.line for entry in found.modules} == {
        "app": None, "pack": "app.py:1", "pack.inner": "app.py:1", "pack.deep": "pack/inner.py:1", "last": "app.py:2",
    }  # fmt: skip
    assert {entry.name: entry.imported_by for entry in found.modules}["pack.deep"] == "pack.inner"


def test_the_line_is_the_programs_own_also_where_a_library_does_the_import(tmp_path: Path) -> None:
    text = "import json.tool\ndef later():\n    import wave\nlater()"
    found = record(program(tmp_path / "p", app=text), "app")
    tool, argparse, wave = (module(found, name) for name in ("json.tool", "argparse", "wave"))
    assert (tool.line, wave.line) == ("app.py:1", "app.py:3")
    assert (argparse.line, argparse.imported_by) == ("app.py:1", "json.tool")
    assert argparse.statement
    assert argparse.statement.partition(":")[0].endswith("json/tool.py")


def test_a_mapped_file_is_file_memory(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"x" * (30 * MIB))
    text = f"""
        import mmap
        file = open({str(tmp_path / "data.bin")!r}, "rb")
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        total = sum(mapped[at] for at in range(0, len(mapped), 4096))
    """
    found = record(program(tmp_path / "p", app="import mmap\nimport files", files=text), "app")
    files = module(found, "files")
    assert holds(files.self_file_bytes, 30), files
    assert abs(files.self_anon_bytes) < MIB
    assert files.line == "app.py:2"


def test_a_circle_a_namespace_package_and_what_is_not_there(tmp_path: Path) -> None:
    found = record(
        program(
            tmp_path / "p",
            app="""
                import one
                try:
                    import not_there_at_all
                except ImportError:
                    pass
                try:
                    import broken
                except ImportError:
                    pass
                import space.inside
            """,
            one="import two\nheld = bytearray(4 << 20)",
            two="import one\nheld = bytearray(6 << 20)",
            broken="import kept\nraise ImportError('on purpose')",
            kept="held = bytearray(3 << 20)",
            space__inside="held = bytearray(2 << 20)",
        ),
        "app",
    )
    assert holds(module(found, "one").self_anon_bytes, 4)
    assert holds(module(found, "two").anon_bytes, 6)
    assert module(found, "broken").error == "ImportError"
    assert holds(module(found, "broken").anon_bytes, 3)
    assert holds(module(found, "space.inside").anon_bytes, 2)
    assert {"space", "kept"} <= {entry.name for entry in found.modules}
    assert "not_there_at_all" not in {entry.name for entry in found.modules}
    assert found.status == "pass"


def test_a_c_extension_counts_its_libraries(tmp_path: Path) -> None:
    found = record(program(tmp_path / "p", app="import numpy"), "app", cold=True)
    extension = module(found, "numpy._core._multiarray_umath")
    assert extension.self_file_bytes > MIB
    assert extension.cold_file_bytes is not None
    numpy = next(package for package in found.packages if package.name == "numpy")
    assert numpy.line == "app.py:1"
    assert 2 * MIB < numpy.anon_bytes <= found.total_anon_bytes
    assert found.cold_time_s is not None


def test_the_packages_share_out_all_there_is(tmp_path: Path) -> None:
    found = record(program(tmp_path / "p", **TREE), "app")
    assert abs(sum(package.anon_bytes for package in found.packages) - found.total_anon_bytes) < 64 * 1024
    assert [package.name for package in found.packages][:2] == ["pack.deep", "pack.inner"] or found.packages[
        0
    ].name == "pack"


def test_the_total_is_what_the_program_itself_sees_without_the_recorder(tmp_path: Path) -> None:
    """The recorder's own cost: what it adds to the account, or leaves for the program to use."""
    write(
        tmp_path / "p" / "seen.py",
        """
        import sys

        def anon():
            text = open("/proc/self/status").read()
            return int(text[text.index("RssAnon:") + 8 :].split()[0]) * 1024

        before = anon()
        import email.message, http.server, numpy
        print(anon() - before)
        """,
    )
    done = alone([sys.executable, "seen.py"], tmp_path / "p")
    found = record(tmp_path / "p", command=[sys.executable, "seen.py"])
    assert abs(found.total_anon_bytes - int(done.stdout)) < 512 * 1024


def test_spread_is_told_over_several_starts(tmp_path: Path) -> None:
    found = record(program(tmp_path / "p", **TREE), "app", repeats=3)
    app = module(found, "app")
    assert found.starts == 3
    assert app.anon_low_bytes <= app.anon_bytes <= app.anon_high_bytes
    assert app.anon_high_bytes - app.anon_low_bytes < MIB


def test_the_program_finds_nothing_of_ours_and_its_tracebacks_are_its_own(tmp_path: Path) -> None:
    directory = program(
        tmp_path / "p",
        app="""
            import json, sys, warnings
            import noisy
            print(json.dumps([name for name in sys.modules if "oomproof" in name or "recorder" in name or "profiling" in name]))
            import broken
        """,
        noisy="import warnings\nwarnings.warn('look here', stacklevel=2)",
        broken="def fail():\n    raise RuntimeError('on purpose')\nfail()",
    )
    expected, done = alone([sys.executable, "app.py"], directory), under_recorder(directory, "")
    assert json.loads(done.stdout) == []
    assert done.returncode == expected.returncode == 1

    def frames(text: str) -> list[str]:
        return [
            line.split(",")[0].rpartition("/")[2]
            for line in text.splitlines()
            if line.startswith("  File") and "frozen" not in line
        ]

    assert frames(done.stderr) == frames(expected.stderr)
    assert done.stderr.splitlines()[-1] == expected.stderr.splitlines()[-1]
    assert [line for line in done.stderr.splitlines() if "UserWarning" in line] == [
        line for line in expected.stderr.splitlines() if "UserWarning" in line
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import sys; sys.exit(0)", "SystemExit while importing app"),
        ("import sys; sys.exit(3)", "it ended with exit status 3"),
        ("import os; os._exit(0)", "the process ended while importing app"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it was ended by signal 9 while importing app"),
        ("raise RuntimeError('on purpose')", "it ended with exit status 1: RuntimeError: on purpose"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("held = bytearray(300 << 20)", "killed at the limit of 128 MiB while importing app"),
    ],
)
def test_an_import_that_does_not_end_well_is_told_as_what_it_is(text: str, problem: str, tmp_path: Path) -> None:
    before = our_cgroups()
    files = {"app": f"import first\n{text}", "first": "held = bytearray(12 << 20)"}
    found = record(program(tmp_path / "p", **files), "app", repeats=3, memory_mib=128)
    assert found.status == "fail"
    assert problem in str(found.problem)
    assert found.starts == 1, "what does not end well is not made again"
    assert holds(module(found, "first").anon_bytes, 12), "what was recorded until then is shown"
    assert our_cgroups() == before


def test_an_import_that_never_returns_is_given_up(tmp_path: Path) -> None:
    files = {"app": "import first\nimport threading\nthreading.Event().wait()", "first": "held = bytearray(12 << 20)"}
    found = record(program(tmp_path / "p", **files), "app", timeout_s=2)
    assert found.problem == "not all was imported within 2 s while importing app"
    assert module(found, "app").error == "unfinished"
    assert holds(module(found, "first").anon_bytes, 12)


def test_a_module_that_forks_keeps_its_childs_account_apart(tmp_path: Path) -> None:
    text = """
        import os
        if os.fork() == 0:
            import in_child
            os._exit(0)
        os.wait()
        held = bytearray(10 << 20)
    """
    found = record(program(tmp_path / "p", app=text, in_child="held = bytearray(30 << 20)"), "app")
    assert holds(module(found, "app").self_anon_bytes, 10)
    assert (module(found, "in_child").process, module(found, "in_child").parent) == ("worker", None)
    assert holds(module(found, "in_child").anon_bytes, 30)


def test_threads_that_import_at_the_same_time_count_nothing_twice(tmp_path: Path) -> None:
    text = """
        import threading
        def load(name):
            __import__(name)
        threads = [threading.Thread(target=load, args=(name,)) for name in ("left", "right")]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """
    half = "held = bytearray(20 << 20)\nfor n in range(200_000):\n    pass\nmore = bytearray(10 << 20)"
    found = record(program(tmp_path / "p", app=text, left=half, right=half), "app")
    assert holds(found.total_anon_bytes, 60) or abs(found.total_anon_bytes - 60 * MIB) < 2 * MIB


WSGI = """
    import heavy

    def app(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'ok']
"""


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["workers", "preload"])
def test_gunicorn_is_recorded_until_it_is_ready(options: tuple[str, ...], tmp_path: Path) -> None:
    directory = program(tmp_path / "p", wsgi=WSGI, heavy="held = bytearray(25 << 20)")
    command = ["gunicorn", "wsgi:app", "--workers", "2", "--bind", "{host}:{port}", "--no-control-socket", *options]
    found = record(directory, command=command)
    heavy = module(found, "heavy")
    assert holds(heavy.anon_bytes, 25)
    assert heavy.line == "wsgi.py:1"
    assert heavy.process == ("main" if options else "worker")
    assert module(found, "gunicorn.arbiter").process == "main"
    assert found.complete
    if not options:
        assert found.processes == 3
        assert any("each further worker pays" in note for note in found.notes)


def test_a_script_and_a_module_as_programs(tmp_path: Path) -> None:
    directory = program(
        tmp_path / "p", script="import big", pack____main__="import big", big="held = bytearray(9 << 20)"
    )
    for command in (["python", "script.py"], ["python", "-m", "pack"], [sys.executable, "-c", "import big"]):
        found = record(directory, command=command)
        assert holds(module(found, "big").anon_bytes, 9), command
        assert found.status == "pass"
        assert not found.complete
        assert any("ended by itself before it was ready" in note for note in found.notes)


def _interpreters() -> list[str]:
    """Every CPython from 3.8 on that is on PATH and runs, each version once."""
    found = {}
    for name in ("python3", *(f"python3.{minor}" for minor in range(8, 15))):
        path = shutil.which(name)
        code = "import sys; print(*sys.version_info[:2])"
        done = path and subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if path and done and done.returncode == 0:
            found[done.stdout] = path
    return sorted(found.values())


def test_other_interpreters_are_recorded_alike(tmp_path: Path) -> None:
    interpreters = _interpreters()
    assert interpreters
    for number, interpreter in enumerate(interpreters):
        found = record(program(tmp_path / f"p{number}", **LAZY), "app", command=[interpreter, "-c", "pass"], lazy=1)
        assert holds(found.total_anon_bytes, 80), (interpreter, found)
        assert holds(found.lazy[0].measured_anon_bytes or 0, 40), (interpreter, found.lazy)


def test_what_it_said_is_shown_without_its_secrets(tmp_path: Path) -> None:
    text = "raise ValueError('cannot reach postgres://me:hunter2hunter2@db/x')"
    found = record(program(tmp_path / "p", app=f"import json\n{text}"), "app")
    assert "cannot reach" in str(found.problem)
    assert "hunter2" not in str(found.problem)


def test_what_is_not_python_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotTrackError, match="binary program"):
        record(program(tmp_path / "p"), command=["/bin/sleep", "1"])
    (tmp_path / "p").mkdir(exist_ok=True)
    write(tmp_path / "p" / "python", "#!/bin/sh\nexit 7\n").chmod(0o755)
    with pytest.raises(CannotTrackError, match="cannot run the recorder: exit status 7"):
        record(tmp_path / "p", command=["./python", "app.py"])


def test_the_default_limit_leaves_the_machine_usable() -> None:
    available = int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]) * 1024
    assert 64 * MIB < default_limit(within_session=True) <= min(8 * 2**30, available)


def test_whether_counters_lag_can_be_told() -> None:
    assert counters_lag() in (True, False)

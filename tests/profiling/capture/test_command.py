from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.measuring.capture import CannotTrackError, held, prepare
from profiling.measuring.capture.command import LAUNCHER, MAX_CAPTURE_BYTES, PythonProgram, find_memray, python_program

from .programs import PYTHON, SCRIPTS, alone, here, interpreter, tracked_command, write


def split(command: list[str], directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    program = python_program(here(command, directory))
    return program.options, program.arguments


@pytest.mark.parametrize(
    ("command", "options", "arguments"),
    [
        ("python app.py -u", "", "app.py -u"),
        ("python3 -u app.py", "-u", "app.py"),
        ("python -X dev -Wd -uB app.py", "-X dev -W d -uB", "app.py"),
        ("python -uXdev app.py", "-uX dev", "app.py"),
        ("python -m backend.app --port 1", "", "-m backend.app --port 1"),
        ("python -Ium backend.app", "-Iu", "-m backend.app"),
        ("python -mbackend.app x", "", "-m backend.app x"),
        ("python -c pass -m x", "", "-c pass -m x"),
        ("python --check-hash-based-pycs never app.py", "--check-hash-based-pycs never", "app.py"),
        ("python -u -- app.py -x", "-u", "app.py -x"),
    ],
)
def test_interpreter_options_are_told_from_the_program(
    command: str, options: str, arguments: str, tmp_path: Path
) -> None:
    assert split(command.split(), tmp_path) == (tuple(options.split()), tuple(arguments.split()))


@given(
    options=st.lists(st.sampled_from(["-u", "-B", "-sE", "-O", "-I", "-Xdev", "-X utf8", "-W ignore", "-bb"])),
    program=st.sampled_from(["-m mod", "-c pass", "script.py", "dir/script.py"]),
    arguments=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), max_size=4),
)
def test_program_and_its_arguments_are_kept_as_they_are(options: list[str], program: str, arguments: list[str]) -> None:
    words = [word for option in options for word in option.split()]
    found_options, found = split(["python", *words, *program.split(), *arguments], Path("/"))
    assert found == (*program.split(), *arguments)
    assert "".join(found_options) == "".join(words)


def test_launcher_stands_in_front_of_the_program(tmp_path: Path) -> None:
    capture = tmp_path / "capture.bin"
    found = tracked_command(["python", "-u", "app.py", "x"], tmp_path, capture)
    python = str(SCRIPTS / "python")
    assert found == [python, "-u", str(LAUNCHER), "--output", str(capture), "--", "app.py", "x"]


def test_console_script_is_run_by_the_interpreter_of_its_shebang(tmp_path: Path) -> None:
    program = python_program(here(["gunicorn", "app:app"], tmp_path))
    assert program.arguments == (str(SCRIPTS / "gunicorn"), "app:app")
    assert Path(program.interpreter).parent == SCRIPTS


@pytest.mark.parametrize(
    ("first_lines", "options"),
    [
        (f"#!{PYTHON}\n", ()),
        (f"#! {PYTHON} -I\n", ("-I",)),
        ("#!/usr/bin/env python\n", ()),
        ("#!/usr/bin/env -S python -u -Xdev\n", ("-u", "-Xdev")),
        (f"#!/bin/sh\n'''exec' {PYTHON} \"$0\" \"$@\"\n' '''\n", ()),
        (f"#!/bin/sh\n'''exec' \"{PYTHON}\" \"$0\" \"$@\"\n' '''\n", ()),
        ("#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n", ()),
    ],
)
def test_first_lines_of_scripts(first_lines: str, options: tuple[str, ...], tmp_path: Path) -> None:
    script = write(tmp_path / "bin" / "tool", first_lines + "print(1)\n")
    script.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(PYTHON)
    program = python_program(here(["bin/tool", "a"], tmp_path))
    assert Path(program.interpreter).resolve() == Path(PYTHON).resolve()
    assert program.options == options
    assert program.arguments == ("bin/tool", "a")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ([], "the command is empty"),
        (["ls", "-l"], "`ls` is a binary program"),
        (["sh", "-c", "gunicorn app:app"], "`sh` is a shell"),
        (["./start.sh"], "`./start.sh` is a shell script"),
        (["./server.js"], "`./server.js` is a script for `node`"),
        (["./plain"], "a file without a `#!` line"),
        (["no-such-command"], "`no-such-command` was not found on PATH"),
        (["./gone"], "`./gone` was not found"),
        (["python"], "no program"),
        (["python", "-u", "-"], "standard input"),
        (["python", "-V"], "`-V` runs no program"),
        (["python", "--version"], "`--version` runs no program"),
        (["python", "-u", "-m"], "`-m` lacks its argument"),
        (["python", "app.pyc"], "`app.pyc` is compiled"),
    ],
)
def test_reason_why_memray_cannot_enter(command: list[str], reason: str, tmp_path: Path) -> None:
    for name, text in {
        "start.sh": "#!/bin/bash\nexec gunicorn app:app\n",
        "server.js": "#!/usr/bin/env node\n",
        "plain": "echo\n",
    }.items():
        write(tmp_path / name, text).chmod(0o755)
    with pytest.raises(CannotTrackError, match=reason.replace(".", r"\.")):
        tracked_command(command, tmp_path, tmp_path / "capture.bin")


def test_memray_is_looked_for_in_the_targets_own_environment(tmp_path: Path) -> None:
    assert find_memray(interpreter(), here([]), tmp_path) is None
    # In isolation from site-packages this interpreter has no memray.
    with pytest.raises(CannotTrackError, match="memray is not installed for"):
        find_memray(interpreter("-S", "-I"), here([]), tmp_path)
    with pytest.raises(CannotTrackError, match="cannot be started"):
        find_memray(interpreter(path=str(tmp_path / "python")), here([]), tmp_path)
    write(tmp_path / "site" / "memray.py", "raise OSError('broken here')")
    with pytest.raises(CannotTrackError, match="broken here"):
        find_memray(interpreter(), here([], PYTHONPATH=str(tmp_path / "site")), tmp_path)
    # What lies in the target's directory is not taken for memray: the launcher does not either.
    assert find_memray(interpreter(), here([], tmp_path / "site"), tmp_path) is None


def test_an_interpreter_without_memray_borrows_the_tools(tmp_path: Path) -> None:
    program = interpreter("-I", "-S")
    site = str(Path(importlib.util.find_spec("memray").submodule_search_locations[0]).parent)  # type: ignore[union-attr,index]
    interior = dataclasses.replace(here([], tmp_path), site=site)
    assert find_memray(program, interior, tmp_path) == site
    write(tmp_path / "app.py", "import sys\nheld = bytearray(8 << 20)\nprint(sys.path)")
    ran = alone(PythonProgram(PYTHON, ("-I", "-S"), ("app.py",)).tracked(tmp_path / "c.bin", interior, site), tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert site not in ran.stdout, "the program finds no other packages than without it"
    assert max(entry.bytes for entry in held([tmp_path / "c.bin"], "peak", directory=tmp_path)) >= 8 * 2**20


def test_a_borrowed_memray_that_does_not_fit_is_a_reason(tmp_path: Path) -> None:
    write(tmp_path / "site" / "memray" / "__init__.py", "raise ImportError('made for another Python')")
    interior = dataclasses.replace(here([], tmp_path), site=str(tmp_path / "site"))
    with pytest.raises(CannotTrackError, match=r"not installed for .* cannot be used there: .*made for another Python"):
        find_memray(interpreter("-I", "-S"), interior, tmp_path)


def test_prepare_says_all_that_a_run_needs(tmp_path: Path) -> None:
    write(tmp_path / "app.py", "pass")
    capture = tmp_path / "capture.bin"
    ready = prepare(here(["python", "app.py"], tmp_path), capture)
    assert ready.capture == capture
    plain = tracked_command(["python", "app.py"], tmp_path, capture)
    at = plain.index("--")
    assert list(ready.command) == [*plain[:at], "--limit", str(MAX_CAPTURE_BYTES), *plain[at:]]
    assert 2 * 2**20 < ready.cost_bytes < 20 * 2**20


def test_prepare_names_why_a_pass_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(CannotTrackError, match="binary program"):
        prepare(here(["ls"], tmp_path), tmp_path / "capture.bin")
    with pytest.raises(CannotTrackError, match="not installed"):
        prepare(here(["python", "-I", "-S", "x.py"], tmp_path), tmp_path / "capture.bin")
    with pytest.raises(CannotTrackError, match="not writable"):
        prepare(here(["python", "x.py"], tmp_path), tmp_path / "gone" / "c.bin")

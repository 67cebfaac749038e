from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.measuring.capture import CannotTrackError, prepare, tracked_command
from profiling.measuring.capture.command import LAUNCHER, check_memray, python_program

from .programs import PYTHON, SCRIPTS, environ, write


def split(command: list[str], directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    program = python_program(command, environ(), directory)
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
    found = tracked_command(["python", "-u", "app.py", "x"], environ(), tmp_path, capture)
    python = str(SCRIPTS / "python")
    assert found == [python, "-u", str(LAUNCHER), "--output", str(capture), "--", "app.py", "x"]


def test_console_script_is_run_by_the_interpreter_of_its_shebang(tmp_path: Path) -> None:
    program = python_program(["gunicorn", "app:app"], environ(), tmp_path)
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
    program = python_program(["bin/tool", "a"], environ(), tmp_path)
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
        tracked_command(command, environ(), tmp_path, tmp_path / "capture.bin")


def test_memray_is_looked_for_in_the_targets_own_environment(tmp_path: Path) -> None:
    assert check_memray(PYTHON) is None
    # In isolation from site-packages this interpreter has no memray.
    assert "memray is not installed for" in (check_memray(PYTHON, ["-S", "-I"]) or "")
    assert "cannot be started" in (check_memray(str(tmp_path / "python")) or "")
    write(tmp_path / "site" / "memray.py", "raise OSError('broken here')")
    broken = check_memray(PYTHON, environ=environ(PYTHONPATH=str(tmp_path / "site")))
    assert broken is not None
    assert "broken here" in broken
    # What lies in the target's directory is not taken for memray: the launcher does not either.
    assert check_memray(PYTHON, directory=tmp_path / "site") is None


def test_prepare_says_all_that_a_run_needs(tmp_path: Path) -> None:
    write(tmp_path / "app.py", "pass")
    capture = tmp_path / "capture.bin"
    ready = prepare(["python", "app.py"], environ=environ(), directory=tmp_path, capture=capture)
    assert ready.capture == capture
    assert list(ready.command) == tracked_command(["python", "app.py"], environ(), tmp_path, capture)
    assert 2 * 2**20 < ready.cost_bytes < 20 * 2**20


def test_prepare_names_why_a_pass_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(CannotTrackError, match="binary program"):
        prepare(["ls"], environ=environ(), directory=tmp_path, capture=tmp_path / "capture.bin")
    with pytest.raises(CannotTrackError, match="not installed"):
        prepare(["python", "-I", "-S", "x.py"], environ=environ(), directory=tmp_path, capture=tmp_path / "capture.bin")
    with pytest.raises(CannotTrackError, match="not writable"):
        prepare(["python", "x.py"], environ=environ(), directory=tmp_path, capture=tmp_path / "gone" / "c.bin")

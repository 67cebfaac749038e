"""Imports that are put off to their first use: what that saves, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import MIB

from .recorded import LAZY, holds, program, record, under_recorder


def test_what_a_later_import_would_save_is_measured(tmp_path: Path) -> None:
    found = record(program(tmp_path / "p", **LAZY), "app", lazy=5)
    lines = {line.line: line for line in found.lazy}
    big = lines["app.py:1"]
    assert big.imports == ("big",)
    assert holds(big.computed_anon_bytes, 40), "shared is needed by another as well"
    assert big.measured_anon_bytes is not None
    assert holds(big.measured_anon_bytes, 40)
    used = lines["app.py:2"]
    assert holds(used.computed_anon_bytes, 15)
    assert used.measured_anon_bytes is not None
    assert abs(used.measured_anon_bytes) < MIB, "a base class is needed at once"
    assert "used while" in used.note
    assert "app.py:3" not in lines, "shared stays loaded through big"
    assert found.lazy[0].line == "app.py:1"


def test_what_cannot_be_put_off_says_why(tmp_path: Path) -> None:
    files = {
        "app": "from big import Failure\ntry:\n    raise ValueError\nexcept Failure:\n    pass\nexcept ValueError:\n    pass",
        "big": "class Failure(Exception):\n    held = bytearray(9 << 20)",
    }
    (line,) = record(program(tmp_path / "p", **files), "app", lazy=1).lazy
    assert line.measured_anon_bytes is None
    assert "could not be put off: TypeError: catching classes" in line.note


@pytest.mark.parametrize(
    ("use", "value"),
    [
        ("import mod", "type(mod).__name__ == 'Lazy' and mod.VALUE == 7"),
        ("import mod.sub", "mod.sub.VALUE == 8"),
        ("import mod.sub as sub", "sub.VALUE == 8"),
        ("from mod import sub", "sub.VALUE == 8"),
        (
            "from mod import VALUE",
            "VALUE + 1 == 8 and 1 + VALUE == 8 and VALUE < 9 and bool(VALUE) and hash(VALUE) == hash(7)",
        ),
        ("from mod import Kind", "isinstance(Kind(), Kind) and issubclass(Kind, Kind) and Kind.__name__ == 'Kind'"),
        (
            "from mod import Kind",
            "type('Sub', (), {}) and [i for i in type('X', (Kind.real(),), {}).__mro__][1] is Kind.real()",
        ),
        ("from mod import decorate", "decorate(len)([1, 2]) == 2"),
        (
            "from mod import LIST",
            "len(LIST) == 2 and list(LIST) == [1, 2] and LIST[0] == 1 and 2 in LIST and LIST == [1, 2]",
        ),
        ("from mod import Kind", "(Kind | None) == (Kind.real() | None)"),
        ("from mod import manager", "manager.__enter__() == 3"),
        ("from mod import VALUE, LIST", "f'{VALUE:03d} {LIST}' == '007 [1, 2]'"),
        ("from mod import *", "VALUE == 7"),
    ],
)
def test_an_import_that_is_put_off_behaves_like_one_that_is_not(use: str, value: str, tmp_path: Path) -> None:
    """By the recorder alone, without a sandbox: what is bound is carried out at its first use, whatever that is."""
    directory = program(
        tmp_path / "p",
        mod____init__="""
            VALUE = 7
            LIST = [1, 2]
            def decorate(function):
                return function
            class Kind:
                @classmethod
                def real(cls):
                    return cls
            class _Manager:
                def __enter__(self):
                    return 3
                def __exit__(self, *error):
                    pass
            manager = _Manager()
        """,
        mod__sub="VALUE = 8",
        app=f"import sys\n{use}\nloaded = 'mod' in sys.modules\nprint(loaded, {value})",
    )
    done = under_recorder(directory, f"{directory / 'app.py'}:2")
    assert done.stderr == ""
    assert done.stdout.split() == [str("*" in use), "True"]

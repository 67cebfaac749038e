from __future__ import annotations

import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.detecting.plain import one_line, shows_secrets, toml, toml_key

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(TEXTS, VALUES)
def test_what_is_written_is_what_is_read(key: str, value: object) -> None:
    assert tomllib.loads(f"{toml_key(key)} = {toml(value)}\n") == {key: value}


def test_what_is_no_number_is_written_as_such() -> None:
    assert math.isnan(tomllib.loads(f"x = {toml(math.nan)}")["x"])


@pytest.mark.parametrize("value", [None, "\ud800", ["\udcff"], {"a": None}])
def test_what_toml_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"no value|no Unicode"):
        toml(value)


@given(st.text())
def test_a_comment_stays_one_whatever_it_says(text: str) -> None:
    assert tomllib.loads(f"x = 1  # {one_line(text)}\n# {one_line(text)}\ny = 2\n") == {"x": 1, "y": 2}
    assert len(one_line(text)) <= 200


def test_secrets_are_told_by_their_names_and_by_their_looks() -> None:
    assert shows_secrets(["serve", "--api-key", "abcdefgh"])
    assert shows_secrets({"DB_PASSWORD": "tiger"})
    assert shows_secrets({"deep": {"url": "postgres://me:tiger@db/x"}})
    assert shows_secrets("sh -c 'TOKEN=abcdefgh serve'")
    assert not shows_secrets(["gunicorn", "app:app", "--bind", "{host}:{port}"])
    assert not shows_secrets({"session_id": "{session}", "query": "{query}", "max_tokens": 1})

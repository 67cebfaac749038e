"""The body of POST /chat, without HTTP."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.chat import QUERY_MAX_CHARS, SESSION_ID_MAX_CHARS, BadRequestError, ChatRequest, parse

GOOD = {"session_id": "s-1", "query": "Where are my invoices?"}


def body(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_good_body() -> None:
    assert parse(body()) == ChatRequest("s-1", "Where are my invoices?")


@pytest.mark.parametrize("query", ["x", "é" * QUERY_MAX_CHARS, "two\nlines\tand a tab", "\U0001f600 help", "密码忘了"])
def test_queries_that_are_accepted(query: str) -> None:
    assert parse(body(query=query)).query == query


def test_unknown_fields_are_ignored() -> None:
    assert parse(body(locale="de", nested={"a": [1]})) == ChatRequest(**GOOD)


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (b"", "body", "body is not valid JSON"),
        (b"{", "body", "body is not valid JSON"),
        (b"session_id=s&query=q", "body", "body is not valid JSON"),
        (b'{"query": NaN}', "body", "body is not valid JSON"),
        (b'{"query": ' + b"9" * 5000 + b"}", "body", "body is not valid JSON"),
        (b"\xef\xbb\xbf{}", "body", "body is not valid JSON"),
        (b'{"query": "\xff"}', "body", "body is not valid UTF-8"),
        (json.dumps(GOOD).encode("utf-16"), "body", "body is not valid UTF-8"),
        (b"[" * 60_000, "body", "body is nested too deeply"),
        (b'{"a":' * 12_000, "body", "body is nested too deeply"),
        (b"[]", "body", "body must be a JSON object, not an array"),
        (b'"text"', "body", "body must be a JSON object, not a string"),
        (b"null", "body", "body must be a JSON object, not null"),
        (b"{}", "session_id", "session_id is missing"),
        (b'{"session_id": "s"}', "query", "query is missing"),
        (body(session_id=7), "session_id", "session_id must be a string, not a number"),
        (body(session_id=""), "session_id", "session_id must not be empty"),
        (body(session_id="s" * 129), "session_id", "session_id is longer than 128 characters"),
        (body(query=None), "query", "query must be a string, not null"),
        (body(query=True), "query", "query must be a string, not a boolean"),
        (body(query=["x"]), "query", "query must be a string, not an array"),
        (body(query={}), "query", "query must be a string, not an object"),
        (body(query=1.5), "query", "query must be a string, not a number"),
        (body(query=""), "query", "query must not be empty"),
        (body(query=" \t\n\u00a0"), "query", "query must not be empty"),
        (body(query="\u200b\u200b"), "query", "query must not be empty"),
        (body(query="q" * 2001), "query", "query is longer than 2000 characters"),
        (body(query="a\0b"), "query", "query must not contain NUL or lone surrogates"),
        (
            b'{"session_id": "s", "query": "\\ud800"}',
            "query",
            "query must not contain NUL or lone surrogates",
        ),
    ],
)
def test_refusals_name_the_field(raw: bytes, field: str, message: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        parse(raw)
    assert (refused.value.field, str(refused.value)) == (field, message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_request_or_a_refusal(raw: bytes) -> None:
    try:
        request = parse(raw)
    except BadRequestError as error:
        assert error.field in {"body", "session_id", "query"}
        assert error.field in str(error)
    else:
        assert 0 < len(request.query) <= QUERY_MAX_CHARS


@given(session_id=json_values, query=json_values)
def test_what_is_accepted_is_usable_text(session_id: object, query: object) -> None:
    try:
        request = parse(json.dumps({"session_id": session_id, "query": query}).encode())
    except BadRequestError:
        return
    assert request == ChatRequest(str(session_id), str(query))
    assert 0 < len(request.session_id) <= SESSION_ID_MAX_CHARS
    assert request.query.strip()
    request.query.encode("utf-8")

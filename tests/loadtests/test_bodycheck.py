from typing import Any

import pytest

from loadtests.bodycheck import compile_body_check

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["response"],
    "properties": {"response": {"type": "string"}},
}


def test_the_expected_body_passes() -> None:
    compile_body_check(SCHEMA)(b'{"response": "hello", "more": 1}')


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"{}", b'{"response": 1}', b'{"response": "\xfc"}'])
def test_another_body_does_not(body: bytes) -> None:
    check = compile_body_check(SCHEMA)
    with pytest.raises(ValueError):  # its text is the JSON or schema library's
        check(body)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"properties": 3},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "ftp://127.0.0.1:9/schema"},
        {"$ref": "other.json"},
        {"pattern": "("},
    ],
)
def test_what_cannot_be_used_is_refused_at_once(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a JSON Schema that can be used"):
        compile_body_check(schema)


def test_references_within_the_schema_work() -> None:
    check = compile_body_check({"$ref": "#/definitions/a", "definitions": {"a": {"type": "integer"}}})
    check(b"1")
    with pytest.raises(ValueError, match="integer"):
        check(b'"1"')

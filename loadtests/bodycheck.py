"""Checks the body of an answer against a JSON Schema."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

BodyCheck = Callable[[bytes], None]
"""Raises ValueError, with a text that says what is wrong, on a body that is not as expected."""


class _NoNetwork(dict[str, Callable[[str], Any]]):
    """Handlers for every scheme there is: the compiler fetches what has no handler."""

    def __contains__(self, scheme: object) -> bool:
        return True

    def __missing__(self, scheme: str) -> Callable[[str], NoReturn]:
        def refuse(uri: str) -> NoReturn:
            raise ValueError(f"it may not refer to {uri}: nothing is fetched")

        return refuse


def compile_body_check(schema: dict[str, Any]) -> BodyCheck:
    """A check made from a JSON Schema (draft 4, 6 or 7).

    Raises ValueError on what is not a schema, or one that refers to another document.
    """
    import fastjsonschema  # here, since few plans have a schema and the tool itself starts faster

    try:
        validate: Callable[[Any], Any] = fastjsonschema.compile(schema, handlers=_NoNetwork())
    except Exception as error:  # a malformed schema breaks the compiler in many ways
        raise ValueError(f"not a JSON Schema that can be used: {error}") from error

    def check(body: bytes) -> None:
        validate(json.loads(body))

    return check

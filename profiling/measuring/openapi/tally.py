"""What the checker said, summed up: pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from profiling.manifests.secrets import NOT_SHOWN, looks_secret, redacted_words
from profiling.measuring.openapi.messages import Asked, Chosen, Done, Found, Message, Unusable
from profiling.values import ApiConformance, ApiDocument, ApiProblem

_EXAMPLE_AT_MOST = 240
_PROBLEMS_AT_MOST = 100
_SECRET_AT_LEAST = 6
"""Characters. Shorter words stand in any text by chance."""


class Tally:
    """Adds up messages; faults of one operation and kind are one problem, with the first as its example."""

    def __init__(self, document: ApiDocument, headers: Mapping[str, str]) -> None:
        self._place = shown_place(document)
        self._secrets = [word for name, value in headers.items() if looks_secret(name, value) for word in _words(value)]
        self._asked: dict[str, int] = {}
        self._found: dict[tuple[str, str], ApiProblem] = {}
        self._operations = self._chosen = 0
        self._unusable: str | None = None
        self.over = False
        """Nothing more will come."""
        self.failed: str | None = None
        """What went wrong in the checker itself."""

    def add(self, message: Message) -> None:
        match message:
            case Chosen():
                self._operations, self._chosen = message.operations, message.chosen
            case Asked():
                self._asked[message.operation] = self._asked.get(message.operation, 0) + 1
            case Found():
                self._add(message)
            case Unusable():
                self._unusable, self.over = self.clean(message.reason), True
            case Done():
                self.over, self.failed = True, self.clean(message.failed) or None
            case _:
                pass

    def _add(self, found: Found) -> None:
        key = (found.operation, found.kind)
        known = self._found.get(key)
        if known is None and len(self._found) >= _PROBLEMS_AT_MOST:
            return
        self._found[key] = ApiProblem(
            operation=self.clean(found.operation),
            kind=found.kind,
            count=(known.count if known else 0) + (found.kind != "document"),
            status=known.status if known else found.status,
            example=known.example if known else self.clean(found.example),
            sent=known.sent if known else self.clean(found.sent),
        )

    def result(self, *, broken_off: str | None, ready_after: bool) -> ApiConformance:
        """`broken_off`: why the checker did not come to its end, if it did not."""
        if self._unusable is not None:
            state, reason = "unusable", self._unusable
        elif broken_off is not None:
            state, reason = "broken-off", broken_off
        else:
            state, reason = "checked", ""
        return ApiConformance(
            place=self._place,
            state=state,
            reason=reason,
            operations=self._operations,
            chosen=self._chosen,
            asked=len(self._asked),
            requests=sum(self._asked.values()),
            problems=tuple(self._found.values()),
            ready_after=ready_after,
        )

    def clean(self, text: str) -> str:
        """`text` on one line, short, without what looks like a secret or is one of the request's own."""
        for secret in self._secrets:
            text = text.replace(secret, NOT_SHOWN)
        text = " ".join(redacted_words("".join(c if c.isprintable() else " " for c in text).split()))
        return text if len(text) <= _EXAMPLE_AT_MOST else text[: _EXAMPLE_AT_MOST - 1] + "…"


def shown_place(document: ApiDocument) -> str:
    """How a reader knows the document: its path on the service, or its file's name."""
    return PurePath(document.place).name if document.local else redacted_words([document.place])[0]


def _words(value: str) -> list[str]:
    """The value and its longer words, longest first: a service may echo the token of `Bearer TOKEN` alone."""
    return sorted((word for word in (value, *value.split()) if len(word) >= _SECRET_AT_LEAST), key=len, reverse=True)

"""Finds the known question that is most like a new one, typing errors included: sets of trigrams, compared by Jaccard.

The questions are made up from a fixed seed, so that the table is the same at each start. In a service of your own they
would come from a database or a file.
"""

from __future__ import annotations

import random
from array import array

QUESTIONS = 100_000
_CANDIDATES_FROM = 4
"""So many of the rarest trigrams of a question say which known ones are looked at."""

_HOW = ("how do I", "where can I", "why can I not", "is there a way to", "who may", "when should I", "can my team")
_DO = (
    "reset", "change", "cancel", "export", "import", "delete", "share", "rename", "restore", "download", "print", "move",
    "archive", "upgrade", "invite people to", "connect", "search in", "sort", "filter", "copy",
)  # fmt: skip
_WHAT = (
    "my password", "an invoice", "the free plan", "a project", "the dashboard", "a report", "my account", "a payment",
    "the workspace", "an API key", "a card", "the e-mail address", "a file", "the archive", "a chart", "a subscription",
)  # fmt: skip
_WHEN = ("on the phone", "in the browser", "after an outage", "for a colleague", "before the trial ends", "at once")


class Matcher:
    """Building it takes about two seconds and 75 MiB."""

    def __init__(self, questions: int = QUESTIONS) -> None:
        rng = random.Random(30)
        self.questions = [_question(rng, number) for number in range(questions)]
        self._trigrams = [array("I", sorted(_trigrams(question))) for question in self.questions]
        self._having: dict[int, array[int]] = {}
        for number, trigrams in enumerate(self._trigrams):
            for trigram in trigrams:
                if trigram not in self._having:
                    self._having[trigram] = array("I")
                self._having[trigram].append(number)

    def best(self, question: str, count: int = 20) -> list[tuple[float, int]]:
        """The `count` most alike: (likeness from 0 to 1, number of the known question), best first."""
        asked = _trigrams(question)
        known = sorted((trigram for trigram in asked if trigram in self._having), key=lambda t: len(self._having[t]))
        candidates: set[int] = set()
        for trigram in known[:_CANDIDATES_FROM]:
            candidates.update(self._having[trigram][:200])
        alike = [(_jaccard(asked, self._trigrams[number]), number) for number in candidates]
        return sorted(alike, reverse=True)[:count]


def _question(rng: random.Random, number: int) -> str:
    return f"{rng.choice(_HOW)} {rng.choice(_DO)} {rng.choice(_WHAT)} {rng.choice(_WHEN)}, case {number * 7919:x}?"


def _trigrams(text: str) -> set[int]:
    """Three letters each, as one number."""
    letters = f"  {text.lower()} ".encode()
    return {letters[i] << 16 | letters[i + 1] << 8 | letters[i + 2] for i in range(len(letters) - 2)}


def _jaccard(asked: set[int], known: array[int]) -> float:
    common = len(asked.intersection(known))
    return common / (len(asked) + len(known) - common)

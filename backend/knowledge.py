"""The support knowledge base: what can be asked, and what is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("knowledge.json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer, with several ways to ask for it."""

    id: str
    topic: str
    phrasings: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Every entry, and what is said when none fits."""

    entries: tuple[Entry, ...]
    fallback: str
    min_similarity: float
    """The score, at most 1, that the best entry needs; see `backend.model`."""

    def texts(self) -> list[str]:
        """What is embedded, in the order of the rows: all phrasings entry by entry, then all answers."""
        phrasings = [phrasing for entry in self.entries for phrasing in entry.phrasings]
        return phrasings + [entry.answer for entry in self.entries]


def read(path: Path = PATH) -> Knowledge:
    """Read the data file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return Knowledge(
        entries=tuple(
            Entry(
                id=entry["id"],
                topic=entry["topic"],
                phrasings=tuple(entry["phrasings"]),
                answer=entry["answer"],
            )
            for entry in document["entries"]
        ),
        fallback=document["fallback"],
        min_similarity=document["min_similarity"],
    )

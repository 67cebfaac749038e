"""A full-text index over help articles, held in memory: which articles fit a question, best first.

The articles are made up from a fixed seed, so that the index is the same at each start. In a service of your own they
would come from a database or a file.
"""

from __future__ import annotations

import heapq
import math
import random
import re
from array import array
from collections import Counter

ARTICLES = 100_000
_WORD = re.compile(r"[a-z]{2,}")
_SUBJECTS = (
    "password account workspace company documentation api error outage domain sign invoice payment card refund subscription"
    " e-mail address team member role project file upload export import report chart dashboard filter search notification"
    " device phone browser session login code factor security language timezone currency tax receipt trial plan seat limit"
    " storage backup archive webhook token integration"
)
_WORDS_IN_ALL = 6_000
_WORDS_EACH = 30


class SearchIndex:
    """An inverted index with BM25 scores. Building it takes a second or two and about 70 MiB."""

    def __init__(self, articles: int = ARTICLES) -> None:
        rng = random.Random(20)
        self.texts = [_article(rng) for _ in range(articles)]
        self._postings: dict[str, array[int]] = {}
        self._weights: dict[str, array[float]] = {}
        for number, text in enumerate(self.texts):
            for word, count in Counter(_words(text)).items():
                if word not in self._postings:
                    self._postings[word], self._weights[word] = array("I"), array("f")
                self._postings[word].append(number)
                self._weights[word].append(count * 2.2 / (count + 1.2))

    def search(self, question: str, count: int) -> list[tuple[int, float]]:
        """The numbers of the `count` articles that fit best, with their scores."""
        scores: dict[int, float] = {}
        for word in set(_words(question)) & self._postings.keys():
            found = self._postings[word]
            rarity = math.log(1 + len(self.texts) / len(found))
            for number, weight in zip(found, self._weights[word], strict=True):
                scores[number] = scores.get(number, 0.0) + rarity * weight
        return heapq.nlargest(count, scores.items(), key=lambda item: item[1])


def _words(text: str) -> list[str]:
    """Its words in small letters; a plural counts as its singular."""
    return [word.rstrip("s") for word in _WORD.findall(text.lower())]


def _vocabulary() -> list[str]:
    rng = random.Random(10)
    syllables = ["ba", "co", "di", "fu", "ga", "lo", "me", "ni", "po", "ra", "se", "ti", "vu", "za", "ke", "li"]
    made_up = ["".join(rng.choices(syllables, k=4)) for _ in range(_WORDS_IN_ALL)]
    return _SUBJECTS.split() * 4 + made_up


_VOCABULARY = _vocabulary()


def _article(rng: random.Random) -> str:
    return " ".join(rng.choices(_VOCABULARY, k=_WORDS_EACH))

"""The products of a shop, each with a vector that says what it is like, and a search for the nearest.

Names and vectors are made up from a fixed seed, so that the catalogue is the same at each start. In a service of your own
a model would have made the vectors, and they would come from a file.
"""

from __future__ import annotations

import heapq
import math
import random
import zlib
from array import array
from operator import mul

PRODUCTS = 120_000
DIMENSIONS = 128
SHELVES = 400
"""Products lie on shelves by what they are like; a search looks at one shelf and not at all of them."""

_COLOURS = ("red", "blue", "green", "black", "white", "grey", "yellow", "brown")
_THINGS = (
    "chair",
    "table",
    "lamp",
    "shelf",
    "rug",
    "mug",
    "plate",
    "pan",
    "clock",
    "vase",
    "blanket",
    "mirror",
    "desk",
)


class Catalogue:
    """60 MiB in one piece: numbers and no objects, so that forked workers go on sharing it (see gunicorn.conf.py)."""

    def __init__(self) -> None:
        rng = random.Random(40)
        self._vectors = array("f")
        for _ in range(SHELVES):
            self._vectors.frombytes(_shelf(rng))
        self._each = PRODUCTS // SHELVES

    def name(self, number: int) -> str:
        return f"{_COLOURS[number % len(_COLOURS)]} {_THINGS[number % len(_THINGS)]} {number}"

    def similar(self, product: str, count: int) -> list[tuple[int, float]]:
        """The `count` products nearest to one by its name: (number, cosine), nearest first."""
        asked = _asked(product)
        shelf = zlib.crc32(product.encode()) % SHELVES
        first = shelf * self._each
        found = ((number, self._cosine(asked, number)) for number in range(first, first + self._each))
        return heapq.nlargest(count, found, key=lambda item: item[1])

    def _cosine(self, asked: list[float], number: int) -> float:
        return sum(map(mul, asked, self._vectors[number * DIMENSIONS : (number + 1) * DIMENSIONS]))


def _shelf(rng: random.Random) -> bytes:
    """The vectors of one shelf, each of length 1."""
    vectors = array("f")
    for _ in range(PRODUCTS // SHELVES):
        vectors.extend(_unit(rng.randbytes(DIMENSIONS)))
    return vectors.tobytes()


def _asked(product: str) -> list[float]:
    return _unit(random.Random(product).randbytes(DIMENSIONS))


def _unit(numbers: bytes) -> list[float]:
    centred = [number - 127.5 for number in numbers]
    length = math.sqrt(sum(map(mul, centred, centred)))
    return [number / length for number in centred]

"""Keeps LEAK_KIB for every request."""

import os

from serving import serve

SIZE = int(float(os.environ.get("LEAK_KIB", "10")) * 1024)
kept: list[bytearray] = []


def answer(body: dict[str, str]) -> str:
    kept.append(bytearray(os.urandom(1) * SIZE))
    return "kept"


serve(answer)

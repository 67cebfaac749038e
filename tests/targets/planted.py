"""Holds PLANTED_MIB of private memory in one piece, made in a line of its own, and grows by KEPT_KIB in each request."""

import os

from serving import serve

kept = []


def plant(size: int) -> bytearray:
    held = bytearray(size)  # the planted line
    for at in range(0, size, 4096):
        held[at] = 1
    return held


planted = plant(int(os.environ.get("PLANTED_MIB", "40")) * 2**20)


def answer(body: dict[str, str]) -> str:
    kept.append(bytearray(b"k") * (int(os.environ.get("KEPT_KIB", "0")) * 1024))  # the line of each request
    return "planted"


serve(answer)

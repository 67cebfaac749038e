"""A ballast that settings change by a known size: what there is to save, and what costs. Each run's noise is its own."""

import os

from serving import serve

size = (
    int(os.environ.get("HELD_MIB", "0")) - int(os.environ.get("FREED_MIB", "0")) + int(os.environ.get("ADDED_MIB", "0"))
)
if os.environ.get("REFUSES"):
    raise SystemExit("REFUSES is set")
held = bytearray(size * 2**20 + int.from_bytes(os.urandom(2)) * int(os.environ.get("NOISE_BYTES", "0")))
for at in range(0, len(held), 4096):
    held[at] = 1

wrong = bool(os.environ.get("ANSWERS_WRONG"))
serve(lambda body: "wrong" if wrong else "steady")

"""Holds BALLAST_MIB of private memory from the start, and nothing per request."""

import os

from serving import serve

held = bytearray(int(os.environ.get("BALLAST_MIB", "0")) * 2**20)
for at in range(0, len(held), 4096):
    held[at] = 1

serve(lambda body: "steady")

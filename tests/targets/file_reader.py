"""Reads a file of FILE_MIB again for every request: page cache, and no memory of its own."""

import os
import tempfile

from serving import serve

file = tempfile.TemporaryFile()  # noqa: SIM115  # has no name, so that it goes with us
for _ in range(int(os.environ.get("FILE_MIB", "256"))):
    file.write(bytes(2**20))
file.flush()


def answer(body: dict[str, str]) -> str:
    with open(f"/proc/self/fd/{file.fileno()}", "rb", buffering=0) as again:
        while again.read(2**20):
            pass
    return "read"


serve(answer)

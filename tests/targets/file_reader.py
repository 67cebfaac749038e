"""Reads a file of FILE_MIB again for every request: page cache, and no memory of its own."""

import os
import tempfile

from serving import serve

file = tempfile.NamedTemporaryFile(dir=os.environ.get("FILE_DIR"), prefix="oomproof-target-")  # noqa: SIM115
for _ in range(int(os.environ.get("FILE_MIB", "256"))):
    file.write(bytes(2**20))
file.flush()


def answer(body: dict[str, str]) -> str:
    with open(file.name, "rb", buffering=0) as again:
        while again.read(2**20):
            pass
    return "read"


serve(answer)

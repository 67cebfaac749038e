"""Puts 1 MiB for every request into /dev/shm and leaves it there: shared memory, which no process's heap shows."""

import tempfile

from serving import serve

file = tempfile.TemporaryFile(dir="/dev/shm")  # noqa: SIM115


def answer(body: dict[str, str]) -> str:
    file.write(bytes(2**20))
    file.flush()
    return "shared"


serve(answer)

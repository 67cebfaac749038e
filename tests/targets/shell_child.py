"""Answers; at the first request it starts a program, no Python, that grows until the kernel kills it."""

import subprocess
import threading

from serving import serve

once = threading.Lock()
started: list[subprocess.Popen[bytes]] = []


def answer(body: dict[str, str]) -> str:
    if once.acquire(blocking=False):
        # Without a newline tail has to keep all of it.
        started.append(subprocess.Popen("head -c 1G /dev/zero | tail", shell=True, stdout=subprocess.DEVNULL))
    return "fine"


serve(answer)

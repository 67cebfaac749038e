"""Answers; at the first request it starts a program, no Python, that grows until the kernel kills it."""

import subprocess

from serving import serve

started: list[subprocess.Popen[bytes]] = []


def answer(body: dict[str, str]) -> str:
    if not started:
        # Without a newline tail has to keep all of it.
        started.append(subprocess.Popen("head -c 1G /dev/zero | tail", shell=True, stdout=subprocess.DEVNULL))
    return "fine"


serve(answer)

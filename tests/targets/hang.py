"""Answers the first requests and then holds every one for ever."""

import time

from serving import serve

answered = 0


def answer(body: dict[str, str]) -> str:
    global answered  # noqa: PLW0603  # the smallest service that has a state
    answered += 1
    if answered > 20:
        time.sleep(3600)
    return "for now"


serve(answer)

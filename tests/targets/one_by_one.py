"""Works WORK_MS on each request, one after the other, whoever waits."""

import os
import threading
import time

from serving import serve

turn = threading.Lock()
WORK_S = int(os.environ.get("WORK_MS", "50")) / 1000


def answer(body: dict[str, str]) -> str:
    with turn:
        time.sleep(WORK_S)
    return "done"


serve(answer)

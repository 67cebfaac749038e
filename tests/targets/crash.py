"""Ends with exit status 7: at the start, or at the first request with CRASH_AT=request."""

import os
import sys

from serving import serve

if os.environ.get("CRASH_AT") != "request":
    sys.exit(7)


def answer(body: dict[str, str]) -> str:
    os._exit(7)


serve(answer)

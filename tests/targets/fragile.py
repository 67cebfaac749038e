"""Answers what is right, takes FRAGILE=accept whatever comes as good, and FRAGILE=die dies of anything else."""

import os

from serving import serve


def answer(body: dict[str, str]) -> str:
    if not body and os.environ["FRAGILE"] == "die":
        os._exit(3)
    return "fine"


serve(answer, strict=False)

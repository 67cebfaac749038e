"""A WSGI application for gunicorn that holds BALLAST_MIB from its import on."""

import json
import os


def hold(size: int) -> bytearray:
    held = bytearray(size)  # the held line
    for at in range(0, size, 4096):
        held[at] = 1
    return held


held = hold(int(os.environ.get("BALLAST_MIB", "30")) * 2**20)


def app(environ, start_response):  # type: ignore[no-untyped-def]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"response": "held"}).encode()]

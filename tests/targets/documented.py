"""Has an OpenAPI document, and says on standard output what it is asked.

DOCUMENTED says how it keeps it: `keeps`; `breaks` the schema of an item; `fails` with 500 at the document's own example;
`undocumented` status; `slow`: never answers for an item; `stuck`: answers nothing any more once it was asked for an item;
`dies` or is a `hog` of memory then; `no-json` or `no-paths`: the document is none; `missing`: there is none.
"""

import os
import threading
import time

from serving import reply, serve

HOW = os.environ["DOCUMENTED"]
TEXT = {"type": "string"}
CHAT = {"type": "object", "required": ["session_id", "query"], "properties": {"session_id": TEXT, "query": TEXT}}
stuck = threading.Event()


def answers(schema: dict, *more: str) -> dict:
    good = {"200": {"description": "", "content": {"application/json": {"schema": schema}}}}
    return good | {status: {"description": ""} for status in more}


def taking(schema: dict, example: dict) -> dict:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


ITEM_ID = {"name": "item_id", "in": "path", "required": True, "schema": {"type": "integer"}}
ITEM = {"type": "object", "required": ["price"], "properties": {"price": {"type": "number"}, "note": TEXT}}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "documented", "version": "1"},
    "paths": {
        "/chat": {
            "post": {
                "requestBody": taking(CHAT, {"session_id": "1", "query": "the document's example"}),
                "responses": answers({"type": "object", "required": ["response"]}, "400"),
            }
        },
        "/items/{item_id}": {
            "get": {"parameters": [ITEM_ID], "responses": answers(ITEM)},
            "delete": {"parameters": [ITEM_ID], "responses": answers(ITEM)},
        },
        "/orders": {"post": {"requestBody": taking(ITEM, {"price": 1}), "responses": answers(ITEM)}},
    },
}
if HOW == "no-paths":
    DOCUMENT["paths"] = ["none"]


def document() -> bytes:
    if HOW == "missing":
        return reply({"detail": "not found"}, 404)
    return reply("<html>no document</html>", kind="text/html") if HOW == "no-json" else reply(DOCUMENT)


def item() -> bytes:
    if HOW in ("slow", "stuck"):
        if HOW == "stuck":
            stuck.set()
        time.sleep(3600)
    if HOW == "dies":
        os._exit(3)
    if HOW == "hog":
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)))
    if HOW == "undocumented":
        return reply({"detail": "no such item"}, 404)
    return reply({"price": "sk_live_0123456789abcdefABCDEF" if HOW == "breaks" else 9.5})


def route(method: str, path: str, headers: dict, body: bytes) -> bytes | None:
    print(method, path, headers.get("x-api-key", "-"), body.decode(errors="replace"), flush=True)
    while stuck.is_set():
        time.sleep(3600)
    if path == "/openapi.json":
        return document()
    if path.startswith("/items/") or path == "/orders":
        return item()
    if HOW == "fails" and b"the document's example" in body:
        return reply({"detail": "oops"}, 500)
    return None


serve(lambda body: "fine", route=route)

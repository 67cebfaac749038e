"""A minimal threaded HTTP server for the test services: GET anything is ready, POST calls `answer`.

On sockets alone: `http.server` imports OpenSSL by way of `email`, and what that allocates differs from one Python's build to
the next by several MiB. A ballast is to weigh the same in each sandbox.
"""

from __future__ import annotations

import json
import os
import socketserver
import time
from collections.abc import Callable

REQUIRED = ("session_id", "query")
_WORK_S = 0.04
"""Each answer takes as long as a small service's; or a leak per request would be a race to the limit."""
_REASONS = {200: "OK", 400: "Bad Request"}
Route = Callable[[str, str, dict[str, str], bytes], "bytes | None"]
"""Method, path with its query, headers in small letters, body -> a whole answer; None: answered like any."""


def serve(answer: Callable[[dict[str, str]], str], *, strict: bool = True, route: Route | None = None) -> None:
    """Serve on PORT until killed. `strict`: what is not a body with REQUIRED in it is refused, else answered like any."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline(65536):
                if not line.strip():
                    continue
                headers = {}
                while (header := self.rfile.readline(65536)).strip():
                    name, _, value = header.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                method, path = line.split()[:2]
                body = self.rfile.read(int(headers.get("content-length", "0")))
                routed = route(method.decode(), path.decode(), headers, body) if route else None
                self.wfile.write(self.respond(method, body) if routed is None else routed)

        def respond(self, method: bytes, raw: bytes) -> bytes:
            if method != b"POST":
                return reply({"status": "ok"})
            time.sleep(_WORK_S)
            try:
                body = json.loads(raw)
                refused = not (isinstance(body, dict) and all(isinstance(body[key], str) for key in REQUIRED))
            except (ValueError, KeyError):
                refused = True
            if refused and strict:
                return reply({"error": f"wanted: {', '.join(REQUIRED)}"}, 400)
            return reply({"response": answer({} if refused else body)})

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 128

    Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()


def reply(value: object, status: int = 200, kind: str = "application/json") -> bytes:
    """A whole HTTP answer; text is sent as it is, anything else as JSON."""
    data = (value if isinstance(value, str) else json.dumps(value)).encode()
    reason = _REASONS.get(status, "Status")
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data

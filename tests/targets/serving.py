"""A minimal threaded HTTP server for the test services: GET anything is ready, POST calls `answer`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REQUIRED = ("session_id", "query")


def serve(answer: Callable[[dict[str, str]], str], *, strict: bool = True) -> None:
    """Serve on PORT until killed. `strict`: what is not a body with REQUIRED in it is refused, else answered like any."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({"status": "ok"})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(raw)
                refused = not (isinstance(body, dict) and all(isinstance(body[key], str) for key in REQUIRED))
            except (ValueError, KeyError):
                refused = True
            if refused and strict:
                self._reply({"error": f"wanted: {', '.join(REQUIRED)}"}, 400)
            else:
                self._reply({"response": answer({} if refused else body)})

        def _reply(self, value: dict[str, str], status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()

"""Wheels that pip finds in a directory of this machine, for an image build that cannot see that directory.

A build sees its context and the network, so pip's `find-links` directories are lost to it. They are served over HTTP on
loopback while the build runs, with the host's network: `docker build --network host --build-arg PIP_FIND_LINKS=URL`.
"""

from __future__ import annotations

import ast
import contextlib
import html
import os
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_PIP_ANSWERS_WITHIN_S = 60


@contextlib.contextmanager
def serve_local_wheels() -> Iterator[str | None]:
    """Serve the wheels of pip's local `find-links` on 127.0.0.1; None if it is configured with none.

    The URL is a page of links, which pip takes for `find-links` itself. Nothing but those wheels can be read there, and
    nothing once the block is left.
    """
    wheels = find_wheels(find_links())
    if not wheels:
        yield None
        return
    server = _serve(wheels)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="oomproof-wheels", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def find_links() -> list[str]:
    """Each entry of pip's `find-links`, from PIP_FIND_LINKS, else from its configuration files; [] without a pip."""
    environment = os.environ.get("PIP_FIND_LINKS", "").split()
    if environment:
        return environment
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PIP_ANSWERS_WITHIN_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_find_links(done.stdout)


def parse_find_links(listing: str) -> list[str]:
    """The `find-links` of any section in what `pip config list` prints: lines of `section.key='value'`."""
    found: list[str] = []
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        if key.rpartition(".")[2] != "find-links":
            continue
        with contextlib.suppress(ValueError, SyntaxError):
            found += str(ast.literal_eval(value)).split()
    return list(dict.fromkeys(found))


def find_wheels(links: Iterable[str]) -> dict[str, Path]:
    """The wheels, by file name, in those links that are directories here. Of two of one name the first counts, as in pip."""
    wheels: dict[str, Path] = {}
    for link in links:
        parts = urlsplit(link)
        if parts.scheme not in ("", "file"):
            continue
        directory = Path(unquote(parts.path) if parts.scheme else link).expanduser()
        with contextlib.suppress(OSError):
            for path in sorted(directory.iterdir()):
                if path.suffix == ".whl" and path.is_file():
                    wheels.setdefault(path.name, path)
    return wheels


def _serve(wheels: dict[str, Path]) -> _WheelServer:
    # The same wheels at the same port where it is free: a build argument is part of what a cached layer is found by, so
    # with a new port every build would install everything again. Below the range that clients' own ports come from.
    port = 20000 + zlib.crc32("\0".join(sorted(wheels)).encode()) % 10000
    try:
        return _WheelServer(wheels, port)
    except OSError:
        return _WheelServer(wheels, 0)


class _WheelServer(ThreadingHTTPServer):
    # Newer Pythons would share a port that is taken, and a build would then get half of its answers elsewhere.
    allow_reuse_port = False

    def __init__(self, wheels: dict[str, Path], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.wheels = wheels


class _Handler(BaseHTTPRequestHandler):
    """Answers from a table and not from a folder: whatever else lies beside the wheels is nobody's business."""

    server: _WheelServer

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path).removeprefix("/")
        # A build that was stopped hangs up in the middle of a wheel.
        with contextlib.suppress(ConnectionError):
            if not name:
                self._send_page()
            elif name in self.server.wheels:
                self._send_wheel(self.server.wheels[name])
            else:
                self.send_error(404)

    def _send_page(self) -> None:
        links = "\n".join(f'<a href="{quote(name)}">{html.escape(name)}</a>' for name in self.server.wheels)
        page = f"<!DOCTYPE html><html><body>\n{links}\n</body></html>\n".encode()
        self._send_head("text/html; charset=utf-8", len(page))
        self.wfile.write(page)

    def _send_wheel(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError:
            self.send_error(404)
            return
        with file:
            self._send_head("application/octet-stream", os.fstat(file.fileno()).st_size)
            shutil.copyfileobj(file, self.wfile, 2**20)

    def _send_head(self, content_type: str, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: what pip fetches is in the build's own output."""

"""Users of all services: mostly they chat; now and then they search, run an agent, or send a picture."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from locust import FastHttpUser, task

PICTURE = {"image": base64.b64encode(Path(__file__).with_name("receipt.png").read_bytes()).decode()}
QUESTION = "I forgot my password"
TASK = "What is 12 * 7? Then how do I reset my password"


class Customer(FastHttpUser):
    """One user. An answer that is none is a failure, whatever its status."""

    network_timeout = 30.0

    @task(6)
    def chat(self) -> None:
        self._ask("/chat", {"session_id": "s", "query": QUESTION}, "response")

    @task(3)
    def search(self) -> None:
        self._ask("/rag/query", {"query": QUESTION}, "documents")

    @task(3)
    def delegate(self) -> None:
        self._ask("/agents/run", {"task": TASK}, "answer")

    @task(1)
    def scan(self) -> None:
        self._ask("/ocr", PICTURE, "text")

    def _ask(self, path: str, body: dict[str, Any], key: str) -> None:
        with self.client.post(path, json=body, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif not response.json().get(key):
                response.failure(f"no {key}")

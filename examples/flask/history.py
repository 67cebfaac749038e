"""What was said in each conversation, held in memory: with a bound, or as it is often written, without one."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

_CONVERSATIONS = 1_000
_TURNS = 20


class History:
    """The last turns of the last conversations. `bounded` False keeps all of both: a leak, one turn per request."""

    def __init__(self, *, bounded: bool = True) -> None:
        self._bounded = bounded
        self._conversations: OrderedDict[str, deque[dict[str, object]]] = OrderedDict()
        self._lock = threading.Lock()  # gunicorn's threads share it

    def add(self, session_id: str, turn: dict[str, object]) -> int:
        """Remember a turn; answers with how many of this conversation are remembered now."""
        with self._lock:
            turns = self._conversations.setdefault(session_id, deque(maxlen=_TURNS if self._bounded else None))
            self._conversations.move_to_end(session_id)
            turns.append(turn)
            while self._bounded and len(self._conversations) > _CONVERSATIONS:
                self._conversations.popitem(last=False)
            return len(turns)

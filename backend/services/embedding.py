"""The chat model's vectors for other services, under the chat's own lifecycle and on the threads that run the model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from backend.lifecycle import Lifecycle

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Embedding:
    """What `rag.Encoder` wants. Raises ModelNotReadyError where there is no model yet."""

    def __init__(self, lifecycle: Lifecycle, inference: ThreadPoolExecutor) -> None:
        self._lifecycle = lifecycle
        self._inference = inference

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        return self._inference.submit(self._lifecycle.model().embed, text).result()

    def answers(self) -> tuple[list[str], list[str], npt.NDArray[np.float32]]:
        return self._lifecycle.model().answers()

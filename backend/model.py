"""The chatbot's model: a question goes in, the support answer that fits best comes out."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from backend import knowledge, prepared
from backend.encoders import Encoder, implementation
from backend.knowledge import Knowledge
from backend.settings import Settings
from backend.weights import ModelFilesError

# How much of an entry's score its answer gives; the rest comes from its most similar phrasing. An answer
# holds words that no phrasing thought of. Chosen, with the data file's min_similarity, by leaving out one
# phrasing at a time: 0 finds 83 % of them, 0.3 finds 87 %.
ANSWER_WEIGHT = 0.3


class ChatModel:
    """An encoder and the embedded knowledge base."""

    def __init__(self, encoder: Encoder, base: Knowledge, embeddings: npt.NDArray[np.float32]) -> None:
        self._encoder = encoder
        self._base = base
        count = len(base.entries)
        self._phrasings, self._answers = embeddings[:-count], embeddings[-count:]
        lengths = [len(entry.phrasings) for entry in base.entries]
        self._first_rows = np.cumsum([0, *lengths[:-1]])

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Read everything from disk, anew at each call.

        Raises:
            ModelFilesError: a file is missing, stale or broken; says what to run.
        """
        files = prepared.require(settings)
        encoder = implementation(settings.runtime)(files, settings)
        try:
            embeddings: npt.NDArray[np.float32] = np.load(files.embeddings)
        except (OSError, ValueError, EOFError) as error:
            raise ModelFilesError(
                f"The embeddings in {files.embeddings} cannot be read: {error}",
                "Delete that file and run: python -m backend.prepare",
            ) from error
        return cls(encoder, knowledge.read(), embeddings)

    def predict(self, query: str) -> str:
        """The answer of the entry that scores best, or the fallback if even that is too low. Thread-safe."""
        vector = self._encoder.embed(query)
        # All vectors have length 1, so the products are cosines.
        asked = np.maximum.reduceat(self._phrasings @ vector, self._first_rows)
        scores = (1 - ANSWER_WEIGHT) * asked + ANSWER_WEIGHT * (self._answers @ vector)
        best = int(scores.argmax())
        if scores[best] < self._base.min_similarity:
            return self._base.fallback
        return self._base.entries[best].answer

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """A vector of length 1, as the questions' and answers' are. Thread-safe."""
        return self._encoder.embed(text)

    def answers(self) -> tuple[list[str], list[str], npt.NDArray[np.float32]]:
        """The knowledge base's answers: names, texts, and a vector in each row."""
        entries = self._base.entries
        return [entry.id for entry in entries], [entry.answer for entry in entries], self._answers

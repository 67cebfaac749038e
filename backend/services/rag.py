"""POST /rag/documents, POST /rag/query: documents by meaning, in an embedded Chroma database.

The vectors are the chat model's own; the database's, which it would download, is never asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from backend.bodies import BadRequestError, json_object, objects, text, whole_number
from backend.services.once import Once
from backend.wire import RefusedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BODY_MAX_BYTES = 256 * 1024
TEXT_MAX_CHARS = 2000
ID_MAX_CHARS = 128
DOCUMENTS_AT_ONCE = 64
# Some 2 KB each with its vector and its place in the index: 20 MiB.
DOCUMENTS_IN_ALL = 10_000
_COLLECTION = "documents"


class Encoder(Protocol):
    """Whose vectors the documents have."""

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """One vector of length 1; called by many threads at once."""

    def answers(self) -> tuple[list[str], list[str], npt.NDArray[np.float32]]:
        """What the service knows from the start: names, texts, and a row for each."""


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    text: str
    limit: int


class Rag:
    """The documents of this process. A new database begins with the answers of the support knowledge base."""

    def __init__(self, encoder: Encoder, directory: Path | None) -> None:
        self._encoder = encoder
        self._directory = directory
        self._collection: Once[Any] = Once(self._open)
        self._storing = threading.Lock()

    def load(self) -> None:
        """The library, its native part as well. The database is opened by its first user: its threads would not survive a fork."""
        import chromadb.api.rust  # noqa: F401

    def store(self, documents: Sequence[Document]) -> dict[str, object]:
        """Keep documents, in place of those of the same names.

        Raises:
            RefusedError: there would be too many.
        """
        collection = self._collection.get()
        vectors = [self._encoder.embed(document.text) for document in documents]
        names = [document.id for document in documents]
        with self._storing:
            known = len(collection.get(ids=names, include=[])["ids"])
            if collection.count() + len(names) - known > DOCUMENTS_IN_ALL:
                raise RefusedError(413, f"there is room for {DOCUMENTS_IN_ALL} documents in all", "documents")
            collection.upsert(ids=names, embeddings=vectors, documents=[document.text for document in documents])
            return {"stored": len(names), "documents": collection.count()}

    def query(self, query: Query) -> dict[str, object]:
        """The documents that are nearest, the best first."""
        collection = self._collection.get()
        found = collection.query(
            query_embeddings=[self._encoder.embed(query.text)],
            n_results=query.limit,
            include=["documents", "distances"],
        )
        rows = zip(found["ids"][0], found["documents"][0], found["distances"][0], strict=True)
        return {
            # Chroma's cosine distance is 1 - cosine: https://docs.trychroma.com/docs/collections/configure
            "documents": [
                {"id": name, "text": said, "similarity": round(1 - float(far), 4)} for name, said, far in rows
            ]
        }

    def _open(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        quiet = Settings(anonymized_telemetry=False)
        if self._directory is None:
            client = chromadb.EphemeralClient(quiet)
        else:
            client = chromadb.PersistentClient(str(self._directory), quiet)
        collection = client.get_or_create_collection(
            _COLLECTION, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        if collection.count() == 0:
            names, texts, vectors = self._encoder.answers()
            collection.upsert(ids=names, embeddings=vectors, documents=texts)
        return collection


def documents_of(body: bytes) -> list[Document]:
    """`{"documents": [{"id", "text"}]}`.

    Raises:
        BadRequestError: names the field.
    """
    found = [
        Document(
            id=text(entry, "id", ID_MAX_CHARS, f"documents[{number}]."),
            text=text(entry, "text", TEXT_MAX_CHARS, f"documents[{number}]."),
        )
        for number, entry in enumerate(objects(json_object(body), "documents", DOCUMENTS_AT_ONCE))
    ]
    if len({document.id for document in found}) < len(found):
        raise BadRequestError("documents", "documents has the same id twice")
    return found


def query_of(body: bytes) -> Query:
    """`{"query", "limit"}`, the latter 3 where it is not said.

    Raises:
        BadRequestError: names the field.
    """
    document = json_object(body)
    return Query(text(document, "query", TEXT_MAX_CHARS), whole_number(document, "limit", default=3, low=1, high=20))

"""Sentence to vector: a BERT encoder in ONNX Runtime. Importing this module imports neither torch nor transformers."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from backend.prepared import Prepared
from backend.settings import Settings
from backend.tokens import load_tokenizer
from backend.weights import ModelFilesError


class OnnxEncoder:
    """A session and its tokenizer, in memory."""

    def __init__(self, graph: Path, tokenizer: Tokenizer, threads: int) -> None:
        self._graph = graph
        self._tokenizer = tokenizer
        self._threads = threads
        self._lock = threading.Lock()
        # A load may run in gunicorn's master. With one thread a session starts none of its own, which would not survive
        # the fork into the workers; the first use sees to the number that was asked for.
        self._session, self._session_threads = _open(graph, 1), 1

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """One vector of length 1: the mean over the tokens, as the model was trained. Thread-safe."""
        if self._session_threads != self._threads:
            self._start_team()
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        vector: npt.NDArray[np.float32] = self._session.run(None, {"input_ids": ids})[0]
        return vector

    def _start_team(self) -> None:
        with self._lock:
            if self._session_threads != self._threads:
                self._session = _open(self._graph, self._threads)
                self._session_threads = self._threads


def load(files: Prepared, settings: Settings) -> OnnxEncoder:
    """Read the graph, its weights and the tokenizer from disk. Runs no forward pass.

    Raises:
        ModelFilesError: a file cannot be read as what it should be.
    """
    try:
        tokenizer = load_tokenizer(files.model.directory)
        return OnnxEncoder(files.weights, tokenizer, settings.torch_threads)
    except MemoryError:
        raise
    except Exception as error:
        raise ModelFilesError(
            f"The model cannot be read from {files.model.directory} and {files.weights}: {error}",
            f"Delete {files.weights.parent} and run: python -m backend.prepare",
        ) from error


def _open(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena keeps the most that any request needed; without it that goes back to the allocator, and the pattern of
    # a former request's sizes is of no use.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

"""When the model is loaded: the one decision that the reference comparison is about."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_log = logging.getLogger(__name__)

RETRY_AFTER_S = 1
"""What a client is told to wait while the model is not ready."""


class Model(Protocol):
    """What answers."""

    def predict(self, query: str) -> str:
        """The answer to one query; called by many threads at once."""

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """One vector of length 1; called by many threads at once."""

    def answers(self) -> tuple[list[str], list[str], npt.NDArray[np.float32]]:
        """What it can answer: names, texts, and a vector in each row."""


Load = Callable[[], Model]


class ModelNotReadyError(Exception):
    """There is no model yet; the same request may succeed later. The message is for the client."""


class Lifecycle(Protocol):
    """Where a request gets its model from."""

    def preload(self) -> None:
        """Called once where nothing is served yet; returns when `ready` holds."""

    def start(self, on_ready: Callable[[], None]) -> None:
        """Called instead where the port is open already; returns at once. `on_ready` tells when `ready` holds."""

    def ready(self) -> bool:
        """Whether requests should be sent here.

        A service that loads on demand is ready as soon as it runs: were it to wait for the first load,
        a platform that routes by readiness would never send the request that starts the load.
        """

    def model(self) -> Model:
        """The model for one request.

        Raises:
            ModelNotReadyError: there is none at the moment.
        """


class PerRequest:
    """Loads the whole model for every request."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def preload(self) -> None:
        """Nothing to do before a request comes."""

    def start(self, on_ready: Callable[[], None]) -> None:
        on_ready()

    def ready(self) -> bool:
        return True

    def model(self) -> Model:
        return self._load()


class Singleton:
    """Loads once, before the first request: before the port is open, or behind it."""

    def __init__(self, load: Load, *, retry_s: float = 5.0) -> None:
        self._load = load
        self._retry_s = retry_s
        self._model: Model | None = None

    def preload(self) -> None:
        self._model = self._load()

    def start(self, on_ready: Callable[[], None]) -> None:
        threading.Thread(target=self._load_behind, args=(on_ready,), name="model-load", daemon=True).start()

    def ready(self) -> bool:
        return self._model is not None

    def model(self) -> Model:
        if self._model is None:
            raise ModelNotReadyError("the model is still being loaded")
        return self._model

    def _load_behind(self, on_ready: Callable[[], None]) -> None:
        while True:
            try:
                self._model = self._load()
            except Exception:
                # Nobody waits for this thread: without another attempt the worker would answer 503 for ever.
                _log.exception("Loading the model failed; next attempt in %g s", self._retry_s)
                time.sleep(self._retry_s)
            else:
                on_ready()
                return


class Lazy:
    """Loads at the first request; those that arrive meanwhile wait for the same load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._attempt: Future[Model] | None = None

    def preload(self) -> None:
        """Nothing to do before a request comes."""

    def start(self, on_ready: Callable[[], None]) -> None:
        on_ready()

    def ready(self) -> bool:
        return True

    def model(self) -> Model:
        with self._lock:
            attempt = self._attempt
            first = attempt is None
            if attempt is None:
                attempt = self._attempt = Future()
        if first:
            self._run(attempt)
        return attempt.result()

    def _run(self, attempt: Future[Model]) -> None:
        try:
            attempt.set_result(self._load())
        except BaseException as error:
            # All who wait share this failure, and the next request makes a new attempt: otherwise one
            # failure would last for ever, or each waiter would repeat it in turn.
            with self._lock:
                self._attempt = None
            _log.exception("Loading the model failed; the next request tries again")
            failure = ModelNotReadyError("the model could not be loaded; please try again")
            failure.__cause__ = error
            attempt.set_exception(failure)
            if not isinstance(error, Exception):
                raise


LIFECYCLES: dict[str, Callable[[Load], Lifecycle]] = {
    "per-request": PerRequest,
    "singleton": Singleton,
    "lazy": Lazy,
}

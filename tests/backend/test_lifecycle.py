"""The lifecycles alone: when they load, who waits, what a failed load leaves behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.lifecycle import LIFECYCLES, Lazy, Model, ModelNotReadyError, PerRequest, Singleton

TIMEOUT_S = 10


class Fake:
    """A model that can be told apart from another."""

    def predict(self, query: str) -> str:
        return query


class Loader:
    """Counts loads; each waits for `go`, and fails as long as `failures` lasts."""

    def __init__(self, failures: int = 0) -> None:
        self.loads = 0
        self.failures = failures
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> Model:
        self.loads += 1
        self.began.set()
        assert self.go.wait(TIMEOUT_S)
        if self.loads <= self.failures:
            raise OSError("cannot read")
        return Fake()


def test_the_registry_knows_them_all() -> None:
    assert list(LIFECYCLES) == ["per-request", "singleton", "lazy"]


def test_per_request_loads_each_time_and_is_always_ready() -> None:
    loader = Loader()
    loader.go.set()
    lifecycle = PerRequest(loader)
    lifecycle.preload()
    assert lifecycle.ready()
    assert loader.loads == 0
    assert lifecycle.model() is not lifecycle.model()
    assert loader.loads == 2


def test_preloaded_singleton_is_ready_at_once() -> None:
    loader = Loader()
    loader.go.set()
    lifecycle = Singleton(loader)
    lifecycle.preload()
    assert lifecycle.ready()
    assert lifecycle.model() is lifecycle.model()
    assert loader.loads == 1


def test_preloaded_singleton_passes_a_failure_on() -> None:
    loader = Loader(failures=1)
    loader.go.set()
    with pytest.raises(OSError, match="cannot read"):
        Singleton(loader).preload()


def test_singleton_behind_the_open_port_is_not_ready_until_loaded() -> None:
    loader = Loader()
    announced = threading.Event()
    lifecycle = Singleton(loader)
    lifecycle.start(announced.set)
    assert loader.began.wait(TIMEOUT_S)
    assert not lifecycle.ready()
    with pytest.raises(ModelNotReadyError):
        lifecycle.model()
    loader.go.set()
    assert announced.wait(TIMEOUT_S)
    assert lifecycle.ready()
    assert lifecycle.model() is lifecycle.model()
    assert loader.loads == 1


def test_singleton_behind_the_open_port_tries_again() -> None:
    loader = Loader(failures=2)
    loader.go.set()
    announced = threading.Event()
    lifecycle = Singleton(loader, retry_s=0.001)
    lifecycle.start(announced.set)
    assert announced.wait(TIMEOUT_S)
    assert loader.loads == 3


def test_lazy_is_ready_before_it_has_loaded() -> None:
    loader = Loader()
    lifecycle = Lazy(loader)
    lifecycle.preload()
    assert lifecycle.ready()
    assert loader.loads == 0


def test_lazy_loads_once_however_many_ask_at_once() -> None:
    loader = Loader()
    lifecycle = Lazy(loader)
    all_here = threading.Barrier(16)

    def ask() -> Model:
        all_here.wait(TIMEOUT_S)
        return lifecycle.model()

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask) for _ in range(16)]
        assert loader.began.wait(TIMEOUT_S)
        loader.go.set()
        models = {id(future.result(TIMEOUT_S)) for future in asked}
    assert len(models) == 1
    assert loader.loads == 1


def test_a_failed_lazy_load_fails_all_who_wait_and_is_tried_again() -> None:
    loader = Loader(failures=1)
    lifecycle = Lazy(loader)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lifecycle.model)
        assert loader.began.wait(TIMEOUT_S)
        second = pool.submit(lifecycle.model)
        loader.go.set()
        with pytest.raises(ModelNotReadyError):
            first.result(TIMEOUT_S)
        # The second waited for the first's load, or came after it and made its own, which succeeds.
        if second.exception(TIMEOUT_S) is not None:
            assert isinstance(second.exception(), ModelNotReadyError)
    assert lifecycle.model() is lifecycle.model()
    assert loader.loads == 2


@pytest.mark.parametrize("make", [PerRequest, Lazy])
def test_what_loads_on_demand_is_ready_behind_an_open_port_too(make: type[PerRequest] | type[Lazy]) -> None:
    loader = Loader()
    lifecycle = make(loader)
    announced: list[bool] = []
    lifecycle.start(lambda: announced.append(lifecycle.ready()))
    assert announced == [True]
    assert loader.loads == 0

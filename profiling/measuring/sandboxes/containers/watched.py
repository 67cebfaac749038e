"""A container that runs already, started by others: found by its name, and only ever read."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
from docker.errors import NotFound

from profiling.errors import CannotRunError, EngineError, SamplerError
from profiling.measuring.sandboxes import tree
from profiling.measuring.sandboxes.base import Counters, Sampling
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine, first_line
from profiling.measuring.sandboxes.containers.keeper import container_keeper
from profiling.measuring.sandboxes.containers.remote_eyes import RemoteEyes
from profiling.measuring.sandboxes.containers.running import Ended, oom_flag, wait_for_end
from profiling.measuring.sandboxes.placement import memory_cgroup_of
from profiling.measuring.watching.cgroups import CgroupSubject, describe
from profiling.measuring.watching.subject import Nature

_STATE_WITHIN_S = 2.0
"""The engine's word that a container has ended comes after its cgroup went."""


class _Sight(Protocol):
    """What is seen of the container's cgroup, from here or through an observer."""

    def sample(self, path: Path, hz: float) -> Sampling: ...
    def counters(self) -> Counters: ...
    def blind(self) -> str | None: ...
    def close(self) -> None: ...


class ContainerSubject:
    """A running container of either engine."""

    def __init__(self, engine: Engine, container: Any, nature: Nature, sight: _Sight) -> None:
        self.nature = nature
        self._engine = engine
        self._container = container
        self._sight = sight
        self._ended = Ended()
        threading.Thread(target=wait_for_end, args=(container, self._ended), name="oomproof-wait", daemon=True).start()

    def sample(self, path: Path, hz: float) -> Sampling:
        return self._sight.sample(path, hz)

    def counters(self) -> Counters:
        counters = self._sight.counters()
        if self._ended.is_set() and self._ended.lost is None:
            return msgspec.structs.replace(counters, engine_flag=oom_flag(self._container))
        return counters

    def gone(self) -> str | None:
        blind = None if self._ended.is_set() else self._sight.blind()
        if blind is not None:
            self._ended.wait(_STATE_WITHIN_S)
        if self._ended.lost is not None:
            raise EngineError(
                f"{self._engine} at {self._engine.host} went away during the watch: {self._ended.lost}",
                "see whether it runs; the container may be well",
            )
        if self._ended.is_set():
            return "the container ended"
        if blind is not None:
            raise SamplerError(f"the container is not seen any more: {blind}", "watch it again")
        return None

    @property
    def exit_status(self) -> int | None:
        return self._ended.status

    def close(self) -> None:
        self._sight.close()


class _FromHere:
    """The cgroup is seen on this machine."""

    def __init__(self, subject: CgroupSubject) -> None:
        self._subject = subject
        self.sample = subject.sample
        self.counters = subject.counters
        self.blind = subject.gone

    def close(self) -> None:
        self._subject.close()


class _ThroughObserver:
    """The cgroup is on another machine, and a small container beside it reads it; removed however we end."""

    def __init__(self, engine: Engine, container: str, tell: Callable[[str], object]) -> None:
        name = tree.owned_name("watching")
        self._keeper = container_keeper(engine.address)
        self._guarded = f"container {name}-observer"
        self._keeper.guard(self._guarded)
        try:
            self._eyes = RemoteEyes(engine, container, f"{name}-observer", tell)
        except BaseException:
            self._keeper.close()
            raise
        self.sample = self._eyes.sample
        self.blind = self._eyes.blind
        self.limit_bytes = self._eyes.limit_in_force()
        # Its second answer comes after it has told what was counted before the watch.
        self._eyes.limit_in_force()

    def counters(self) -> Counters:
        return self._eyes.counters(ended=self._eyes.blind() is not None)

    def close(self) -> None:
        self._eyes.close()
        self._keeper.release(self._guarded)
        self._keeper.close()


def open_container(engine: Engine, name: str, tell: Callable[[str], object]) -> ContainerSubject:
    """The running container called `name` (or by its id). `tell` gets a line where something takes its time.

    Raises CannotRunError if it is not there or does not run, EngineError if the engine refuses, ImageError and
    NoLimitError if it cannot be seen from here.
    """
    try:
        container = engine.client.containers.get(name)
    except NotFound:
        raise CannotRunError(f"--container {name}: {engine} has none of that name", _running(engine)) from None
    except ENGINE_ERRORS as error:
        raise EngineError(f"{engine} did not answer: {first_line(error)}", f"see `{engine.name} info`") from error
    state = container.attrs["State"]
    if not state.get("Running"):
        raise CannotRunError(
            f"--container {name}: it does not run ({state.get('Status', 'not running')})", _running(engine)
        )
    what = f"container {container.name} ({engine.name})"
    sight: _Sight
    if engine.local:
        version, directory = memory_cgroup_of(int(state["Pid"]))
        nature = describe(directory, version, name=container.name, what=what, kind="container")
        sight = _FromHere(CgroupSubject(nature, version, directory))
    else:
        observer = _ThroughObserver(engine, container.id, tell)
        nature = Nature(
            name=container.name,
            what=what,
            kind="container",
            sandbox=engine.name,
            reason="",
            limit_bytes=observer.limit_bytes,
            swap=_swap(container),
        )
        sight = observer
    nature = msgspec.structs.replace(
        nature,
        sandbox=engine.name,
        reason="a container that ran already"
        if engine.local
        else "a container elsewhere, through an observer beside it",
        engine=f"{engine}, cgroup v{engine.cgroup_version}",
        image=f"{container.attrs['Config'].get('Image', '')} ({str(container.attrs.get('Image', '')).rpartition(':')[2][:12]})",
    )
    return ContainerSubject(engine, container, nature, sight)


def _running(engine: Engine) -> str:
    """A hint that names what there is."""
    names: list[str] = []
    with contextlib.suppress(*ENGINE_ERRORS):
        names = sorted(container.name for container in engine.client.containers.list())
    return f"those that run: {', '.join(names[:10])}" if names else "none runs there"


def _swap(container: Any) -> str:
    """As the engine was told, since its machine's files are not seen from here."""
    host = container.attrs.get("HostConfig", {})
    memory, together = host.get("Memory") or 0, host.get("MemorySwap") or 0
    return "off (--memory-swap = --memory)" if memory and memory == together else "unknown"

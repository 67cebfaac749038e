"""From `--container`, `--cgroup` or `--pid` to what is watched."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from profiling.errors import CannotRunError, EngineError, SetupError
from profiling.measuring.events import Note, Observer
from profiling.measuring.sandboxes.containers import ENGINES
from profiling.measuring.watching.cgroups import open_cgroup
from profiling.measuring.watching.processes import open_process
from profiling.measuring.watching.subject import Subject


@contextlib.contextmanager
def open_subject(
    container: str | None, cgroup: str | None, pid: int | None, engine: str, observer: Observer
) -> Iterator[Subject]:
    """What one of the three names, closed on the way out; it goes on itself. `engine`: auto, docker or podman.

    Raises CannotRunError if it is not there, EngineError where no engine answers.
    """
    with contextlib.ExitStack() as stack:
        if container is not None:
            subject: Subject = _container(container, ENGINES if engine == "auto" else (engine,), observer, stack)
        elif cgroup is not None:
            subject = open_cgroup(cgroup)
        else:
            assert pid is not None
            subject = open_process(pid)
        stack.callback(subject.close)
        for note in (f"watching {subject.nature.what}: {subject.nature.reason}", *subject.nature.notes):
            observer.notify(Note(text=note))
        yield subject


def _container(name: str, engines: tuple[str, ...], observer: Observer, stack: contextlib.ExitStack) -> Subject:
    """The first engine that has a running container of that name."""
    try:
        from profiling.measuring.sandboxes.containers.engine import connect, podman_service
        from profiling.measuring.sandboxes.containers.watched import open_container
    except ImportError as error:
        raise SetupError(
            f"--container needs the package docker ({error})", "pip install 'oomproof[containers]'"
        ) from error
    problems: list[CannotRunError] = []
    for each in engines:
        with contextlib.ExitStack() as opened:
            try:
                try:
                    found = connect(each)
                except EngineError:
                    if each != "podman" or os.environ.get("CONTAINER_HOST"):
                        raise
                    found = opened.enter_context(podman_service())
                subject = open_container(found, name, lambda text: observer.notify(Note(text=text)))
            except CannotRunError as error:
                problems.append(error)
                continue
            stack.push(opened.pop_all())
            return subject
    # An engine that answers and has no such container says more than one that is not there.
    said = [problem for problem in problems if not isinstance(problem, EngineError)] or problems
    if len(said) == 1:
        raise said[0]
    raise CannotRunError("; ".join(problem.message for problem in said), said[0].hint)

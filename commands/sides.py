"""The two sides of a gate: what head's options and config file say, and the same service as the base commit has it."""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from commands.job import Job
from profiling import config, reference
from profiling.errors import ConfigError
from profiling.measuring import installing
from profiling.measuring.interrupts import uninterrupted
from profiling.measuring.revisions import Commit, Repository
from profiling.regressions import Side
from profiling.values import Service, Target


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be judged: the working tree against a commit."""

    repository: Repository
    base: Commit
    head: Commit
    files: tuple[str, ...]
    """That differ, relative to the root."""
    dirty: bool
    """Not all of head is committed."""
    config_file: Path | None
    """Head's; None: the reference target."""

    @property
    def sides(self) -> tuple[Side, Side]:
        """Base and head, as a reader knows them."""
        dirty = " and uncommitted changes" if self.dirty else ""
        return (
            Side(label=self.base.label, commit=self.base.sha),
            Side(label=f"working tree ({self.head.short}{dirty})", commit=self.head.sha),
        )


def find_change(base: str, target: str | None, out: str) -> Change:
    """Raises RevisionError where there is no such commit or repository, ConfigError where nothing is to be judged."""
    config_file = _config_file(target)
    where = reference.ROOT if config_file is None else config_file.parent
    repository = Repository(Path.cwd())
    if not where.resolve().is_relative_to(repository.root):
        what = "there is no config file here, and the reference target" if config_file is None else str(config_file)
        raise ConfigError(
            f"{what} lies outside of {repository.root}, so that no revision of it can be checked out",
            "start it in the repository of the service, with its oomproof.toml; `init` writes one",
        )
    commit, head = repository.commit(base), repository.commit("HEAD")
    files = repository.changed_since(commit, without=(Path(out),))
    if not files:
        raise ConfigError(
            f"--base {base}: the working tree is the same, so there is no change to judge",
            "name the revision before the change: --base origin/main on a branch, --base HEAD~1 on main itself",
        )
    dirty = bool(repository.changed_since(head, without=(Path(out),)))
    return Change(repository, commit, head, files, dirty, config_file)


def _config_file(target: str | None) -> Path | None:
    if target in reference.MADE_BY:
        return None
    found = Path(target) if target is not None else config.find(Path.cwd())
    return found.resolve() if found is not None else None


def base_target(change: Change, head: Job, worktree: Path, checkpoint: str | None) -> tuple[Target, list[str]]:
    """Base's service under head's load, and what a reader should know of it. Raises ConfigError."""
    if change.config_file is None:
        root = worktree / reference.ROOT.relative_to(change.repository.root)
        found = reference.target(checkpoint or reference.CHECKPOINTS[0], root, head.target.name)
        # No run writes bytecode (`reference.py`), so both sides need it before their first.
        for checkout in (root, reference.ROOT):
            compileall.compile_dir(checkout / "backend", quiet=2)
        notes: list[str] = []
    else:
        found, notes = _from_config(change, worktree / change.config_file.relative_to(change.repository.root))
    found = msgspec.structs.replace(
        found,
        name=head.target.name,
        services=tuple(_elsewhere(service, change.repository.root, worktree) for service in found.services),
        request=head.target.request,
        locustfile=head.target.locustfile,
    )
    shared = {service.directory for service in found.services} & {s.directory for s in head.target.services}
    if shared and any(not service.image for service in found.services):
        raise ConfigError(
            f"target.directory: {sorted(shared)[0]} is the same for both revisions, so base would run head's code",
            "make it relative to the config file",
        )
    return found, notes


def _from_config(change: Change, file: Path) -> tuple[Target, list[str]]:
    assert change.config_file is not None
    if file.is_file() and (file.name != "pyproject.toml" or config.find(file.parent) == file):
        return config.read(file).target, []
    text = change.config_file.read_text(encoding="utf-8")
    return config.of_text(text, file).target, [f"base has no {file.name}: head's is read for it"]


def _elsewhere(service: Service, root: Path, worktree: Path) -> Service:
    """The service with its own image's name, and with paths of the working tree in PYTHONPATH leading to the checkout."""
    path = service.env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    moved = os.pathsep.join(_moved(entry, root, worktree) for entry in path.split(os.pathsep))
    env = service.env if moved == path else {**service.env, "PYTHONPATH": moved}
    image = service.image
    if image is not None and image.build is not None:
        image = msgspec.structs.replace(image, name=f"{image.name}-base")
    return msgspec.structs.replace(service, env=env, image=image)


def _moved(entry: str, root: Path, worktree: Path) -> str:
    path = Path(entry)
    inside = entry and path.is_absolute() and path.is_relative_to(root)
    return str(worktree / path.relative_to(root)) if inside else entry


_OF_BASE, _OF_HEAD = "environment-base", "environment-head"


@contextlib.contextmanager
def temporary_environments(parent: Path) -> Iterator[None]:
    """What `environments` makes below `parent` is gone after the block: it can be gigabytes."""
    try:
        yield
    finally:
        with uninterrupted():
            for name in (_OF_BASE, _OF_HEAD):
                shutil.rmtree(parent / name, ignore_errors=True)


def environments(
    change: Change, base: Target, head: Target, worktree: Path, parent: Path
) -> tuple[Target, Target, list[str]]:
    """Both targets with what each needs installed, and what a reader should know of it. Raises SetupError.

    Where nothing that is installed differs, base has the working tree's environment.
    """
    files = installing.differing(change.repository, change.base, change.files)
    notes = []
    if (files or base.setup != head.setup) and head.setup and not any(service.image for service in head.services):
        named = _few(files) or "[target] setup"
        notes.append(f"{named} differs: each side is installed in an environment of its own")
        base = _installed(base, base.setup or head.setup, parent / _OF_BASE)
        head = _installed(head, head.setup, parent / _OF_HEAD)
    else:
        if files and not any(service.image for service in head.services):
            notes.append(
                f"{_few(files)} differs, and [target] setup says nothing: both sides run in the same environment"
            )
        root = change.repository.root
        places = [os.path.relpath(s.directory, root) for s in head.services if Path(s.directory).is_relative_to(root)]
        installing.share_environments(root, worktree, places)
    return base, head, notes


def _installed(target: Target, commands: Sequence[str], environment: Path) -> Target:
    return target.with_env(installing.install(commands, Path(target.service.directory), environment))


def _few(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")

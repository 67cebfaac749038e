"""git, and nothing but git: the working tree's repository, and another revision of it checked out beside it for a while.

The commands are plumbing and `worktree`, without hooks, and without the variables that git itself sets for a hook: a gate may
be one. A worktree's directory bears its owner's name (`sandboxes/tree.py`), so that what a SIGKILL left behind is known to be
nobody's and goes the next time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling.errors import CommandNotFoundError, RevisionError
from profiling.measuring.interrupts import uninterrupted
from profiling.measuring.sandboxes import tree

_OF_A_HOOK = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_SHORT = 9


@dataclass(frozen=True, slots=True)
class Commit:
    """`name` as it was asked for."""

    name: str
    sha: str

    @property
    def short(self) -> str:
        return self.sha[:_SHORT]

    @property
    def label(self) -> str:
        return self.short if self.sha.startswith(self.name) else f"{self.name} ({self.short})"


class Repository:
    """The repository that a directory lies in. Every method raises RevisionError with what git said."""

    def __init__(self, directory: Path) -> None:
        """Raises RevisionError outside of a working tree, CommandNotFoundError without git."""
        done = _git(directory, "rev-parse", "--show-toplevel")
        if done.returncode or not done.stdout.strip():
            said = _last_line(done.stderr)
            owner = "dubious ownership" in done.stderr
            raise RevisionError(
                f"{directory} is in no git working tree ({said})",
                f"git config --global --add safe.directory {directory}"
                if owner
                else "start it in the repository whose change is to be judged",
            )
        self.root = Path(done.stdout.strip()).resolve()

    def commit(self, name: str) -> Commit:
        """The commit that `name` means. Raises RevisionError, which says how to get it where the clone is shallow."""
        done = _git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if not done.returncode:
            return Commit(name, done.stdout.strip())
        if self._said("rev-parse", "--is-shallow-repository").strip() == "true":
            raise RevisionError(
                f"{name}: there is no such revision in this clone, which is shallow",
                "fetch more of it: `fetch-depth: 0` for actions/checkout, GIT_DEPTH: 0 on GitLab, or git fetch --unshallow",
            )
        remote, slash, branch = name.partition("/")
        hint = f"git fetch {remote} {branch}" if slash else "name a commit, a branch or a tag that `git log` knows"
        raise RevisionError(f"{name}: there is no such revision in {self.root}", hint)

    def changed_since(self, commit: Commit, *, without: Sequence[Path] = ()) -> tuple[str, ...]:
        """Files, relative to the root, in which the working tree as it is differs from a commit; untracked ones are in
        it, ignored ones and what lies in `without` are not."""
        tracked = self._said("diff", "--name-only", "-z", "--no-renames", commit.sha)
        untracked = self._said("ls-files", "--others", "--exclude-standard", "-z")
        left_out = [path.resolve() for path in without]
        names = [name for name in (tracked + untracked).split("\0") if name]
        return tuple(
            name for name in names if not any((self.root / name).is_relative_to(directory) for directory in left_out)
        )

    def text(self, commit: Commit, name: str) -> str | None:
        """A file as it is in a commit; None where it is not."""
        done = _git(self.root, "show", f"{commit.sha}:{name}")
        return None if done.returncode else done.stdout

    @contextlib.contextmanager
    def worktree(self, commit: Commit, parent: Path) -> Iterator[Path]:
        """The commit checked out below `parent`, until the end of the block, however that ends."""
        self._clear_up()
        path = parent / tree.owned_name("base")
        try:
            self._said("worktree", "add", "--detach", "--quiet", str(path), commit.sha)
            yield path
        finally:
            with uninterrupted():
                self._remove(path)

    def _remove(self, path: Path) -> None:
        _git(self.root, "worktree", "remove", "--force", "--force", str(path))
        shutil.rmtree(path, ignore_errors=True)
        if str(path) in self._worktrees():
            _git(self.root, "worktree", "prune")

    def _clear_up(self) -> None:
        """What a gate that was killed left behind."""
        for path in self._worktrees():
            if tree.is_orphan(Path(path).name):
                self._remove(Path(path))

    def _worktrees(self) -> list[str]:
        lines = _git(self.root, "worktree", "list", "--porcelain").stdout.splitlines()
        return [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]

    def _said(self, *arguments: str) -> str:
        done = _git(self.root, *arguments)
        if done.returncode:
            raise RevisionError(
                f"git {arguments[0]} failed: {_last_line(done.stderr)}", "see what git says of it by itself"
            )
        return done.stdout


def _git(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key not in _OF_A_HOOK}
    program = shutil.which("git")
    if program is None:
        raise CommandNotFoundError("git is not installed", "install git")
    return subprocess.run(
        [program, "-c", "core.hooksPath=/dev/null", *arguments],
        cwd=directory,
        env={**env, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("fatal: ") if lines else "it said nothing"

"""git as it is: commits, what changed, a checkout for a while, and what a killed gate left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from profiling.errors import RevisionError
from profiling.measuring import installing
from profiling.measuring.revisions import Repository
from tests.test_gate import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    root.mkdir()
    (root / "app.py").write_text("one\n")
    (root / "uv.lock").write_text("one\n")
    (root / "pyproject.toml").write_text('[project]\nname = "shop"\n[tool.ruff]\nline-length = 80\n')
    (root / ".gitignore").write_text(".venv\n")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "one")
    return root


def test_what_changed_is_what_the_working_tree_shows(repository: Path) -> None:
    found = Repository(repository)
    head = found.commit("HEAD")
    assert found.changed_since(head) == ()
    (repository / "app.py").write_text("two\n")
    (repository / "new.py").write_text("new\n")
    (repository / "runs").mkdir()
    (repository / "runs" / "report.html").write_text("x")
    (repository / ".venv").mkdir()
    (repository / ".venv" / "ignored").write_text("x")
    assert found.changed_since(head, without=[repository / "runs"]) == ("app.py", "new.py")
    assert found.text(head, "app.py") == "one\n"
    assert found.text(head, "new.py") is None


def test_a_checkout_is_there_for_as_long_as_it_is_needed(repository: Path, tmp_path: Path) -> None:
    found = Repository(repository)
    (repository / "app.py").write_text("two\n")
    with pytest.raises(KeyboardInterrupt), found.worktree(found.commit("HEAD"), tmp_path) as place:
        assert (place / "app.py").read_text() == "one\n"
        (place / "written").write_text("by the service")
        raise KeyboardInterrupt
    assert not place.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert (repository / "app.py").read_text() == "two\n"


def test_only_what_a_dead_gate_left_behind_is_removed(repository: Path, tmp_path: Path) -> None:
    namespace = os.stat("/proc/self/ns/pid").st_ino
    dead, other = tmp_path / f"oomproof-{namespace}-999999999-1-base", tmp_path / "mine"
    for place in (dead, other):
        git(repository, "worktree", "add", "--detach", "--quiet", str(place), "HEAD")
    found = Repository(repository)
    with found.worktree(found.commit("HEAD"), tmp_path):
        assert not dead.exists()
        assert other.exists(), "a worktree of somebody else's"


def test_no_hook_is_run_and_a_hook_may_run_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    found = Repository(repository)
    with found.worktree(found.commit("HEAD"), tmp_path) as place:
        assert (place / "app.py").exists()


@pytest.mark.parametrize("name", ["nothing", "-x", "HEAD~5", ""])
def test_what_is_no_revision_is_said_to_be_none(repository: Path, name: str) -> None:
    with pytest.raises(RevisionError):
        Repository(repository).commit(name)


@pytest.mark.parametrize(
    ("name", "text", "differs"),
    [
        ("uv.lock", "two\n", True),
        ("requirements-dev.txt", "flask\n", True),
        ("sub/package.json", "{}", True),
        ("app.py", "two\n", False),
        ("pyproject.toml", '[project]\nname = "shop"\n[tool.ruff]\nline-length = 100\n', False),
        ("pyproject.toml", '[project]\nname = "shop"\ndependencies = ["flask"]\n', True),
        ("pyproject.toml", '[project]\nname = "shop"\n[tool.uv]\nsources = {}\n', True),
    ],
)
def test_whether_what_is_installed_differs(repository: Path, name: str, text: str, differs: bool) -> None:
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text(text)
    found = Repository(repository)
    head = found.commit("HEAD")
    assert installing.differing(found, head, found.changed_since(head)) == ((name,) if differs else ())


def test_a_checkout_has_the_environment_of_the_working_tree(repository: Path, tmp_path: Path) -> None:
    (repository / ".venv" / "bin").mkdir(parents=True)
    found = Repository(repository)
    with found.worktree(found.commit("HEAD"), tmp_path) as place:
        installing.share_environments(repository, place, ["."])
        assert (place / ".venv" / "bin").is_dir()
    assert (repository / ".venv" / "bin").is_dir(), "what is linked stays"

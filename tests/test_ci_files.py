"""What CI systems are given, run as they run it: each `run:` step of the action, the script of the GitLab job, the pre-commit hook.

Variables and files are as docs.github.com ("Variables reference", "Workflow syntax": `shell: bash` is `bash --noprofile --norc -eo
pipefail`) and docs.gitlab.com ("Predefined CI/CD variables reference") describe them. The tool is installed as the steps say.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.helpers import ROOT, our_cgroups
from tests.test_gate import APP, CONFIG, git, repository

pytestmark = pytest.mark.e2e  # the tool is installed anew

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WHAT = {name: value.get("default", "") for name, value in ACTION["inputs"].items()}


def evaluated(text: str, contexts: dict[str, dict[str, str]]) -> str:
    """The text with GitHub's expressions in it replaced: `||` and `&&` give one of their sides, as Python's words do."""

    def value(found: re.Match[str]) -> str:
        expression = re.sub(r"\b(inputs|github)\.([\w-]+)", r'\1["\2"]', found[1])
        expression = expression.replace("||", " or ").replace("&&", " and ")
        return str(eval(expression, {"format": str.format, **contexts}))

    return re.sub(r"\$\{\{(.*?)\}\}", value, text)


def run(script: str, directory: Path, env: dict[str, str], *shell: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(shell or ("bash", "--noprofile", "--norc", "-eo", "pipefail")), "-c", script],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def step(number: int, directory: Path, env: dict[str, str], **inputs: str) -> subprocess.CompletedProcess[str]:
    """A step of the action for a pull request onto `main`."""
    said = ACTION["runs"]["steps"][number]
    contexts = {"inputs": WHAT | inputs, "github": {"base_ref": "main"}}
    place = directory / evaluated(said.get("working-directory", "."), contexts)
    given = {name: evaluated(text, contexts) for name, text in said.get("env", {}).items()}
    assert said["shell"] == "bash"
    return run(said["run"], place, env | given)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a job on GitHub, with the tool installed by the action's first step."""
    temp = tmp_path_factory.mktemp("runner")
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI", "OOMPROOF"))}
    env = keep | {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_BASE_REF": "main",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_STEP_SUMMARY": str(temp / "summary.md"),
        "GITHUB_OUTPUT": str(temp / "output"),
        "RUNNER_TEMP": str(temp),
    }
    done = step(0, temp, env)
    assert done.returncode == 0, done.stderr
    assert (temp / "oomproof" / "bin" / "oomproof").exists()
    return env


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone on a branch whose service needs more than its limit, where `main` does not; the service in a directory
    of its own."""
    origin = tmp_path / "origin"
    repository(
        origin / "service", **{"oomproof.toml": CONFIG.replace("python3", sys.executable), "requirements.txt": ""}
    )
    shutil.move(origin / "service" / ".git", origin / ".git")
    git(origin, "config", "receive.denyCurrentBranch", "ignore")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--all", "-m", "in a directory")
    git(tmp_path, "clone", "--quiet", f"file://{origin}", "clone")
    clone = tmp_path / "clone"
    git(clone, "switch", "--quiet", "-c", "more")
    (clone / "service" / "app.py").write_text(APP.format(mib=80))
    git(clone, "commit", "--quiet", "--all", "-m", "more")
    return clone


def number_of_the_line() -> int:
    return APP.splitlines().index("    held[at] = 1") + 1


def test_the_action_fails_a_pull_request_and_says_where(runner: dict[str, str], clone: Path) -> None:
    before = our_cgroups()
    done = step(1, clone, runner, **{"working-directory": "service", "arguments": "--users 1  --duration 1s"})
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("::error ")]
    assert "Head does not hold, and base does" in errors[0]
    lines = range(number_of_the_line() - 2, number_of_the_line() + 1)
    assert any(f"file=service/app.py,line={number}," in errors[1] for number in lines), errors
    summary = Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert summary == (clone / "service" / "oomproof.md").read_text()
    assert "| service/app.py:" in summary
    assert "Base: origin/main" in summary
    assert int(ET.parse(clone / "service" / "oomproof.xml").getroot().get("failures", "0")) >= 1
    # What the workflow of the docs keeps is there, relative to the workspace.
    workflow = yaml.safe_load((ROOT / "docs/ci/github-workflow.yml").read_text())
    kept = workflow["jobs"]["gate"]["steps"][-1]["with"]["path"].split()
    assert all(list((clone / "service").glob(pattern)) for pattern in kept), kept
    assert our_cgroups() == before


def test_without_a_pull_request_the_action_compares_with_the_commit_before() -> None:
    base = ACTION["runs"]["steps"][1]["env"]["BASE"]
    push: dict[str, dict[str, str]] = {"inputs": dict(WHAT), "github": {"base_ref": ""}}
    assert evaluated(base, push) == "HEAD~1"
    assert evaluated(base, push | {"inputs": WHAT | {"base": "v1"}}) == "v1"


def test_the_gitlab_job_fails_a_merge_request(runner: dict[str, str], clone: Path, tmp_path: Path) -> None:
    job: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/gitlab-ci.yml").read_text())["memory"]
    own = tmp_path / "python"  # in the job `pip` is the image's
    subprocess.run([sys.executable, "-m", "venv", own], check=True)
    env = {name: value for name, value in runner.items() if not name.startswith("GITHUB_")} | {
        "CI_BUILDS_DIR": runner["RUNNER_TEMP"],  # where it is installed already, so that this is quick
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_PROJECT_DIR": str(clone / "service"),
        "GITLAB_CI": "true",
        "OOMPROOF": str(ROOT),
        "PATH": f"{own / 'bin'}:{os.environ['PATH']}",
    }
    git(clone, "checkout", "--quiet", "--detach")  # as GitLab's runner leaves it
    script = "\n".join(["set -eo pipefail", *job["before_script"], *job["script"]])
    done = run(script, clone / "service", env)
    assert "Head does not hold, and base does" in done.stdout, done.stderr
    assert done.returncode == 1
    assert ET.parse(clone / "service" / job["artifacts"]["reports"]["junit"]).getroot().get("failures") != "0"
    for pattern in job["artifacts"]["paths"]:
        assert list((clone / "service").glob(pattern)), pattern


def test_the_hook_refuses_a_push(runner: dict[str, str], clone: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs/gate.md").read_text()
    hooks = re.search(r"```yaml\n(repos:\n.*?)```", text, re.DOTALL)
    assert hooks is not None
    # At the root of the repository, where git runs it: there the service's config has to be named.
    named = hooks[1].replace("gate --base", "gate --target service/oomproof.toml --base")
    (clone / ".pre-commit-config.yaml").write_text(named)
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "-m", "hook")
    tools = Path(sys.executable).parent
    assert (tools / "pre-commit").exists(), "make setup"
    env = {name: value for name, value in runner.items() if not name.startswith("GITHUB_")} | {
        "PATH": f"{runner['RUNNER_TEMP']}/oomproof/bin:{tools}:{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
    }
    done = run("pre-commit install --hook-type pre-push && git push origin more", clone, env)
    assert done.returncode != 0, done.stdout
    said = done.stdout + done.stderr
    assert "memory against origin/main" in said
    assert "Head does not hold, and base does" in said, said
    assert git(clone, "ls-remote", "origin", "more") == "", "nothing was pushed"

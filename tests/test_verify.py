"""`verify` on small services, each with one fault: the check that is there for it fails, and no other does."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import FAULTS, SOUND, Fault, config, is_found
from tests.helpers import MIB, TARGETS, assert_of_schema, our_cgroups, run_cli

KNOWN = (
    "start", "startup-memory", "port", "ready", "contract", "openapi", "bad-input", "oom", "alive", "timeouts", "p95", "headroom",
    "growth", "plateau", "end",
)  # fmt: skip


def verify(directory: Path, script: str, *options: str, memory: int = 128, timeout: str = "10s", **env: str) -> Any:
    """(exit code, the JSON document) of one run."""
    values = "\n".join(f"{key} = {json.dumps(value)}" for key, value in env.items())
    (directory / "oomproof.toml").write_text(
        f"[target]\nname = '{script}'\ncommand = ['{sys.executable}', '{script}.py']\ndirectory = '{TARGETS}'\n"
        f"ready = '/'\nstartup_timeout = '{timeout}'\nmemory = '{memory}MiB'\n[target.env]\n{values}\n"
        "[request.expect]\njson_schema = { type = 'object', required = ['response'] }\n"
    )
    return verified(directory, "--users", "4", *options)


def verified(directory: Path, *options: str) -> tuple[int, Any]:
    """The same of the config file that is there."""
    done = run_cli("verify", "--json", "--sandbox", "cgroup", *options, cwd=directory)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert_of_schema(document, "verify")
    return done.returncode, document


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in document["checks"]}


def failing(document: dict[str, Any]) -> set[str]:
    return {key for key, status in statuses(document).items() if status == "fail"}


def test_a_healthy_service_is_verified(tmp_path: Path) -> None:
    before = our_cgroups()
    code, document = verify(tmp_path, "ballast", "--duration", "8s", BALLAST_MIB="40")
    assert (code, document["verdict"], document["command"]) == (0, "pass", "verify"), document
    assert tuple(check["id"] for check in document["checks"]) == KNOWN
    others = {key: status for key, status in statuses(document).items() if key != "openapi"}
    assert set(others.values()) == {"pass"}, others
    assert statuses(document)["openapi"] == "skipped", "it has no OpenAPI document"
    run = document["run"]
    assert run["oom_kills"] == run["failures"] == 0
    assert 40 * MIB < run["peak_unreclaimable_bytes"] < 80 * MIB
    page = Path(document["report"]).read_text()
    assert "Checklist" in page
    assert "refuses bad input" in page
    assert our_cgroups() == before


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_fails_its_own_checks(tmp_path: Path, fault: Fault) -> None:
    (tmp_path / "oomproof.toml").write_text(config(fault))
    code, document = verified(tmp_path)
    assert (code, document["verdict"]) == (1, "fail"), statuses(document)
    assert is_found(fault, statuses(document)), statuses(document)


@pytest.mark.parametrize("sound", SOUND, ids=lambda sound: sound.name)
def test_what_is_sound_passes(tmp_path: Path, sound: Fault) -> None:
    (tmp_path / "oomproof.toml").write_text(config(sound))
    code, document = verified(tmp_path)
    assert (code, document["verdict"]) == (0, "pass"), document["checks"]
    if sound.script == "file_reader":
        assert document["run"]["peak_unreclaimable_bytes"] < 40 * MIB
        assert document["run"]["peak_charged_bytes"] > 60 * MIB, "it did read more than its limit"
    elif sound.script == "cache":
        assert statuses(document)["growth"] == "pass"


def test_what_is_not_wrong_but_should_be_known_is_a_warning(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "fragile", "--duration", "2s", FRAGILE="accept")
    assert (code, statuses(document)["bad-input"]) == (0, "warn")
    code, document = verify(tmp_path, "deaf", "--duration", "1s")
    assert (code, statuses(document)["end"]) == (0, "warn")


def test_a_bare_command_is_enough() -> None:
    done = run_cli(
        *("verify", "--memory", "128MiB", "--duration", "1s", "--json", "--", sys.executable, "ballast.py"), cwd=TARGETS
    )
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass", done.stderr
    assert statuses(document)["growth"] == "skipped"
    for directory in (TARGETS / "runs").glob("*-verify-*"):
        shutil.rmtree(directory)


def test_the_limit_comes_from_the_manifest_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services:\n  api:\n    image: example/api\n    mem_limit: 96m\n    env_file: secret.env\n"
        "    environment: {BALLAST_MIB: '20'}\n"
    )
    (tmp_path / "oomproof.toml").write_text(
        f"[target]\nmanifest = 'compose.yaml'\ncommand = ['{sys.executable}', '{TARGETS / 'ballast.py'}']\nready = '/'\n"
    )
    done = run_cli("verify", "--json", "--duration", "1s", "--sandbox", "cgroup", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["run"]["memory_limit_bytes"] == 96 * MIB
    assert 20 * MIB < document["run"]["peak_unreclaimable_bytes"] < 60 * MIB
    assert "compose: api: 96 MiB (services.api.mem_limit)" in done.stderr.replace("96.0 MiB", "96 MiB")
    assert "not in the manifest, so not set:" in done.stderr


def test_a_kill_at_the_start_names_the_imports_that_cost_most(tmp_path: Path) -> None:
    before = our_cgroups()
    (tmp_path / "weights.py").write_text("held = bytearray(100 << 20)\n")
    (tmp_path / "index.py").write_text("held = bytearray(40 << 20)\n")
    (tmp_path / "app.py").write_text(
        f"import sys\nimport weights\nimport index\nsys.path.append({str(TARGETS)!r})\n"
        "import serving\nserving.serve(lambda body: 'x')\n"
    )
    (tmp_path / "oomproof.toml").write_text(
        f"[target]\ncommand = ['{sys.executable}', 'app.py']\nready = '/'\nmemory = '96MiB'\n"
    )
    done = run_cli("verify", "--json", "--sandbox", "cgroup", "--duration", "1s", cwd=tmp_path)
    document = json.loads(done.stdout)
    check = next(check for check in document["checks"] if check["id"] == "startup-memory")
    assert (done.returncode, check["status"]) == (1, "fail")
    said = re.search(
        r"its imports hold (\d+) MiB: weights 100 MiB \(app\.py:2\), index 40(?:\.\d)? MiB \(app\.py:3\)",
        check["message"],
    )
    assert said, check
    assert 140 <= int(said[1]) < 150
    directory = Path(document["report"]).parent
    again = run_cli("report", str(directory), "--json")
    assert json.loads(again.stdout) == document, "it is stored"
    assert "weights 100 MiB" in Path(document["report"]).read_text()
    tree = run_cli("report", re.search(r"all its imports: report (\S+)", check["hint"])[1], "--json")  # type: ignore[index]
    assert json.loads(tree.stdout)["modules"]
    assert our_cgroups() == before


def test_a_kill_at_the_start_of_what_is_not_python_says_that_its_imports_cannot_be_seen(tmp_path: Path) -> None:
    script = f"exec {sys.executable} {TARGETS / 'hog_at_start.py'}"
    (tmp_path / "oomproof.toml").write_text(
        f"[target]\ncommand = ['sh', '-c', '{script}']\nready = '/'\nmemory = '64MiB'\n"
    )
    done = run_cli("verify", "--json", "--sandbox", "cgroup", "--duration", "1s", cwd=tmp_path)
    check = next(check for check in json.loads(done.stdout)["checks"] if check["id"] == "startup-memory")
    assert (done.returncode, check["status"]) == (1, "fail")
    assert "its imports could not be recorded: `sh` is a shell: give the Python command itself" in check["message"]


def test_a_kill_at_the_start_that_is_not_the_imports_says_so(tmp_path: Path) -> None:
    _, document = verify(tmp_path, "hog_at_start", "--duration", "1s", memory=128)
    check = next(check for check in document["checks"] if check["id"] == "startup-memory")
    assert "its imports hold" in check["message"]
    assert "look at what its own code makes before it is ready" in check["hint"]


def test_a_service_that_hangs_at_its_limit_before_it_is_ready_names_them_as_well(tmp_path: Path) -> None:
    (tmp_path / "weights.py").write_text("held = bytearray(84 << 20)\n")
    (tmp_path / "app.py").write_text("import weights\nimport threading\nthreading.Event().wait()\n")
    (tmp_path / "oomproof.toml").write_text(
        f"[target]\ncommand = ['{sys.executable}', 'app.py']\nready = '/'\nmemory = '96MiB'\nstartup_timeout = '2s'\n"
    )
    done = run_cli("verify", "--json", "--sandbox", "cgroup", "--duration", "1s", cwd=tmp_path)
    document = json.loads(done.stdout)
    check = next(check for check in document["checks"] if check["id"] == "start")
    assert (done.returncode, check["status"], document["run"]["oom_kills"]) == (1, "fail", 0)
    assert "it stood at its limit of 96 MiB; its imports hold at least 84" in check["message"]
    assert re.search(r"weights 84(\.\d)? MiB \(app\.py:1\)", check["message"])
    assert not any(path.name.startswith("2-") for path in _of_a_small_one_that_is_never_ready(tmp_path).iterdir())


def _of_a_small_one_that_is_never_ready(directory: Path) -> Path:
    _, document = verify(directory, "never_ready", "--duration", "1s", timeout="2s")
    return Path(document["report"]).parent

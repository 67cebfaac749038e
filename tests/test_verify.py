"""`verify` on small services, each with one fault: the check that is there for it fails, and no other does."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import MIB, TARGETS, our_cgroups, run_cli

KNOWN = (
    "start", "startup-memory", "port", "ready", "contract", "bad-input", "oom", "alive", "timeouts", "p95", "headroom",
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
    done = run_cli("verify", "--json", "--sandbox", "cgroup", "--users", "4", *options, cwd=directory)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in document["checks"]}


def failing(document: dict[str, Any]) -> set[str]:
    return {key for key, status in statuses(document).items() if status == "fail"}


def test_a_healthy_service_is_verified(tmp_path: Path) -> None:
    before = our_cgroups()
    code, document = verify(tmp_path, "ballast", "--duration", "8s", BALLAST_MIB="40")
    assert (code, document["verdict"], document["command"]) == (0, "pass", "verify"), document
    assert tuple(check["id"] for check in document["checks"]) == KNOWN
    assert set(statuses(document).values()) == {"pass"}, statuses(document)
    run = document["run"]
    assert run["oom_kills"] == run["failures"] == 0
    assert 40 * MIB < run["peak_unreclaimable_bytes"] < 80 * MIB
    page = Path(document["report"]).read_text()
    assert "Checklist" in page
    assert "refuses bad input" in page
    assert our_cgroups() == before


@pytest.mark.parametrize(
    ("script", "options", "env", "expected"),
    [
        ("hog_at_start", (), {}, {"start", "startup-memory", "port", "ready", "headroom"}),
        ("import_error", (), {}, {"start", "port", "ready"}),
        ("crash", (), {}, {"start", "port", "ready"}),
        ("never_ready", (), {}, {"start", "port", "ready"}),
        ("crash", (), {"CRASH_AT": "request"}, {"alive", "timeouts"}),
        ("per_request", (), {}, {"oom", "alive", "timeouts", "headroom"}),
        ("forked_victim", (), {}, {"oom", "headroom"}),
        ("shm", (), {}, {"oom", "headroom"}),
        ("wrong_answer", (), {}, {"contract"}),
        ("fragile", (), {"FRAGILE": "die"}, {"bad-input", "alive"}),
        ("leak", ("--duration", "8s"), {"LEAK_KIB": "20"}, {"growth"}),
    ],
)
def test_each_fault_fails_its_own_checks(
    tmp_path: Path, script: str, options: tuple[str, ...], env: dict[str, str], expected: set[str]
) -> None:
    options = options or ("--duration", "2s")
    timeout = "2s" if script == "never_ready" else "10s"
    code, document = verify(tmp_path, script, *options, timeout=timeout, memory=256 if script == "leak" else 128, **env)
    found = failing(document)
    assert (code, document["verdict"]) == (1, "fail"), statuses(document)
    # A service that dies while it is asked fails what depends on it as well, or leaves it unsaid: never a pass.
    assert expected <= found | {key for key, status in statuses(document).items() if status == "inconclusive"}
    assert found <= expected | {"timeouts", "contract", "alive"}, found - expected


def test_a_file_larger_than_the_limit_is_no_fault(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "file_reader", "--duration", "3s", memory=64, FILE_MIB="128")
    assert (code, document["verdict"]) == (0, "pass"), document["checks"]
    assert document["run"]["peak_unreclaimable_bytes"] < 40 * MIB
    assert document["run"]["peak_charged_bytes"] > 60 * MIB


def test_a_cache_that_fills_is_no_leak(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "cache", "--duration", "8s", CACHE_MIB="8")
    assert statuses(document)["growth"] == "pass", document["checks"]
    assert code == 0


def test_what_is_not_wrong_but_should_be_known_is_a_warning(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "fragile", "--duration", "2s", FRAGILE="accept")
    assert (code, statuses(document)["bad-input"]) == (0, "warn")
    code, document = verify(tmp_path, "deaf", "--duration", "1s")
    assert (code, statuses(document)["end"]) == (0, "warn")


def test_a_service_that_hangs_is_told_from_one_that_is_slow(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "hang", "--duration", "2s")
    assert code == 1
    assert "timeouts" in failing(document)
    assert "oom" not in failing(document)


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

"""`verify` on services that have an OpenAPI document: what it says of each, and what it sends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, TARGETS, our_cgroups, run_cli, wait_until

SECRET = "sk_live_0123456789abcdefABCDEF"


def write_config(directory: Path, how: str, script: str = "documented", **request: object) -> None:
    keys = "\n".join(f"{key} = {json.dumps(value)}" for key, value in request.items() if key != "headers")
    headers = request.get("headers", {"X-Api-Key": SECRET})
    assert isinstance(headers, dict)
    (directory / "oomproof.toml").write_text(
        f"[target]\nname = 'api'\ncommand = ['{sys.executable}', '{script}.py']\ndirectory = '{TARGETS}'\nready = '/'\n"
        f"startup_timeout = '20s'\nmemory = '128MiB'\n[target.env]\nDOCUMENTED = '{how}'\nFASTAPI = '{how}'\n[request]\n{keys}\n"
        f"[request.headers]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in headers.items())
    )


def verify(directory: Path, how: str, script: str = "documented", **request: object) -> tuple[int, Any]:
    """(exit code, the JSON document) of one run."""
    write_config(directory, how, script, **request)
    done = run_cli("verify", "--json", "--sandbox", "cgroup", "--users", "2", "--duration", "1s", cwd=directory)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def check(document: Any, name: str = "openapi") -> dict[str, str]:
    found: dict[str, str] = next(check for check in document["checks"] if check["id"] == name)
    return found


def asked(document: Any) -> list[str]:
    """What the service says that it was asked after the load: everything from the document on."""
    lines = (Path(document["run"]["run_dir"]) / "service.log").read_text().splitlines()
    at = next((number for number, line in enumerate(lines) if "/openapi.json" in line), len(lines))
    return lines[at:]


def stored(document: Any) -> Any:
    return json.loads((Path(document["run"]["run_dir"]) / "run.json").read_text())["openapi"]


def test_a_service_that_keeps_its_document_is_asked_what_is_safe_and_passes(tmp_path: Path) -> None:
    before = our_cgroups()
    code, document = verify(tmp_path, "keeps")
    found = check(document)
    assert (code, found["status"], found["limit"]) == (0, "pass", "as documented"), found
    assert set(found) == {"id", "status", "measured", "limit", "message", "hint"}
    assert "2 that may change something were left out" in found["message"]
    result = stored(document)
    assert (result["operations"], result["chosen"], result["asked"], result["problems"]) == (4, 2, 2, [])
    lines = asked(document)
    assert any("POST /chat" in line and "the document's example" in line for line in lines)
    assert any(line.startswith("GET /items/") for line in lines)
    assert not [line for line in lines if line.startswith("DELETE") or "/orders" in line]
    assert all(f" {SECRET} " in line for line in lines if line.startswith("GET /items/"))
    assert check(document, "bad-input")["status"] == "pass"
    assert our_cgroups() == before


@pytest.mark.parametrize(
    ("how", "code", "status", "said"),
    [
        ("breaks", 1, "fail", "GET /items/{item_id}: /price is text of 30 characters; documented: number"),
        ("fails", 1, "fail", "POST /chat: status 500 to a valid request"),
        ("undocumented", 0, "warn", "GET /items/{item_id}: status 404; documented: 200"),
        ("slow", 0, "warn", "GET /items/{item_id}: no answer within 5 s"),
        ("stuck", 1, "fail", "it was not ready any more"),
        ("no-json", 0, "skipped", "no OpenAPI document at /openapi.json"),
        ("missing", 0, "skipped", "GET is answered with 404"),
    ],
)
def test_each_fault_is_told_with_its_weight(tmp_path: Path, how: str, code: int, status: str, said: str) -> None:
    exit_code, document = verify(tmp_path, how)
    found = check(document)
    assert (exit_code, found["status"]) == (code, status), document["checks"]
    assert said in found["message"], found
    others = {entry["id"] for entry in document["checks"] if entry["status"] == "fail"} - {"openapi"}
    # What hangs as a whole does not end on SIGTERM in time either; nothing else is blamed.
    assert not others, document["checks"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "there is no /openapi.json: GET is answered with 404"),
        ("no-json", "/openapi.json cannot be used"),
        ("no-paths", '/openapi.json cannot be used: paths: ["none"] is not of type "object"'),
    ],
)
def test_a_document_that_is_named_must_be_there_and_be_one(tmp_path: Path, how: str, said: str) -> None:
    code, document = verify(tmp_path, how, openapi="/openapi.json")
    assert (code, check(document)["status"]) == (1, "fail"), document["checks"]
    assert said in check(document)["message"]


def test_what_was_found_stands_on_the_page_and_what_is_secret_nowhere(tmp_path: Path) -> None:
    write_config(tmp_path, "breaks")
    done = run_cli("verify", "--sandbox", "cgroup", "--users", "2", "--duration", "1s", cwd=tmp_path)
    assert "Against its OpenAPI document" in done.stdout
    assert "sent GET /items/" in done.stdout
    run = next((tmp_path / "runs").iterdir())
    page = (run / "report.html").read_text()
    assert "answer breaks its schema" in page
    assert "/price is text of 30 characters; documented: number" in page
    for path in run.rglob("*"):
        if path.is_file() and path.name != "service.log":  # the service's own output is its own affair
            assert SECRET.encode() not in path.read_bytes(), path


def test_a_service_that_dies_of_a_documented_request_has_crashed(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "dies")
    assert code == 1
    assert document["run"]["outcome"] == "crashed"
    assert "after a request of its OpenAPI document" in document["run"]["stop_reason"]
    assert check(document, "alive")["status"] == check(document)["status"] == "fail"
    assert check(document, "bad-input")["status"] == "skipped"


def test_a_kill_for_memory_during_it_is_a_kill(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "hog")
    assert code == 1
    assert document["run"]["outcome"] == "oom-killed"
    assert check(document, "oom")["status"] == "fail"
    assert document["run"]["failures"] == 0, "the load itself was answered"


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    code, document = verify(tmp_path, "fails", openapi="")
    assert (code, check(document)["status"]) == (0, "skipped")
    assert asked(document) == []


def test_other_methods_are_asked_where_they_are_named(tmp_path: Path) -> None:
    _, document = verify(tmp_path, "keeps", openapi_methods=["GET", "DELETE"])
    assert any(line.startswith("DELETE /items/") for line in asked(document))
    assert not [line for line in asked(document) if "/orders" in line]
    assert stored(document)["asked"] == 3


def test_the_document_can_be_a_file_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "parts.yaml").write_text("Item: {type: object, required: [colour]}\n")
    (tmp_path / "api.yaml").write_text(
        "openapi: 3.0.3\ninfo: {title: api, version: '1'}\npaths:\n  /items/{id}:\n    get:\n"
        "      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]\n"
        "      responses: {'200': {description: '', content: {application/json: {schema: {$ref: 'parts.yaml#/Item'}}}}}\n"
    )
    code, document = verify(tmp_path, "missing", openapi="api.yaml")
    assert (code, check(document)["status"]) == (1, "fail"), document["checks"]
    assert 'the body lacks "colour"' in check(document)["message"]
    assert stored(document)["place"] == "api.yaml"


@pytest.mark.parametrize(("how", "status"), [("keeps", "pass"), ("lies", "fail")])
def test_the_document_that_fastapi_makes(tmp_path: Path, how: str, status: str) -> None:
    code, document = verify(tmp_path, how, script="with_fastapi")
    assert (code, check(document)["status"]) == (status == "fail", status), document["checks"]
    assert stored(document)["asked"] == 3


def test_without_schemathesis_it_is_skipped_or_warned_of(tmp_path: Path) -> None:
    """In an environment that has everything but schemathesis."""
    site = tmp_path / "site"
    site.mkdir()
    for entry in Path(pytest.__file__).parents[1].iterdir():
        if not entry.name.startswith("schemathesis"):
            (site / entry.name).symlink_to(entry)
    for place, status in ((None, "skipped"), ("/openapi.json", "warn")):
        write_config(tmp_path, "fails", **({} if place is None else {"openapi": place}))
        done = subprocess.run(
            [
                sys.executable, "-S", str(ROOT / "cli.py"), "verify", "--json", "--sandbox", "cgroup", "--users", "2",
                "--duration", "1s",
            ],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        found = check(json.loads(done.stdout))
        assert (done.returncode, found["status"]) == (0, status), found
        assert found["hint"] == "pip install oomproof[openapi]"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ended_in_the_middle_nothing_stays(tmp_path: Path, number: signal.Signals) -> None:
    before = our_cgroups()
    write_config(tmp_path, "slow")
    process = subprocess.Popen(
        [
            sys.executable, str(ROOT / "cli.py"), "verify", "--sandbox", "cgroup", "--users", "2", "--duration", "1s",
            "--out", str(tmp_path / "runs"),
        ],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "asking by its OpenAPI document" in line:
            break
    log = next((tmp_path / "runs").glob("*/*/service.log"))
    wait_until(lambda: "GET /items/" in log.read_text())
    checkers = _checkers_of(process.pid)
    assert len(checkers) == 1
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == (130 if number == signal.SIGINT else -signal.SIGKILL), rest
    assert "Traceback" not in rest
    wait_until(lambda: not any((Path("/proc") / pid).exists() for pid in checkers))
    wait_until(lambda: our_cgroups() == before)
    stored = json.loads((log.parent / "run.json").read_text())
    assert stored["outcome"] == "interrupted"


def _checkers_of(tool: int) -> list[str]:
    """The pids of the tool's children that check a document."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == str(tool) and b"profiling.measuring.openapi.asking" in line:
                found.append(entry.name)
    return found

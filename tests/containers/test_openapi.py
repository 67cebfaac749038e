"""`verify` reads the OpenAPI document of a service in a container, and asks it by it."""

from __future__ import annotations

import json
from pathlib import Path

from profiling.measuring.sandboxes.containers.engine import Engine
from tests.containers.services import SERVICES, traces
from tests.helpers import run_cli


def test_a_service_in_a_container(any_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "oomproof.toml").write_text(
        f"[target]\nname = 'documented'\nimage = '{SERVICES.name}'\n"
        f"command = ['python3', 'documented.py']\nready = '/'\nstartup_timeout = '20s'\nmemory = '128MiB'\n"
        f"[target.env]\nDOCUMENTED = 'keeps'\n"
    )
    before = traces(any_engine)
    address = {"CONTAINER_HOST": any_engine.address} if any_engine.name == "podman" else {}
    done = run_cli(
        *("verify", "--json", "--sandbox", any_engine.name, "--users", "2", "--duration", "1s"), cwd=tmp_path, **address
    )
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    check = next(check for check in document["checks"] if check["id"] == "openapi")
    assert (check["status"], check["measured"].partition(",")[0]) == ("pass", "2 operations"), (check, done.stderr)
    assert document["run"]["sandbox"] == any_engine.name
    log = (Path(document["run"]["run_dir"]) / "service.log").read_text()
    assert "GET /items/" in log
    assert "DELETE" not in log
    assert traces(any_engine) <= before

"""`compare --stop-early`: a variant that was killed once is not watched to the end of the load."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.helpers import TARGETS, run_cli

CONFIG = f"""[target]
name = "shop"
command = [{json.dumps(sys.executable)}, "respawning.py"]
directory = "{TARGETS}"
ready = "/"
memory = "48MiB"
[request.expect]
status = 200
[variants.victim.env]
[variants.again.env]
"""


def test_the_first_kill_ends_a_run_and_the_claim_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "oomproof.toml").write_text(CONFIG)
    words = ("compare", "--stop-early", "--no-profile", "--sandbox", "cgroup", "--users", "4", "--duration", "60s")
    done = run_cli(*words, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["claim"]) == (1, "candidate-failed"), done.stderr
    for run in document["runs"]:
        assert run["outcome"] == "oom-killed"
        assert run["stop_reason"].startswith("stopped after an OOM kill")

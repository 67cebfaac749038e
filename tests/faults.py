"""The services of tests/targets with one fault each, and what `verify` has to say of them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers import TARGETS


@dataclass(frozen=True)
class Fault:
    script: str
    tells: str
    """The check that is there for this fault, and fails; empty: there is none."""
    also: frozenset[str] = frozenset()
    """Checks that fail with it, or cannot be told after what happened; beside those of ALONG no other fails."""
    env: dict[str, str] = field(default_factory=dict)
    duration: str = "2s"
    memory_mib: int = 128
    startup_timeout: str = "10s"

    @property
    def name(self) -> str:
        return " ".join((self.script, *(f"{key}={value}" for key, value in self.env.items())))


ALONG = frozenset({"timeouts", "contract", "alive"})
"""What depends on a service that dies while it is asked."""

FAULTS = (
    Fault("hog_at_start", "startup-memory", frozenset({"start", "port", "ready", "headroom"})),
    Fault("import_error", "start", frozenset({"port", "ready"})),
    Fault("crash", "start", frozenset({"port", "ready"})),
    Fault("never_ready", "ready", frozenset({"start", "port"}), startup_timeout="2s"),
    Fault("crash", "alive", frozenset({"timeouts"}), env={"CRASH_AT": "request"}),
    Fault("per_request", "oom", frozenset({"alive", "timeouts", "headroom"})),
    Fault("forked_victim", "oom", frozenset({"headroom"})),
    Fault("shm", "oom", frozenset({"headroom"})),
    Fault("wrong_answer", "contract"),
    Fault("hang", "timeouts"),
    Fault("fragile", "bad-input", frozenset({"alive"}), env={"FRAGILE": "die"}),
    Fault("leak", "growth", env={"LEAK_KIB": "20"}, duration="8s", memory_mib=256),
)
SOUND = (
    Fault("ballast", "", env={"BALLAST_MIB": "40"}, duration="8s"),
    Fault("cache", "", env={"CACHE_MIB": "8"}, duration="8s"),
    Fault("file_reader", "", env={"FILE_MIB": "128"}, duration="3s", memory_mib=64),
)
"""With nothing to find; the last reads a file larger than its limit."""


def config(fault: Fault) -> str:
    """An oomproof.toml for it."""
    values = "\n".join(f"{key} = {json.dumps(value)}" for key, value in fault.env.items())
    return (
        f"[target]\nname = '{fault.script}'\ncommand = ['{sys.executable}', '{fault.script}.py']\n"
        f"directory = '{Path(TARGETS)}'\nready = '/'\nstartup_timeout = '{fault.startup_timeout}'\n"
        f"memory = '{fault.memory_mib}MiB'\n[target.env]\n{values}\n"
        "[request.expect]\njson_schema = { type = 'object', required = ['response'] }\n"
        f"[load]\nusers = 4\nduration = '{fault.duration}'\n"
    )


def is_found(fault: Fault, statuses: dict[str, str]) -> bool:
    """Whether the checks, by id, say what is wrong with it, and nothing else."""
    failing = {key for key, status in statuses.items() if status == "fail"}
    unsaid = {key for key, status in statuses.items() if status == "inconclusive"}
    if not fault.tells:
        return not failing | unsaid
    expected = fault.also | {fault.tells}
    return fault.tells in failing and expected <= failing | unsaid and failing <= expected | ALONG

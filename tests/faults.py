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
    fails: frozenset[str]
    """Checks that fail, or that cannot be told after what happened; and no others but those of ALONG."""
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
    Fault("hog_at_start", frozenset({"start", "startup-memory", "port", "ready", "headroom"})),
    Fault("import_error", frozenset({"start", "port", "ready"})),
    Fault("crash", frozenset({"start", "port", "ready"})),
    Fault("never_ready", frozenset({"start", "port", "ready"}), startup_timeout="2s"),
    Fault("crash", frozenset({"alive", "timeouts"}), {"CRASH_AT": "request"}),
    Fault("per_request", frozenset({"oom", "alive", "timeouts", "headroom"})),
    Fault("forked_victim", frozenset({"oom", "headroom"})),
    Fault("shm", frozenset({"oom", "headroom"})),
    Fault("wrong_answer", frozenset({"contract"})),
    Fault("hang", frozenset({"timeouts"})),
    Fault("fragile", frozenset({"bad-input", "alive"}), {"FRAGILE": "die"}),
    Fault("leak", frozenset({"growth"}), {"LEAK_KIB": "20"}, duration="8s", memory_mib=256),
)
SOUND = (
    Fault("ballast", frozenset(), {"BALLAST_MIB": "40"}, duration="8s"),
    Fault("cache", frozenset(), {"CACHE_MIB": "8"}, duration="8s"),
    Fault("file_reader", frozenset(), {"FILE_MIB": "128"}, duration="3s", memory_mib=64),
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
    if not fault.fails:
        return not failing | unsaid
    return bool(failing & fault.fails) and fault.fails <= failing | unsaid and failing <= fault.fails | ALONG

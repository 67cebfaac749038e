"""Records small real programs in real cgroups."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtests.plan import RequestTemplate
from profiling.experiments import imports as experiment
from profiling.experiments.imports import Imports
from profiling.import_costs import ImportCosts, ModuleCost
from profiling.measuring.capture import LAUNCHER
from profiling.measuring.imports.start import ImportPlan, open_starter
from profiling.measuring.sandboxes.cgroup import CgroupSandbox
from profiling.values import Limits, Service, Target
from tests.helpers import MIB, Recorder
from tests.profiling.capture.programs import SCRIPTS, alone, write

NOISE = 128 * 1024

LAZY = {
    "app": "import big\nfrom used import Base\nimport shares\nimport numbers as n\nclass Own(Base):\n    pass",
    "big": "import shared\nheld = bytearray(40 << 20)",
    "used": "class Base:\n    held = bytearray(15 << 20)",
    "shares": "import shared",
    "shared": "held = bytearray(25 << 20)",
}


def program(directory: Path, **files: str) -> Path:
    """Modules of a program; `a__b="..."` is the module a.b. Packages have an `__init__` only where one is given."""
    for name, text in files.items():
        path = re.sub(r"__(?!(?:init|main)__)(?<!__init__)(?<!__main__)", "/", name)
        write(directory / f"{path}.py", text)
    return directory


def record(
    directory: Path,
    *modules: str,
    command: Sequence[str] = (),
    repeats: int = 1,
    cold: bool = False,
    lazy: int = 0,
    walk: bool = False,
    memory_mib: int = 1024,
    timeout_s: float = 30.0,
    **env: str,
) -> ImportCosts:
    """What the imports of `modules`, or of a command that runs in `directory`, cost."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    service = Service(
        command=tuple(command) or (sys.executable, "-c", "pass"),
        directory=str(directory),
        ready="/",
        env={"PATH": path, **env},
    )
    plan = ImportPlan(
        name="program",
        target=Target(name="program", services=(service,), request=RequestTemplate(), reads=(str(directory),)),
        modules=modules,
        limits=Limits(memory_bytes=memory_mib * MIB),
        timeout_s=timeout_s,
        walk=walk,
    )
    place = Path(tempfile.mkdtemp(dir=directory.parent))
    with contextlib.closing(CgroupSandbox()) as sandbox:
        starter = open_starter(plan, sandbox, place)
        run = experiment.described(plan, starter, sandbox, ())
        policy = Imports(repeats=repeats, cold=cold, lazy=lazy, modules=modules)
        run, _ = experiment.make(policy, starter, place, run, Recorder())
    assert not list(place.glob("*/*.pyc")), "what the recorder needs is gone after each start"
    return experiment.load_costs(place, experiment.load(place))


def module(costs: ImportCosts, name: str) -> ModuleCost:
    found = [module for module in costs.modules if module.name == name]
    assert len(found) == 1, [module.name for module in costs.modules]
    return found[0]


def holds(measured: int, mib: float) -> bool:
    """Whether a figure is what was planted, to 2 % or 128 KiB."""
    return abs(measured - mib * MIB) <= max(0.02 * mib * MIB, NOISE)


def under_recorder(directory: Path, lazy: str) -> subprocess.CompletedProcess[str]:
    """The recorder alone, without a sandbox; `lazy` as its option."""
    recorder = LAUNCHER.parents[1] / "imports" / "recorder.py"
    compiled = f"compile(open({str(recorder)!r}).read(), '<frozen importlib._bootstrap>', 'exec')"
    code = f"import marshal; print(marshal.dumps({compiled}).hex())"
    (directory / "recorder.bin").write_bytes(bytes.fromhex(alone([sys.executable, "-c", code], directory).stdout))
    command = [sys.executable, str(LAUNCHER), "--recorder", "recorder.bin", "--output", "out.tsv"]
    return alone([*command, *(["--lazy", lazy] if lazy else []), "--", "app.py"], directory)

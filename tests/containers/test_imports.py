"""Imports recorded inside an image, by its own interpreter."""

from __future__ import annotations

from pathlib import Path

from profiling.experiments import imports as experiment
from profiling.experiments.imports import Imports
from profiling.import_costs import ImportCosts
from profiling.measuring.imports.start import ImportPlan, open_starter
from profiling.measuring.sandboxes.containers.engine import Engine
from profiling.values import Limits, Target
from tests.containers.services import contained, opened
from tests.helpers import MIB, Recorder


def record(engine: Engine, target: Target, directory: Path, *modules: str) -> ImportCosts:
    with opened(engine) as sandbox:
        plan = ImportPlan(
            name="contained", target=target, modules=modules, limits=Limits(memory_bytes=512 * MIB), timeout_s=30.0
        )
        starter = open_starter(plan, sandbox, directory)
        run = experiment.described(plan, starter, sandbox, ())
        run, _ = experiment.make(Imports(repeats=1, cold=False, lazy=1), starter, directory, run, Recorder())
        return experiment.load_costs(directory, run)


def test_a_service_in_a_container_is_recorded_until_it_is_ready(any_engine: Engine, tmp_path: Path) -> None:
    found = record(any_engine, contained("ballast", BALLAST_MIB="20"), tmp_path)
    assert (found.status, found.complete) == ("pass", True), found
    serving = next(module for module in found.modules if module.name == "serving")
    assert serving.line
    assert serving.line.startswith("ballast.py:"), "relative to where it runs in there"
    assert serving.anon_bytes > 0
    assert found.total_anon_bytes < 20 * MIB, "the ballast is no import"


def test_modules_are_imported_by_the_images_interpreter(any_engine: Engine, tmp_path: Path) -> None:
    found = record(any_engine, contained("ballast"), tmp_path, "http.server", "serving")
    assert found.status == "pass", found
    assert {"http.server", "serving", "socketserver"} <= {module.name for module in found.modules}
    assert found.total_anon_bytes > MIB

"""What imports cost, as text, JSON, a page, and folded stacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from profiling.import_costs import ImportCosts, ImportsRun
from profiling.values import SCHEMA_VERSION
from reports.imports.text import render_text
from reports.text import terminal
from reports.words import REPORT_NAME


def report_path(directory: Path) -> str:
    """Absolute path of the page."""
    return str(directory.resolve() / REPORT_NAME)


def render_json(run: ImportsRun, costs: ImportCosts, directory: Path, depth: int) -> str:
    """The document that `imports --json` prints: sizes in bytes, unmeasured null."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": "imports",
        **{name: getattr(costs, name) for name in ImportCosts.__struct_fields__ if name != "modules"},
        "interpreter": run.interpreter,
        "program": run.command,
        "directory": run.directory,
        "sandbox": run.sandbox,
        "memory_limit_bytes": run.limit_bytes,
        "modules": costs.modules,
        "run_dir": str(directory.resolve()),
        "report": report_path(directory),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _text(run: ImportsRun, costs: ImportCosts, directory: Path, depth: int) -> str:
    width, colour = terminal(sys.stdout, os.environ)
    return render_text(run, costs, report_path(directory), depth=depth, width=width, colour=colour)


def _html(run: ImportsRun, costs: ImportCosts, directory: Path, depth: int) -> str:
    from reports.imports.html import render_html

    return render_html(run, costs)


RENDERERS: dict[str, Callable[[ImportsRun, ImportCosts, Path, int], str]] = {
    "text": _text,
    "json": render_json,
    "html": _html,
}

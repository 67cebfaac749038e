"""What changed between two captures, as text, JSON, a page, and folded stacks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from profiling.differences import Difference
from reports.diff.text import render_text
from reports.documents import Differed
from reports.text import terminal
from reports.words import REPORT_NAME

FOLDED_NAME = "diff.folded"


def report_path(directory: Path) -> str:
    """Absolute path of the page."""
    return str(directory.resolve() / REPORT_NAME)


def render_json(found: Difference, directory: Path) -> str:
    """The document that `diff --json` prints: sizes in bytes."""
    document = Differed(
        **{name: getattr(found, name) for name in Difference.__struct_fields__},
        before_bytes=found.before.total_bytes,
        after_bytes=found.after.total_bytes,
        folded=str(directory.resolve() / FOLDED_NAME),
        flamegraph=report_path(directory),
        run_dir=str(directory.resolve()),
        report=report_path(directory),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def show_text(found: Difference, directory: Path) -> str:
    """For the terminal or the pipe that is there."""
    width, colour = terminal(sys.stdout, os.environ)
    return render_text(found, report_path(directory), width=width, colour=colour)

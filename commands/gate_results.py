"""What a gate leaves beside its report: Markdown, JUnit XML, a job's summary, annotations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from profiling.errors import OutputError
from profiling.judging.report import Report
from profiling.measuring import store
from reports.gate_ci import render_junit, render_markdown, workflow_commands

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Files = dict[Path, Callable[[Report], str]]


def file_options(function: Decorated) -> Decorated:
    for option in (
        click.option("--junit", metavar="FILE", help="Write the result as JUnit XML."),
        click.option(
            "--markdown",
            metavar="FILE",
            help="Write the result as Markdown: one sentence, one table, one picture, the lines.",
        ),
    ):
        function = option(function)
    return function


def openable(markdown: str | None, junit: str | None) -> Files:
    """The files that were asked for, proved writable before anything long begins. Raises OutputError."""
    asked = {"--markdown": (markdown, render_markdown), "--junit": (junit, render_junit)}
    files: Files = {}
    for option, (name, render) in asked.items():
        if name is None:
            continue
        try:
            with Path(name).open("ab"):
                pass
        except OSError as error:
            raise OutputError(
                f"{name} cannot be written to ({(error.strerror or str(error)).lower()})",
                f"name another file with {option}",
            ) from error
        files[Path(name)] = render
    return files


def write(report: Report, files: Files) -> None:
    """Write them; on GitHub append to the job's summary and annotate, too. Raises OutputError."""
    for path, render in files.items():
        store.write_atomically(path, render(report).encode("utf-8", "replace"))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with contextlib.suppress(OSError), Path(summary).open("ab") as stream:  # of no use is no failure
            stream.write(render_markdown(report).encode("utf-8", "replace"))
    if os.environ.get("GITHUB_ACTIONS"):
        for line in workflow_commands(report):
            click.echo(line, err=True)

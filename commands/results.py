"""What a measuring command leaves: report files, one document or a page of text on stdout, an exit code."""

from __future__ import annotations

from pathlib import Path

import click

from profiling.errors import ExitCode
from profiling.judging.report import Report
from profiling.measuring import store
from reports.autopsy.words import PAGE_NAME
from reports.export import load_csv, series_csv
from reports.render import RENDERERS

REPORT_FILE = "report.html"
_EXIT_OF_STATUS = {"pass": ExitCode.OK, "fail": ExitCode.FAILED, "inconclusive": ExitCode.INCONCLUSIVE}


def write_files(report: Report) -> Path:
    """Write report.html, result.json, curves.png, each run's series as CSV and, of OOM kills, autopsy.html. Raises OutputError."""
    from reports.autopsy.html import render_html
    from reports.plots import curves_png

    directory = Path(report.directory)
    store.write_atomically(directory / REPORT_FILE, _bytes(RENDERERS["html"](report)))
    store.write_atomically(directory / "result.json", _bytes(RENDERERS["json"](report)))
    store.write_atomically(directory / "curves.png", curves_png(report))
    write_csv(report)
    if report.autopsies:
        store.write_atomically(directory / PAGE_NAME, render_html(report).encode())
    return directory / REPORT_FILE


def write_csv(report: Report) -> list[Path]:
    """Each run's memory and load series as CSV in the run's own directory. Raises OutputError."""
    written = []
    for run in report.runs:
        for name, text in (("memory.csv", series_csv(run)), ("load.csv", load_csv(run))):
            path = Path(run.summary.run_dir) / name
            store.write_atomically(path, text.encode())
            written.append(path)
    return written


def show(report: Report, as_json: bool) -> None:
    """The result on stdout: one JSON document, or text that ends with the directory and the report's path."""
    click.echo(RENDERERS["json" if as_json else "text"](report), nl=False)


def exit_code(report: Report) -> ExitCode:
    return _EXIT_OF_STATUS[report.verdict.status]


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data

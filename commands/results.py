"""What a measuring command leaves: report files, one document or a page of text on stdout, an exit code."""

from __future__ import annotations

import time
from pathlib import Path

import click

from profiling.errors import ExitCode, OutputError
from profiling.experiments import record
from profiling.experiments.record import Experiment
from profiling.judging.report import Report
from profiling.judging.stacks.graph import flame_graph
from profiling.judging.stacks.naming import by_process
from profiling.measuring import store, stored_stacks
from profiling.measuring.events import Observer, PhaseStarted
from reports.autopsy.words import PAGE_NAME
from reports.export import load_csv, series_csv
from reports.render import RENDERERS
from reports.words import processes_page

REPORT_FILE = "report.html"
_EXIT_OF_STATUS = {"pass": ExitCode.OK, "fail": ExitCode.FAILED, "inconclusive": ExitCode.INCONCLUSIVE}


def finish(directory: Path, experiment: Experiment, started_s: float, observer: Observer, run: str = "") -> Report:
    """The report of an experiment whose runs are made, with all its files. `started_s`: when it began, on `time.monotonic()`.
    Raises OutputError, DataError."""
    observer.notify(PhaseStarted(run=run, phase="report"))
    experiment = record.with_elapsed(experiment, time.monotonic() - started_s)
    record.save(directory, experiment)
    report = record.report(directory, experiment)
    write_files(report)
    return report


def write_files(report: Report) -> Path:
    """Write report.html, result.json, curves.png, each run's series as CSV and, of OOM kills, autopsy.html. Raises OutputError."""
    from reports.autopsy.html import render_html
    from reports.plots import curves_png

    directory = Path(report.directory)
    store.write_atomically(directory / REPORT_FILE, _bytes(RENDERERS["html"](report)))
    store.write_atomically(directory / "result.json", _bytes(RENDERERS["json"](report)))
    store.write_atomically(directory / "curves.png", curves_png(report))
    write_csv(report)
    _write_processes(report)
    if report.autopsies:
        store.write_atomically(directory / PAGE_NAME, render_html(report).encode())
    return directory / REPORT_FILE


def _write_processes(report: Report) -> None:
    """The page of each memray pass with several processes. Raises OutputError, DataError."""
    from reports.flame.processes import render_processes

    for profile in report.profiles:
        if profile.processes is not None:
            file = Path(report.directory, profile.processes)
            stacks = stored_stacks.load(file)
            page = render_processes(stacks, flame_graph(by_process(stacks)))
            store.write_atomically(Path(processes_page(str(file))), page.encode("utf-8", "replace"))


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


def openable(name: str | None, option: str) -> Path | None:
    """The path that somebody gave with `option`, proved writable before anything long begins. Raises OutputError."""
    if name is None:
        return None
    try:
        with Path(name).open("ab"):
            pass
    except OSError as error:
        raise OutputError(
            f"{name} cannot be written to ({(error.strerror or str(error)).lower()})",
            f"name another file with {option}",
        ) from error
    return Path(name)


def exit_code(report: Report) -> ExitCode:
    return _EXIT_OF_STATUS[report.verdict.status]


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data

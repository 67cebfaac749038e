"""`init`: a commented config file for the service in this directory."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from commands.options import json_option
from profiling import config
from profiling.detecting.findings import Findings, Found, Missing
from profiling.detecting.look import look
from profiling.detecting.plain import one_line, toml
from profiling.detecting.text import config_text
from profiling.errors import ConfigError, OutputError
from profiling.values import SCHEMA_VERSION, Value

_NEXT = "oomproof verify"


class Written(Value, frozen=True, kw_only=True):
    """The document of `init --json`."""

    schema_version: int = SCHEMA_VERSION
    command: str = "init"
    path: str | None
    """The file that was written; null: it was printed only."""
    found: tuple[Found, ...]
    """Values with where each comes from; `sure` is false for a guess."""
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    text: str
    """The file's text."""
    next: str = _NEXT


@click.command()
@click.argument("destination", required=False, metavar="[-]", type=click.Choice(["-"]))
@click.option("--stdout", is_flag=True, help="Print the file instead of writing it; the same as a - for an argument.")
@json_option
def init(destination: str | None, stdout: bool, as_json: bool) -> None:
    """Write oomproof.toml for the service in this directory, after a look at it.

    Looked at are deploy manifests, Dockerfile, Procfile, pyproject.toml, requirements.txt, package.json, and the source
    for its application, its health check and its routes. Nothing of it is run. Each value stands there with where it
    comes from; a guess is marked CHECK. What looks like a secret is never written.

    An oomproof.toml, or a [tool.oomproof] in pyproject.toml, is never overwritten.

    Exit code: 0 written, 4 there is one already, or it cannot be written.
    """
    here = _here()
    path = here / config.FILE_NAME
    printed = stdout or destination == "-"
    if not printed:
        _refuse_to_overwrite(here)
    findings, text = _findings(path)
    if not printed:
        _write(path, text)
    if as_json:
        document = Written(
            path=None if printed else str(path),
            found=findings.found,
            missing=findings.missing,
            notes=findings.notes,
            text=text,
        )
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    elif printed:
        click.echo(text, nl=False)
    _tell(findings, None if printed else path, to_stderr=as_json or printed)


def _here() -> Path:
    """The working directory. Raises OutputError where it is gone."""
    try:
        return Path.cwd()
    except OSError as error:
        raise OutputError("the working directory is not there any more", "go to the service's directory") from error


def _findings(path: Path) -> tuple[Findings, str]:
    """What was found and the file's text, which the config reader accepts. A manifest with which it would not is passed over."""
    passed_over: dict[str, str] = {}
    while True:
        findings = look(path.parent, without=tuple(passed_over))
        notes = (*findings.notes, *(one_line(f"{name} is not used: {why}") for name, why in passed_over.items()))
        findings = msgspec.structs.replace(findings, notes=notes)
        text = config_text(findings)
        try:
            config.of_text(text, path)
        except ConfigError as error:
            manifest = findings.value("target.manifest")
            if manifest is None or manifest in passed_over:
                raise
            passed_over[manifest] = error.message.removeprefix(f"{path}: ")
        else:
            return findings, text


def _refuse_to_overwrite(here: Path) -> None:
    """Raises OutputError where there is a config file already. A pyproject.toml that is broken holds none that counts."""
    if (here / config.FILE_NAME).is_symlink() or (here / config.FILE_NAME).exists():
        _exists(here / config.FILE_NAME, "")
    found = None
    with contextlib.suppress(ConfigError):
        found = config.find(here)
    if found:
        _exists(found, " has a [tool.oomproof] table")


def _exists(path: Path, what: str) -> None:
    raise OutputError(
        f"{path}{what or ' is there already'}, and nothing is overwritten",
        "`oomproof init -` prints what would be written; take what you want of it",
    )


def _write(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all. Raises OutputError."""
    made = False
    try:
        with path.open("xb") as file:
            made = True
            file.write(text.encode())
    except FileExistsError:
        _exists(path, "")
    except BaseException as error:
        if made:
            with contextlib.suppress(OSError):
                path.unlink()
        if not isinstance(error, OSError):
            raise
        raise OutputError(
            f"{path} could not be written ({(error.strerror or str(error)).lower()})",
            "make room or get the right to write there; `oomproof init -` prints it instead",
        ) from error


def _tell(findings: Findings, path: Path | None, *, to_stderr: bool) -> None:
    """What was found, what is to be checked, and the next command."""

    def say(line: str = "") -> None:
        click.echo(line, err=to_stderr)

    if path:
        say(f"wrote {path}")
    for found in _main(findings.found):
        sign = click.style("✓", fg="green") if found.sure else click.style("?", fg="yellow")
        say(f"  {sign} {found.key:<18} {one_line(_shown(found.value), 70)}  ({one_line(found.source, 90)})")
    for note in findings.notes:
        say(f"  {click.style('!', fg='yellow')} {note}")
    missing = [entry.key for entry in findings.missing]
    guessed = [found.key for found in findings.assumed if found.key not in missing]
    if missing:
        say(f"to fill in: {', '.join(missing)}: {findings.missing[0].why}")
    if guessed:
        say(f"to check:   {', '.join(guessed)}: marked CHECK in the file")
    say(f"next:       {_NEXT}")


def _main(found: Sequence[Found]) -> list[Found]:
    return [entry for entry in found if not entry.key.startswith(("target.env.", "target.build_args."))]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else toml(value)

"""The `oomproof` command line: the group, and the map from what went wrong to an exit code."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence

import click

from profiling.errors import ExitCode, OomproofError
from profiling.measuring.environment import tool_version
from profiling.measuring.interrupts import ignore_further, interruptible

_COMMANDS = {
    "baseline": "`baseline update FILE`: what the service needs now, for a later gate.",
    "capacity": "The largest load that passes under the limits, and what limits it.",
    "compare": "Run variants under the same limit and load; say which survive.",
    "diff": "What changed in memory between two captures or runs, as a flame graph.",
    "doctor": "What this machine can do, and what mends what is missing.",
    "gate": "CI: whether a change needs more memory than its base, by runs of both.",
    "imports": "What each import costs, as a tree, and what a later one would save.",
    "init": "Write a commented config file for the service in this directory.",
    "levers": "Which settings save memory here, what each costs, and the best of them together.",
    "profile": "A memray pass: flame graphs, and the lines that hold the memory.",
    "report": "Render again from what is on disk.",
    "verify": "Before the deploy: one service under its limits, a checklist, pass or fail.",
    "load-worker": "Send a part of the load that another machine's measurement asks for.",
    "observe": "The memory of what runs already: a container, a cgroup or a process, with or without load.",
    "self-check": "What a gate on this machine can detect, by regressions of known size.",
    "size": "The smallest memory limit that passes, with a failure on its other side, and the smallest plans.",
    "serve": "The reference backend under a memory limit, in the foreground.",
}

_OF_A_COMMAND = [[name] for name in ("capacity", "compare", "imports", "levers", "profile", "serve", "size", "verify")]
"""Those that take a service's command after --, or say themselves why not."""

_EXIT_CODES = """\b
Exit codes:
  0    the candidate survived; verified; no regression; both sides of a limit are known
  1    killed, crashed, a failed check, over budget, regressed, grown by more than allowed, passes at no limit
  2    the command line or a config file is wrong
  3    inconclusive: too little data, or the load was not what was asked for
  4    the run could not be made
  130  interrupted"""


class _Commands(click.Group):
    """Loads a command's module when it is asked for: `--help` and `doctor` need no NumPy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"commands.{module}"), module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(
    cls=_Commands,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(tool_version(), prog_name="oomproof")
def oomproof() -> None:
    """Prove, against the kernel's own memory limit, whether a web service fits in N MB under load."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers with its exit code. The only place that prints an error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    as_json = "--json" in words
    try:
        with interruptible():
            if command and words[:1] not in _OF_A_COMMAND:
                raise click.UsageError(f"{' '.join(words[:1])} takes no command after --")
            return int(oomproof(words, standalone_mode=False, obj=tuple(command)) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        usage = error.ctx.command_path if error.ctx else "oomproof"
        return _failed("usage", error.format_message(), f"see: {usage} --help", ExitCode.USAGE, as_json)
    except OomproofError as error:
        if error.exit_code is ExitCode.INTERRUPTED:
            ignore_further()
        return _failed(error.kind, error.message, error.hint, error.exit_code, as_json)
    except (KeyboardInterrupt, click.Abort):
        ignore_further()
        return _failed("interrupted", "interrupted", "start it again", ExitCode.INTERRUPTED, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read us has gone; do not fail again at exit
        return ExitCode.CANNOT_RUN
    except Exception as error:  # a defect of ours must not read as a verdict, which exit status 1 would
        traceback.print_exc()
        message = f"a defect of oomproof: {type(error).__name__}: {error}"
        return _failed("internal", message, "please report it with the lines above", ExitCode.CANNOT_RUN, as_json)


def _failed(kind: str, message: str, hint: str, code: ExitCode, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": {"kind": kind, "message": message, "hint": hint}}, indent=2))
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    click.echo(f" {click.style('hint:', fg='cyan')} {hint}", err=True)
    return code


def entry() -> None:
    """The `oomproof` script."""
    sys.exit(main())


if __name__ == "__main__":
    sys.exit(main())

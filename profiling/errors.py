"""What can go wrong, and the exit code that each kind has.

    OomproofError                message: what happened; hint: what to do
     +- ConfigError          2   a config file or a value on the command line is wrong
     |   +- ManifestError         a deploy manifest is wrong, or not understood
     +- CannotRunError       4   the run could not be made
     |   +- NoLimitError         no memory limit can be enforced here
     |   +- PortTakenError       the port that was asked for is in use
     |   +- CommandNotFoundError the target's command does not exist
     |   +- OutputError          a place to write to is not writable, or the disk is full
     |   +- EngineError          no container engine answers, or it failed
     |   +- ImageError           a container image cannot be had: not built, not pulled
     |   +- SetupError           something the target needs (a model, a package) is missing
     |   +- LoadFailedError      the load generator could not be started
     |   +- SamplerError         the sampler died: the memory curve has a hole
     |   +- DataError            a stored run cannot be read
     |   +- RevisionError        a revision cannot be had: no repository, no such commit, a shallow clone
     +- InterruptedRunError 130  Ctrl-C or SIGTERM; what was measured is saved

An OOM kill is no error: it is `Outcome.OOM_KILLED`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process says when it ends; scripts and CI jobs rely on these numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    CANNOT_RUN = 4
    INTERRUPTED = 130


class OomproofError(Exception):
    """An error that is shown to the user as two lines: what happened, and what to do."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[ExitCode] = ExitCode.CANNOT_RUN

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(OomproofError):
    kind = "config"
    exit_code = ExitCode.USAGE


class ManifestError(ConfigError):
    kind = "manifest"


class CannotRunError(OomproofError):
    kind = "cannot-run"


class NoLimitError(CannotRunError):
    kind = "no-limit"


class PortTakenError(CannotRunError):
    kind = "port-taken"


class CommandNotFoundError(CannotRunError):
    kind = "command-not-found"


class OutputError(CannotRunError):
    kind = "output"


class EngineError(CannotRunError):
    kind = "engine"


class ImageError(CannotRunError):
    kind = "image"


class SetupError(CannotRunError):
    kind = "setup"


class LoadFailedError(CannotRunError):
    kind = "load"


class SamplerError(CannotRunError):
    kind = "sampler"


class DataError(CannotRunError):
    kind = "data"


class RevisionError(CannotRunError):
    kind = "revision"


class InterruptedRunError(OomproofError):
    kind = "interrupted"
    exit_code = ExitCode.INTERRUPTED

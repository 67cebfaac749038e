"""From options and a config file to what is to be measured."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from loadtests.plan import LoadPlan
from profiling import config, reference
from profiling.errors import ConfigError
from profiling.manifests.service import ManifestService
from profiling.units import format_bytes
from profiling.values import Budget, Limits, Target, Variant

_DEFAULT_USERS = 8
_DEFAULT_DURATION_S = 20.0


Said = TypeVar("Said", bound=int | float | None)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One target with its limits, its load, its variants and its budget."""

    target: Target
    limits: Limits
    load: LoadPlan
    variants: tuple[Variant, ...]
    budget: Budget
    port: int | None
    notes: tuple[str, ...] = ()
    """What a reader should know of where these values came from."""

    def variant(self, name: str) -> Variant:
        return next(variant for variant in self.variants if variant.name == name)


def make_job(
    *,
    target: str | None,
    command: Sequence[str],
    checkpoint: str | None,
    memory: int | None,
    cpus: float | None,
    port: int | None,
    build_arg: Sequence[tuple[str, str]] = (),
    users: int | None = None,
    duration: float | None = None,
    rate: float | None = None,
) -> Job:
    """What the options say, over what the config file says, over the defaults. Raises ConfigError."""
    said = _config(target, command)
    if said is None:
        measured = reference.target(checkpoint or reference.CHECKPOINTS[0])
        said = config.Config(
            target=measured,
            variants=reference.variants(),
            budget=Budget(),
            memory_bytes=reference.DEFAULT_MEMORY_BYTES,
            cpus=None,
            users=None,
            duration_s=None,
            rate=None,
        )
    elif checkpoint is not None:
        raise ConfigError("--checkpoint is for the reference target only", "leave it out")
    memory_bytes = _first(memory, said.memory_bytes)
    if memory_bytes is None:
        raise ConfigError(
            "no memory limit is given",
            "say --memory 512MiB, or set target.memory or target.manifest in the config file",
        )
    return Job(
        target=_with_build_args(said.target, build_arg),
        limits=Limits(
            memory_bytes=memory_bytes - memory_bytes % 4096, cpus=_first(cpus, said.cpus), oom_group=said.oom_group
        ),
        load=_load(_first(users, said.users), _first(duration, said.duration_s), _first(rate, said.rate)),
        variants=said.variants,
        budget=said.budget,
        notes=_notes(said.manifest),
        port=port,
    )


def _notes(manifest: ManifestService | None) -> tuple[str, ...]:
    """What was taken from a manifest, what was left out, and what the platform does otherwise."""
    if manifest is None:
        return ()
    limit = "no memory limit" if manifest.memory_bytes is None else format_bytes(manifest.memory_bytes)
    notes = [f"{manifest.platform}: {manifest.name}: {limit} ({manifest.where or 'nothing said'})", *manifest.notes]
    if manifest.left_out_env:
        notes.append(f"not in the manifest, so not set: {', '.join(manifest.left_out_env)}; set them in [target.env]")
    return tuple(notes)


def _with_build_args(target: Target, arguments: Sequence[tuple[str, str]]) -> Target:
    """The target with `--build-arg`s over its own. Raises ConfigError where nothing is built."""
    image = target.service.image
    if not arguments:
        return target
    if image is None or image.build is None:
        raise ConfigError("--build-arg: the target is not built from a Dockerfile", "leave it out")
    build = msgspec.structs.replace(image.build, args={**image.build.args, **dict(arguments)})
    service = msgspec.structs.replace(target.service, image=msgspec.structs.replace(image, build=build))
    return msgspec.structs.replace(target, services=(service,))


def _first(said: Said | None, otherwise: Said) -> Said:
    """What was said, even 0, which is then refused rather than replaced."""
    return otherwise if said is None else said


def _load(users: int | None, duration_s: float | None, rate: float | None) -> LoadPlan:
    try:
        return LoadPlan.constant(_first(users, _DEFAULT_USERS), _first(duration_s, _DEFAULT_DURATION_S), rate=rate)
    except ValueError as error:
        raise ConfigError(
            f"load: {error}", "correct --users, --duration or --rate, or [load] in the config file"
        ) from error


def _config(target: str | None, command: Sequence[str]) -> config.Config | None:
    """The config that is meant; None for the reference target."""
    if command:
        if target is not None:
            raise ConfigError("both --target and a command after -- are given", "leave one of them out")
        return config.of_command(command, Path.cwd())
    if target == reference.NAME:
        return None
    if target is not None:
        if not Path(target).is_file():
            raise ConfigError(
                f"--target {target}: no such file, and no built-in target has that name",
                f"name a config file, or the built-in target: {reference.NAME}",
            )
        return config.read(Path(target))
    found = config.find(Path.cwd())
    return config.read(found) if found else None


def choose_variants(job: Job, names: Sequence[str]) -> tuple[Variant, ...]:
    """The variants to compare, in order; the last is the candidate. Raises click.UsageError for an unknown name."""
    if not job.variants:
        if names:
            raise click.UsageError(f"the target {job.target.name!r} has no variants; add [variants.NAME.env] tables")
        return (Variant(name=job.target.name),)
    known = {variant.name: variant for variant in job.variants}
    if not names:
        return job.variants[:2] if job.target.name == reference.NAME else job.variants
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise click.UsageError(f"unknown variant {name!r}. {hint}Known: {', '.join(known)}")
    if len(set(names)) != len(names):
        raise click.UsageError("each variant can be named once")
    return tuple(known[name] for name in names)

"""From options and a config file to what is to be measured."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from commands.options import DURATION_S, GATE_DURATION_S
from loadtests.plan import LoadPlan
from loadtests.workers import Workers
from profiling import config, reference
from profiling.errors import ConfigError
from profiling.manifests.catalogue import Plan
from profiling.manifests.service import ManifestService
from profiling.units import format_bytes
from profiling.values import Budget, Limits, Service, Target, Variant

_DEFAULT_USERS = 8


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
    memory_given: bool = True
    """The limit was said by somebody or a manifest."""
    plans: tuple[Plan, ...] = ()
    """The config file's own, beside those of the catalogue."""

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
    otherwise_bytes: int | None = None,
    workers: Workers | None = None,
    default_duration_s: float = DURATION_S,
) -> Job:
    """What the options say, over what the config file says, over the defaults. `otherwise_bytes`: the limit of a single
    service for which nobody says one; None: that is an error. Raises ConfigError."""
    said = config_of(target, command)
    if said is None:
        measured = reference.target(checkpoint or reference.CHECKPOINTS[0], name=target or reference.NAME)
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
        raise ConfigError("--checkpoint is for the built-in targets only", "leave it out")
    memory_given = said.target.is_system or memory is not None or said.memory_bytes is not None
    if not memory_given:
        memory = otherwise_bytes
    return Job(
        target=_with_build_args(said.target, build_arg),
        limits=_sum_of_limits(said.target, memory, cpus) if said.target.is_system else _limits(said, memory, cpus),
        load=make_load(
            first_said(users, said.users),
            first_said(first_said(duration, said.duration_s), default_duration_s),
            first_said(rate, said.rate),
            workers,
        ),
        variants=said.variants,
        budget=said.budget,
        notes=tuple(note for manifest in said.manifests for note in _notes(manifest)),
        port=port,
        memory_given=memory_given,
        plans=said.plans,
    )


def gate_job(**options: Any) -> Job:
    """The job of a command that makes many runs: as `make_job`, with a shorter load where none is said. Raises ConfigError."""
    return make_job(command=(), default_duration_s=GATE_DURATION_S, **options)


def _limits(said: config.Config, memory: int | None, cpus: float | None) -> Limits:
    """Those of a single service."""
    memory_bytes = first_said(memory, said.memory_bytes)
    if memory_bytes is None:
        raise ConfigError(
            "no memory limit is given",
            "say --memory 512MiB, or set target.memory or target.manifest in the config file",
        )
    return Limits(
        memory_bytes=memory_bytes - memory_bytes % 4096, cpus=first_said(cpus, said.cpus), oom_group=said.oom_group
    )


def _sum_of_limits(target: Target, memory: int | None, cpus: float | None) -> Limits:
    """What all services of a system may use together."""
    for option, value in (("--memory", memory), ("--cpus", cpus)):
        if value is not None:
            raise ConfigError(
                f"{option}: {target.name} has {len(target.services)} services, each with limits of its own",
                "change them in their [services.NAME] tables",
            )
    each = [service.limits for service in target.services if service.limits is not None]
    shares = [limits.cpus for limits in each if limits.cpus is not None]
    return Limits(
        memory_bytes=sum(limits.memory_bytes for limits in each), cpus=sum(shares) if len(shares) == len(each) else None
    )


def _notes(manifest: ManifestService) -> tuple[str, ...]:
    """What was taken from a manifest, what was left out, and what the platform does otherwise."""
    limit = "no memory limit" if manifest.memory_bytes is None else format_bytes(manifest.memory_bytes)
    notes = [f"{manifest.platform}: {manifest.name}: {limit} ({manifest.where or 'nothing said'})", *manifest.notes]
    if manifest.left_out_env:
        notes.append(f"not in the manifest, so not set: {', '.join(manifest.left_out_env)}; set them in [target.env]")
    return tuple(notes)


def _with_build_args(target: Target, arguments: Sequence[tuple[str, str]]) -> Target:
    """The target with `--build-arg`s over its own, in every image that is built. Raises ConfigError where none is."""
    if not arguments:
        return target
    if not any(service.image and service.image.build for service in target.services):
        raise ConfigError("--build-arg: the target is not built from a Dockerfile", "leave it out")
    return msgspec.structs.replace(
        target, services=tuple(_with_arguments(service, dict(arguments)) for service in target.services)
    )


def _with_arguments(service: Service, arguments: dict[str, str]) -> Service:
    if service.image is None or service.image.build is None:
        return service
    build = msgspec.structs.replace(service.image.build, args={**service.image.build.args, **arguments})
    return msgspec.structs.replace(service, image=msgspec.structs.replace(service.image, build=build))


def first_said(said: Said | None, otherwise: Said) -> Said:
    """What was said, even 0, which is then refused rather than replaced."""
    return otherwise if said is None else said


def make_load(
    users: int | None, duration_s: float | None, rate: float | None, workers: Workers | None = None
) -> LoadPlan:
    """A steady load, by default 8 users for DURATION_S. Raises ConfigError."""
    count = first_said(users, _DEFAULT_USERS)
    try:
        plan = LoadPlan.constant(count, first_said(duration_s, DURATION_S), rate=rate)
    except ValueError as error:
        raise ConfigError(
            f"load: {error}", "correct --users, --duration or --rate, or [load] in the config file"
        ) from error
    if workers is not None and max(workers.remote, workers.processes) > count:
        raise ConfigError(f"{workers} for {count} users: some would send nothing", "raise --users, or ask for fewer")
    return msgspec.structs.replace(plan, workers=workers)


def config_of(target: str | None, command: Sequence[str]) -> config.Config | None:
    """The config that is meant; None for a built-in target, which is `reference` where `target` does not say."""
    if command:
        if target is not None:
            raise ConfigError("both --target and a command after -- are given", "leave one of them out")
        return config.of_command(command, Path.cwd())
    if target in reference.MADE_BY:
        return None
    if target is not None:
        if not Path(target).is_file():
            raise ConfigError(
                f"--target {target}: no such file, and no built-in target has that name",
                f"name a config file, or a built-in target: {', '.join(reference.MADE_BY)}",
            )
        return config.read(Path(target))
    found = config.find(Path.cwd())
    return config.read(found) if found else None


def choose_target(job: Job, variant: str | None) -> tuple[Target, str]:
    """The target as a variant has it, and the variant's name; as it is, with its own, where none is named. Raises
    click.UsageError for an unknown name."""
    if variant is None:
        return job.target, job.target.name
    chosen = choose_variants(job, (variant,))[0]
    return job.target.with_env(chosen.env), chosen.name


def choose_variants(job: Job, names: Sequence[str]) -> tuple[Variant, ...]:
    """The variants to compare, in order; the last is the candidate. Raises click.UsageError for an unknown name."""
    if not job.variants:
        if names:
            raise click.UsageError(f"the target {job.target.name!r} has no variants; add [variants.NAME.env] tables")
        return (Variant(name=job.target.name),)
    known = {variant.name: variant for variant in job.variants}
    if not names:
        return job.variants[:2] if job.target.name in reference.MADE_BY else job.variants
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise click.UsageError(f"unknown variant {name!r}. {hint}Known: {', '.join(known)}")
    if len(set(names)) != len(names):
        raise click.UsageError("each variant can be named once")
    return tuple(known[name] for name in names)

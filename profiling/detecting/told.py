"""What a manifest says of a service, in lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from profiling.detecting.deploys import Deploy
from profiling.manifests.secrets import redacted, redacted_words
from profiling.units import format_bytes

_MOST = 12


def told_by_manifest(deploy: Deploy) -> tuple[str, ...]:
    """Limits, what runs, health check, environment, and what is left out there."""
    return tuple(_lines(deploy))


def _lines(deploy: Deploy) -> Iterator[str]:
    service = deploy.service
    memory = "no memory limit" if service.memory_bytes is None else f"memory {format_bytes(service.memory_bytes)}"
    plan = f", plan {service.plan}" if service.plan else ""
    cpus = f", {service.cpus:g} CPUs" if service.cpus is not None else ""
    yield f"it says: {memory} ({service.where or 'nothing said'}{plan}){cpus}"
    runs = [
        f"Dockerfile {service.dockerfile}" if service.dockerfile else "",
        f"image {service.image}" if service.image and not service.dockerfile else "",
        f"command {shlex.join(redacted_words(service.command))}" if service.command else "",
        f"health check {service.ready}" if service.ready else "",
    ]
    if any(runs):
        yield f"it says: {', '.join(filter(None, runs))}"
    shown = [f"{name}={value}" for name, value in redacted(service.env).items()]
    if shown:
        more = f", and {len(shown) - _MOST} more" if len(shown) > _MOST else ""
        yield f"environment: {', '.join(shown[:_MOST])}{more}"
    if service.left_out_env:
        yield f"not in it, so not set: {', '.join(service.left_out_env[:_MOST])}"
    if deploy.others:
        yield f"its other services: {', '.join(deploy.others[:_MOST])}"
    yield from service.notes

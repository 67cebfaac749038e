"""Levers laid over a service. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from profiling.levers import Lever
from profiling.values import Image, Service, Target

PLACE = "{levers}"


def compatible(levers: Sequence[Lever], added: Lever) -> bool:
    """Whether `added` can be in effect beside `levers`: no other of its group, and no variable that another one sets
    otherwise."""
    for lever in levers:
        if (
            lever.name == added.name
            or (lever.group and lever.group == added.group)
            or (lever.command and added.command)
        ):
            return False
        if any(lever.env[name] != value for name, value in added.env.items() if name in lever.env):
            return False
    return True


def environment(levers: Sequence[Lever]) -> dict[str, str]:
    """The variables that they set together."""
    return {name: value for lever in levers for name, value in lever.env.items()}


def command(levers: Sequence[Lever], as_it_is: Sequence[str]) -> tuple[str, ...]:
    """The whole command line with them; an image's own, which is not known, stays as it is."""
    words = next((lever.command for lever in levers if lever.command), tuple(as_it_is))
    if not words:
        return ()
    for lever in levers:
        words = (*lever.prefix, *words, *lever.append)
    return words


def applied(target: Target, levers: Sequence[Lever], *, place: str, bytecode: str | None = None) -> Target:
    """The target with these levers. `place`: the directory of their files. `bytecode`: a directory for bytecode that one of
    them needs and that stays out of the service's own; None: it runs where there is none of ours."""
    service = target.service
    env = {**service.env, **environment(levers)}
    if bytecode is not None and any(lever.bytecode for lever in levers):
        env |= {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    changed: Service = msgspec.structs.replace(
        service, env=env, command=_placed(command(levers, service.command), place), image=_image(service, levers)
    )
    return msgspec.structs.replace(target, services=(changed, *target.services[1:]))


def _image(service: Service, levers: Sequence[Lever]) -> Image | None:
    if service.image is None or service.command:
        return service.image
    return msgspec.structs.replace(service.image, command=command(levers, service.image.command))


def _placed(words: Sequence[str], place: str) -> tuple[str, ...]:
    return tuple(word.replace(PLACE, place) for word in words)

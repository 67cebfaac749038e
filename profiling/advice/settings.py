"""What a service is set to as it is: its environment and its command line, as far as levers need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from profiling.levers import Lever
from profiling.values import Target

ALREADY = "it is set so already"


@dataclass(frozen=True, slots=True)
class Setting:
    """A service before any lever."""

    env: Mapping[str, str]
    """The whole environment that it gets."""
    command: tuple[str, ...]
    """Empty: an image's own command, which nobody here knows."""
    directory: str
    contained: bool
    """It runs in an image, whose files are not this machine's."""

    @classmethod
    def of(cls, target: Target, environ: Mapping[str, str]) -> Setting:
        service = target.service
        image = None if service.command else service.image
        command = image.command if image else service.command
        inherited = {} if image else dict(environ)
        return cls({**inherited, **service.env}, command, service.directory, image is not None)

    def value(self, name: str, default: str = "") -> str:
        """A variable's value; an empty one counts as unset."""
        return self.env.get(name) or default

    def number(self, name: str, default: int) -> int:
        text = self.value(name)
        return int(text) if text.isascii() and text.isdigit() else default


def settled(lever: Lever, setting: Setting) -> Lever:
    """The lever, left out where all that it would set is set so already."""
    changes_words = lever.append or lever.prefix or lever.command
    same = lever.env and all(setting.value(name) == value for name, value in lever.env.items())
    if lever.left_out or changes_words or not same:
        return lever
    return msgspec.structs.replace(lever, left_out=ALREADY)

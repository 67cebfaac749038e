"""The catalogue of levers: advice of guides for small instances, each as a change of environment or command line.

Nothing here is believed: `levers` measures it. What does not apply to a service is in the catalogue with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from profiling import reference
from profiling.advice import allocators, chatbot, interpreter, servers
from profiling.advice.settings import Setting, settled
from profiling.levers import Lever
from profiling.values import Target


def catalogue(target: Target, environ: Mapping[str, str], own: Sequence[Lever] = ()) -> tuple[Lever, ...]:
    """All levers for `target`, whose service gets `environ` beneath its own variables. `own`: the config file's, which replace
    those of the same name."""
    setting = Setting.of(target, environ)
    if target.name in reference.MADE_BY:
        known = (*chatbot.levers(setting), *allocators.levers(setting), *interpreter.levers(setting))
    else:
        known = (*servers.levers(setting), *allocators.levers(setting), *interpreter.levers(setting))
    by_name = {lever.name: settled(lever, setting) for lever in known}
    return tuple((by_name | {lever.name: lever for lever in own}).values())

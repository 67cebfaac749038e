"""Whether a service's answers are as good as they should be, by a command of its own that asks it over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

from profiling.measuring.sandboxes.base import fill
from profiling.values import Target

_PATIENCE_S = 120.0


def ask(target: Target, url: str) -> float | None:
    """The `share` that the target's command prints as JSON, from 0 to 1; None where it says nothing of the kind."""
    words = [fill(word, url=url) for word in target.quality]
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        done = subprocess.run(
            words,
            cwd=target.service.directory,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=True,
        )
        share = float(json.loads(done.stdout)["share"])
        return share if 0 <= share <= 1 else None
    return None

"""How a test names the experiment that it looks at."""

from __future__ import annotations

import pytest


def of(*experiments: str) -> pytest.MarkDecorator:
    """The test gets what each of them found, as `found`."""
    return pytest.mark.parametrize("found", experiments, indirect=True)

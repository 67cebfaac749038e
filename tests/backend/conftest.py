"""What the backend's tests share."""

from __future__ import annotations

import pytest

from backend.prepare import prepare
from backend.settings import Settings


@pytest.fixture(scope="session")
def prepared_settings() -> Settings:
    """Default settings, with the packaged model prepared in the default cache."""
    settings = Settings.from_env({})
    prepare(settings)
    return settings

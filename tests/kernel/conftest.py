"""What the tests of a guest share: each module boots its own and calls its report `report`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel import guest


@pytest.fixture
def found(report: guest.Report, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the experiment found whose name stands in the test's `of` mark."""
    facts: dict[str, Any] = report.facts[request.param]
    if "error" in facts:
        pytest.fail(f"in the guest: {facts['error']}")
    return facts

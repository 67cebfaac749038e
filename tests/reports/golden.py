"""Rendered output against files in tests/golden/reports, which OOMPROOF_BLESS=1 writes anew."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "golden" / "reports"


def check(name: str, text: str) -> None:
    """Fails unless `text` is what the file of that name holds."""
    path = FOLDER / name
    if os.environ.get("OOMPROOF_BLESS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing: run the tests once with OOMPROOF_BLESS=1"
    assert text == path.read_text(encoding="utf-8"), f"{name} differs; if it should: OOMPROOF_BLESS=1"

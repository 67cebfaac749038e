"""Makes the README's pictures again from a fresh comparison: `make pictures`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.spine import ROOT, compare

PICTURES = ROOT / "docs" / "pictures"
_CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="oomproof-pictures-", dir=ROOT) as folder:
        result = compare(Path(folder), "--users", "8", "--duration", "20s")
        page = Path(result.document["report"])
        shutil.copy(page.parent / "curves.png", PICTURES / "curves.png")
        photograph(page, PICTURES / "report-phone.png", "390,1400")


def photograph(page: Path, picture: Path, size: str) -> None:
    """A screenshot of the page in headless Chromium, where there is one."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium here: the report's picture was not made again")
    with tempfile.TemporaryDirectory(prefix="oomproof-chromium-") as profile:
        subprocess.run(
            [
                chromium,
                *_CHROMIUM_FLAGS,
                f"--user-data-dir={profile}",
                f"--window-size={size}",
                f"--screenshot={picture}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


if __name__ == "__main__":
    main()

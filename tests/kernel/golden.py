"""Makes the golden files of the parsers' tests again: `python -m tests.kernel.golden v1` on a machine whose kernel has the
v1 memory controller, `... v2` from the guest. `OOMPROOF_BLESS=1 pytest tests/profiling/test_cgroup_text.py` then accepts
what the parsers make of them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.kernel import guest, parts
from tests.kernel.inside.texts import held

GOLDEN = Path(__file__).parents[1] / "golden" / "cgroup"


def main(version: str) -> None:
    with tempfile.TemporaryDirectory(prefix="oomproof-") as directory:
        texts = _in_the_guest(Path(directory)) if version == "v2" else held(directory)
    if ("memory.events" in texts) != (version == "v2"):
        sys.exit(f"this machine's memory controller is not {version}'s")
    place = GOLDEN / version
    place.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (place / name).write_text(text)


def _in_the_guest(directory: Path) -> dict[str, str]:
    texts: dict[str, str] = guest.boot(parts.find_or_make(), directory).facts["texts"]["texts"]
    return texts


if __name__ == "__main__":
    main(sys.argv[1])

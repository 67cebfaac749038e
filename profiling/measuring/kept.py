"""Records that take time to make, made once: written into a file without a name, and read from there as often as asked."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from profiling.measuring.blocks import Blocks, Readings

_SPARE = 2
"""So many times as much room as the file may need is left alone: the report, and whoever else writes there, need some too."""


def kept(readings: Readings, directory: Path, length: int) -> Readings:
    """The same records from a file on the disk of `directory`, or themselves where there is no room for it or no right to
    write. `length`: how many there are at most. The file has no name, so that it goes with this process, however that ends."""
    try:
        if shutil.disk_usage(directory).free < _SPARE * length * readings.dtype.itemsize:
            return readings
        file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - it stays open as long as somebody reads it
        written = 0
        for block in readings:
            file.write(block.data)
            written += len(block)
        file.flush()
    except OSError:
        return readings
    return Blocks(file, readings.dtype, written)

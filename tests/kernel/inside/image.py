"""A container image of a few MiB, made of the guest's own Python: what this interpreter has loaded, and nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from docker import DockerClient

from profiling.values import Image

NAME = "oomproof/guest"
PYTHON = "/usr/bin/python3"
_NEEDED = "import os, signal"
_LOADED = f"""{_NEEDED}
import sys
files = [getattr(module, key, None) for module in sys.modules.values() for key in ("__file__", "__cached__")]
# Code is mapped from a file: proc(5), maps, field 6.
files += [line.split()[5] for line in open("/proc/self/maps") if len(line.split()) == 6]
print("\\n".join(file for file in files if file and file.startswith("/")))"""


def image(*command: str) -> Image:
    return Image(name=NAME, command=(PYTHON, "-S", *command))


def make(client: DockerClient) -> None:
    """Have the engine import the image, unless it has it."""
    if not client.images.list(name=NAME):
        client.api.import_image_from_data(_archive(), repository=NAME, tag="latest")


def _archive() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        directory = tarfile.TarInfo("tmp")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(directory)
        for name in ("lib", "lib64"):
            archive.add(f"/{name}", name, recursive=False)
        for path in sorted(_files()):
            archive.add(path, path.lstrip("/"), recursive=False)
    return data.getvalue()


def _files() -> set[str]:
    """With the names under which the loader looks for them: links beside the libraries."""
    said = subprocess.run([sys.executable, "-S", "-c", _LOADED], capture_output=True, text=True, check=True).stdout
    files = {os.path.realpath(line) for line in said.splitlines()}
    links = {
        str(link)
        for directory in {Path(file).parent for file in files} | {Path("/usr/lib64")}
        for link in directory.iterdir()
        if link.is_symlink() and os.path.realpath(link) in files
    }
    return {file for file in files if os.path.isfile(file)} | links

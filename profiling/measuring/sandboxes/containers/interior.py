"""The inside of a container image, looked at before a memray pass."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from docker.errors import NotFound

from profiling.measuring.sandboxes.containers import borrowed, options, place
from profiling.measuring.sandboxes.containers.engine import ENGINE_ERRORS, Engine, first_line
from profiling.values import Service

_SYMLINK = 1 << 27  # Go's os.ModeSymlink, which the engines' archive API reports
_DIRECTORY = 1 << 31
_LINKS_AT_MOST = 20
_VERSION_TIMEOUT_S = 20.0


class ContainerInterior:
    """Reads files through a container that is created but never started, and runs commands in short-lived ones."""

    def __init__(self, engine: Engine, service: Service, run_directory: Path) -> None:
        """`run_directory`, of this machine, is seen in there. Raises what the SDK raises."""
        assert service.image is not None
        self._engine = engine
        self._image = service.image.name
        self._run_directory = run_directory
        config = engine.client.images.get(self._image).attrs["Config"]
        self.command: tuple[str, ...] = service.image.command or (
            *(config.get("Entrypoint") or ()),
            *(config.get("Cmd") or ()),
        )
        inherited = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
        self.environ: Mapping[str, str] = {**inherited, **service.env}
        self.directory = config.get("WorkingDir") or "/"
        self.memray: Sequence[Path] = ()
        """What of this machine stands for the image's memray, once it was asked for."""

    def memray_site(self, interpreter: str) -> str | None:
        try:
            done = self.run(
                [interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], _VERSION_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        self.memray = borrowed.memray_for(done.stdout.strip()) if done.returncode == 0 else ()
        return place.SITE if self.memray else None

    def executable(self, path: str) -> bool:
        try:
            mode = self._stat(path)[1]
        except OSError:
            return False
        return not mode & _DIRECTORY and bool(mode & 0o111)

    def real(self, path: str) -> str:
        return self._stat(path)[0]

    def head(self, path: str, size: int) -> bytes:
        with self._container() as container, tempfile.TemporaryFile() as scratch:
            chunks, _ = _archive(container, self._stat(path)[0])
            for chunk in chunks:
                scratch.write(chunk)
            scratch.seek(0)
            with tarfile.open(fileobj=scratch) as archive:
                file = archive.extractfile(archive.getmembers()[0])
                return file.read(size) if file else b""

    def run(self, command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        with self._container(command) as container:
            try:
                container.start()
                status = container.wait(timeout=timeout_s)["StatusCode"]
            except ENGINE_ERRORS as error:
                if "timed out" in str(error).lower():
                    raise subprocess.TimeoutExpired(list(command), timeout_s) from error
                raise OSError(first_line(error)) from error
            output, complaint = (
                container.logs(stdout=wanted, stderr=not wanted).decode(errors="replace") for wanted in (True, False)
            )
            return subprocess.CompletedProcess(list(command), status, output, complaint)

    def seen(self, path: Path) -> str:
        return place.seen(path, self._run_directory)

    def _stat(self, path: str) -> tuple[str, int]:
        """The path with links followed, and Go's file mode. Raises FileNotFoundError."""
        full = os.path.normpath(PurePosixPath(self.directory) / path)
        with self._container() as container:
            for _ in range(_LINKS_AT_MOST):
                chunks, stat = _archive(container, full)
                chunks.close()
                if not stat["mode"] & _SYMLINK:
                    return full, int(stat["mode"])
                full = os.path.normpath(PurePosixPath(full).parent / stat["linkTarget"])
        raise FileNotFoundError(path)

    def _container(self, command: Sequence[str] = ()) -> _Removed:
        settings = {**options.guarded(self._engine), **options.traced(self._run_directory, self.memray)}
        settings.pop("detach")
        return _Removed(
            self._engine.client.containers.create(
                self._image,
                network_mode="none",
                environment=dict(self.environ),
                **settings,
                **options.command_line(command),
            )
        )


class _Removed:
    """A container that is removed on the way out."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __enter__(self) -> Any:
        return self._container

    def __exit__(self, *_: object) -> None:
        self._container.remove(force=True, v=True)


def _archive(container: Any, path: str) -> tuple[Any, dict[str, Any]]:
    try:
        return container.get_archive(path)  # type: ignore[no-any-return]
    except NotFound as error:
        raise FileNotFoundError(path) from error

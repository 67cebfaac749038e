"""`make image`: build the reference backend's image with Docker, or Podman where Docker does not answer."""

from __future__ import annotations

import sys
import time

from profiling import reference
from profiling.errors import EngineError, OomproofError
from profiling.measuring.sandboxes.containers import ENGINES, images
from profiling.measuring.sandboxes.containers.engine import Engine, connect


def main() -> int:
    started = time.monotonic()
    image = reference.image()
    try:
        engine = _engine(sys.argv[1:] or list(ENGINES))
        images.ensure(engine, image, print)
    except OomproofError as error:
        print(f"error: {error.message}\n hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    size = engine.client.images.get(image.name).attrs["Size"]
    print(f"{image.name} is up to date in {engine}: {size / 2**20:,.0f} MiB ({time.monotonic() - started:.0f} s)")
    return 0


def _engine(names: list[str]) -> Engine:
    """The first that answers. Raises EngineError with what the last one said."""
    for name in names[:-1]:
        try:
            return connect(name)
        except EngineError:
            continue
    return connect(names[-1])


if __name__ == "__main__":
    sys.exit(main())

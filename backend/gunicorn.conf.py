"""How gunicorn serves the reference backend; see https://docs.gunicorn.org/en/stable/settings.html.

In the checkout's root:  gunicorn -c backend/gunicorn.conf.py
"""

# ruff: noqa: N999 - the name that gunicorn itself looks for

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Any

from backend import prepared
from backend.services import catalogue
from backend.settings import Settings, SettingsError
from backend.weights import ModelFilesError

_started = time.monotonic()

# Here and not only in create_app: what is wrong is said before torch is imported, without a traceback,
# and no worker is started again and again. The codes are those of `python -m backend.prepare`.
try:
    _settings = Settings.from_env()
    catalogue.check(_settings.services, _settings.workers)
    if _settings.services.needs_model:
        prepared.require(_settings)
except (SettingsError, ModelFilesError) as _error:
    sys.stderr.write(f"{_error}\n")
    sys.exit(2 if isinstance(_error, SettingsError) else 4)

wsgi_app = "backend.app:create_app()"
bind = _settings.bind
workers = _settings.workers
worker_class = "gthread"
threads = _settings.threads
preload_app = _settings.preload

# A cold start on a tenth of a CPU imports torch for longer than the default of 30 s.
timeout = 120
# The whole tree is to be gone within 10 s of SIGTERM.
graceful_timeout = 8
# Longer than a client's pause between two requests. With the default of 2 s server and client often close
# and use a connection at the same moment, and the client sees a failure that has nothing to do with memory.
keepalive = 75
# Gunicorn 25.1 and newer: would start a thread in the master and leave a socket in $HOME/.gunicorn.
control_socket_disable = True

# Gunicorn sets up its own loggers; ours get the same form and the same stream (stderr).
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {"backend": {"level": "INFO"}},
}


def when_ready(server: Any) -> None:
    """Say that requests will be answered, where that is known: the port is bound, the model preloaded."""
    if _settings.preload:
        server.log.info("Server is ready at %s after %.1f s", _settings.bind, time.monotonic() - _started)


def pre_fork(_server: Any, _worker: Any) -> None:
    """Take what was preloaded out of the garbage collector's sight before the memory is shared.

    A collection writes into the header of every object that it looks at. In a worker each such write
    copies a page that was shared with the master until then.
    """
    gc.freeze()


def worker_exit(_server: Any, worker: Any) -> None:
    """End a forked worker without taking Python's objects down one by one.

    That teardown writes to each object's reference count, and so copies nearly all that the worker shares
    with the master, well over 100 MiB: a service that fitted all day would be OOM-killed while it stops.
    """
    # Gunicorn also calls this in the master, for a worker that is gone already.
    if not _settings.preload or os.getpid() != worker.pid:
        return
    leaving = sys.exception()
    code = leaving.code if isinstance(leaving, SystemExit) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))

"""What gunicorn reads by itself in the directory that it is started in."""

import gc
import os

wsgi_app = "shop.wsgi:application"
worker_class = "gthread"
# Processes, since the search keeps the processor busy and one Python process has one core.
workers = int(os.environ.get("WEB_CONCURRENCY", "3"))
threads = 4
# The application is loaded once, by the master, and its workers share that memory; else each loads all of it.
preload_app = os.environ.get("PRELOAD", "1") == "1"
# Longer than a client waits between two requests; with the default of 2 s both may use and close a connection at once.
keepalive = 30
# Gunicorn 25.1 and newer would leave a socket in the home directory.
control_socket_disable = True


def pre_fork(server, worker):
    """A garbage collection writes into each object that it looks at, and so copies what was shared: it is not to look at
    what was loaded before the fork."""
    gc.freeze()

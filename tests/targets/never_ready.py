"""Lives and listens nowhere."""

import signal

signal.pause()

"""Answers, and ignores SIGTERM; so does its child."""

import os
import signal

from serving import serve

signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    signal.pause()
serve(lambda body: "deaf")

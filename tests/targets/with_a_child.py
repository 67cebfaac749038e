"""Starts a child that is no Python: `tail`, which keeps what it reads until the end, 24 MiB of it."""

import subprocess

from serving import serve

child = subprocess.Popen(["tail", "-c", "64M"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
child.stdin.write(bytes(24 * 2**20))
child.stdin.flush()

serve(lambda body: "steady")

"""Takes 1 GiB before it listens: dies at any small limit before it is ready."""

from serving import serve

held = [b"x" * 2**20 for _ in range(1024)]
serve(lambda body: "never")

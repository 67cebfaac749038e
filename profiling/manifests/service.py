"""What a deploy manifest says about one service."""

from __future__ import annotations

from profiling.values import Value


class ManifestService(Value, frozen=True, kw_only=True):
    """One service of a manifest. None: not said there, and the platform has no default for it.

    `dockerfile` and `context` are relative to the manifest's directory, as they stand there.
    """

    name: str
    platform: str
    """`render`, `fly`, `compose`, `kubernetes`, `cloud-run`, `heroku` or `ecs`."""
    memory_bytes: int | None = None
    cpus: float | None = None
    env: dict[str, str] = {}
    left_out_env: tuple[str, ...] = ()
    """Names, or sources such as `env_file .env`, whose values do not stand in the manifest: secrets and references."""
    command: tuple[str, ...] | None = None
    image: str | None = None
    dockerfile: str | None = None
    context: str | None = None
    build_args: dict[str, str] = {}
    port: int | None = None
    """The port that the manifest expects the service on."""
    ready: str | None = None
    """Path of the health check."""
    plan: str | None = None
    where: str = ""
    """Where the memory limit stands, such as `services[0].plan`."""
    notes: tuple[str, ...] = ()
    """In what the platform treats memory otherwise than a plain limit does, and what of the manifest was not understood."""

"""Docker and Podman, through the `docker` SDK, whose only home this is. Importing this package does not import it."""

ENGINES = ("docker", "podman")
"""In the order in which they are tried."""

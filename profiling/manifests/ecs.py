"""ECS task definitions, as registered or as `aws ecs describe-task-definition` prints them.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

from profiling.manifests.catalogue import Catalogue
from profiling.manifests.dialects import ecs_bytes, ecs_cpus
from profiling.manifests.documents import load_json
from profiling.manifests.node import Node, environment
from profiling.manifests.service import ManifestService
from profiling.manifests.words import asked_path


def read(text: str, file: str, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    """One service per container. Raises ManifestError."""
    root = load_json(text, file)
    task = root["taskDefinition"] if root["taskDefinition"] else root
    return tuple(_service(container, task) for container in task["containerDefinitions"].rows())


def _service(container: Node, task: Node) -> ManifestService:
    name = container["name"].text()
    if name is None:
        container["name"].refuse("is missing")
    own = container["memory"].memory(ecs_bytes)
    shared = task["memory"].memory(ecs_bytes)
    cpus = task["cpu"].cpus(ecs_cpus)
    notes = []
    if own is None and shared is not None and len(task["containerDefinitions"].rows()) > 1:
        notes.append(f"{name} has no memory of its own; the task's is shared by all its containers")
    if own is None and shared is None and container["memoryReservation"]:
        notes.append(f"{name} has a memoryReservation only, which ECS does not enforce")
    if cpus is None and container["cpu"] and container["cpu"].parsed(ecs_cpus):
        cpus = container["cpu"].cpus(ecs_cpus)
        notes.append(f"{name}'s cpu is a share: where the machine is idle, ECS gives more")
    ports = container["portMappings"].rows()
    env, left_out = _env(container)
    return ManifestService(
        name=name,
        platform="ecs",
        memory_bytes=shared if own is None else own,
        cpus=cpus,
        env=env,
        left_out_env=left_out,
        command=(*container["entryPoint"].words(), *container["command"].words()) or None,
        image=container["image"].text(),
        port=ports[0]["containerPort"].port() if ports else None,
        ready=asked_path(container.at("healthCheck", "command")),
        where=(task["memory"] if own is None and shared is not None else container["memory"]).path,
        notes=tuple(notes),
    )


def _env(container: Node) -> tuple[dict[str, str], tuple[str, ...]]:
    """Values that stand in the file, and the names of those from Secrets Manager, the Parameter Store or a file in S3."""
    pairs, left_out = [], []
    for entry in container["environment"].rows():
        name = entry["name"].text()
        if name is None:
            entry["name"].refuse("is missing")
        pairs.append((name, entry["value"]))
    env = environment(iter(pairs))
    for entry in container["secrets"].rows():
        left_out.append(entry["name"].text() or "?")
    for entry in container["environmentFiles"].rows():
        left_out.append(f"file {entry['value'].text() or '?'}")
    # A secret of the same name is what the container gets.
    return {key: value for key, value in env.items() if key not in left_out}, tuple(dict.fromkeys(left_out))

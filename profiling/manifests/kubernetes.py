"""Kubernetes workloads, and Cloud Run's `service.yaml`, which is a Knative Service.

Sources: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/,
https://cloud.google.com/run/docs/reference/yaml/v1 and, for its defaults, .../run/docs/configuring/services/memory-limits, cpu.
"""

from __future__ import annotations

from collections.abc import Iterator

from profiling.manifests.catalogue import Catalogue
from profiling.manifests.dialects import kubernetes_bytes, kubernetes_cpus
from profiling.manifests.documents import load_yaml
from profiling.manifests.node import Node, environment
from profiling.manifests.service import ManifestService
from profiling.manifests.words import expanded, path_of

_POD_OF = {
    "Pod": ("spec",),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"),
        ("spec", "template", "spec"),
    ),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
WORKLOADS = tuple(_POD_OF)
KNATIVE = "serving.knative.dev/"
_CLOUD_RUN_BYTES = 512 * 2**20
_CLOUD_RUN_CPUS = 1.0
_CLOUD_RUN_NOTE = "On Cloud Run files that the service writes count as its memory; here they do only on a tmpfs."


def read(text: str, file: str, catalogue: Catalogue) -> tuple[ManifestService, ...]:
    """One service per container of every workload; other objects are passed over. Raises ManifestError."""
    return tuple(service for document in load_yaml(text, file) for service in _of_object(document))


def _of_object(node: Node) -> Iterator[ManifestService]:
    kind = node["kind"].text()
    if kind == "List":
        for item in node["items"].rows():
            yield from _of_object(item)
        return
    cloud_run = kind == "Service" and (node["apiVersion"].text() or "").startswith(KNATIVE)
    path = ("spec", "template", "spec") if cloud_run else _POD_OF.get(kind or "")
    if path is None:
        return
    workload = node.at("metadata", "name").text()
    if workload is None:
        node.at("metadata", "name").refuse("is missing")
    containers = node.at(*path, "containers").rows()
    for container in containers:
        name = container["name"].text()
        full = workload if len(containers) == 1 or name is None else f"{workload}/{name}"
        yield _service(full, container, cloud_run=cloud_run)


def _service(name: str, container: Node, *, cloud_run: bool) -> ManifestService:
    limits = container.at("resources", "limits")
    memory, cpus = limits["memory"].memory(kubernetes_bytes), limits["cpu"].cpus(kubernetes_cpus)
    env, left_out = _env(container)
    command, arguments = container["command"].words(), container["args"].words()
    notes = [_CLOUD_RUN_NOTE] if cloud_run else []
    if memory is None and cloud_run:
        notes.append(f"{name} has no memory limit; Cloud Run's default is 512Mi")
    if arguments and not command:
        notes.append(f"{name} has args without command: they follow the image's ENTRYPOINT, which is not known here")
    ports = container["ports"].rows()
    return ManifestService(
        name=name,
        platform="cloud-run" if cloud_run else "kubernetes",
        memory_bytes=_CLOUD_RUN_BYTES if memory is None and cloud_run else memory,
        cpus=_CLOUD_RUN_CPUS if cpus is None and cloud_run else cpus,
        env=env,
        left_out_env=left_out,
        command=expanded((*command, *arguments), env) if command else None,
        image=container["image"].text(),
        port=ports[0]["containerPort"].port() if ports else None,
        ready=_ready(container),
        where=limits["memory"].path,
        notes=tuple(notes),
    )


def _ready(container: Node) -> str | None:
    probes = (container.at(f"{probe}Probe", "httpGet", "path") for probe in ("readiness", "startup", "liveness"))
    return next((path_of(path) for path in probes if path), None)


def _env(container: Node) -> tuple[dict[str, str], tuple[str, ...]]:
    """Values that stand in the file, and the names of what a Secret, a ConfigMap or the pod itself fills in."""
    pairs, left_out = [], []
    for entry in container["env"].rows():
        name = entry["name"].text()
        if name is None:
            entry["name"].refuse("is missing")
        if entry["valueFrom"]:
            left_out.append(name)
        else:
            pairs.append((name, entry["value"]))
    for source in container["envFrom"].rows():
        for key, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            if source[key]:
                left_out.append(f"{kind} {source[key]['name'].text() or '?'}")
    env = environment(iter(pairs))
    return env, tuple(dict.fromkeys(name for name in left_out if name not in env))

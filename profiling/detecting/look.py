"""The one look at a directory: manifests, Dockerfile, Procfile and code, put together into the values of a config file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from profiling.detecting import deploys, dockerfile, node, requests
from profiling.detecting.deploys import Deploy
from profiling.detecting.directory import Directory
from profiling.detecting.findings import Findings, Found, Launch, Missing, Route
from profiling.detecting.plain import one_line, shows_secrets, toml
from profiling.detecting.ports import told_the_port, without_shell
from profiling.detecting.python import apps, django, launches, modules, project, routes
from profiling.detecting.told import told_by_manifest

ASSUMED_MEMORY = "512MiB"
_PLACEHOLDER = ("./FILL-IN", "--port", "{port}")
_NAME = re.compile(r"\w[\w .+=,-]{0,79}")
_MOST_LISTED = 8


@dataclass(frozen=True, slots=True)
class _Code:
    """What the source shows: the ways to start it, likeliest first, and its routes."""

    name: Found | None
    launches: tuple[Launch, ...]
    routes: tuple[Route, ...]
    openapi: str | None = None
    """Where a FastAPI application is that serves its own description."""
    environment: project.Project | None = None
    notes: tuple[str, ...] = ()


def look(root: Path, without: Collection[str] = ()) -> Findings:
    """What `root` shows of the service in it. `without`: manifests to pass over."""
    directory = Directory(root)
    code = _code(directory)
    deploy, others = _deploys(directory, without)
    ways = [way for way in _ways(directory, code, deploy) if not _is_secret(way)]
    launch = ways[0] if ways else None
    found = [*_target(code, deploy, launch), *_ready_and_request(code, deploy, launch)]
    aside = {
        _place_of_launch(found): tuple(_alternatives(ways[1:])),
        "target.env": tuple(f'{name} = ""' for name in _left_out(deploy)),
        "request.path": tuple(_suggestions(code.routes)),
    }
    if deploy:
        aside["target.manifest"] = (*told_by_manifest(deploy), *aside.get("target.manifest", ()))
    notes = [*(launch.notes if launch else ()), *code.notes, *others, *directory.problems]
    return Findings(
        found=tuple(entry for entry in found if not shows_secrets(entry.value)),
        missing=() if launch else (Missing(key="target.command", why="nothing here says what runs"),),
        aside={key: tuple(map(one_line, lines)) for key, lines in aside.items() if lines},
        notes=tuple(map(one_line, notes)),
    )


def _code(directory: Directory) -> _Code:
    python, package = _python(directory), node.read(directory)
    if package is None:
        return python
    name = Found(key="target.name", value=package.name, source="from package.json: name") if package.name else None
    script = (package.launch,) if package.launch else ()
    if not script or python.routes or any(launch.sure for launch in python.launches):
        return replace(python, name=python.name or name, launches=(*python.launches, *script))
    return _Code(name=name or python.name, launches=(*script, *python.launches), routes=package.routes)


def _python(directory: Directory) -> _Code:
    parsed = modules.parse(directory)
    site = django.find(directory, parsed)
    found = [] if site else apps.find(parsed)
    place = site.place if site else found[0].module.root if found else ""
    known = project.read(directory, place)
    name = Found(key="target.name", value=known.name, source="from pyproject.toml: name") if known.name else None
    script = launches.of_script(known, directory)
    if site:
        closed = (
            f"{site.settings}: ALLOWED_HOSTS lets nobody in at 127.0.0.1, where the load comes from: every answer will be 400",
        )
        ways: tuple[Launch, ...] = (launches.of_django(site, known, directory),)
        return _Code(name, ways, site.routes, environment=known, notes=closed if site.closed else ())
    if found:
        served = tuple(launches.of_app(app, known, directory) for app in found[:3])
        openapi = found[0].where if found[0].has_openapi else None
        return _Code(name, served, tuple(routes.of_app(found[0], parsed)), openapi, known)
    return _Code(name, (script,) if script else (), (), environment=known)


def _deploys(directory: Directory, without: Collection[str]) -> tuple[Deploy | None, list[str]]:
    """The manifest to use, and a note about each other one."""
    found = [
        deploy
        for deploy in deploys.find(directory)
        if deploy.path not in without and not shows_secrets([deploy.path, deploy.service.name])
    ]
    others = [f"{deploy.path} ({deploy.service.platform}) is there as well" for deploy in found[1:]]
    return (found[0] if found else None), others


def _is_secret(way: Launch) -> bool:
    """Whether what would be written of it looks like a secret."""
    written = [*way.command, *filter(None, [way.dockerfile, way.directory, way.manifest, way.service])]
    return shows_secrets(written) or shows_secrets(way.env) or shows_secrets(way.build_args)


def _place_of_launch(found: list[Found]) -> str:
    """The key that says what runs."""
    keys = [entry.key for entry in found]
    return next(key for key in ("target.command", "target.dockerfile", "target.manifest") if key in keys)


def _ways(directory: Directory, code: _Code, deploy: Deploy | None) -> Iterator[Launch]:
    """All ways in which the service can be started: as it is deployed first, and what the code shows last."""
    built = _dockerfile(directory)
    if deploy:
        yield from _as_deployed(directory, code, deploy, built)
    if built:
        yield built
    process = deploys.procfile(directory)
    if process and process.command and (deploy is None or deploy.service.platform != "heroku"):
        in_procfile = Launch(source="", manifest="Procfile", service=process.name)
        started = _of_words(directory, code, process.command, f"from Procfile: {process.name}", in_procfile)
        if started.command or deploy is None:  # one manifest can be named
            yield started
    yield from code.launches


def _dockerfile(directory: Directory) -> Launch | None:
    text = directory.text("Dockerfile")
    return None if text is None else dockerfile.read(text, "Dockerfile")


def _as_deployed(directory: Directory, code: _Code, deploy: Deploy, built: Launch | None) -> Iterator[Launch]:
    """What the manifest runs; nothing where it leaves that to the platform."""
    service, path = deploy.service, deploy.path
    said = Launch(source=f"from {path}", manifest=path, ready=service.ready)
    if service.dockerfile:
        yield from _built_as_deployed(directory, deploy, said)
    elif service.image and built:
        words, how = told_the_port(without_shell(service.command or ()))
        source = f"from Dockerfile; {path} names the image {service.image}, which may be older than this directory"
        command = words or built.command
        yield Launch(
            source=f"{source}{', ' if how else ''}{how}",
            dockerfile="Dockerfile",
            command=() if shows_secrets(command) else command,
            ready=built.ready,
            notes=built.notes,
        )
    elif service.image:
        port = f" on PORT, not on {service.port}" if service.port else " on PORT"
        yield Launch(source=said.source, manifest=path, notes=(f"the image {service.image} must listen{port}",))
    elif service.command:
        yield _of_words(directory, code, service.command, said.source, said)


def _built_as_deployed(directory: Directory, deploy: Deploy, said: Launch) -> Iterator[Launch]:
    """The manifest's Dockerfile; spelt out where its command would not listen on our port."""
    service = deploy.service
    place = posixpath.dirname(deploy.path)
    path = posixpath.normpath(posixpath.join(place, service.dockerfile or ""))
    text = directory.text(path)
    if text is None:
        directory.problem(deploy.path, f"its Dockerfile {path} is not there")
        return
    own = dockerfile.read(text, path)
    words, how = told_the_port(without_shell(service.command or ()))
    command = words if how else () if service.command else own.command
    if not command or shows_secrets(command) or shows_secrets(service.build_args):
        yield Launch(
            source=said.source, manifest=deploy.path, ready=own.ready, notes=own.notes if not service.command else ()
        )
        return
    context = posixpath.normpath(posixpath.join(place, service.context or "."))
    yield Launch(
        source=f"from {deploy.path}, {how}" if how else own.source,
        dockerfile=path if context == "." else posixpath.relpath(path, "."),
        command=command,
        directory=None if context == "." else context,
        build_args=dict(service.build_args),
        ready=own.ready,
    )


def _of_words(directory: Directory, code: _Code, words: tuple[str, ...], source: str, otherwise: Launch) -> Launch:
    """A command line of a manifest, with our port and the project's own programs; left where it stands (`otherwise`) if
    nothing is to be changed, or if it holds what looks like a secret."""
    plain = without_shell(words)
    changed, how = told_the_port(plain)
    source = f"{source}, {how}" if how else source
    if code.environment:
        program = code.environment.program(directory, changed[0])
        if program != changed[0]:
            changed, source = (program, *changed[1:]), f"{source}, in {code.environment.environment}"
    kept_there = otherwise.manifest != "Procfile" and changed == plain
    if kept_there or shows_secrets(changed):
        hidden = "its command is not written here: it holds what looks like a secret" if shows_secrets(changed) else ""
        return Launch(
            source=source,
            manifest=otherwise.manifest,
            service=otherwise.service,
            ready=otherwise.ready,
            notes=(hidden,) if hidden else (),
        )
    return Launch(source=source, command=changed, ready=otherwise.ready)


def _target(code: _Code, deploy: Deploy | None, launch: Launch | None) -> Iterator[Found]:
    if code.name and _NAME.fullmatch(code.name.value):
        yield code.name
    manifest, service, source = _manifest(deploy, launch)
    if manifest:
        yield Found(key="target.manifest", value=manifest, source=source)
        if service:
            yield Found(key="target.service", value=service, source=f"one of those in {manifest}")
    if launch is None:
        yield Found(key="target.command", value=_PLACEHOLDER, source="FILL IN what starts the service", sure=False)
    else:
        yield from _of_launch(launch)
    if deploy is None or deploy.service.memory_bytes is None:
        yield Found(
            key="target.memory",
            value=ASSUMED_MEMORY,
            source="nothing here says the limit of what is deployed",
            sure=False,
        )


def _manifest(deploy: Deploy | None, launch: Launch | None) -> tuple[str | None, str | None, str]:
    """(manifest, service where it must be named, why)."""
    if deploy:
        service = deploy.service
        return (
            deploy.path,
            service.name if deploy.others else None,
            f"{service.platform}; what is not said here comes from it",
        )
    if launch and launch.manifest:
        return launch.manifest, launch.service, launch.source
    return None, None, ""


def _of_launch(launch: Launch) -> Iterator[Found]:
    if launch.dockerfile:
        source = "what it is built from" if launch.command else launch.source
        yield Found(key="target.dockerfile", value=launch.dockerfile, source=source)
    if launch.command:
        yield Found(key="target.command", value=launch.command, source=launch.source, sure=launch.sure)
    if launch.directory:
        yield Found(key="target.directory", value=launch.directory, source="where its code lies")
    for name, value in launch.build_args.items():
        yield Found(key=f"target.build_args.{name}", value=value, source=launch.source)
    for name, value in launch.env.items():
        yield Found(key=f"target.env.{name}", value=value, source=launch.source)


def _ready_and_request(code: _Code, deploy: Deploy | None, launch: Launch | None) -> Iterator[Found]:
    code = replace(code, routes=tuple(requests.without_secrets(code.routes)))
    health = requests.ready(code.routes)
    some = requests.any_get(code.routes)
    said = deploy.service.ready if deploy else None
    path, sure = said, True
    if said is None:
        ready = _ready(launch, health or some, code)
        path, sure = ready.value, ready.sure
        yield ready
    path = "/" if path is None or shows_secrets(path) else path
    use = requests.post(code.routes) or some or health
    if use and not requests.is_health_check(use):
        yield from requests.values(use, f"from {use.where}", sure=True)
    elif use:
        source = f"from {use.where}: the health check, since what else can be asked is not known"
        yield from requests.values(use, source, sure=False)
    else:
        source = (
            "the health check, since nothing here says what it is asked"
            if sure
            else "nothing here says what it is asked"
        )
        yield from requests.values(Route(method="GET", path=path, where=""), source, sure=False)


def _ready(launch: Launch | None, route: Route | None, code: _Code) -> Found:
    if launch and launch.ready:
        return Found(
            key="target.ready",
            value=launch.ready,
            source=f"from the health check of {launch.dockerfile or 'the image'}",
        )
    if route:
        return Found(key="target.ready", value=route.path, source=f"from {route.where}")
    if code.openapi:
        return Found(key="target.ready", value="/openapi.json", source=f"from {code.openapi}: FastAPI answers there")
    return Found(key="target.ready", value="/", source="nothing here says what answers when it is ready", sure=False)


def _alternatives(ways: list[Launch]) -> Iterator[str]:
    """Other ways to start it, as lines that could stand in the file."""
    for way in ways:
        if way.command and not way.dockerfile:
            yield f"or: command = {toml(way.command)}  ({way.source})"
        elif way.dockerfile and not way.command:
            yield f"or: dockerfile = {toml(way.dockerfile)}"


def _left_out(deploy: Deploy | None) -> list[str]:
    names = deploy.service.left_out_env if deploy else ()
    return [name for name in names if re.fullmatch(r"[A-Za-z_]\w*", name)]


def _suggestions(found: tuple[Route, ...]) -> Iterator[str]:
    """POST routes that are not used, so that they can be."""
    known = list(requests.without_secrets(found))
    chosen = requests.post(known)
    rest = [route for route in requests.posts(known) if route != chosen]
    for route in rest[:_MOST_LISTED]:
        body = f", json = {toml(route.json)}" if route.json else ""
        yield f'or: method = "POST", path = {toml(route.path)}{body}  (from {route.where})'

"""From an application or a Django project to the command that serves it."""

from __future__ import annotations

import os.path

from profiling.detecting.directory import Directory
from profiling.detecting.findings import Launch
from profiling.detecting.python.apps import App
from profiling.detecting.python.django import Django
from profiling.detecting.python.project import Project

_OWN_SERVER = "its own development server, since none for production is among the dependencies"


def of_app(app: App, project: Project, directory: Directory) -> Launch:
    """gunicorn, waitress or Flask's own server for WSGI; uvicorn or hypercorn for ASGI. Whether a server is there is told by
    what the project depends on."""
    place = _working_directory(app.module.root, directory)
    search = "" if place else app.module.root
    servers = ("uvicorn", "hypercorn") if app.interface == "asgi" else ("gunicorn", "waitress")
    server = next((name for name in servers if name in project.dependencies), None)
    called = f"{app.module.name}:{app.attribute}"
    factory = "()" if app.is_factory else ""
    if server == "gunicorn":
        words = ("gunicorn", called + factory, "--bind", "{host}:{port}", *(("--pythonpath", search) if search else ()))
    elif server == "waitress":
        words = ("waitress-serve", *(("--call",) if factory else ()), "--listen={host}:{port}", called)
    elif server == "hypercorn":
        words = ("hypercorn", called + factory, "--bind", "{host}:{port}")
    elif app.interface == "asgi":
        more = (*(("--factory",) if factory else ()), *(("--app-dir", search) if search else ()))
        words = ("uvicorn", called, "--host", "{host}", "--port", "{port}", *more)
    elif app.framework == "flask":
        target = app.module.path.removeprefix(f"{place}/") if search else f"{called}{factory}"
        words = ("flask", "--app", target, "run", "--host", "{host}", "--port", "{port}")
    else:
        words = ("gunicorn", called + factory, "--bind", "{host}:{port}")
    source = f"from {app.where}: {app.framework}"
    notes: tuple[str, ...] = ()
    if server:
        source += f"; {server} from {project.dependencies[server]}"
    elif words[0] == "flask":
        notes = (f"Flask with {_OWN_SERVER}; what is deployed may need more",)
    else:
        notes = (f"{words[0]} is not among the dependencies that were found",)
    return _launch(words, source, project, directory, place, sure=server is not None, notes=notes)


def of_django(django: Django, project: Project, directory: Directory) -> Launch:
    """gunicorn for its WSGI module, uvicorn or daphne for its ASGI one, else its own server."""
    known = project.dependencies
    source, notes = f"from {_path(django.place, 'manage.py')}: Django", ()
    if django.wsgi and "gunicorn" in known:
        words: tuple[str, ...] = ("gunicorn", django.wsgi, "--bind", "{host}:{port}")
        source += f"; gunicorn from {known['gunicorn']}"
    elif django.asgi and "uvicorn" in known:
        words = ("uvicorn", f"{django.asgi}:application", "--host", "{host}", "--port", "{port}")
        source += f"; uvicorn from {known['uvicorn']}"
    elif django.asgi and "daphne" in known:
        words = ("daphne", "-b", "{host}", "-p", "{port}", f"{django.asgi}:application")
        source += f"; daphne from {known['daphne']}"
    else:
        words = ("python", "manage.py", "runserver", "--noreload", "{host}:{port}")
        return _launch(
            words, source, project, directory, django.place, sure=False,
            notes=(f"Django with {_OWN_SERVER}; what is deployed may need more",),
        )  # fmt: skip
    return _launch(words, source, project, directory, django.place, sure=True, notes=notes)


def of_script(project: Project, directory: Directory) -> Launch | None:
    """The only script that pyproject.toml declares, as a guess."""
    if len(project.scripts) != 1:
        return None
    (name,) = project.scripts
    note = f"{name} is the project's only script; it must listen on PORT"
    return _launch((name,), "from pyproject.toml: scripts", project, directory, "", sure=False, notes=(note,))


def _launch(
    words: tuple[str, ...],
    source: str,
    project: Project,
    directory: Directory,
    place: str,
    *,
    sure: bool,
    notes: tuple[str, ...],
) -> Launch:
    program = project.program(directory, words[0])
    if program != words[0]:
        source += f", in {project.environment}"
        program = os.path.relpath(program, place or ".")
    return Launch(source=source, command=(program, *words[1:]), directory=place or None, sure=sure, notes=notes)


def _working_directory(root: str, directory: Directory) -> str:
    """Where it is started: the top, or a directory of the project's own that has its dependencies beside its code."""
    marks = ("requirements.txt", "pyproject.toml", "Pipfile", "Procfile")
    return root if root and any(directory.has(_path(root, mark)) for mark in marks) else ""


def _path(place: str, file: str) -> str:
    return f"{place}/{file}" if place else file

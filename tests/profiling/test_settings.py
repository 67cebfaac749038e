"""How workers, threads, preload and variables reach a service, by its command; what would change nothing is refused."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace

from loadtests.plan import RequestTemplate
from profiling import reference
from profiling.errors import ConfigError
from profiling.experiments.settings import VARIABLES, applied
from profiling.values import Image, Service, Target


def target(command: str, **env: str) -> Target:
    service = Service(command=tuple(shlex.split(command)), directory="/nowhere", env=env)
    return Target(name="shop", services=(service,), request=RequestTemplate())


@pytest.mark.parametrize(
    ("command", "key", "value", "expected"),
    [
        ("gunicorn app:app -b {host}:{port}", "workers", "2", "gunicorn --workers 2 app:app -b {host}:{port}"),
        ("gunicorn -w 4 app:app", "workers", "2", "gunicorn --workers 2 app:app"),
        ("gunicorn -w4 --workers=3 app:app", "workers", "2", "gunicorn --workers 2 app:app"),
        ("gunicorn app:app --workers 4", "workers", "1", "gunicorn --workers 1 app:app"),
        (
            "gunicorn app:app --worker-class gthread",
            "threads",
            "8",
            "gunicorn --threads 8 app:app --worker-class gthread",
        ),
        ("gunicorn app:app", "preload", "on", "gunicorn --preload app:app"),
        ("gunicorn --preload app:app", "preload", "on", "gunicorn --preload app:app"),
        ("gunicorn --preload app:app", "preload", "off", "gunicorn app:app"),
        ("/opt/bin/python -m gunicorn app:app", "workers", "2", "/opt/bin/python -m gunicorn --workers 2 app:app"),
        (".venv/bin/uvicorn app:app --workers 4", "workers", "2", ".venv/bin/uvicorn --workers 2 app:app"),
        ("uv run uvicorn app:app", "workers", "2", "uv run uvicorn --workers 2 app:app"),
        ("hypercorn -w 3 app:app", "workers", "2", "hypercorn --workers 2 app:app"),
        ("granian --interface asgi app:app", "workers", "2", "granian --workers 2 --interface asgi app:app"),
        ("waitress-serve --threads=4 app:app", "threads", "8", "waitress-serve --threads=8 app:app"),
    ],
)
def test_a_server_gets_its_flag_in_place_of_what_it_had(command: str, key: str, value: str, expected: str) -> None:
    assert shlex.join(applied(target(command), key, value).service.command) == shlex.join(shlex.split(expected))


@pytest.mark.parametrize(
    ("command", "key", "value", "why"),
    [
        ("node server.js", "workers", "2", "starts no server whose flags are known"),
        ("sh -c 'exec gunicorn app:app'", "workers", "2", "starts no server whose flags are known"),
        ("uvicorn app:app", "threads", "8", "uvicorn has no such setting"),
        ("uvicorn app:app", "preload", "on", "uvicorn has no such setting"),
        ("waitress-serve app:app", "workers", "2", "waitress-serve has no such setting"),
        ("gunicorn app:app -k uvicorn.workers.UvicornWorker", "threads", "8", "take no notice of it"),
        ("gunicorn app:app --worker-class=gevent", "threads", "8", "take no notice of it"),
        ("gunicorn -c conf.py app:app", "preload", "off", "which no flag takes back"),
        ("gunicorn -w 4 app:app", "WEB_CONCURRENCY", "2", "the command has --workers, which goes before it"),
    ],
)
def test_what_would_change_nothing_is_refused_with_what_to_do(command: str, key: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        applied(target(command), key, value)
    assert why in error.value.message
    assert key in error.value.message
    assert error.value.hint


def test_a_config_file_in_the_directory_or_the_environment_may_set_preload(tmp_path: Path) -> None:
    plain = target("gunicorn app:app")
    (tmp_path / "gunicorn.conf.py").touch()
    with pytest.raises(ConfigError, match="may set it"):
        applied(replace(plain, services=(replace(plain.service, directory=str(tmp_path)),)), "preload", "off")
    with pytest.raises(ConfigError, match="may set it"):
        applied(target("gunicorn app:app", GUNICORN_CMD_ARGS="--preload"), "preload", "off")


def test_a_variable_that_the_service_is_known_to_read_goes_before_flags() -> None:
    for found in (
        applied(target("gunicorn app:app", WEB_CONCURRENCY="4"), "workers", "2"),
        applied(target("sh -c 'exec gunicorn -w $WEB_CONCURRENCY app:app'"), "workers", "2"),
        applied(target("sh -c 'exec gunicorn -w ${WEB_CONCURRENCY:-1} app:app'"), "workers", "2"),
        applied(target("node server.js"), "workers", "2", {"WEB_CONCURRENCY"}),
        applied(target("node server.js"), "WEB_CONCURRENCY", "2"),
    ):
        assert found.service.env["WEB_CONCURRENCY"] == "2"
        assert "--workers" not in found.service.command


def test_the_reference_backend_reads_its_variables() -> None:
    measured = reference.target("pickle")
    for key, value, name, text in (
        ("workers", "2", "WEB_CONCURRENCY", "2"),
        ("threads", "4", "THREADS", "4"),
        ("preload", "off", "PRELOAD", "0"),
        ("preload", "on", "PRELOAD", "1"),
        ("MALLOC_ARENA_MAX", "1", "MALLOC_ARENA_MAX", "1"),
    ):
        found = applied(measured, key, value, VARIABLES.values())
        assert found.service.env == {**measured.service.env, name: text}
        assert found.service.command == measured.service.command


def test_an_image_has_its_command_changed_and_its_own_is_not_guessed() -> None:
    def contained(*command: str) -> Target:
        service = Service(directory="/nowhere", image=Image(name="shop", command=command))
        return Target(name="shop", services=(service,), request=RequestTemplate())

    found = applied(contained("gunicorn", "app:app"), "workers", "2").service
    assert found.image is not None
    assert (found.command, found.image.command) == ((), ("gunicorn", "--workers", "2", "app:app"))
    with pytest.raises(ConfigError, match="the image's own"):
        applied(contained(), "workers", "2")

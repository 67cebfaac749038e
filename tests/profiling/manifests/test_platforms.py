"""One example manifest per platform, all of it by value."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiling.errors import ManifestError
from profiling.manifests import detect
from profiling.manifests.catalogue import load
from profiling.manifests.service import ManifestService
from profiling.units import MIB

HERE = Path(__file__).parent


def service(file: str, name: str | None = None) -> ManifestService:
    return detect.read(HERE / file, name)


def read(text: str, name: str) -> ManifestService:
    services = detect.read_text(text, name, load())
    assert len(services) == 1
    return services[0]


def refusal(text: str, name: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        detect.read_text(text, name, load())
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_render() -> None:
    api = service("render.yaml", "api")
    assert (api.memory_bytes, api.cpus, api.plan, api.where) == (2048 * MIB, 1.0, "standard", "services[0].plan")
    assert api.env == {"LOG_LEVEL": "info", "WORKERS": "2", "DEBUG": "false", "PORT": "10000"}
    assert api.left_out_env == ("SHARED_TOKEN", "group elsewhere", "SESSION_KEY", "DATABASE_URL")
    assert (api.dockerfile, api.context) == ("backend/docker/api.Dockerfile", "backend")
    assert api.command == ("sh", "-c", "exec gunicorn app:app --bind 0.0.0.0:$PORT")
    assert (api.ready, api.port) == ("/up", 10000)
    jobs = service("render.yaml", "jobs")
    assert (jobs.memory_bytes, jobs.plan, jobs.command) == (
        8192 * MIB,
        "pro plus",
        ("python", "-m", "jobs", "two words"),
    )
    assert jobs.dockerfile is None
    search = service("render.yaml", "search")
    assert (search.memory_bytes, search.plan, search.image) == (512 * MIB, "starter", "registry.example/search:1")
    assert search.where == "projects[0].environments[0].services[0].plan"
    assert "names no plan" in search.notes[0]


def test_fly() -> None:
    app, jobs, mail = (service("fly.toml", name) for name in ("app", "jobs", "mail"))
    assert (app.memory_bytes, app.cpus, app.plan, app.where) == (1024 * MIB, 2.0, "shared-cpu-2x", "vm[0].memory")
    assert app.env == {"LOG_LEVEL": "debug", "WORKERS": "2"}
    assert (app.port, app.ready, app.command) == (8080, "/up", ("gunicorn", "app:app"))
    assert (app.dockerfile, app.context, app.build_args) == ("deploy/Dockerfile", ".", {"RELEASE": "1"})
    assert "swap" in app.notes[0]
    assert (jobs.memory_bytes, jobs.cpus, jobs.where, jobs.port) == (2048 * MIB, 1.0, "vm[1].size", None)
    assert (mail.memory_bytes, mail.cpus, mail.plan, mail.where) == (768 * MIB, 4.0, None, "vm[2].memory_mb")


def test_a_fly_app_without_a_size_is_the_smallest_machine() -> None:
    app = read('app = "shop"\n', "fly.toml")
    assert (app.name, app.memory_bytes, app.cpus, app.dockerfile) == ("shop", 256 * MIB, 1.0, "Dockerfile")
    assert "shared-cpu-1x" in app.notes[0]


def test_compose() -> None:
    api, jobs, free = (service("compose.yaml", name) for name in ("api", "jobs", "free"))
    assert (api.memory_bytes, api.cpus) == (512 * MIB, 0.5)
    assert api.where == "services.api.deploy.resources.limits.memory"
    assert api.env == {
        "LOG_LEVEL": "info", "WORKERS": "3", "RATIO": "0.5", "DEBUG": "false", "MODE": "fast", "PRICE": "$5",
    }  # fmt: skip
    assert api.left_out_env == ("FROM_SHELL", "PASSWORD", "env_file .env", "env_file other.env")
    assert api.command == ("gunicorn", "app:app", "--threads", "4")
    assert (api.dockerfile, api.context, api.build_args) == ("api/api.Dockerfile", "./api", {"RELEASE": "1"})
    assert (api.port, api.ready, api.image) == (9000, "/up?full=1", None)
    assert (jobs.memory_bytes, jobs.dockerfile, jobs.where) == (512 * MIB, "base/Dockerfile", "services.jobs.mem_limit")
    assert (jobs.env, jobs.left_out_env) == ({"QUEUE": "fast", "HOME": "/srv"}, ("TOKEN",))
    assert "without entrypoint" in jobs.notes[0]
    assert (free.memory_bytes, free.image) == (None, None)
    assert "depends on a variable" in free.notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{mem_limit: 512q}", "services.a.mem_limit: '512q' is no size to Docker"),
        ("{mem_limit: $LIMIT}", "services.a.mem_limit: '$LIMIT' is no size to Docker"),
        ("{mem_limit: 4k}", "services.a.mem_limit: is 4096 bytes"),
        ("{mem_limit: 1g, deploy: {resources: {limits: {memory: 2g}}}}", "wants both to agree"),
        ("{extends: b}", "names no service of this file"),
        ("{extends: a}", "leads back"),
        ("{extends: {service: a, file: b.yaml}}", "another file"),
        ("{environment: {A: [1]}}", "services.a.environment.A: must be text or a number"),
        ("{environment: [1, {A: 1}]}", "services.a.environment[1]"),
        ("[]", "services.a: must be a table"),
        ("{cpus: 5000}", "services.a.cpus: is 5000 CPUs"),
        ("{command: 'a \"b'}", "services.a.command: cannot be split into words"),
    ],
)
def test_what_is_wrong_in_compose_is_named_by_its_key(text: str, said: str) -> None:
    assert said in refusal(f"services: {{a: {text}}}", "compose.yaml").message


def test_kubernetes() -> None:
    web, proxy, nightly = (service("kubernetes.yaml", name) for name in ("api/web", "api/proxy", "nightly"))
    assert (web.platform, web.memory_bytes, web.cpus) == ("kubernetes", 512 * MIB, 0.5)
    assert web.where == "spec.template.spec.containers[0].resources.limits.memory"
    assert web.command == ("gunicorn", "app:app", "--workers=2", "--name=$(UNKNOWN)", "$(WORKERS)")
    assert (web.env, web.left_out_env) == ({"WORKERS": "2", "EMPTY": ""}, ("API_KEY", "ConfigMap settings"))
    assert (web.image, web.port, web.ready) == ("registry.example/api:1", 8000, "/ready")
    assert (proxy.memory_bytes, proxy.cpus, proxy.command) == (100_000_000, 1.0, None)
    assert "ENTRYPOINT" in proxy.notes[0]
    assert nightly.memory_bytes is None


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job"])
def test_a_limit_in_milli_bytes_is_refused_with_its_place(kind: str) -> None:
    pod = '{"containers": [{"name": "x", "resources": {"limits": {"memory": "512m"}}}]}'
    text = f'{{"apiVersion": "v1", "kind": "{kind}", "metadata": {{"name": "a"}}, "spec": {{"template": {{"spec": {pod}}}}}}}'
    error = refusal(text, "deployment.json")
    assert error.message.startswith(
        "deployment.json: spec.template.spec.containers[0].resources.limits.memory: '512m' is 0.512 bytes"
    )


def test_a_template_is_to_be_rendered_first() -> None:
    assert "helm template" in refusal("kind: {{ .Values.kind }}\n", "deployment.yaml").hint


def test_cloud_run_has_defaults_and_counts_files() -> None:
    api = service("service.yaml")
    assert (api.name, api.platform, api.memory_bytes, api.cpus) == ("api", "cloud-run", 512 * MIB, 1.0)
    assert (api.ready, api.env) == ("/up", {"MODE": "fast"})
    assert "files that the service writes count" in api.notes[0]
    assert "512Mi" in api.notes[1]


@pytest.mark.parametrize("file", ["app.json", "Procfile"])
def test_heroku_from_either_of_its_files(file: str) -> None:
    web, jobs, mail = (service(file, name) for name in ("web", "jobs", "mail"))
    assert (web.memory_bytes, web.plan, web.where) == (1024 * MIB, "standard-2x", "formation.web.size")
    assert web.command == ("sh", "-c", "exec gunicorn app:app --bind 0.0.0.0:$PORT")
    assert (web.env, web.left_out_env) == ({"WORKERS": "2", "MODE": "fast"}, ("SESSION_KEY", "LICENCE"))
    assert "R14" in web.notes[0]
    assert "R15" in web.notes[0]
    assert (jobs.memory_bytes, jobs.command) == (2560 * MIB, None)
    assert (mail.memory_bytes, mail.command) == (None, ("python", "-m", "mail"))
    assert "no dyno size" in mail.notes[0]
    with pytest.raises(ManifestError, match="no service 'release'"):
        service(file, "release")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ('gunicorn "app:create_app()" --bind 0.0.0.0:8000', ("gunicorn", "app:create_app()", "--bind", "0.0.0.0:8000")),
        ("gunicorn 'app:create_app()'", ("gunicorn", "app:create_app()")),
        (r"gunicorn app:create_app\(\)", ("gunicorn", "app:create_app()")),
        ('gunicorn "app:create_app()" --bind :$PORT', 'exec gunicorn "app:create_app()" --bind :$PORT'),
        ('gunicorn "app:create_app()" --bind ":$PORT"', 'exec gunicorn "app:create_app()" --bind ":$PORT"'),
        ("gunicorn 'app:create_app()' && echo \"$A\"", "gunicorn 'app:create_app()' && echo \"$A\""),
        ('gunicorn "`cat name`"', 'gunicorn "`cat name`"'),
        ("echo '$PORT'", ("echo", "$PORT")),
        (r'echo "\$PORT"', r'exec echo "\$PORT"'),
        ('MODE="a b" gunicorn app:app', 'MODE="a b" gunicorn app:app'),
    ],
)
def test_what_is_quoted_says_nothing_to_a_shell(line: str, command: tuple[str, ...] | str) -> None:
    """A shell that is not needed would stay within the limit, and keep SIGTERM from the service."""
    found = read(f"web: {line}\n", "Procfile")
    assert found.command == (command if isinstance(command, tuple) else ("sh", "-c", command))


def test_ecs() -> None:
    api, proxy = service("taskdef.json", "api"), service("taskdef.json", "proxy")
    assert (api.memory_bytes, api.cpus, api.where) == (512 * MIB, 0.5, "containerDefinitions[0].memory")
    assert (api.command, api.image) == (("gunicorn", "app:app"), "registry.example/api:1")
    assert (api.env, api.left_out_env) == ({"WORKERS": "2"}, ("API_KEY", "file arn:aws:s3:::bucket/one.env"))
    assert (api.port, api.ready) == (8000, "/up")
    assert (proxy.memory_bytes, proxy.where) == (2048 * MIB, "memory")
    assert "shared by all its containers" in proxy.notes[0]


def test_an_ecs_container_by_itself() -> None:
    one = read('{"taskDefinition": {"containerDefinitions": [{"name": "a", "cpu": 256}]}}', "x.json")
    assert (one.memory_bytes, one.cpus) == (None, 0.25)
    assert "a share" in one.notes[0]


def test_an_unknown_plan_is_an_error_that_lists_the_known_ones_and_the_nearest() -> None:
    error = refusal("services: [{type: web, name: a, plan: standard2}]", "render.yaml")
    assert "services[0].plan: 'standard2' is no plan of render" in error.message
    assert "did you mean 'standard'?" in error.hint
    for name in load().plans["render"].values():
        assert name.name in error.hint
    assert "[plans.render.standard2]" in error.hint


def test_several_services_need_a_name() -> None:
    with pytest.raises(ManifestError) as caught:
        service("render.yaml")
    assert "describes 3 services" in caught.value.message
    assert "api, jobs, search" in caught.value.hint
    with pytest.raises(ManifestError, match="no service 'apj'") as caught:
        service("render.yaml", "apj")
    assert "did you mean 'api'?" in caught.value.hint


def test_two_services_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    (tmp_path / "render.yaml").write_text("services: [{name: a}, {name: a}]")
    with pytest.raises(ManifestError, match="2 services called 'a'"):
        detect.read(tmp_path / "render.yaml", "a")


@pytest.mark.parametrize(
    ("name", "text", "platform"),
    [
        ("docker-compose.prod.yml", "services: {a: {image: x}}", "compose"),
        ("stack.yml", "services: {a: {image: x}}", "compose"),
        ("blueprint.yaml", "services: []", "render"),
        ("render.yaml", "", "render"),
        ("k8s/deployment.yml", "apiVersion: v1\nkind: Pod", "kubernetes"),
        ("service.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service", "kubernetes"),
        ("fly.staging.toml", "", "fly"),
        ("deploy.toml", "primary_region = 'ord'", "fly"),
        ("task-definition.json", "{}", "ecs"),
        ("td.json", '{"containerDefinitions": []}', "ecs"),
        ("app.json", "{}", "heroku"),
        ("Procfile", "web: x", "heroku"),
    ],
)
def test_the_platform_is_told_by_content_and_then_by_name(name: str, text: str, platform: str) -> None:
    assert detect.platform_of(name, text) == platform


@pytest.mark.parametrize(
    ("name", "text"),
    [("values.yaml", "a: 1"), ("x.yaml", ""), ("package.json", "{}"), ("notes.txt", ""), ("x.toml", "a = 1")],
)
def test_what_is_no_manifest_is_an_error_that_says_what_is(name: str, text: str) -> None:
    assert "fly.toml" in refusal(text, name).hint


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"render\.yaml cannot be read \(no such file"):
        detect.read(tmp_path / "render.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(ManifestError, match="not UTF-8"):
        detect.read(tmp_path / "latin.yaml")


def test_a_manifest_without_services_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "render.yaml").write_text("databases: [{name: a}]")
    with pytest.raises(ManifestError, match="describes no service"):
        detect.read(tmp_path / "render.yaml")

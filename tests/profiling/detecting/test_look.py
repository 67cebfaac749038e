"""From a directory to values, each with where it comes from; and the file made of them, as the config reader reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from profiling import config
from profiling.detecting.findings import Findings
from profiling.detecting.look import ASSUMED_MEMORY, look
from profiling.detecting.text import config_text
from profiling.units import MIB
from tests.profiling.detecting.directories import FLASK, SERVICES, fill

APP = "from flask import Flask\napp = Flask(__name__)\n"
FAST = "from fastapi import FastAPI, Depends, APIRouter\nfrom pydantic import BaseModel, Field\napp = FastAPI()\n"


def seen(directory: Path, files: Mapping[str, str]) -> tuple[Findings, config.Config]:
    """What was found, and what the config reader makes of the file written from it."""
    findings = look(fill(directory, files))
    return findings, config.of_text(config_text(findings), directory / config.FILE_NAME)


def command(directory: Path, files: Mapping[str, str]) -> str:
    return " ".join(seen(directory, files)[1].target.service.command)


def source(findings: Findings, key: str) -> str:
    return next(found.source for found in findings.found if found.key == key)


@pytest.mark.parametrize("name", SERVICES)
def test_each_directory_gives_a_file_that_can_be_read_and_says_where_all_of_it_comes_from(
    tmp_path: Path, name: str
) -> None:
    findings, said = seen(tmp_path, SERVICES[name])
    assert not findings.missing
    assert all(found.source for found in findings.found)
    assert said.memory_bytes == 512 * MIB
    assert said.target.service.command or said.target.service.image


def test_a_flask_application_with_a_procfile(tmp_path: Path) -> None:
    findings, said = seen(tmp_path, FLASK)
    request = said.target.request
    assert said.target.service.command == ("gunicorn", "app:app", "--bind", "0.0.0.0:{port}", "--threads", "4")
    assert source(findings, "target.command") == "from Procfile: web"
    assert (said.target.service.ready, source(findings, "target.ready")) == ("/healthz", "from app.py:6")
    assert (request.method, request.path, request.json) == ("POST", "/chat", {"query": "{query}"})
    assert [found.key for found in findings.assumed] == ["target.memory"]
    text = config_text(findings)
    assert f'memory = "{ASSUMED_MEMORY}"              # CHECK: ' in text
    assert '#   or: command = ["gunicorn", "app:app", "--bind", "{host}:{port}"]' in text


def test_a_fastapi_application_with_a_model_for_its_body(tmp_path: Path) -> None:
    _, said = seen(tmp_path, SERVICES["fastapi"])
    request = said.target.request
    assert said.target.name == "asker"
    assert said.target.service.command == ("uvicorn", "main:app", "--host", "{host}", "--port", "{port}")
    assert (request.method, request.path, request.expect_status) == ("POST", "/ask", 201)
    assert request.json == {"question": "{query}", "session_id": "{session}"}


def test_a_django_project_with_routes_that_are_included(tmp_path: Path) -> None:
    _, said = seen(tmp_path, SERVICES["django"])
    assert said.target.service.command == ("gunicorn", "shop.wsgi", "--bind", "{host}:{port}")
    assert said.target.service.ready == "/healthz/"
    assert (said.target.request.method, said.target.request.path) == ("GET", "/pages/first/")


def test_a_django_project_that_lets_nobody_in_is_told(tmp_path: Path) -> None:
    files = {**SERVICES["django"], "shop/settings.py": "DEBUG = False\nALLOWED_HOSTS = ['example.com']\n"}
    assert any("ALLOWED_HOSTS" in note for note in seen(tmp_path, files)[0].notes)


def test_a_node_service_is_started_without_npm_and_it_is_said(tmp_path: Path) -> None:
    findings, said = seen(tmp_path, SERVICES["node"])
    assert said.target.service.command == ("node", "server.js")
    assert said.target.service.env == {"NODE_ENV": "production"}
    assert said.target.name == "echo"
    assert any("npm" in note for note in findings.notes)
    assert any("Node >=18" in note for note in findings.notes)
    assert said.target.service.ready == "/healthz"


def test_a_dockerfile_with_a_fixed_port_is_told_ours(tmp_path: Path) -> None:
    findings, said = seen(tmp_path, SERVICES["dockerfile"])
    image = said.target.service.image
    assert image is not None
    assert image.command == ("python3", "server.py", "--port", "{port}")
    assert "in place of 8000" in source(findings, "target.command")
    assert said.target.service.ready == "/health"


@pytest.mark.parametrize(
    "last",
    [
        'CMD ["sh", "-c", "serve --port $PORT"]',
        "CMD serve --port ${PORT:-8000}",
        'ENTRYPOINT ["serve"]',
        "CMD migrate && serve",
        "CMD [broken",
        "",
    ],
)
def test_a_dockerfile_that_needs_nothing_or_says_nothing_keeps_its_command(tmp_path: Path, last: str) -> None:
    image = seen(tmp_path, {"Dockerfile": f"FROM x\n{last}\n"})[1].target.service.image
    assert image is not None
    assert image.command == ()


def test_only_the_last_stage_of_a_dockerfile_counts(tmp_path: Path) -> None:
    text = 'FROM a AS b\nCMD ["one", "--port", "1111"]\nFROM b\nENTRYPOINT ["two"]\nCMD ["--port", "2222"]\n'
    image = seen(tmp_path, {"Dockerfile": text})[1].target.service.image
    assert image is not None
    assert image.command == ("two", "--port", "{port}")


def test_a_manifest_says_the_limit_and_what_is_in_it_stands_in_comments(tmp_path: Path) -> None:
    findings, said = seen(tmp_path, SERVICES["render"])
    text = config_text(findings)
    assert (said.memory_bytes, said.cpus, said.target.service.ready) == (512 * MIB, 0.5, "/healthz")
    assert said.target.service.command == ("gunicorn", "app:app", "--bind", "0.0.0.0:{port}")
    assert 'manifest = "render.yaml"' in text
    assert 'service = "api"' in text
    assert "memory =" not in text
    assert "#   it says: memory 512 MiB (services[0].plan, plan starter), 0.5 CPUs" in text
    assert "#   its other services: jobs" in text
    assert '# API_KEY = ""' in text


MANIFESTS = Path(__file__).parents[1] / "manifests"


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("render.yaml", "api"),
        ("fly.toml", None),
        ("compose.yaml", None),
        ("kubernetes.yaml", None),
        ("service.yaml", None),
        ("app.json", "web"),
        ("taskdef.json", None),
    ],
)
def test_every_platform_gives_a_manifest_that_the_reader_accepts(
    tmp_path: Path, name: str, service: str | None
) -> None:
    files = {name: (MANIFESTS / name).read_text(), "Dockerfile": 'FROM x\nCMD ["serve"]\n'}
    if name == "app.json":
        files["Procfile"] = (MANIFESTS / "Procfile").read_text()
    for place in ("backend/docker/api.Dockerfile", "docker/api.Dockerfile", "backend/Dockerfile", "api/Dockerfile"):
        files[place] = 'FROM x\nCMD ["serve"]\n'
    findings, _ = seen(tmp_path, files)
    assert findings.value("target.manifest") == name, findings.notes
    if service:
        assert findings.value("target.service") == service


def test_what_is_deployed_goes_before_what_is_for_the_developer(tmp_path: Path) -> None:
    compose = "services: {web: {build: ., mem_limit: 1g}, db: {image: postgres}}"
    files = {**SERVICES["render"], "compose.yaml": compose, "Dockerfile": "FROM x\n"}
    findings, said = seen(tmp_path, files)
    assert (findings.value("target.manifest"), said.memory_bytes) == ("render.yaml", 512 * MIB)
    assert any("compose.yaml (compose) is there as well" in note for note in findings.notes)


def test_a_database_is_not_taken_for_the_service(tmp_path: Path) -> None:
    compose = "services: {a-web-db: {image: 'docker.io/library/postgres:16', mem_limit: 1g}, x: {build: .}}"
    findings, _ = seen(tmp_path, {"compose.yaml": compose, "Dockerfile": "FROM x\n"})
    assert findings.value("target.service") == "x"


def test_a_manifest_whose_dockerfile_is_missing_leaves_the_rest_usable(tmp_path: Path) -> None:
    files = {**FLASK, "render.yaml": "services: [{type: web, name: api, runtime: docker, plan: standard}]"}
    findings, said = seen(tmp_path, files)
    assert said.memory_bytes == 2048 * MIB
    assert said.target.service.command[0] == "gunicorn"
    assert any("Dockerfile is not there" in note for note in findings.notes)


def test_an_image_that_is_made_here_is_built_here(tmp_path: Path) -> None:
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: api}\nspec:\n  containers:\n  - name: api\n"
        "    image: registry.example/api:1\n    command: [serve, --port, '8080']\n"
        "    resources: {limits: {memory: 256Mi}}\n"
    )
    _, said = seen(tmp_path, {"k8s/pod.yaml": pod, "Dockerfile": "FROM x\n"})
    image = said.target.service.image
    assert image is not None
    assert image.build is not None
    assert (image.command, said.memory_bytes) == (("serve", "--port", "{port}"), 256 * MIB)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"app.py": APP, "requirements.txt": "flask\ngunicorn"}, "gunicorn app:app --bind {host}:{port}"),
        ({"app.py": APP, "requirements.txt": "flask"}, "flask --app app:app run --host {host} --port {port}"),
        ({"app.py": APP, "requirements.txt": "Flask\nWaitress"}, "waitress-serve --listen={host}:{port} app:app"),
        (
            {
                "pkg/__init__.py": "import flask\ndef create_app(config=None):\n    app = flask.Flask('x')\n    return app\n",
                "requirements.txt": "gunicorn",
            },
            "gunicorn pkg:create_app() --bind {host}:{port}",
        ),
        (
            {
                "pkg/__init__.py": "",
                "pkg/factory.py": "from flask import Flask as F\ndef create_app():\n    a = F('x')\n    return a\n",
                "wsgi.py": "from pkg.factory import create_app\napplication = create_app()\n",
                "requirements.txt": "gunicorn",
            },
            "gunicorn wsgi:application --bind {host}:{port}",
        ),
        (
            {
                "src/shop/__init__.py": "",
                "src/shop/main.py": FAST,
                "pyproject.toml": "[project]\ndependencies = ['uvicorn']",
            },
            "uvicorn shop.main:app --host {host} --port {port} --app-dir src",
        ),
        (
            {
                "api.py": "import starlette.applications as s\nasgi: s.Starlette = s.Starlette()\n",
                "Pipfile": "[packages]\nhypercorn = '*'",
            },
            "hypercorn api:asgi --bind {host}:{port}",
        ),
        (
            {
                "main.py": FAST.replace("app = FastAPI()", "def create_app():\n    it = FastAPI()\n    return it"),
                "pyproject.toml": "[tool.poetry.dependencies]\nuvicorn = '^0.30'",
            },
            "uvicorn main:create_app --host {host} --port {port} --factory",
        ),
        ({"pyproject.toml": "[project]\nname = 'x'\n[project.scripts]\nshop = 'shop.main:run'"}, "shop"),
        ({"package.json": '{"scripts": {"start": "next start"}}', "yarn.lock": ""}, "yarn start"),
        ({"package.json": '{"main": "lib/main.js"}', "lib/main.js": "x"}, "node lib/main.js"),
        ({"package.json": "{}", "index.js": "x"}, "node index.js"),
        ({"server.mjs": "createServer(f).listen(process.env.PORT)"}, "node server.mjs"),
        ({"index.js": "only a script"}, "./FILL-IN --port {port}"),
        ({"Procfile": "release: migrate\nweb: bin/serve -p ${PORT:-3000}\n"}, "bin/serve -p {port}"),
        ({"Procfile": "web: cd srv && serve"}, "sh -c cd srv && serve"),
        ({"manage.py": SERVICES["django"]["manage.py"]}, "python manage.py runserver --noreload {host}:{port}"),
        ({"tests/app.py": APP, "notes.md": "x"}, "./FILL-IN --port {port}"),
        ({"lib.py": "def create_app(needed):\n    app = Flask(needed)\n"}, "./FILL-IN --port {port}"),
    ],
)
def test_the_command_is_told_from_what_is_there(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    assert command(tmp_path, files) == expected


def test_a_service_in_a_directory_of_its_own_is_started_there(tmp_path: Path) -> None:
    said = seen(tmp_path, {"backend/app.py": APP, "backend/requirements.txt": "flask\ngunicorn"})[1]
    assert said.target.service.directory == str(tmp_path / "backend")
    assert said.target.service.command == ("gunicorn", "app:app", "--bind", "{host}:{port}")


def test_a_program_of_the_projects_own_environment_goes_before_that_of_the_path(tmp_path: Path) -> None:
    files = {**FLASK, ".venv/pyvenv.cfg": "", ".venv/bin/gunicorn": "", ".venv/lib/app.py": APP}
    assert command(tmp_path, files).startswith(".venv/bin/gunicorn app:app")


BLUEPRINT = APP + "from flask import Blueprint\n"


def requests_of(directory: Path, code: str, name: str = "app.py") -> tuple[str, str, Any]:
    request = seen(directory, {name: code, "requirements.txt": "flask\nfastapi\nuvicorn\ngunicorn"})[1].target.request
    return request.method, request.path, request.json


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (APP + "@app.post('/users')\ndef new():\n    return request.json['text']\n", ("GET", "/", None)),
        (APP + "@app.post('/ask')\n@login_required\ndef a():\n    return request.json['text']\n", ("GET", "/", None)),
        (APP + "@app.post('/ask/<name>')\ndef a(name):\n    return request.json['text']\n", ("GET", "/", None)),
        (APP + "@app.post('/ask')\ndef a():\n    return request.json['colour']\n", ("GET", "/", None)),
        (
            APP + "@app.post('/ask')\ndef a():\n    return request.get_json().get('text')\n",
            ("POST", "/ask", {"text": "{query}"}),
        ),
        (
            APP + "def a():\n    d = request.json or {}\n    return d['q'], d['top_k']\n"
            "app.add_url_rule('/search', view_func=a, methods=['POST'])\n",
            ("POST", "/search", {"q": "{query}", "top_k": 1}),
        ),
        (
            BLUEPRINT
            + "b = Blueprint('b', 'b', url_prefix='/v1')\n@b.get('/list')\ndef a(): pass\napp.register_blueprint(b)\n",
            ("GET", "/v1/list", None),
        ),
        (
            BLUEPRINT + "b = Blueprint('b', 'b', url_prefix='/v1')\n@b.get('/list')\ndef a(): pass\n"
            "app.register_blueprint(b, url_prefix='/v2')\n",
            ("GET", "/v2/list", None),
        ),
        (BLUEPRINT + "b = Blueprint('b', 'b')\n@b.get('/list')\ndef a(): pass\n", ("GET", "/", None)),
        (
            FAST + "r = APIRouter(prefix='/v1')\n@r.get('/x')\ndef x(): pass\napp.include_router(r, prefix='/api')\n",
            ("GET", "/api/v1/x", None),
        ),
        (FAST + "@app.get('/x')\ndef x(q: str): pass\n", ("GET", "/openapi.json", None)),
        (FAST + "@app.get('/x')\ndef x(q: str = 'a'): pass\n", ("GET", "/x", None)),
        (
            FAST + "class B(BaseModel):\n    text: str\n@app.post('/chat')\ndef c(b: B, who=Depends(me)): pass\n",
            ("GET", "/openapi.json", None),
        ),
        (
            FAST + "class B(BaseModel):\n    name: str\n    n: int = Field(ge=0)\n    x: float | None = None\n"
            "@app.post('/predict')\ndef c(b: B): pass\n",
            ("POST", "/predict", {"name": "{query}", "n": 1}),
        ),
        (
            FAST
            + "class B(BaseModel):\n    text: str = Field(pattern='^a$')\n@app.post('/predict')\ndef c(b: B): pass\n",
            ("GET", "/openapi.json", None),
        ),
        (
            FAST
            + "class C(BaseModel):\n    x: str\nclass B(C):\n    text: str\n@app.post('/predict')\ndef c(b: B): pass\n",
            ("GET", "/openapi.json", None),
        ),
        (
            FAST + "class B(BaseModel):\n    text: str\n@app.post('/send-email')\ndef c(b: B): pass\n",
            ("GET", "/openapi.json", None),
        ),
    ],
)
def test_the_request_is_a_post_only_where_its_body_is_known_and_it_only_answers(
    tmp_path: Path, code: str, expected: tuple[str, str, Any]
) -> None:
    assert requests_of(tmp_path, code) == expected


def test_a_body_that_a_function_of_the_module_reads_is_found_through_it(tmp_path: Path) -> None:
    code = APP + (
        "def body():\n    return request.get_json()\n"
        "@app.post('/chat')\ndef chat():\n    asked = body()\n    return asked['message'], asked['session_id']\n"
    )
    assert requests_of(tmp_path, code) == ("POST", "/chat", {"message": "{query}", "session_id": "{session}"})


@pytest.mark.parametrize(
    "view",
    [
        "@require_POST\ndef ask(request):\n    d = json.loads(request.body)\n    return d['text']\n",
        "@require_http_methods(['POST'])\ndef ask(request):\n    return json.loads(request.body)['text']\n",
        "def ask(request):\n    if request.method != 'POST':\n        raise Http404\n    return json.loads(request.body)['text']\n",
    ],
)
def test_a_view_of_django_that_takes_post_alone_is_told(tmp_path: Path, view: str) -> None:
    urls = "from django.urls import path\nfrom shop import views\nurlpatterns = [path('ask', views.ask)]\n"
    _, said = seen(tmp_path, {**SERVICES["django"], "shop/urls.py": urls, "shop/views.py": f"import json\n{view}"})
    request = said.target.request
    assert (request.method, request.path, request.json) == ("POST", "/ask", {"text": "{query}"})


def test_a_class_of_django_with_post_alone_is_shown_and_the_health_check_is_asked(tmp_path: Path) -> None:
    urls = (
        "from django.urls import path\nfrom shop.views import Ask, up\n"
        "urlpatterns = [path('ask', Ask.as_view()), path('up', up)]\n"
    )
    views = "class Ask(View):\n    def post(self, request):\n        pass\ndef up(request):\n    pass\n"
    findings, said = seen(tmp_path, {**SERVICES["django"], "shop/urls.py": urls, "shop/views.py": views})
    assert (said.target.request.method, said.target.request.path) == ("GET", "/up")
    assert "request.path" in [found.key for found in findings.assumed]
    assert '#   or: method = "POST", path = "/ask"  (from shop/urls.py:3)' in config_text(findings)


def test_a_post_that_is_not_used_is_shown(tmp_path: Path) -> None:
    findings, _ = seen(tmp_path, {"app.py": APP + "@app.post('/users')\ndef new():\n    return request.json['text']\n"})
    assert '#   or: method = "POST", path = "/users", json = { text = "{query}" }  (from app.py:3)' in config_text(
        findings
    )


def test_a_node_service_that_reads_no_port_is_told(tmp_path: Path) -> None:
    files = {"package.json": '{"main": "a.js"}', "a.js": "app.get('/ready', f)\napp.post('/x', f)\napp.listen(3000)\n"}
    findings, said = seen(tmp_path, files)
    assert said.target.service.ready == "/ready"
    assert any("process.env.PORT" in note for note in findings.notes)


def test_an_empty_directory_gives_a_file_to_fill_in(tmp_path: Path) -> None:
    findings, said = seen(tmp_path, {})
    assert [entry.key for entry in findings.missing] == ["target.command"]
    assert "# FILL IN: what starts the service" in config_text(findings)
    assert said.target.service.command == ("./FILL-IN", "--port", "{port}")

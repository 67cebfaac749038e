"""Directories that hold anything: the file is still valid, the look ends, and nothing of it is run."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiling import config
from profiling.detecting.directory import Directory
from profiling.detecting.look import look
from profiling.detecting.text import config_text
from tests.profiling.detecting.directories import FLASK, RENDER, fill

SECRETS = (
    "sk-live-Zq81hGmXw02LtPs9",
    "tiger-Xk2Pq9sLw0",
    "postgres://me:hunter2pass@db/shop",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
)
NAMES = (
    "Procfile",
    "Dockerfile",
    "render.yaml",
    "fly.toml",
    "compose.yaml",
    "app.json",
    "package.json",
    "pyproject.toml",
    "requirements.txt",
    "app.py",
    "manage.py",
    "server.js",
    "k8s/deployment.yaml",
    "taskdef.json",
)


def text_of(directory: Path) -> str:
    """The file's text, after the config reader accepted it."""
    text = config_text(look(directory))
    config.of_text(text, directory / config.FILE_NAME)
    return text


def test_nothing_is_imported_or_run(tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    fill(tmp_path, dict.fromkeys(("app.py", "setup.py", "conftest.py", "gunicorn.conf.py", "sitecustomize.py"), trap))
    fill(tmp_path, {"package.json": '{"scripts": {"preinstall": "touch ran", "start": "touch ran"}}'})
    text_of(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff\xfe\x80" * 500,
        b"\xef\xbb\xbf",
        b"{",
        b"[[[",
        b"web: 'open\n",
        b"- &a [*a]\n",
        b"services: {web: {build: [1, 2]}}",
        b"{{ .Values.name }}: [",
        b"(" * 5000,
        b"x = [" * 3000,
        b"- " * 3000,
        b'{"a":' * 3000,
        b"\r\n\x0b\x0c\xe2\x80\xa8\x1b[31m",
        b"null",
        b'"text"',
        b"web:\n",
    ],
)
def test_broken_files_are_no_hindrance(tmp_path: Path, name: str, raw: bytes) -> None:
    fill(tmp_path, {name: ""})
    (tmp_path / name).write_bytes(raw)
    text_of(tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    template=st.sampled_from(
        [
            "services: [{{type: web, name: {0}, startCommand: {0}, runtime: python, healthCheckPath: /a{0}}}]",
            "services: {{ {0}: {{image: {0}, command: {0}, environment: {{A: {0}}}}} }}",
            '{{"name": {0}, "main": {0}, "scripts": {{"start": {0}}}, "engines": {{"node": {0}}}}}',
            '[project]\nname = {0}\n[project.scripts]\n{0} = "a:b"\n',
            "CMD [{0}, {0}]",
            "web: {0}",
            "from flask import Flask\napp = Flask({0})\n@app.get('/' + {0})\n@app.get({0})\ndef f(): pass\n",
        ]
    ),
)
def test_whatever_stands_in_a_file_what_is_written_is_valid(
    tmp_path: Path, name: str, value: str, template: str
) -> None:
    import json

    for other in NAMES:
        (tmp_path / other).unlink(missing_ok=True)
    fill(tmp_path, {name: template.format(json.dumps(value)), "Dockerfile": "FROM x\n"})
    tomllib.loads(text_of(tmp_path))


def test_no_name_gets_out_of_its_comment(tmp_path: Path) -> None:
    name = "api\\n[target.env]\\nINJECTED = 'x'"
    manifest = (
        f'services: [{{type: web, name: "{name}", plan: starter, startCommand: serve}}, {{name: b, startCommand: b}}]'
    )
    fill(tmp_path, {"render.yaml": manifest})
    document = tomllib.loads(text_of(tmp_path))
    assert "env" not in document["target"]
    assert document["target"]["service"] == "api\n[target.env]\nINJECTED = 'x'"


def test_what_cannot_be_read_is_told_and_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, FLASK)
    (tmp_path / "Procfile").unlink()
    (tmp_path / "Procfile").symlink_to("/proc/self/mem")  # a regular file that answers with an error, even to root
    (tmp_path / "package.json").symlink_to("package.json")
    (tmp_path / "round").symlink_to(".")
    os.mkfifo(tmp_path / "Dockerfile")
    (tmp_path / "render.yaml").mkdir()
    (tmp_path / "fly.toml").symlink_to("nowhere")
    with (tmp_path / "main.py").open("wb") as huge:
        huge.truncate(1 << 40)
    findings = look(tmp_path)
    assert findings.value("target.command") == ("gunicorn", "app:app", "--bind", "{host}:{port}")
    notes = "\n".join(findings.notes)
    assert "Procfile: cannot be read (input/output error)" in notes
    assert "main.py: is larger than 512 KiB" in notes
    text_of(tmp_path)


def test_installed_packages_and_hidden_directories_are_not_entered(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {f"{place}/deep/app.py": FLASK["app.py"] for place in ("node_modules", ".git", ".tox", "mine", "vendor")},
    )
    fill(tmp_path, {"mine/pyvenv.cfg": "", "real/app.py": ""})
    assert set(Directory(tmp_path).files) == {"real/app.py"}


def test_the_look_is_bounded(tmp_path: Path) -> None:
    for number in range(5_100):
        (tmp_path / f"file-{number}.txt").touch()
    deep = "/".join("abcdefgh")
    fill(tmp_path / "b", {f"{deep}/app.py": ""})
    directory = Directory(tmp_path)
    assert len(directory.files) <= 5_000
    assert any("the rest was not looked at" in problem for problem in directory.problems)
    assert Directory(tmp_path / "b").files == ()


def test_a_file_name_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"app-\xff.py")).write_text(FLASK["app.py"])
    (tmp_path / "render\n.yaml").write_text(RENDER["render.yaml"])
    assert Directory(tmp_path).files == ()
    text_of(tmp_path)


def planted() -> dict[str, dict[str, str]]:
    key, word, url, token = SECRETS
    return {
        "procfile": {"Procfile": f"web: API_KEY={key} serve --password {word} --db {url}\n"},
        "package": {
            "package.json": f'{{"name": "{token}", "scripts": {{"start": "API_TOKEN={token} node s.js --api-key {key}"}}}}',
            "s.js": f"app.post('/hook/{token}', f)\napp.get('/{key}', f)\napp.listen(process.env.PORT)\n",
        },
        "dockerfile": {
            "Dockerfile": f'FROM x\nENV DB_PASSWORD={word}\nCMD ["serve", "--port", "80", "--db", "{url}", "--api-key", "{key}"]\n',
        },
        "render": {
            "Dockerfile": 'FROM x\nCMD ["serve", "--port", "80"]\n',
            "render.yaml": "services:\n- type: web\n  name: api\n  runtime: docker\n  plan: starter\n"
            f"  dockerCommand: serve --port 9000 --password {word} {url}\n  healthCheckPath: /up?token={word}\n"
            f"  envVars: [{{key: API_KEY, value: {key}}}, {{key: DATABASE_URL, value: '{url}'}}, {{key: X, value: {token}}}]\n",
        },
        "compose": {
            "Dockerfile": 'FROM x\nCMD ["serve", "--port", "80"]\n',
            "compose.yaml": f"services: {{api: {{build: {{context: ., args: {{NPM_TOKEN: {token}}}}}, mem_limit: 512m, "
            f"command: [serve, --api-key, {key}]}}}}",
        },
        "broken": {
            "render.yaml": f"services: [{{name: a, plan: {token}}}, {{startCommand: '{url}'}}]",
            "pyproject.toml": f"password = {word}",
        },
        "code": {
            "app.py": f"from flask import Flask\nKEY = '{key}'\napp = Flask('x')\n"
            f"@app.get('/x/{token}')\ndef f(): return '{url}'\n",
            "pyproject.toml": f"[project]\nname = '{token}'\n",
        },
    }


@pytest.mark.parametrize("place", planted())
def test_a_secret_never_lands_in_the_file_or_in_what_is_said(tmp_path: Path, place: str) -> None:
    fill(tmp_path, planted()[place])
    findings = look(tmp_path)
    said = text_of(tmp_path) + repr(findings)
    for secret in (*SECRETS, "hunter2pass"):
        assert secret not in said, said


def test_a_command_with_a_secret_stays_in_its_procfile_and_is_still_run(tmp_path: Path) -> None:
    fill(tmp_path, planted()["procfile"])
    said = config.of_text(text_of(tmp_path), tmp_path / config.FILE_NAME)
    assert SECRETS[0] in " ".join(said.target.service.command)

from pathlib import Path

import msgspec
import pytest

from profiling import config
from profiling.errors import ConfigError, ExitCode
from profiling.units import MIB
from profiling.values import Budget, Target

TARGET = '[target]\ncommand = ["gunicorn", "app:app", "--bind", "{host}:{port}"]\n'


def read(directory: Path, text: str, name: str = "oomproof.toml") -> config.Config:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return config.read(path)


def refusal(directory: Path, text: str, name: str = "oomproof.toml") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(directory, text, name)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "\n" not in caught.value.hint
    return caught.value


def test_a_command_is_enough_and_the_rest_has_defaults(tmp_path: Path) -> None:
    said = read(tmp_path, TARGET)
    service = said.target.service
    assert service.command == ("gunicorn", "app:app", "--bind", "{host}:{port}")
    assert service.directory == str(tmp_path.resolve())
    assert (service.ready, service.startup_timeout_s, service.env) == ("/health", 60.0, {})
    assert said.target.name == tmp_path.name
    assert said.target.request.path == "/chat"
    assert said.budget == Budget()
    assert said.variants == ()
    assert not said.oom_group
    assert (said.memory_bytes, said.cpus, said.users, said.duration_s, said.rate) == (None, None, None, None, None)


def test_every_key_reaches_its_value(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "queries.txt").write_text("one\n\n two \n", encoding="utf-8")
    said = read(
        tmp_path,
        """
        [target]
        command = ["./serve"]
        name = "shop"
        directory = "srv"
        ready = "/up"
        startup_timeout = "2m"
        memory = "512MiB"
        cpus = 0.5
        oom_group = true
        env = { WEB_CONCURRENCY = "1" }

        [request]
        method = "PUT"
        path = "/ask"
        json = { q = "{query}" }
        headers = { X-Key = "k" }
        queries = "queries.txt"
        expect = { status = 201, json_schema = { type = "object" } }

        [load]
        users = 4
        duration = "500ms"
        rate = 7

        [variants.old.env]
        MODE = "old"
        [variants.new.env]
        MODE = "new"

        [budget]
        max_peak = "460MiB"
        min_headroom = "10%"
        max_p95 = "2s"
        max_failures = "1%"
        max_growth = "2KiB/request"
        """,
    )
    target, request = said.target, said.target.request
    assert (target.name, target.service.directory) == ("shop", str(tmp_path.resolve() / "srv"))
    assert (target.service.ready, target.service.startup_timeout_s) == ("/up", 120.0)
    assert target.service.env == {"WEB_CONCURRENCY": "1"}
    assert (request.method, request.path, request.json) == ("PUT", "/ask", {"q": "{query}"})
    assert (request.headers, request.queries) == ({"X-Key": "k"}, ("one", "two"))
    assert (request.expect_status, request.expect_json_schema) == (201, {"type": "object"})
    assert (said.memory_bytes, said.cpus, said.oom_group) == (512 * MIB, 0.5, True)
    assert (said.users, said.duration_s, said.rate) == (4, 0.5, 7.0)
    assert [(v.name, v.env) for v in said.variants] == [("old", {"MODE": "old"}), ("new", {"MODE": "new"})]
    assert said.budget == Budget(
        max_peak_bytes=460 * MIB,
        min_headroom=0.1,
        max_p95_ms=2000.0,
        max_failures=0.01,
        max_growth_bytes_per_request=2048.0,
    )


def test_what_was_read_can_be_stored(tmp_path: Path) -> None:
    said = read(
        tmp_path,
        TARGET + 'startup_timeout = "5s"\n[budget]\nmax_peak = "1MiB"\nmin_headroom = "5%"\nmax_p95 = "1s"\n',
    )
    for value, kind in ((said.target, Target), (said.budget, Budget)):
        assert msgspec.json.decode(msgspec.json.encode(value), type=kind) == value


def test_a_limit_and_a_duration_that_were_read_can_be_stored(tmp_path: Path) -> None:
    said = read(tmp_path, TARGET + 'memory = "1MiB"\n[load]\nduration = "5s"\n')
    assert msgspec.json.decode(msgspec.json.encode([said.memory_bytes, said.duration_s])) == [MIB, 5.0]


def test_a_bare_command_means_a_service_here_that_can_be_stored(tmp_path: Path) -> None:
    said = config.of_command(["./serve", "-x"], tmp_path)
    assert said.target.service.command == ("./serve", "-x")
    assert said.target.service.directory == str(tmp_path.resolve())
    assert msgspec.json.decode(msgspec.json.encode(said.target), type=Target) == said.target


def test_no_body_can_be_asked_for_by_a_body_of_its_own(tmp_path: Path) -> None:
    assert read(tmp_path, TARGET + '[request]\njson = "just text"\n').target.request.json == "just text"


def test_a_locustfile_is_found_beside_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    said = read(tmp_path, TARGET + '[request]\nlocustfile = "mine.py"\n')
    assert said.target.locustfile == str(tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        (TARGET + 'memory_mb = "1MiB"\n', "target.memory_mb", "memory"),
        (TARGET + "[loads]\n", "loads", "load"),
        (TARGET + "[request]\npth = '/'\n", "request.pth", "path"),
        (TARGET + "[request.expect]\nstats = 1\n", "request.expect.stats", "status"),
        (TARGET + "[load]\nuser = 1\n", "load.user", "users"),
        (TARGET + "[budget]\nmax_peek = '1MiB'\n", "budget.max_peek", "max_peak"),
        (TARGET + "[variants.a]\nenvv = {}\n", "variants.a.envv", "env"),
    ],
)
def test_an_unknown_key_is_named_by_its_path_with_the_nearest_known_one(
    tmp_path: Path, text: str, key: str, near: str
) -> None:
    error = refusal(tmp_path, text)
    assert f"unknown key {key!r}" in error.message
    assert f"did you mean {near!r}" in error.hint


@pytest.mark.parametrize(
    ("text", "key", "read_as", "allowed"),
    [
        (TARGET + 'memory = "512M"\n', "target.memory", "'512M'", "MiB"),
        (TARGET + "memory = 512\n", "target.memory", "512", "unit"),
        (TARGET + 'startup_timeout = "soon"\n', "target.startup_timeout", "'soon'", "20s"),
        (TARGET + '[load]\nusers = "8"\n', "load.users", "'8'", "int"),
        (TARGET + '[load]\nduration = "5 parsecs"\n', "load.duration", "'5 parsecs'", "20s"),
        (TARGET + '[budget]\nmax_failures = "5"\n', "budget.max_failures", "'5'", "%"),
        (TARGET + '[budget]\nmax_growth = "1KiB"\n', "budget.max_growth", "'1KiB'", "1KiB/request"),
        (TARGET + "[target.env]\nWORKERS = 2\n", "target.env.WORKERS", "2", "str"),
        (TARGET + "[variants.a.env]\nMODE = 3\n", "variants.a.env.MODE", "3", "str"),
        ('[target]\ncommand = ["x", 1]\n', "target.command[1]", "1", "str"),
        ('[target]\ncommand = "x"\n', "target.command", "'x'", "array"),
    ],
)
def test_a_wrong_value_is_named_by_its_path_with_what_was_read_and_what_is_allowed(
    tmp_path: Path, text: str, key: str, read_as: str, allowed: str
) -> None:
    message = refusal(tmp_path, text).message
    assert f": {key}: " in message
    assert f"(read: {read_as})" in message
    assert allowed in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "target"),
        ("[target]\n", "command"),
        ("[target]\ncommand = []\n", "names nothing to run"),
        ("[target\n", "line 1"),
        (TARGET + '[request]\nmethod = "post"\n', "method"),
        (TARGET + '[request]\nqueries = "missing.txt"\n', "missing.txt"),
        (TARGET + f'memory = "{"9" * 400}"\n', "memory"),
    ],
)
def test_what_makes_no_sense_is_a_config_error(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text).message


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml cannot be read"):
        config.read(tmp_path / "no.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.read(tmp_path / "latin.toml")


def test_a_pyproject_is_read_from_its_own_table(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[tool.oomproof.target]\ncommand = ["./serve"]\n'
    assert read(tmp_path, text, "pyproject.toml").target.service.command == ("./serve",)


def test_oomproof_toml_goes_before_pyproject(tmp_path: Path) -> None:
    assert config.find(tmp_path) is None
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text("[tool.ruff]\n", encoding="utf-8")
    assert config.find(tmp_path) is None
    pyproject.write_text("[tool.oomproof]\n", encoding="utf-8")
    assert config.find(tmp_path) == pyproject
    (tmp_path / "oomproof.toml").touch()
    assert config.find(tmp_path) == tmp_path / "oomproof.toml"


def with_manifest(directory: Path, manifest: str, text: str = "", name: str = "render.yaml") -> config.Config:
    (directory / "deploy").mkdir(exist_ok=True)
    (directory / "deploy" / name).write_text(manifest, encoding="utf-8")
    (directory / "deploy" / "Dockerfile").touch()
    return read(directory, f'[target]\nmanifest = "deploy/{name}"\n{text}')


RENDER = """
services:
  - name: api
    runtime: docker
    plan: starter
    dockerfilePath: ./Dockerfile
    healthCheckPath: /up
    envVars: [{ key: WORKERS, value: 2 }, { key: PORT, value: 10000 }, { key: API_KEY, sync: false }]
"""


def test_a_manifest_says_what_the_file_leaves_open(tmp_path: Path) -> None:
    said = with_manifest(tmp_path, RENDER)
    service = said.target.service
    assert (said.memory_bytes, said.cpus, service.ready) == (512 * MIB, 0.5, "/up")
    assert service.env == {"WORKERS": "2"}, "the port is chosen here"
    assert service.image is not None
    assert service.image.build is not None
    assert service.image.build.context == str(tmp_path / "deploy")
    assert service.image.build.dockerfile == str(tmp_path / "deploy" / "Dockerfile")
    (manifest,) = said.manifests
    assert manifest.left_out_env == ("API_KEY",)
    assert msgspec.json.decode(msgspec.json.encode(said.target), type=Target) == said.target


def test_what_the_file_says_goes_before_its_manifest(tmp_path: Path) -> None:
    said = with_manifest(
        tmp_path,
        RENDER,
        'command = ["./serve"]\nmemory = "1GiB"\ncpus = 2\nready = "/mine"\nenv = { WORKERS = "8", MORE = "x" }\n',
    )
    service = said.target.service
    assert (said.memory_bytes, said.cpus, service.ready) == (1024 * MIB, 2, "/mine")
    assert service.env == {"WORKERS": "8", "MORE": "x"}
    assert (service.command, service.image) == (("./serve",), None)


def test_a_dockerfile_of_the_files_own_stays_its_own(tmp_path: Path) -> None:
    (tmp_path / "Mine").touch()
    said = with_manifest(tmp_path, RENDER, 'dockerfile = "Mine"\n')
    image = said.target.service.image
    assert image is not None
    assert image.build is not None
    assert (image.build.context, image.build.dockerfile) == (str(tmp_path), str(tmp_path / "Mine"))


def test_image_command_and_build_arguments_come_from_a_manifest(tmp_path: Path) -> None:
    compose = (
        "services: {a: {image: 'x:1', command: [serve]}, b: {build: {context: ., args: {A: 1, B: 2}}, mem_limit: 1g}}"
    )
    said = with_manifest(tmp_path, compose, 'service = "a"\n', "compose.yaml")
    image = said.target.service.image
    assert image is not None
    assert (image.name, image.command, said.memory_bytes) == ("x:1", ("serve",), None)
    said = with_manifest(tmp_path, compose, 'service = "b"\nbuild_args = { B = "3" }\n', "compose.yaml")
    image = said.target.service.image
    assert image is not None
    assert image.build is not None
    assert image.build.args == {"A": "1", "B": "3"}


def test_a_plan_of_the_users_own(tmp_path: Path) -> None:
    plans = '[plans.render.tiny]\nmemory = "300MiB"\ncpus = 0.1\nusd_per_month = 3\n'
    said = with_manifest(tmp_path, RENDER.replace("starter", "tiny"), plans)
    assert (said.memory_bytes, said.cpus) == (300 * MIB, 0.1)


@pytest.mark.parametrize(
    ("manifest", "text", "said"),
    [
        (RENDER.replace("starter", "tiny"), "", "services[0].plan: 'tiny' is no plan of render"),
        (RENDER.replace("Dockerfile", "Missing"), "", "target.manifest: the Dockerfile of api: there is no file"),
        (RENDER, 'service = "apj"\n', "describes no service 'apj'"),
        ("services: [{name: a}, {name: b}]", "", "describes 2 services"),
        ("services: [{name: a}]", "", "neither does its manifest"),
        (RENDER, '[plans.render.tiny]\nmemory = "512M"\n', "plans.render.tiny.memory"),
        (RENDER, '[plans.render.tiny]\nmemory = "1KiB"\n', "plans.render.tiny.memory is no limit"),
        (RENDER, '[plans.render.tiny]\nmemory = "1GiB"\ncpus = -1\n', "plans.render.tiny.cpus"),
        (RENDER, '[plans.render.tiny]\nmemory = "1GiB"\nusd_per_month = -1\n', "plans.render.tiny.usd_per_month"),
        (RENDER, "[plans.render.tiny]\n", "plans.render.tiny: Object missing required field `memory`"),
        (
            RENDER,
            "[plans.render.tiny]\nmemory = 512\n",
            "plans.render.tiny.memory: Expected `str`, got `int` (read: 512)",
        ),
    ],
)
def test_a_manifest_or_a_plan_that_makes_no_sense_is_a_config_error(
    tmp_path: Path, manifest: str, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        with_manifest(tmp_path, manifest, text)
    assert said in caught.value.message
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_manifest_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path, '[target]\nmanifest = "render.yaml"\n').message
    assert "target.manifest" in refusal(tmp_path, TARGET + 'service = "api"\n').message


def test_an_unknown_key_of_a_plan_is_named_with_the_nearest(tmp_path: Path) -> None:
    error = refusal(tmp_path, TARGET + '[plans.render.tiny]\nmemory = "1GiB"\nmemry = 1\n')
    assert "plans.render.tiny.memry" in error.message
    assert "did you mean 'memory'" in error.hint

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

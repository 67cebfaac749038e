from __future__ import annotations

import pytest

from profiling.detecting.ports import told_the_port, without_shell, words_of


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gunicorn app:app -b 0.0.0.0:$PORT", ("gunicorn", "app:app", "-b", "0.0.0.0:{port}")),
        ("gunicorn app:app -b :${PORT:-8000}", ("gunicorn", "app:app", "-b", ":{port}")),
        ("exec serve --name 'two words'", ("serve", "--name", "two words")),
        ("migrate && serve --port $PORT", None),
        ("serve --workers $WORKERS", None),
        ("serve 'open", None),
        ("", None),
    ],
)
def test_only_port_can_be_filled_in_without_a_shell(line: str, words: tuple[str, ...] | None) -> None:
    assert words_of(line) == words


def test_a_shell_around_one_program_is_not_needed() -> None:
    assert without_shell(("sh", "-c", "exec serve -p $PORT")) == ("serve", "-p", "{port}")
    assert without_shell(("/bin/sh", "-c", "a && b")) == ("/bin/sh", "-c", "a && b")
    assert without_shell(("serve", "-c", "x")) == ("serve", "-c", "x")


@pytest.mark.parametrize(
    ("line", "told", "how"),
    [
        (
            "uvicorn main:app --host 0.0.0.0 --port 80",
            "uvicorn main:app --host 0.0.0.0 --port {port}",
            "in place of 80",
        ),
        ("uvicorn main:app --port=8000", "uvicorn main:app --port={port}", "in place of 8000"),
        ("gunicorn a:b --bind=0.0.0.0:5000", "gunicorn a:b --bind=0.0.0.0:{port}", "in place of 5000"),
        ("gunicorn a:b -b [::]:5000", "gunicorn a:b -b [::]:{port}", "in place of 5000"),
        ("gunicorn a:b -b :5000", "gunicorn a:b -b :{port}", "in place of 5000"),
        ("python manage.py runserver 0.0.0.0:8000", "python manage.py runserver 0.0.0.0:{port}", "in place of 8000"),
        ("node server.js -p 3000", "node server.js -p {port}", "in place of 3000"),
        ("uvicorn main:app", "uvicorn main:app --host {host} --port {port}", "does not read PORT"),
        (
            "python3 -m uvicorn main:app",
            "python3 -m uvicorn main:app --host {host} --port {port}",
            "does not read PORT",
        ),
        (
            ".venv/bin/flask --app x run",
            ".venv/bin/flask --app x run --host {host} --port {port}",
            "does not read PORT",
        ),
        ("python manage.py runserver", "python manage.py runserver {host}:{port}", "does not read PORT"),
        ("gunicorn app:app --workers 4 --timeout 120", "gunicorn app:app --workers 4 --timeout 120", ""),
        ("gunicorn app:app --bind {host}:{port}", "gunicorn app:app --bind {host}:{port}", ""),
        ("node server.js", "node server.js", ""),
        ("python -m worker --redis redis:6379", "python -m worker --redis redis:6379", ""),
        ("python -u app.py", "python -u app.py", ""),
    ],
)
def test_a_service_is_told_its_port(line: str, told: str, how: str) -> None:
    words, said = told_the_port(line.split())
    assert " ".join(words) == told
    assert how in said
    assert bool(how) == bool(said)


def test_no_words_are_no_program() -> None:
    assert told_the_port(()) == ((), "")
    assert told_the_port(("python",)) == (("python",), "")

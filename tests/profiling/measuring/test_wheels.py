"""Wheels of a local directory, found as pip is configured, and fetched by a real pip over loopback."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from profiling.measuring.sandboxes.wheels import find_wheels, parse_find_links, serve_local_wheels

NAME = "oomproof_probe-1.0+a-py3-none-any.whl"
Configure = Callable[[str], None]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Holds one installable wheel, and things that are none."""
    place = tmp_path / "my wheels"
    place.mkdir()
    with zipfile.ZipFile(place / NAME, "w") as wheel:
        info = "oomproof_probe-1.0+a.dist-info"
        wheel.writestr("oomproof_probe.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: oomproof-probe\nVersion: 1.0+a\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (place / "secret.txt").write_text("not a wheel")
    (place / "folder.whl").mkdir()
    return place


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Write the one pip.conf that pip reads (`PIP_CONFIG_FILE` is a value of its own, so the machine's are left out)."""

    def write(text: str) -> None:
        path = tmp_path / "pip.conf"
        path.write_text(text)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    return write


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        content: bytes = response.read()
    return content


def test_pip_installs_from_what_is_served(monkeypatch: pytest.MonkeyPatch, directory: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", directory.as_uri())
    with serve_local_wheels() as url:
        assert url is not None
        command = [sys.executable, "-m", "pip", "--isolated", "download", "--no-index", "--find-links", url]
        done = subprocess.run(
            [*command, "-d", str(tmp_path / "got"), "oomproof-probe"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "got" / NAME).read_bytes() == (directory / NAME).read_bytes()


def test_only_wheels_are_served_and_only_meanwhile(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", directory.as_uri())
    with serve_local_wheels() as url:
        assert url is not None
        assert url.startswith("http://127.0.0.1:")
        page = get(url)
        assert b".whl" in page
        assert b"secret" not in page
        assert b"folder.whl" not in page
        for path in ("secret.txt", "../secret.txt", "%2e%2e/secret.txt", "folder.whl", "folder.whl/"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(url + path)
        (directory / NAME).unlink()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(url + NAME)
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_the_server_is_gone_after_an_error(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", directory.as_uri())
    with pytest.raises(KeyboardInterrupt), serve_local_wheels() as url:
        raise KeyboardInterrupt
    assert url is not None
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_the_url_stays_where_it_can(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", directory.as_uri())
    with serve_local_wheels() as first:
        pass
    with serve_local_wheels() as again, serve_local_wheels() as beside:
        assert again == first
        assert beside not in (None, again)
        assert b".whl" in get(str(beside))


def test_a_configuration_file_is_read(configure: Configure, directory: Path) -> None:
    configure(f"[install]\nfind-links =\n    https://example.org/wheels\n    {directory.as_uri()}\n")
    with serve_local_wheels() as url:
        assert url is not None
        assert NAME.split("+", maxsplit=1)[0].encode() in get(url)


@pytest.mark.parametrize(
    "text", ["", "[global]\nfind-links = https://example.org/wheels\n", "[global]\nfind-links = /nowhere/at/all\n"]
)
def test_none_without_local_wheels(configure: Configure, text: str) -> None:
    configure(text)
    with serve_local_wheels() as url:
        assert url is None


def test_the_listing_is_parsed() -> None:
    listing = "\n".join(
        [
            ":env:.find-links='/a'",
            "global.find-links='/b\\nhttps://example.org/c'",
            "install.find-links='/a'",
            "global.extra-index-url='/d'",
            "global.find-links=not quoted",
            "",
        ]
    )
    assert parse_find_links(listing) == ["/a", "/b", "https://example.org/c"]


def test_the_first_wheel_of_a_name_counts(directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / NAME).write_bytes(b"another")
    found = find_wheels([str(directory), str(other), "https://example.org/", str(tmp_path / NAME)])
    assert found == {NAME: directory / NAME}

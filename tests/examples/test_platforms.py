"""The platforms' pages: each manifest is read by the tool, and what the page says was read is what was read."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from profiling import config
from profiling.config import Config
from profiling.manifests.service import ManifestService
from profiling.units import format_bytes
from tests.examples.pages import EXAMPLES, PLATFORMS, run, shown, statuses
from tests.helpers import MIB, ROOT

PAGES = ("render", "fly", "compose", "kubernetes", "cloud-run", "heroku", "ecs")
_FILE = re.compile(r"^`([\w.-]+)`:\n\n```\w+\n(.*?)```", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| ([\w ]+) \| (.+?) \| (.+) \|$", re.MULTILINE)


def files(page: str) -> dict[str, str]:
    return dict(_FILE.findall((PLATFORMS / f"{page}.md").read_text()))


def written(page: str, directory: Path) -> Path:
    """The page's files in `directory`."""
    for name, text in files(page).items():
        (directory / name).write_text(text)
    return directory


def read(page: str, directory: Path) -> tuple[Config, ManifestService]:
    (directory / "Dockerfile").write_text("FROM scratch\n")
    found = config.read(written(page, directory) / "oomproof.toml")
    (manifest,) = found.manifests
    return found, manifest


def test_every_platform_has_its_page() -> None:
    assert {path.stem for path in PLATFORMS.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_is_read_is_what_is_read(page: str, tmp_path: Path) -> None:
    found, manifest = read(page, tmp_path)
    text = (PLATFORMS / f"{page}.md").read_text()
    rows = {what: (value, source) for what, value, source in _ROW.findall(text) if what != "read"}
    assert manifest.platform == page
    assert found.memory_bytes == manifest.memory_bytes == 512 * MIB
    said, source = rows["memory"]
    assert (said, source) == (format_bytes(512 * MIB), f"`{manifest.where}`")
    assert rows["CPUs"][0] == ("no cap" if found.cpus is None else f"{found.cpus:g}")
    assert rows["environment"][0] == ", ".join(f"`{name}`" for name in manifest.env)
    assert rows["left out"][0] == (", ".join(f"`{name}`" for name in manifest.left_out_env) or "–")
    runs = " ".join(manifest.command or ()) or manifest.dockerfile or manifest.image
    assert rows["what runs"][0] == f"`{runs}`"
    assert rows["health check"][0] == f"`{found.target.service.ready}`"
    # The port is the tool's to choose.
    assert "PORT" not in found.target.service.env


@pytest.mark.parametrize("page", PAGES)
def test_the_one_command_is_that_of_the_readme(page: str) -> None:
    assert shown(PLATFORMS / f"{page}.md") == [(".", "python cli.py verify")]
    assert f"docs/platforms/{page}.md" in (ROOT / "README.md").read_text()
    assert f"platforms/{page}.md" in (ROOT / "docs" / "manifests.md").read_text()


@pytest.mark.parametrize(("page", "name"), [("render", "flask"), ("heroku", "flask")])
@pytest.mark.e2e
def test_a_service_is_measured_under_the_limit_of_its_manifest(page: str, name: str, tmp_path: Path) -> None:
    """The two whose manifest names a command, with the example that it starts."""
    ignored = shutil.ignore_patterns("runs", "__pycache__", "oomproof.toml")
    service = shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored)
    options = ("--users", "2", "--duration", "2s")
    code, document = run(written(page, service), "python cli.py verify", tmp_path / "out", *options)
    assert (code, document["verdict"], statuses(document)["bad-input"]) == (0, "pass", "pass"), document["checks"]
    assert statuses(document)["end"] == "pass", "SIGTERM reaches it"
    assert document["run"]["memory_limit_bytes"] == 512 * MIB

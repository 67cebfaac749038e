"""What runs the model: each runtime in each kind of number answers as well, and ONNX Runtime needs nothing of torch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend import knowledge, prepared, quality
from backend.encoders import implementation
from backend.model import ChatModel
from backend.prepare import prepare
from backend.settings import CHECKPOINTS, DTYPES, Settings
from backend.weights import ModelFilesError
from tests.backend.test_gunicorn import Server
from tests.backend.test_model import anonymous_bytes

ROOT = Path(__file__).parents[2]
ALL = [pytest.param(runtime, dtype, id=f"{runtime}-{dtype}") for runtime, dtypes in DTYPES.items() for dtype in dtypes]
TEXTS = ["I forgot my password", "why " * 500, "\U0001f600"]


@pytest.fixture(scope="module")
def as_torch_answers(prepared_settings: Settings) -> quality.Quality:
    return quality.measure(ChatModel.load(prepared_settings).predict)


def form(settings: Settings, **changes: Any) -> Settings:
    changed = replace(settings, **changes)
    prepare(changed)
    return changed


@pytest.mark.parametrize(("runtime", "dtype"), ALL[1:])
def test_answers_are_as_good_within_a_point(
    prepared_settings: Settings, as_torch_answers: quality.Quality, runtime: str, dtype: str
) -> None:
    settings = form(prepared_settings, runtime=runtime, dtype=dtype)
    measured = quality.measure(ChatModel.load(settings).predict)
    assert measured.asked > 100
    assert measured.share >= as_torch_answers.share - 0.01, measured


@pytest.mark.parametrize(("runtime", "dtype"), ALL)
def test_mapped_and_private_weights_are_the_same(prepared_settings: Settings, runtime: str, dtype: str) -> None:
    private, mapped = (
        implementation(settings.runtime)(prepared.require(settings), settings)
        for settings in (
            form(prepared_settings, runtime=runtime, dtype=dtype, checkpoint=checkpoint) for checkpoint in CHECKPOINTS
        )
    )
    for text in TEXTS:
        vector = private.embed(text)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(vector, mapped.embed(text), atol=1e-5)


def test_the_graph_computes_what_torch_does(prepared_settings: Settings) -> None:
    settings = form(prepared_settings, runtime="onnx")
    torch_encoder = implementation("torch")(prepared.require(prepared_settings), prepared_settings)
    encoder = implementation("onnx")(prepared.require(settings), settings)
    for text in [*TEXTS, *knowledge.read().texts()[:20]]:
        np.testing.assert_allclose(encoder.embed(text), torch_encoder.embed(text), atol=1e-5)


def test_mapped_weights_of_a_graph_are_no_memory_of_ones_own(prepared_settings: Settings) -> None:
    grown = {}
    for checkpoint in CHECKPOINTS:
        settings = form(prepared_settings, runtime="onnx", checkpoint=checkpoint)
        files = prepared.require(settings)
        kept = [implementation("onnx")(files, settings)]
        before = anonymous_bytes()
        kept += [implementation("onnx")(files, settings) for _ in range(2)]
        grown[checkpoint] = (anonymous_bytes() - before) / 2
        assert len(kept) == 3
    # The embeddings, half of the weights, stay in the file; what is multiplied is packed for the processor in any case.
    assert grown["safetensors"] < 0.7 * grown["pickle"]


def test_threads_share_a_session_and_a_team_is_started_at_its_first_use(prepared_settings: Settings) -> None:
    settings = replace(form(prepared_settings, runtime="onnx", dtype="int8"), torch_threads=2)
    threads = Path("/proc/self/task")
    model = ChatModel.load(settings)
    before = len(list(threads.iterdir()))
    answers = {model.predict("I forgot my password")}
    assert len(list(threads.iterdir())) > before
    with ThreadPoolExecutor(4) as pool:
        answers |= set(pool.map(model.predict, ["I forgot my password"] * 20))
    assert answers == {knowledge.read().entries[0].answer}


@contextmanager
def serving(**env: str) -> Iterator[Server]:
    server = Server(env)
    try:
        server.read_log_until("Server is ready at")
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def test_a_service_that_runs_onnx_has_nothing_of_torch_and_answers_as_well(prepared_settings: Settings) -> None:
    settings = form(prepared_settings, runtime="onnx", dtype="int8")
    env = {"MODEL_RUNTIME": "onnx", "MODEL_DTYPE": "int8"}
    here = quality.measure(ChatModel.load(settings).predict)
    with serving(**env, TORCH_THREADS="2", WEB_CONCURRENCY="2") as server:
        code, out, err = ask_quality("--url", f"http://127.0.0.1:{server.port}", "--json")
        assert code == 0, err
        assert json.loads(out) == quality.document(here)
        master = server.process.pid
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        assert len(workers) == 2
        for pid in (master, *workers):
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "onnxruntime" in maps
            assert not re.search(r"libtorch|site-packages/(torch|transformers|onnx)/", maps)
        assert "checkpoint pickle, onnx int8" in server.log


def test_a_process_that_runs_onnx_imports_neither_torch_nor_transformers(prepared_settings: Settings) -> None:
    form(prepared_settings, runtime="onnx", dtype="int8")
    code = (
        "import sys\nfrom backend.app import create_app\n"
        "client = create_app().test_client()\n"
        "assert client.post('/chat', json={'session_id': 's', 'query': 'refund'}).status_code == 200\n"
        "assert 'onnxruntime' in sys.modules\n"
        "heavy = {'torch', 'transformers', 'onnx', 'safetensors', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    env = {**os.environ, "MODEL_RUNTIME": "onnx", "MODEL_DTYPE": "int8"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_the_library_it_is_said_what_to_install(
    prepared_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    settings = replace(prepared_settings, runtime="onnx")
    for refuse in (prepare, prepared.require):
        with pytest.raises(ModelFilesError) as refused:
            refuse(settings)
        assert refused.value.hint == "Run: pip install onnxruntime"


def test_what_is_missing_says_what_to_run_for_it(prepared_settings: Settings, tmp_path: Path) -> None:
    settings = replace(prepared_settings, dtype="bfloat16", cache_dir=tmp_path)
    with pytest.raises(ModelFilesError) as refused:
        prepared.require(settings)
    assert refused.value.hint == "Run: MODEL_DTYPE=bfloat16 python -m backend.prepare"


def ask_quality(*options: str, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "backend.quality", *options],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("options", "env", "code", "said"),
    [
        (["--url", "127.0.0.1:8000"], {}, 2, "no base address"),
        (["--url", "ftp://127.0.0.1"], {}, 2, "no base address"),
        (["--url", "http://127.0.0.1:1"], {}, 4, "does not answer"),
        ([], {"MODEL_DTYPE": "float8"}, 2, "MODEL_DTYPE='float8'"),
        ([], {"MODEL_PATH": "/nowhere"}, 4, "/nowhere"),
    ],
)
def test_what_keeps_quality_from_being_asked(options: list[str], env: dict[str, str], code: int, said: str) -> None:
    ended, out, err = ask_quality(*options, **env)
    assert ended == code
    assert out == ""
    assert said in err
    assert "Traceback" not in err

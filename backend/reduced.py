"""torch checkpoints in fewer bits than float32: made once at set-up, and read without a float32 copy on the way.

bfloat16: every weight. int8: the weights of the linear layers, with one scale for each output; what goes into such a layer is
quantised when it is known, with one scale for all of it. Embeddings and normalisation stay float32 there, and so do the
layers behind an activation function: a few large numbers come out of it and leave the others no bits.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, TypedDict, cast

import torch
from torch.ao.nn.quantized import dynamic
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from backend.settings import Dtype


class _Saved(TypedDict):
    """What lies in the file."""

    weights: OrderedDict[str, torch.Tensor]
    """A state dict, where a quantised layer has entries of its own."""
    buffers: dict[str, torch.Tensor]
    """What is computed when a model is built and is in no state dict."""


def save(model: BertModel, dtype: Dtype, file: BinaryIO) -> None:
    """Write a float32 model in fewer bits."""
    reduced = _quantised(model) if dtype == "int8" else torch.nn.Module.to(model, torch.bfloat16)
    # Copies: torch.save writes the whole storage that a tensor is a view of, here the mapped file. A packed layer is a tuple.
    # Not a new dictionary: this one knows the versions of the layers' own formats.
    weights = cast("OrderedDict[str, torch.Tensor]", reduced.state_dict())
    for name, value in weights.items():
        if isinstance(value, torch.Tensor):
            weights[name] = value.clone()
    buffers = {name: value.clone() for name, value in reduced.named_buffers() if name not in weights}
    torch.save(_Saved(weights=weights, buffers=buffers), file)


def load(path: Path, config: BertConfig, *, mapped: bool) -> torch.nn.Module:
    """The model, in memory of its own or mapped from the file. What int8 packs for the processor is always its own."""
    # Built without memory, and filled with what was read: nothing is there twice.
    with torch.device("meta"):
        model = BertModel(config)
    with warnings.catch_warnings():
        _expect_deprecations()
        saved: _Saved = torch.load(path, map_location="cpu", mmap=mapped)
        for name, layer in list(model.named_modules()):
            if f"{name}.{_PACKED}" in saved["weights"]:
                assert isinstance(layer, torch.nn.Linear)
                model.set_submodule(name, _Quantised(layer))
        model.load_state_dict(saved["weights"], assign=True)
    for name, value in saved["buffers"].items():
        place, _, last = name.rpartition(".")
        model.get_submodule(place).register_buffer(last, value, persistent=False)
    return model


class _Quantised(dynamic.Linear):
    """As torch's own, but for the eighth bit of what goes in. Without it three points fewer of the answers are right; it may
    overflow where a processor older than VNNI adds in 16 bits."""

    def __init__(self, replaced: torch.nn.Linear) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            replaced.in_features, replaced.out_features, replaced.bias is not None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        packed = self._packed_params._packed_params
        result: torch.Tensor = torch.ops.quantized.linear_dynamic(x, packed, reduce_range=False)
        return result


_PACKED = "_packed_params._packed_params"
"""A quantised layer's entry in a state dict."""


def _quantised(model: BertModel) -> torch.nn.Module:
    chosen = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and not _is_behind_activation(name)
    ]
    with warnings.catch_warnings():
        _expect_deprecations()
        quantised: torch.nn.Module = quantize_dynamic(  # type: ignore[no-untyped-call]
            model, dict.fromkeys(chosen, per_channel_dynamic_qconfig)
        )
    return quantised


def _is_behind_activation(name: str) -> bool:
    return name.endswith("output.dense") and not name.endswith("attention.output.dense")


def _expect_deprecations() -> None:
    # torch has moved quantisation to the package torchao; what is used of it here is there, and warns, up to 2.13.
    warnings.filterwarnings("ignore", message="torch.ao.quantization is deprecated")
    warnings.filterwarnings("ignore", message=".*quantized tensor creation functions")
    warnings.filterwarnings("ignore", message="TypedStorage is deprecated")

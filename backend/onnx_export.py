"""The encoder as an ONNX graph, written at set-up. Importing this module imports torch, transformers and onnx."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from onnx.external_data_helper import convert_model_to_external_data

from backend.encoder import mapped_model
from backend.prepared import Prepared
from backend.settings import Dtype

# Any one will do: the graph takes sentences of every length.
_EXAMPLE = [[101, 7592, 1010, 2088, 102]]
_OPSET = 17


class _Vector(torch.nn.Module):
    """Token numbers in, the sentence's vector out: what `Encoder.embed` does around the model is in the graph as well."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden = self._model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids)).last_hidden_state
        return torch.nn.functional.normalize(hidden[0].mean(dim=0), dim=0)


def export(files: Prepared, dtype: Dtype) -> None:
    """Write `files.weights`, and `files.data` where the weights are to lie beside the graph."""
    with tempfile.TemporaryDirectory(dir=files.weights.parent, prefix=".onnx-") as folder:
        graph = _graph(files.model.directory)
        if dtype == "int8":
            graph = _quantised(graph, Path(folder))
        if files.data is not None:
            convert_model_to_external_data(graph, location=files.data.name)
        made = Path(folder) / files.weights.name
        onnx.save_model(graph, made)
        # The weights first: whoever sees the graph finds them.
        for path in filter(None, (files.data, files.weights)):
            source = made.with_name(path.name)
            source.chmod(0o644)
            source.replace(path)


def _graph(directory: Path) -> onnx.ModelProto:
    # "eager": plain matrix products; the fused attention turns into three times the shape arithmetic.
    module = _Vector(mapped_model(directory, "eager")).eval()
    written = io.BytesIO()
    with warnings.catch_warnings():
        # That it is deprecated, and what it cannot promise of code that it traces; the tests hold the graph against torch.
        # Its successor wants three more packages and ten times as long for the same numbers.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.tensor(_EXAMPLE),),
            written,  # type: ignore[arg-type] # a file is taken as well
            input_names=["input_ids"],
            output_names=["vector"],
            dynamic_axes={"input_ids": {1: "tokens"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    return onnx.load_model_from_string(written.getvalue())


def _quantised(graph: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before, after = folder / "float32.onnx", folder / "int8.onnx"
    onnx.save_model(graph, before)
    # It recommends a pass that has nothing to do here, through the root logger.
    logging.disable(logging.WARNING)
    try:
        # One scale for each output of a layer, not one for all of it: a question more is answered right.
        quantize_dynamic(before, after, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load_model(after)

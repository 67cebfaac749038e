"""Sentence to vector: a BERT encoder in torch. Importing this module imports torch and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from backend.prepared import Prepared
from backend.settings import Checkpoint, Dtype, Settings
from backend.tokens import load_tokenizer
from backend.weights import ModelFilesError

# A load may run in gunicorn's master. With one thread torch starts no OpenMP team there, which would not
# survive the fork into the workers; `embed` sets the number that was asked for.
torch.set_num_threads(1)


class Encoder:
    """The model and its tokenizer, in memory."""

    def __init__(self, model: torch.nn.Module, tokenizer: Tokenizer, torch_threads: int) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._torch_threads = torch_threads

    @classmethod
    def load(cls, files: Prepared, checkpoint: Checkpoint, torch_threads: int = 1, dtype: Dtype = "float32") -> Self:
        """Read the weights and the tokenizer from disk. Runs no forward pass.

        Raises:
            ModelFilesError: a file cannot be read as what it should be.
        """
        directory = files.model.directory
        try:
            model = _model(directory, files.weights, checkpoint, dtype)
            tokenizer = load_tokenizer(directory)
        except MemoryError:
            raise
        except Exception as error:
            raise ModelFilesError(
                f"The model cannot be read from {directory} and {files.weights}: {error}",
                f"Delete {files.weights.parent} and run: python -m backend.prepare",
            ) from error
        return cls(model, tokenizer, torch_threads)

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """One vector of length 1: the mean over the tokens, as the model was trained. Thread-safe."""
        if torch.get_num_threads() != self._torch_threads:
            torch.set_num_threads(self._torch_threads)
        ids = torch.tensor([self._tokenizer.encode(text).ids])
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            # The mean of bfloat16 numbers is taken in float32: 8 bits are too few to add up in.
            vector = torch.nn.functional.normalize(hidden[0].float().mean(dim=0), dim=0)
        result: npt.NDArray[np.float32] = vector.numpy()
        return result


def load(files: Prepared, settings: Settings) -> Encoder:
    """The encoder that the settings ask for."""
    return Encoder.load(files, settings.checkpoint, settings.torch_threads, settings.dtype)


def mapped_state_dict(directory: Path) -> dict[str, torch.Tensor]:
    """The weights by name, as the pickled checkpoint is to hold them."""
    # A copy of each tensor: torch.save writes the whole storage that a tensor is a view of.
    return {name: tensor.clone() for name, tensor in mapped_model(directory).state_dict().items()}


def mapped_model(directory: Path, attention: str = "sdpa") -> BertModel:
    """Weights that stay in the page cache: shared by all processes and reclaimable."""
    model: BertModel = BertModel.from_pretrained(
        directory, local_files_only=True, dtype=torch.float32, attn_implementation=attention
    )
    return model


def _model(directory: Path, weights: Path, checkpoint: Checkpoint, dtype: Dtype) -> torch.nn.Module:
    if dtype != "float32":
        from backend import reduced  # imports more of torch

        return reduced.load(weights, BertConfig.from_pretrained(directory), mapped=checkpoint == "safetensors")
    return mapped_model(directory) if checkpoint == "safetensors" else _private(directory, weights)


def _private(directory: Path, state_dict: Path) -> BertModel:
    """Weights in memory of this model's own, twice while they are being copied in."""
    model = BertModel(BertConfig.from_pretrained(directory))
    model.load_state_dict(torch.load(state_dict, map_location="cpu"))
    return model

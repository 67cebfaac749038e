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
from backend.settings import Checkpoint
from backend.weights import ModelFilesError

# The length that all-MiniLM-L6-v2 was trained for (its sentence_bert_config.json).
MAX_TOKENS = 256

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
    def load(cls, files: Prepared, checkpoint: Checkpoint, torch_threads: int = 1) -> Self:
        """Read the weights and the tokenizer from disk. Runs no forward pass.

        Raises:
            ModelFilesError: a file cannot be read as what it should be.
        """
        directory = files.model.directory
        try:
            model = _mapped(directory) if checkpoint == "safetensors" else _private(directory, files.state_dict)
            tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except MemoryError:
            raise
        except Exception as error:
            raise ModelFilesError(
                f"The model cannot be read from {directory} and {files.state_dict}: {error}",
                f"Delete {files.state_dict.parent} and run: python -m backend.prepare",
            ) from error
        # Set once, here: the requests' threads share the tokenizer and may only read it.
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()
        return cls(model, tokenizer, torch_threads)

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """One vector of length 1: the mean over the tokens, as the model was trained. Thread-safe."""
        if torch.get_num_threads() != self._torch_threads:
            torch.set_num_threads(self._torch_threads)
        ids = torch.tensor([self._tokenizer.encode(text).ids])
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            vector = torch.nn.functional.normalize(hidden[0].mean(dim=0), dim=0)
        result: npt.NDArray[np.float32] = vector.numpy()
        return result


def mapped_state_dict(directory: Path) -> dict[str, torch.Tensor]:
    """The weights by name, as the pickled checkpoint is to hold them."""
    # A copy of each tensor: torch.save writes the whole storage that a tensor is a view of.
    return {name: tensor.clone() for name, tensor in _mapped(directory).state_dict().items()}


def _mapped(directory: Path) -> BertModel:
    """Weights that stay in the page cache: shared by all processes and reclaimable."""
    model: BertModel = BertModel.from_pretrained(directory, local_files_only=True, dtype=torch.float32)
    return model


def _private(directory: Path, state_dict: Path) -> BertModel:
    """Weights in memory of this model's own, twice while they are being copied in."""
    model = BertModel(BertConfig.from_pretrained(directory))
    model.load_state_dict(torch.load(state_dict, map_location="cpu"))
    return model

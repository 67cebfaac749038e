"""Text to the numbers that the model reads; the same for whatever runs it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

# The length that all-MiniLM-L6-v2 was trained for (its sentence_bert_config.json).
MAX_TOKENS = 256


def load_tokenizer(directory: Path) -> Tokenizer:
    """The model's tokenizer, from its directory. Raises whatever `tokenizers` does for a broken file."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    # Set once, here: the requests' threads share the tokenizer and may only read it.
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer

"""The real model: right answers, the same ones from both checkpoints, and no forward pass at load."""

from __future__ import annotations

import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend import knowledge, prepared, quality
from backend.encoder import Encoder
from backend.model import ChatModel
from backend.prepare import prepare
from backend.settings import Checkpoint, Settings

HELD_OUT = quality.held_out()
ASKED, OFF_TOPIC = HELD_OUT.asked, HELD_OUT.off_topic
BASE = knowledge.read()


@pytest.fixture(scope="module")
def model(prepared_settings: Settings) -> ChatModel:
    return ChatModel.load(prepared_settings)


def test_the_knowledge_base_is_large_enough() -> None:
    assert len(BASE.entries) >= 40
    assert len({entry.topic for entry in BASE.entries}) >= 8
    assert all(len(entry.phrasings) >= 4 for entry in BASE.entries)


@pytest.mark.parametrize("what", ["id", "answer", "phrasings"])
def test_nothing_stands_in_the_knowledge_base_twice(what: str) -> None:
    values: list[str] = []
    for entry in BASE.entries:
        value = getattr(entry, what)
        values.extend([value] if isinstance(value, str) else [text.casefold() for text in value])
    assert [value for value, count in Counter(values).items() if count > 1] == []


def test_the_held_out_questions_are_held_out() -> None:
    def bare(text: str) -> str:
        return "".join(char for char in text.casefold() if char.isalnum())

    known = {bare(phrasing) for entry in BASE.entries for phrasing in entry.phrasings}
    assert len(ASKED) >= 80
    assert {entry_id for entry_id, _ in ASKED} == {entry.id for entry in BASE.entries}
    assert [question for _, question in ASKED if bare(question) in known] == []


def test_held_out_questions_are_answered_right(model: ChatModel) -> None:
    answers = {entry.id: entry.answer for entry in BASE.entries}
    wrong = [(entry_id, question) for entry_id, question in ASKED if model.predict(question) != answers[entry_id]]
    assert len(wrong) <= 0.1 * len(ASKED), wrong


def test_off_topic_questions_get_the_fallback(model: ChatModel) -> None:
    answered = [question for question in OFF_TOPIC if model.predict(question) != BASE.fallback]
    assert len(answered) <= 0.1 * len(OFF_TOPIC), answered


def test_every_phrasing_gets_its_own_answer(model: ChatModel) -> None:
    # One of each entry: all of them would only measure the same thing for longer.
    assert [entry.id for entry in BASE.entries if model.predict(entry.phrasings[0]) != entry.answer] == []


@pytest.mark.parametrize("query", ["?", "x" * 2000, "why " * 500, "\U0001f600", "\u202e", "a\nb"])
def test_odd_queries_are_answered(model: ChatModel, query: str) -> None:
    assert model.predict(query)


def test_both_checkpoints_give_the_same_embeddings(prepared_settings: Settings) -> None:
    files = prepared.require(prepared_settings)
    pickled, mapped = Encoder.load(files, "pickle"), Encoder.load(files, "safetensors")
    for text in ["I forgot my password", "why " * 500, "\U0001f600"]:
        vector = pickled.embed(text)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_array_equal(vector, mapped.embed(text))


@pytest.mark.parametrize("checkpoint", ["pickle", "safetensors"])
def test_what_a_checkpoint_costs_in_memory(prepared_settings: Settings, checkpoint: Checkpoint) -> None:
    """Private copies for pickle, a shared file map for safetensors: what the comparison rests on."""
    files = prepared.require(prepared_settings)
    kept = [Encoder.load(files, checkpoint)]  # the first load also pays for lazy imports
    before = anonymous_bytes()
    kept += [Encoder.load(files, checkpoint) for _ in range(3)]
    grown = (anonymous_bytes() - before) / 3
    weights = files.weights.stat().st_size
    assert len(kept) == 4
    if checkpoint == "pickle":
        assert grown > 0.8 * weights
    else:
        assert grown < 0.2 * weights


def anonymous_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def test_threads_share_a_model(model: ChatModel) -> None:
    questions = [entry.phrasings[0] for entry in BASE.entries][:20]
    alone = [model.predict(question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(model.predict, questions)) == alone


def test_torch_threads_are_set_where_the_model_runs(prepared_settings: Settings) -> None:
    files = prepared.require(prepared_settings)
    asked_for_two = Encoder.load(files, "safetensors", torch_threads=2)
    assert torch.get_num_threads() == 1
    asked_for_two.embed("hello")
    assert torch.get_num_threads() == 2
    Encoder.load(files, "safetensors").embed("hello")
    assert torch.get_num_threads() == 1


def test_a_model_directory_of_ones_own(prepared_settings: Settings, tmp_path: Path) -> None:
    packaged = prepared.require(prepared_settings)
    directory = tmp_path / "model"
    directory.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (directory / name).symlink_to(packaged.model.directory / name)
    settings = replace(prepared_settings, model_path=directory, cache_dir=tmp_path / "cache")
    # The same content has the same embeddings, by name as well: not computed again, for the test's speed.
    settings.cache_dir.mkdir()
    shutil.copy(packaged.embeddings, settings.cache_dir)
    assert prepare(settings) == [prepared.locate(settings).weights]
    assert ChatModel.load(settings).predict("I forgot my password") == BASE.entries[0].answer
    assert prepare(settings) == []

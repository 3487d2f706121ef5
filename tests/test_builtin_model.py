"""The built-in model: what ships is what `convert` makes of the stored checkpoint, byte for byte, and it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitnet_cli.convert.pipeline import convert
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.library import BUILTIN_MODEL, BitNetModel

CHECKPOINT = Path(__file__).parent / "golden" / "stories"


@pytest.fixture(scope="module")
def model() -> BitNetModel:
    return BitNetModel.from_pretrained(n_threads=1)


def test_the_shipped_file_is_the_converted_checkpoint(tmp_path: Path) -> None:
    made = tmp_path / "stories.gguf"
    convert(CHECKPOINT, made, embed_type="f16", verify=True)
    assert made.read_bytes() == BUILTIN_MODEL.read_bytes()


def test_its_shape_is_that_of_the_2b_model_in_miniature(model: BitNetModel) -> None:
    c = model.config
    assert BUILTIN_MODEL.stat().st_size <= 8_000_000
    assert c.arch.name == "bitnet-b1.58" and c.arch.hidden_act == "relu2" and c.arch.sub_norms
    assert c.n_kv_heads < c.n_heads and c.context_length >= 512 and c.vocab_size <= 4096
    with GGUFReader(BUILTIN_MODEL) as reader:
        assert "output.weight" not in reader.tensors
        ternary = [info for info in reader.tensors.values() if info.type == 36]
    assert all(info.shape[1] % 256 == 0 for info in ternary)
    assert 5e6 <= sum(info.shape[0] * info.shape[1] for info in ternary) <= 10e6


def test_it_continues_a_story_the_same_way_everywhere(model: BitNetModel, isa: str) -> None:
    prompt = "Once upon a time, there was a little"
    greedy = model.generate(prompt, max_new_tokens=40)
    assert BitNetModel.from_pretrained(n_threads=2, isa=isa).generate(prompt, max_new_tokens=40) == greedy
    assert len(greedy.split()) > 20


def test_it_has_learnt_english(model: BitNetModel) -> None:
    """Mean loss on a sentence is far below that of a uniform guess (8.3 nats), and shuffled words are worse."""

    def loss(text: str) -> float:
        ids = model.tokenize(text)
        logits = model.logits(ids)[:-1].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(ids) - 1), ids[1:]] - np.log(np.exp(logits).sum(axis=1))
        return float(-chosen.mean())

    sentence = "Once upon a time, there was a little girl named Lily. She loved to play in the park with her friends."
    assert loss(sentence) < 3.0
    assert loss(sentence) + 1.0 < loss(" ".join(sorted(sentence.split())))


def test_the_python_api(model: BitNetModel) -> None:
    text = "Tom had a red ball."
    ids = model.tokenize(text)
    assert ids[0] == model.tokenizer.bos_id and model.detokenize(ids) == text
    assert model.logits(ids).shape == (len(ids), model.config.vocab_size)
    pieces = list(model.generate_stream(text, do_sample=True, seed=3, max_new_tokens=30, stop=["."]))
    assert len(pieces) > 1 and "." not in "".join(pieces)
    assert model.generate(text, do_sample=True, seed=3, max_new_tokens=30, stop=["."]) == "".join(pieces)

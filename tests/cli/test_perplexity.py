"""`bitnet perplexity`: the procedure to the digit, and one clear error for every text it cannot take."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitnet_cli.library import BUILTIN_MODEL, BitNetModel

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw "
    "a big red ball near the slide. Her friend Tom wanted to play with it too. They threw the ball and ran and "
    "laughed. Then the ball rolled into the pond, and Lily was sad. Tom found a long stick and pulled the ball back. "
    '"Thank you, Tom," said Lily. They shared the ball and played until the sun went down.\n'
)
TEXT = STORY * 3
N_CTX = 64
GOLDEN = "Final estimate: PPL = 7.3855 +/- 1.42858\n"


def by_hand(text: str, n_ctx: int) -> tuple[list[float], float]:
    """The running perplexities and the final error, spelled out: one list of losses, no blocks, no early ends."""
    model = BitNetModel.from_pretrained(context_length=n_ctx, isa="scalar", n_threads=1)
    ids = model.tokenize(text)
    assert ids[0] == model.tokenizer.bos_id
    running, losses = [], []
    for i in range(len(ids) // n_ctx):
        chunk = [model.tokenizer.bos_id, *ids[i * n_ctx : (i + 1) * n_ctx][1:]]
        logits = model.logits(chunk).astype(np.float64)
        for pos in range(n_ctx // 2, n_ctx - 1):
            e = np.exp(logits[pos] - logits[pos].max())
            losses.append(-math.log(e[chunk[pos + 1]] / e.sum()))
        running.append(math.exp(sum(losses) / len(losses)))
    mean = sum(losses) / len(losses)
    variance = sum((loss - mean) ** 2 for loss in losses) / len(losses)
    return running, running[-1] * math.sqrt(variance / (len(losses) - 1))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_to_the_digit(bitnet: Callable, text: Path) -> None:
    running, error = by_hand(TEXT.removesuffix("\n"), N_CTX)
    ran = bitnet("perplexity", "-f", text, "-c", N_CTX)
    values = "".join(f"[{i}]{value:.4f}," for i, value in enumerate(running, 1))
    assert ran.code == 0
    assert ran.out == f"{values}\nFinal estimate: PPL = {running[-1]:.4f} +/- {error:.5f}\n"
    assert f"{len(running)} chunks of {N_CTX} tokens" in ran.err


def test_known_number(bitnet: Callable, text: Path) -> None:
    """A change of this number is a change of the model's results."""
    assert bitnet("perplexity", "-f", text, "-c", N_CTX).out.endswith(GOLDEN)


@pytest.mark.parametrize("options", [["-t", "1"], ["--isa", "scalar"]], ids=str)
def test_results_do_not_depend_on_threads_or_isa(bitnet: Callable, text: Path, options: list[str]) -> None:
    command = ["perplexity", "-f", text, "-c", N_CTX, "--chunks", 2]
    assert bitnet(*command, *options).out == bitnet(*command).out


def test_json_has_the_same_values(bitnet: Callable, text: Path) -> None:
    running, _ = by_hand(TEXT.removesuffix("\n"), N_CTX)
    ran = bitnet("perplexity", "-f", text, "-c", N_CTX, "--chunks", 2, "--json")
    answer = json.loads(ran.out)
    assert ran.code == 0 and ran.err == ""
    assert answer["chunks"] == 2 and answer["ctx_size"] == N_CTX
    assert answer["scored_tokens"] == 2 * (N_CTX - 1 - N_CTX // 2)
    assert answer["running"] == pytest.approx(running[:2], rel=1e-12)
    assert answer["perplexity"] == answer["running"][-1] and answer["error"] > 0


def test_a_rest_of_the_text_and_chunks_beyond_it_do_not_matter(bitnet: Callable, text: Path) -> None:
    whole = bitnet("perplexity", "-f", text, "-c", N_CTX).out
    text.write_text(TEXT + "The end.", encoding="utf-8")
    assert bitnet("perplexity", "-f", text, "-c", N_CTX, "--chunks", 10_000).out == whole


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        (TEXT.encode(), ["-c", "512"], 2, "takes at least 1024"),
        (b"", [], 2, "the text has 1 tokens, but a context of 512 takes at least 1024"),
        (b"\xff\xfe" * 40, [], 1, "the input is not UTF-8 text"),
        (None, [], 1, "no such file"),
        (TEXT.encode(), ["-c", "4"], 2, "`-c` (`--ctx-size`) must be at least 8, not 4"),
        (TEXT.encode(), ["-c", "513"], 2, "the context must be 1 to 512 tokens for this model"),
        (TEXT.encode(), ["--chunks", "0"], 2, "`--chunks` must be at least 1, not 0"),
    ],
    ids=["short", "empty", "not text", "missing", "tiny context", "long context", "no chunks"],
)
def test_one_clear_error(
    bitnet: Callable, tmp_path: Path, content: bytes | None, options: list[str], code: int, message: str
) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    ran = bitnet("perplexity", "-f", path, *options)
    assert ran.code == code and ran.out == ""
    assert message in ran.err.lower() or message in ran.err
    assert "Traceback" not in ran.err


def test_the_text_must_be_named(bitnet: Callable) -> None:
    ran = bitnet("perplexity")
    assert ran.code == 2 and "`-f`" in ran.err


@pytest.mark.parametrize("outtype", ["i2_s", "tl1", "tl2", "tq1_0", "tq2_0", "q2_0", "iq2_bn", "f16"])
def test_every_type_has_the_same_perplexity(
    bitnet: Callable, text: Path, tmp_path: Path, outtype: str
) -> None:
    """To the last digit: f16 holds the scales of the built-in model, so no type loses anything."""
    path = tmp_path / "model.gguf"
    assert bitnet("convert", BUILTIN_MODEL, "-o", path, "--outtype", outtype).code == 0
    command = ["perplexity", "-f", text, "-c", N_CTX, "--chunks", 2, "--json"]
    found, expected = (
        json.loads(bitnet(*command, *model).out) for model in (["-m", path], ["-m", BUILTIN_MODEL])
    )
    assert found["running"] == expected["running"] and found["error"] == expected["error"]
    assert bitnet("perplexity", "-m", path, "-f", text, "-c", N_CTX).out.endswith(GOLDEN)

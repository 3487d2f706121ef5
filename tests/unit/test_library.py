"""The Python API under misuse: several threads, mixed streams, forks, wrong arguments. Each ends in one clear error."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from tiny_gguf import ARRAY, F32, I32, STRING, tiny_model

from bitnet_cli.errors import BitnetError, FormatError, NativeError, UsageError
from bitnet_cli.library import BitNetModel, GenerationConfig, Result


@pytest.fixture(scope="module")
def model(tiny_gguf: Path) -> BitNetModel:
    return BitNetModel.from_pretrained(tiny_gguf, n_threads=2)


def test_threads_take_turns(tiny_gguf: Path) -> None:
    """Every generation either gives the one right text or says that another one has begun."""
    model = BitNetModel.from_pretrained(tiny_gguf, n_threads=2)
    expected = model.generate("Hello", max_new_tokens=30)
    outcomes: list[object] = []

    def work() -> None:
        for _ in range(5):
            try:
                outcomes.append(model.generate("Hello", max_new_tokens=30))
            except UsageError as error:
                outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(outcomes) == 20
    texts = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert set(texts) == {expected}


def test_two_models_in_two_threads_do_not_disturb_each_other(tiny_gguf: Path) -> None:
    models = [BitNetModel.from_pretrained(tiny_gguf, n_threads=2) for _ in range(2)]
    expected = models[0].generate("Hello", max_new_tokens=30)
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda m=m: texts.append(m.generate("Hello", max_new_tokens=30)))
        for m in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert texts == [expected, expected]


def test_streams_begin_when_they_are_read(model: BitNetModel) -> None:
    first = model.generate_stream("Hello", max_new_tokens=10)
    second = model.generate_stream("Other", max_new_tokens=10)
    texts = ["".join(first), "".join(second)]
    assert texts == [model.generate(prompt, max_new_tokens=10) for prompt in ("Hello", "Other")]


def test_a_stream_that_was_overtaken_says_so(model: BitNetModel) -> None:
    stream = model.generate_stream("Hello", max_new_tokens=30)
    next(stream)
    model.logits([1, 2])
    with pytest.raises(UsageError, match="another generation"):
        list(stream)


@pytest.mark.parametrize("speculate", [False, True])
def test_what_a_prompt_has_in_common_with_the_one_before_is_reused(tiny_gguf: Path, speculate: bool) -> None:
    """After any other prompt the text is that of a fresh model, and only what differs is evaluated."""
    model = BitNetModel.from_pretrained(tiny_gguf, n_threads=1)
    options = {"max_new_tokens": 9, "repeat_penalty": 1.2, "speculate": speculate}
    before: list[int] = []
    for prompt in ("Hello", "Hello", "Hell", "Hello you", "Other", "Hello you"):
        ids = model.prompt_ids(prompt)
        result, fresh = Result(), Result()
        list(model.generate_stream(prompt, result=result, **options))
        list(BitNetModel.from_pretrained(tiny_gguf).generate_stream(prompt, result=fresh, **options))
        assert result.token_ids == fresh.token_ids and fresh.reused_tokens == 0
        common = next((i for i, (a, b) in enumerate(zip(before, ids[:-1], strict=False)) if a != b), None)
        common = min(len(before), len(ids) - 1) if common is None else common
        assert (result.reused_tokens, result.timings.prompt_tokens) == (common, len(ids) - common)
        before = [*ids, *result.token_ids[:-1]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_an_error_and_does_not_hang(model: BitNetModel) -> None:
    child = os.fork()
    if child == 0:
        try:
            model.generate("Hello", max_new_tokens=2)
        except NativeError as error:
            os._exit(7 if "forked" in error.message else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(
    "prompt", [[], [1.5, 2], [1, "a"], [[1, 2]], {"role": "user"}, [{"role": "user", "content": "a"}]]
)
def test_wrong_prompts(model: BitNetModel, prompt: object) -> None:
    with pytest.raises(BitnetError):
        model.generate(prompt, max_new_tokens=1)  # type: ignore[arg-type]


def test_arrays_are_prompts(model: BitNetModel) -> None:
    assert model.generate(np.array([72, 101]), max_new_tokens=4) == model.generate(
        [72, 101], max_new_tokens=4
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1}, {"max_new_tokens": 2.5}, {"max_new_tokens": -1}, {"stop": [3]}, {"temperature": -1.0},
        {"temperature": "hot"}, {"top_p": 2.0}, {"top_k": -1}, {"no_such_option": 1},
        {"speculate": 3},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_options(model: BitNetModel, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        model.generate("a", **options)


@pytest.mark.parametrize("ids", [[0.5], [258], [-1], [], [[1]]], ids=str)
def test_wrong_ids_for_logits(model: BitNetModel, ids: list[object]) -> None:
    with pytest.raises(UsageError):
        model.logits(ids)  # type: ignore[arg-type]


def test_config_is_checked_when_it_is_made() -> None:
    with pytest.raises(UsageError, match="temperature"):
        GenerationConfig(temperature=-1.0)


@pytest.mark.parametrize("temperature", [1e-310, 1e-7])
def test_the_coldest_temperatures_are_greedy(model: BitNetModel, temperature: float) -> None:
    greedy = model.generate("Hello", max_new_tokens=5)
    assert model.generate("Hello", max_new_tokens=5, do_sample=True, temperature=temperature) == greedy


def test_rows_without_a_token_are_never_chosen(tmp_path: Path) -> None:
    """An embedding with more rows than the vocabulary: padding, common in files from elsewhere."""
    padded = tiny_model()
    ne, kind, data = padded.tensors["token_embd.weight"]
    padded.tensors["token_embd.weight"] = ((ne[0], ne[1] + 64), kind, data + data[: 64 * 256])
    padded.tensors["output.weight"] = padded.tensors["token_embd.weight"]
    model = BitNetModel.from_pretrained(padded.write(tmp_path / "padded.gguf"), n_threads=1)
    assert model.logits([256, 1]).shape == (2, 322)
    result = Result()
    stream = model.generate_stream(
        "Hello",
        result=result,
        max_new_tokens=60,
        do_sample=True,
        temperature=50.0,
        top_k=0,
        top_p=1.0,
        min_p=0.0,
    )
    assert list(stream) and max(result.token_ids) < 258


def test_more_tokens_than_rows_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    tokens = [*model.metadata["tokenizer.ggml.tokens"][1][1], "extra"]  # type: ignore[index]
    model.metadata["tokenizer.ggml.tokens"] = (ARRAY, (STRING, tokens))
    model.metadata["tokenizer.ggml.token_type"] = (ARRAY, (I32, [1] * 256 + [3, 3, 1]))
    with pytest.raises(FormatError, match="259 tokens, but an embedding of 258 rows"):
        BitNetModel.from_pretrained(model.write(tmp_path / "more.gguf"))


@pytest.mark.parametrize(
    ("key", "value"), [("attention.layer_norm_rms_epsilon", 1e30), ("rope.freq_base", 1e-30)]
)
def test_absurd_numbers_are_refused(tmp_path: Path, key: str, value: float) -> None:
    model = tiny_model()
    model.metadata[f"bitnet-b1.58.{key}"] = (F32, value)
    with pytest.raises(FormatError, match="expected a number from"):
        BitNetModel.from_pretrained(model.write(tmp_path / "absurd.gguf"))


def test_hostile_names_are_made_harmless(tmp_path: Path) -> None:
    model = tiny_model()
    model.tensors["evil\x1b[31m"] = model.tensors["output_norm.weight"]
    with pytest.raises(BitnetError) as error:
        BitNetModel.from_pretrained(model.write(tmp_path / "evil.gguf"))
    assert "\x1b" not in str(error.value)


def test_embed(tmp_path: Path) -> None:
    """A text ends with EOS where the file says so; each text counts for itself."""
    model = BitNetModel.from_pretrained(
        tiny_model("qwen3", pooling=3).write(tmp_path / "e.gguf"), n_threads=1
    )
    done: list[int] = []
    vectors = model.embed(["one", "", "two"], done.append)
    assert vectors.shape == (3, 128) and vectors.dtype == np.float32 and done == [1, 2, 3]
    assert (model.embed(["two"])[0] == vectors[2]).all()
    assert model.embed([]).shape == (0, 128)
    with pytest.raises(UsageError, match="come in a list"):
        model.embed("one")
    for refused in (
        lambda: model.generate_stream("one"),
        lambda: model.logits([1]),
        lambda: model.log_probabilities([1, 2]),
    ):
        with pytest.raises(UsageError, match="is an embedding model"):
            refused()

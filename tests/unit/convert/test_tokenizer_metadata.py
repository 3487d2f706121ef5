"""Special tokens, BOS, templates: what the files of each family lead to, and which file wins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import write_checkpoint
from tiny_tokenizers import CHAT_TEMPLATE, byte_level_json, sentencepiece_json

from bitnet_cli.convert.checkpoint import Checkpoint
from bitnet_cli.convert.tokenizer_metadata import TokenizerMetadata, read_tokenizer
from bitnet_cli.errors import BitnetError, FormatError
from bitnet_cli.text.vocabulary import Vocabulary as TextVocabulary

FIXTURE = Path(__file__).resolve().parents[4] / "shared/fixtures/bitnet-2b4t-tokenizer"
BOS, EOS, EOT = 291, 292, 293
EDIT = Callable[[dict[str, Any]], object]


def read(directory: Path, family: str = "llama", **edits: EDIT | dict | str) -> TokenizerMetadata:
    """The tokenizer of a tiny checkpoint whose JSON files were edited or replaced (`__` stands for the dot)."""
    truth = write_checkpoint(directory, family, "masters", num_hidden_layers=1)
    for name, edit in edits.items():
        path = directory / name.replace("__", ".")
        if isinstance(edit, str):
            path.write_text(edit)
            continue
        content = json.loads(path.read_text()) if path.exists() else {}
        if isinstance(edit, dict):
            content = edit
        else:
            edit(content)
        path.write_text(json.dumps(content))
    return read_tokenizer(Checkpoint(directory), truth.config["vocab_size"])


def keys(metadata: TokenizerMetadata) -> dict[str, object]:
    """Keys without the prefix `tokenizer.ggml.`; no key comes twice."""
    assert len({key for key, _, _ in metadata.pairs}) == len(metadata.pairs)
    return {key.removeprefix("tokenizer.ggml."): value for key, _, value in metadata.pairs}


def test_byte_level_model(tmp_path: Path) -> None:
    metadata = read(tmp_path, "bitnet-b1.58")
    found = keys(metadata)
    assert metadata.add_bos and not metadata.notes
    assert (found["model"], found["pre"]) == ("gpt2", "llama-bpe")
    assert (found["bos_token_id"], found["eos_token_id"], found["eot_token_id"]) == (BOS, EOS, EOT)
    assert found["padding_token_id"] == EOS and found["tokenizer.chat_template"] == CHAT_TEMPLATE
    assert len(found["tokens"]) == len(found["scores"]) == len(found["token_type"]) == 320
    assert (
        "unknown_token_id" not in found and "add_space_prefix" not in found and "add_eos_token" not in found
    )


def test_sentencepiece_model(tmp_path: Path) -> None:
    metadata = read(tmp_path, "bitnet")
    found = keys(metadata)
    assert metadata.add_bos and (found["model"], found["pre"]) == ("llama", "default")
    assert (found["bos_token_id"], found["eos_token_id"], found["unknown_token_id"]) == (1, 2, 0)
    assert found["tokens"][found["padding_token_id"]] == "<pad>" and found["add_space_prefix"] is True
    assert "merges" not in found and "eot_token_id" not in found and "tokenizer.chat_template" not in found


@pytest.mark.skipif(not FIXTURE.is_dir(), reason="the tokenizer of 2B-4T is not here")
def test_tokenizer_of_2b4t(tmp_path: Path) -> None:
    config = {"bos_token_id": 128000, "eos_token_id": 128001, "architectures": ["BitNetForCausalLM"]}
    write_checkpoint(tmp_path, "llama", "masters", num_hidden_layers=1)
    for file in FIXTURE.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    metadata = read_tokenizer(Checkpoint(tmp_path), 128256)
    found = keys(metadata)
    assert metadata.add_bos and (found["model"], found["pre"]) == ("gpt2", "llama-bpe")
    ids = ("bos_token_id", "eos_token_id", "eot_token_id", "padding_token_id")
    assert [found[key] for key in ids] == [128000, 128001, 128009, 128001]
    assert len(found["tokens"]) == 128256 and len(found["merges"]) == 280147
    assert set(found["token_type"][128000:]) == {3} and set(found["token_type"][:128000]) == {1}
    assert found["tokenizer.chat_template"] == CHAT_TEMPLATE


def test_end_tokens_in_the_order_of_the_files(tmp_path: Path) -> None:
    def end_at_5_and_6(content: dict) -> None:
        content["eos_token_id"] = [5, 6]

    metadata = read(tmp_path, config__json=end_at_5_and_6)
    found = keys(metadata)
    assert [found[f"{name}_token_id"] for name in ("eos", "eot", "eom")] == [5, 6, EOS]
    # The fourth finds no place, and that is said.
    assert len(metadata.notes) == 1 and "not declared: `<|eot_id|>`" in metadata.notes[0]


def test_the_reader_ends_at_every_declared_token(tmp_path: Path) -> None:
    def end_at_5_and_6(content: dict) -> None:
        content["eos_token_id"] = [5, 6]

    metadata = read(tmp_path, config__json=end_at_5_and_6)
    ends = TextVocabulary.from_metadata({key: value for key, _, value in metadata.pairs}).end_ids
    assert {5, 6, EOS} <= ends


def no_ids(content: dict) -> None:
    for key in ("bos_token_id", "eos_token_id"):
        content.pop(key, None)


def test_texts_serve_where_ids_are_missing(tmp_path: Path) -> None:
    found = keys(
        read(
            tmp_path,
            config__json=no_ids,
            generation_config__json=no_ids,
            tokenizer_config__json={"bos_token": {"content": "<|begin_of_text|>"}, "eos_token": None},
            special_tokens_map__json={"eos_token": "<|eot_id|>", "pad_token": {"content": "<|end_of_text|>"}},
        )
    )
    assert (found["bos_token_id"], found["eos_token_id"], found["padding_token_id"]) == (BOS, EOT, EOS)
    assert "eot_token_id" not in found


def test_nothing_is_invented(tmp_path: Path) -> None:
    metadata = read(
        tmp_path,
        config__json=no_ids,
        generation_config__json=no_ids,
        tokenizer_config__json={},
        tokenizer__json=without_template,
    )
    assert not metadata.add_bos
    assert not [key for key in keys(metadata) if "token_id" in key or "template" in key]


def test_padding_of_minus_one_is_none(tmp_path: Path) -> None:
    found = keys(read(tmp_path, config__json=lambda c: c.update(pad_token_id=-1)))
    assert found["padding_token_id"] == found["eos_token_id"]


def without_template(content: dict) -> None:
    content["post_processor"] = None


def with_eos(content: dict) -> None:
    content["post_processor"] = {
        "type": "Sequence",
        "processors": [{"type": "ByteLevel"}, content["post_processor"]],
    }
    inner = content["post_processor"]["processors"][1]
    inner["single"].append({"SpecialToken": {"id": "<|end_of_text|>", "type_id": 0}})
    inner["special_tokens"]["<|end_of_text|>"] = {"ids": [EOS]}


@pytest.mark.parametrize(
    ("edits", "add_bos", "add_eos"),
    [
        ({}, True, False),
        ({"tokenizer__json": without_template}, False, False),
        ({"tokenizer__json": with_eos}, True, True),
        # The flag says otherwise, but only Llama's tokenizer classes listen to it.
        ({"tokenizer_config__json": lambda c: c.update(add_bos_token=False)}, True, False),
        (
            {
                "tokenizer_config__json": lambda c: c.update(
                    add_bos_token=False, tokenizer_class="LlamaTokenizer"
                )
            },
            False,
            False,
        ),
        (
            {
                "tokenizer__json": without_template,
                "tokenizer_config__json": lambda c: c.update(
                    add_bos_token=True, add_eos_token=True, tokenizer_class="LlamaTokenizerFast"
                ),
            },
            True,
            True,
        ),
    ],
)
def test_bos_and_eos_around_a_text(tmp_path: Path, edits: dict, add_bos: bool, add_eos: bool) -> None:
    metadata = read(tmp_path, **edits)
    assert (metadata.add_bos, keys(metadata).get("add_eos_token", False)) == (add_bos, add_eos)


def ending_with(*tokens: int) -> EDIT:
    """A post-processor that puts tokens behind a text and nothing before it."""

    def edit(content: dict) -> None:
        texts = {t["id"]: t["content"] for t in content["added_tokens"]}
        content["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A"}}, *({"SpecialToken": {"id": texts[i]}} for i in tokens)],
            "special_tokens": {texts[i]: {"ids": [i]} for i in tokens},
        }

    return edit


def test_the_token_behind_a_text_is_the_end_token(tmp_path: Path) -> None:
    """As in embedding models of Qwen: config.json names the end of a turn, the tokenizer puts another one behind a text."""
    metadata = read(tmp_path, tokenizer__json=ending_with(EOT))
    found = keys(metadata)
    assert not metadata.add_bos and found["add_eos_token"] is True and not metadata.notes
    assert [found[f"{name}_token_id"] for name in ("eos", "eot")] == [EOT, EOS]
    ends = TextVocabulary.from_metadata({key: value for key, _, value in metadata.pairs}).end_ids
    assert {EOS, EOT} <= ends


def test_the_token_before_a_text_is_bos(tmp_path: Path) -> None:
    metadata = read(
        tmp_path,
        config__json=lambda c: c.update(bos_token_id=7),
        tokenizer_config__json={},
        generation_config__json={},
    )
    assert metadata.add_bos and keys(metadata)["bos_token_id"] == BOS


def test_two_tokens_behind_a_text_are_too_many(tmp_path: Path) -> None:
    metadata = read(
        tmp_path, config__json=lambda c: c.update(eos_token_id=7), tokenizer__json=ending_with(BOS, EOT)
    )
    assert "add_eos_token" not in keys(metadata) and "2 tokens at one end" in metadata.notes[0]


def test_a_token_that_the_model_has_no_row_for_is_left_out(tmp_path: Path) -> None:
    """Gemma's tokenizer has one for pictures, behind the last row of its text models."""
    image = {"id": 320, "content": "<image>", "special": True}
    metadata = read(tmp_path, tokenizer__json=lambda c: c["added_tokens"].append(image))
    assert "<image>" not in keys(metadata)["tokens"] and len(keys(metadata)["tokens"]) == 320
    assert metadata.notes == ["tokens that the model has no row for are left out (1): `<image>`"]


@pytest.mark.parametrize(
    "processor", [5, [], {"type": "Sequence", "processors": 5}, {"type": "BertProcessing"}]
)
def test_odd_post_processors_add_nothing(tmp_path: Path, processor: object) -> None:
    assert not read(tmp_path, tokenizer__json=lambda c: c.update(post_processor=processor)).add_bos


@pytest.mark.parametrize(("flag", "expected"), [(True, True), (False, False), (None, True)])
def test_sentencepiece_flags(tmp_path: Path, flag: bool | None, expected: bool) -> None:
    assert read(tmp_path, "bitnet", tokenizer_config__json={"add_bos_token": flag}).add_bos is expected


def test_byte_fallback_json_takes_bos_from_its_template(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_checkpoint(tmp_path / "model", "bitnet", "masters", num_hidden_layers=1)
    (tmp_path / "model/tokenizer.model").unlink()
    (tmp_path / "model/added_tokens.json").unlink()
    (tmp_path / "model/tokenizer_config.json").unlink()
    (tmp_path / "model/tokenizer.json").write_text(json.dumps(sentencepiece_json()))
    metadata = read_tokenizer(Checkpoint(tmp_path / "model"), 352)
    assert metadata.add_bos and keys(metadata)["model"] == "llama"


@pytest.mark.parametrize(
    ("edits", "template"),
    [
        ({"tokenizer_config__json": {"chat_template": "A"}}, "A"),
        ({"tokenizer_config__json": {}}, None),
        ({"chat_template__jinja": "B"}, "B"),
        (
            {
                "tokenizer_config__json": {
                    "chat_template": [
                        {"name": "tool_use", "template": "T"},
                        {"name": "default", "template": "D"},
                        5,
                    ]
                }
            },
            "D",
        ),
        ({"tokenizer_config__json": {"chat_template": [{"name": ["x"], "template": "T"}]}}, None),
    ],
)
def test_chat_template(tmp_path: Path, edits: dict, template: str | None) -> None:
    assert keys(read(tmp_path, **edits)).get("tokenizer.chat_template") == template


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"config__json": lambda c: c.update(bos_token_id=320)}, "below 320"),
        ({"config__json": lambda c: c.update(bos_token_id=-1)}, "below 320"),
        ({"config__json": lambda c: c.update(eos_token_id="</s>")}, "below 320"),
        ({"generation_config__json": {"eos_token_id": [1, None, 2.0]}}, "below 320"),
        ({"tokenizer_config__json": {"eos_token": "<none>"}}, "not in the vocabulary"),
        (
            {
                "tokenizer__json": lambda c: c["post_processor"]["special_tokens"][
                    "<|begin_of_text|>"
                ].update(ids=[320])
            },
            "below",
        ),
        ({"tokenizer_config__json": {"chat_template": 5}}, "chat_template"),
        ({"chat_template__jinja": "x" * ((1 << 20) + 1)}, "bytes"),
        ({"tokenizer_config__json": "{"}, "not JSON"),
        ({"generation_config__json": "[]"}, "object"),
    ],
)
def test_refused(tmp_path: Path, edits: dict, words: str) -> None:
    with pytest.raises(BitnetError) as caught:
        read(tmp_path, **edits)
    assert type(caught.value) is FormatError and words in str(caught.value), caught.value


def test_ids_of_the_tiny_tokenizer_are_what_this_page_assumes() -> None:
    assert [token["id"] for token in byte_level_json()["added_tokens"]] == [BOS, EOS, EOT]

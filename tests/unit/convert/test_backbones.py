"""Qwen3 and Gemma 3 checkpoints become the files that another hand writes of the same weights, tensor by tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_backbones import (
    BACKBONES,
    DIM,
    EPS,
    FFN,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    LAYERS,
    LOCAL_THETA,
    PERIOD,
    THETA,
    VOCAB,
    WINDOW,
    Backbone,
    gguf,
    weights,
)
from tiny_checkpoints import write_safetensors
from tiny_tokenizers import byte_alphabet

from bitnet_cli.convert import pipeline
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.formats.gguf_reader import GGUFReader

QWEN2_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SENTENCE_TRANSFORMERS = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
LAST = {"word_embedding_dimension": DIM, "pooling_mode_cls_token": False, "pooling_mode_lasttoken": True}


def config(backbone: Backbone) -> dict[str, Any]:
    found: dict[str, Any] = {
        "hidden_size": DIM, "intermediate_size": FFN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "vocab_size": VOCAB, "max_position_embeddings": 64,
        "rms_norm_eps": EPS, "rope_theta": THETA, "attention_bias": False, "eos_token_id": 257,
    }  # fmt: skip
    if backbone.arch == "qwen3":
        found |= {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu"}
        return found | {"tie_word_embeddings": True, "sliding_window": None, "use_sliding_window": False}
    kinds = ["full_attention" if (i + 1) % PERIOD == 0 else "sliding_attention" for i in range(LAYERS)]
    found |= {"architectures": ["Gemma3TextModel"], "model_type": "gemma3_text"}
    found |= {"hidden_activation": "gelu_pytorch_tanh", "sliding_window": WINDOW, "layer_types": kinds}
    found |= {"rope_local_base_freq": LOCAL_THETA, "query_pre_attn_scalar": HEAD_DIM}
    return found | {"final_logit_softcapping": None, "attn_logit_softcapping": None}


def write(directory: Path, backbone: Backbone, **changes: Any) -> Path:
    """A checkpoint in float32; `changes` are keys of config.json."""
    directory.mkdir(exist_ok=True)
    content = config(backbone) | changes
    if not backbone.norm_in:
        content["quantization_config"] = {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                          "quantization_mode": "online"}  # fmt: skip
    (directory / "config.json").write_text(json.dumps(content))
    # The published embedding models leave out the prefix `model.`, language models have it.
    prefix = "" if backbone.norm_in else "model."
    tensors = {prefix + name: ("F32", values) for name, values in weights(backbone).items()}
    write_safetensors(directory / "model.safetensors", tensors)
    tokenizer = {
        "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(byte_alphabet())}, "merges": []},
        "added_tokens": [{"id": 256, "content": "<s>", "special": True}, {"id": 257, "content": "</s>", "special": True}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN2_REGEX}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [257], "tokens": ["</s>"]}},
        },
    }  # fmt: skip
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    return directory


def pools(directory: Path, modules: object = SENTENCE_TRANSFORMERS, pooling: object = LAST) -> None:
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir(exist_ok=True)
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda b: b.name)
def test_the_file_is_the_one_of_another_hand(tmp_path: Path, backbone: Backbone) -> None:
    directory = write(tmp_path / "checkpoint", backbone)
    if backbone.norm_in:
        pools(directory)
    pipeline.convert(directory, tmp_path / "ours.gguf", embed_type="keep", verify=True)
    gguf(backbone, pooling=3 if backbone.norm_in else None).write(tmp_path / "theirs.gguf")
    with GGUFReader(tmp_path / "ours.gguf") as ours, GGUFReader(tmp_path / "theirs.gguf") as theirs:
        assert set(ours.tensors) == set(theirs.tensors)
        for name, info in theirs.tensors.items():
            assert (ours.tensors[name].type, ours.tensors[name].shape) == (info.type, info.shape)
            assert np.array_equal(ours.data(name), theirs.data(name)), name
        shape = {k: v for k, v in theirs.metadata.items() if k.startswith(f"{backbone.arch}.")}
        assert len(shape) >= 10
        for key, value in shape.items():
            if key not in (f"{backbone.arch}.context_length", f"{backbone.arch}.rope.freq_base_swa"):
                assert ours.metadata[key] == value, key
        assert ours.metadata.get(f"{backbone.arch}.rope.freq_base_swa", LOCAL_THETA) == LOCAL_THETA
        assert ours.metadata["tokenizer.ggml.pre"] == "qwen2"
        assert ours.metadata["tokenizer.ggml.add_eos_token"] is True


GEMMA = next(b for b in BACKBONES if b.arch == "gemma3" and b.norm_in)
QWEN = next(b for b in BACKBONES if b.arch == "qwen3" and b.norm_in)


@pytest.mark.parametrize(
    ("backbone", "changes", "key", "value"),
    [
        (GEMMA, {"query_pre_attn_scalar": 256}, "gemma3.attention.scale", 1 / 16),
        (GEMMA, {"rope_local_base_freq": 5000.0}, "gemma3.rope.freq_base_swa", 5000.0),
        (GEMMA, {"layer_types": None, "sliding_window_pattern": 3}, "gemma3.attention.sliding_window_pattern", 3),
        (GEMMA, {"layer_types": ["sliding_attention"] * 3}, "gemma3.attention.sliding_window_pattern", 4),
        (GEMMA, {"sliding_window": None}, "gemma3.attention.sliding_window", None),
        (
            GEMMA,
            {"rope_theta": None, "rope_local_base_freq": None,
             "rope_parameters": {"full_attention": {"rope_theta": 7e5}, "sliding_attention": {"rope_theta": 9e3}}},
            "gemma3.rope.freq_base",
            7e5,
        ),
        (QWEN, {"architectures": ["Qwen3Model"]}, "general.architecture", "qwen3"),
    ],
)  # fmt: skip
def test_what_config_json_says(
    tmp_path: Path, backbone: Backbone, changes: dict[str, Any], key: str, value: object
) -> None:
    pipeline.convert(write(tmp_path / "checkpoint", backbone, **changes), tmp_path / "ours.gguf")
    with GGUFReader(tmp_path / "ours.gguf") as ours:
        assert ours.metadata.get(key) == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        (
            {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"]},
            UnsupportedError,
            "every n-th",
        ),
        ({"layer_types": "all"}, UnsupportedError, "every n-th"),
        ({"layer_types": ["full_attention"]}, UnsupportedError, "every n-th"),
        ({"final_logit_softcapping": 30.0}, UnsupportedError, "final_logit_softcapping"),
        ({"use_bidirectional_attention": True}, UnsupportedError, "later positions"),
        ({"sliding_window": 0}, FormatError, "sliding_window"),
        ({"query_pre_attn_scalar": -1}, FormatError, "query_pre_attn_scalar"),
        ({"hidden_activation": "relu"}, UnsupportedError, "gelu_pytorch_tanh"),
        ({"rope_parameters": {"full_attention": {"rope_type": "dynamic"}}}, UnsupportedError, "dynamic"),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
            UnsupportedError,
            "layers with a window",
        ),
        ({"rope_parameters": {"full_attention": 3}}, FormatError, "full_attention"),
    ],
)
def test_configurations_that_are_refused(
    tmp_path: Path, changes: dict[str, Any], kind: type[BitnetError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        pipeline.convert(write(tmp_path / "checkpoint", GEMMA, **changes), tmp_path / "ours.gguf")
    assert words in f"{caught.value} {caught.value.hint}" and not (tmp_path / "ours.gguf").exists()


def test_a_class_without_a_head_takes_the_mean_where_nothing_is_said(tmp_path: Path) -> None:
    directory = write(tmp_path / "checkpoint", QWEN, architectures=["Qwen3Model"])
    report = pipeline.convert(directory, tmp_path / "ours.gguf")
    with GGUFReader(tmp_path / "ours.gguf") as ours:
        assert ours.metadata["qwen3.pooling_type"] == 1
    assert any("the mean over all tokens is assumed" in note for note in report.notes)


def test_declared_norms_of_inputs_must_be_there(tmp_path: Path) -> None:
    plain = next(b for b in BACKBONES if b.arch == "qwen3" and not b.norm_in)
    directory = write(tmp_path / "checkpoint", plain)
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"]["use_rms_norm"] = True
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match=r"layers\.0\.self_attn\.q_proj\.norm\.weight"):
        pipeline.convert(directory, tmp_path / "ours.gguf")


def without_norm(directory: Path, name: str) -> None:
    tensors = {key: ("F32", values) for key, values in weights(QWEN).items() if key != name}
    write_safetensors(directory / "model.safetensors", tensors)


def test_a_missing_input_norm_is_named(tmp_path: Path) -> None:
    directory = write(tmp_path / "checkpoint", QWEN)
    without_norm(directory, "layers.1.mlp.up_proj.norm.weight")
    with pytest.raises(FormatError, match=r"layers\.1\.mlp\.up_proj\.norm\.weight"):
        pipeline.convert(directory, tmp_path / "ours.gguf")


@pytest.mark.parametrize(
    ("modules", "pooling", "words"),
    [
        (SENTENCE_TRANSFORMERS[:1], LAST, "no step pools"),
        ([*SENTENCE_TRANSFORMERS, SENTENCE_TRANSFORMERS[1]], LAST, "two steps pool"),
        ([*SENTENCE_TRANSFORMERS, {"type": "sentence_transformers.models.Dense"}], LAST, "Dense"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "../.."}], LAST, "no relative path"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "/etc"}], LAST, "no relative path"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "none"}], LAST, "none/config.json"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": ""}], LAST, "pooling by `nothing`"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "a\0b"}], LAST, "is missing"),
        (SENTENCE_TRANSFORMERS, {}, "nothing"),
        (SENTENCE_TRANSFORMERS, {"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        (SENTENCE_TRANSFORMERS, LAST | {"pooling_mode_cls_token": True}, "pooling_mode_cls_token"),
        ({"a": 1}, LAST, "no step pools"),
        ([3, None, "x"], LAST, "is not supported"),
    ],
)
def test_poolings_that_are_refused(tmp_path: Path, modules: object, pooling: object, words: str) -> None:
    directory = write(tmp_path / "checkpoint", QWEN)
    pools(directory, modules, pooling)
    with pytest.raises(BitnetError) as caught:
        pipeline.convert(directory, tmp_path / "ours.gguf")
    assert words in f"{caught.value} {caught.value.hint}" and not (tmp_path / "ours.gguf").exists()


@pytest.mark.parametrize(
    ("pooling", "number"),
    [
        ({"pooling_mode_mean_tokens": True}, 1),
        ({"pooling_mode_cls_token": True}, 2),
        ({"pooling_mode": "lasttoken"}, 3),
        ({"pooling_mode": "mean"}, 1),
    ],
)
def test_poolings(tmp_path: Path, pooling: object, number: int) -> None:
    directory = write(tmp_path / "checkpoint", QWEN)
    pools(directory, SENTENCE_TRANSFORMERS, pooling)
    pipeline.convert(directory, tmp_path / "ours.gguf")
    with GGUFReader(tmp_path / "ours.gguf") as ours:
        assert ours.metadata["qwen3.pooling_type"] == number

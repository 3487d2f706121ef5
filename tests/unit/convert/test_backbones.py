"""Qwen3 and Gemma 3 checkpoints become the files that another hand writes of the same weights, tensor by tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_backbones import (
    BACKBONES,
    LAST_TOKEN,
    LOCAL_THETA,
    SENTENCE_TRANSFORMERS,
    Backbone,
    gguf,
    pools,
    weights,
    write,
)
from tiny_checkpoints import write_safetensors

from bitnet_cli.convert import pipeline
from bitnet_cli.errors import BitnetError, FormatError, UnsupportedError
from bitnet_cli.formats.gguf_reader import GGUFReader


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
        (SENTENCE_TRANSFORMERS[:1], LAST_TOKEN, "no step pools"),
        ([*SENTENCE_TRANSFORMERS, SENTENCE_TRANSFORMERS[1]], LAST_TOKEN, "two steps pool"),
        ([*SENTENCE_TRANSFORMERS, {"type": "sentence_transformers.models.Dense"}], LAST_TOKEN, "Dense"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "../.."}], LAST_TOKEN, "no relative path"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "/etc"}], LAST_TOKEN, "no relative path"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "none"}], LAST_TOKEN, "none/config.json"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": ""}], LAST_TOKEN, "pooling by `nothing`"),
        ([{**SENTENCE_TRANSFORMERS[1], "path": "a\0b"}], LAST_TOKEN, "is missing"),
        (SENTENCE_TRANSFORMERS, {}, "nothing"),
        (SENTENCE_TRANSFORMERS, {"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        (SENTENCE_TRANSFORMERS, LAST_TOKEN | {"pooling_mode_cls_token": True}, "pooling_mode_cls_token"),
        ({"a": 1}, LAST_TOKEN, "no step pools"),
        ([3, None, "x"], LAST_TOKEN, "is not supported"),
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

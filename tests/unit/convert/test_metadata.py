"""The keys of the file, their types and order, against the published 2B-4T file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_checkpoints import SHAPES, model_config, write_checkpoint

from bitnet_cli.convert.checkpoint import Checkpoint
from bitnet_cli.convert.metadata import file_metadata
from bitnet_cli.convert.model_config import read_config
from bitnet_cli.convert.tokenizer_metadata import read_tokenizer

# Key and type of the file microsoft/bitnet-b1.58-2B-4T-gguf, in its order.
PUBLISHED = """
general.architecture string
general.name string
bitnet-b1.58.vocab_size u32
bitnet-b1.58.context_length u32
bitnet-b1.58.embedding_length u32
bitnet-b1.58.block_count u32
bitnet-b1.58.feed_forward_length u32
bitnet-b1.58.rope.dimension_count u32
bitnet-b1.58.attention.head_count u32
bitnet-b1.58.attention.head_count_kv u32
tokenizer.ggml.add_bos_token bool
bitnet-b1.58.attention.layer_norm_rms_epsilon f32
bitnet-b1.58.rope.freq_base f32
general.file_type u32
tokenizer.ggml.model string
tokenizer.ggml.tokens array<string>
tokenizer.ggml.scores array<f32>
tokenizer.ggml.token_type array<i32>
tokenizer.ggml.merges array<string>
tokenizer.ggml.bos_token_id u32
tokenizer.ggml.eos_token_id u32
tokenizer.ggml.padding_token_id u32
tokenizer.chat_template string
general.quantization_version u32
"""
ADDED = {"tokenizer.ggml.pre": "string", "tokenizer.ggml.eot_token_id": "u32"}


def pairs_of(directory: Path, family: str) -> list[tuple[str, str, object]]:
    write_checkpoint(directory, family, "masters", num_hidden_layers=1)
    checkpoint = Checkpoint(directory)
    config = read_config(checkpoint.config, directory / "config.json")
    return file_metadata(checkpoint, config, read_tokenizer(checkpoint, config.vocab_size))


def test_keys_of_the_published_file_in_its_order(tmp_path: Path) -> None:
    found = [(key, kind) for key, kind, _ in pairs_of(tmp_path / "tiny", "bitnet-b1.58")]
    published = [tuple(line.split()) for line in PUBLISHED.split("\n") if line]
    assert [pair for pair in found if pair[0] not in ADDED] == published
    assert {key: kind for key, kind in found if key in ADDED} == ADDED


def test_values(tmp_path: Path) -> None:
    found = {key: value for key, _, value in pairs_of(tmp_path / "tiny", "llama")}
    expected = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "general.file_type": 40,
        "general.quantization_version": 2,
        "llama.vocab_size": 320,
        "llama.context_length": 1024,
        "llama.embedding_length": 256,
        "llama.block_count": 1,
        "llama.feed_forward_length": 384,
        "llama.rope.dimension_count": 128,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 128,
        "llama.attention.value_length": 128,
        "llama.attention.layer_norm_rms_epsilon": 1e-6,
        "llama.rope.freq_base": 1000042.0,
        "tokenizer.ggml.add_bos_token": True,
    }
    assert {key: found[key] for key in expected} == expected
    assert "general.alignment" not in found and "general.license" not in found


def test_head_size_is_written_only_where_it_does_not_follow() -> None:
    config = read_config(model_config("bitnet", "masters", SHAPES["bitnet"], "bf16"), Path("config.json"))
    assert config.head_dim * config.n_heads == config.hidden_size
    assert replace(config, head_dim=128).head_dim * config.n_heads != config.hidden_size


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        (b"---\nlanguage: en\nlicense: mit\n---\n# Model\nlicense: other", "mit"),
        (b"---\r\nlicense: apache-2.0\r\n---\r\n", "apache-2.0"),
        (b"# Model\nlicense: mit\n", None),
        (b"---\nlanguage: en\n---\nlicense: mit\n", None),
        (b"---\nlicense: a b\n---\n", None),
        (b"---\nlicense: \x1b[31m\n---\n", None),
        (b"", None),
    ],
)
def test_licence_from_the_front_matter(tmp_path: Path, readme: bytes, expected: str | None) -> None:
    (tmp_path / "README.md").write_bytes(readme)
    found = {key: value for key, _, value in pairs_of(tmp_path, "llama")}
    assert found.get("general.license") == expected

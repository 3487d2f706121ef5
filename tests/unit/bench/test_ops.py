"""Names of ops in tables: matrices are told apart in every family's plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_gguf import tiny_model
from tiny_models import Played

from bitnet_cli.bench.ops import label
from bitnet_cli.native import lib


@pytest.mark.parametrize(
    ("arch", "norm_in", "names"),
    [
        ("bitnet-b1.58", False, ["qkv", "attn_output", "gate", "up", "down"]),
        ("gemma3", False, ["qkv", "attn_output", "gate", "up", "down"]),
        ("qwen3", True, ["qkv", "qkv", "qkv", "attn_output", "gate", "up", "down"]),
    ],
)
def test_names_of_matrices(tmp_path: Path, arch: str, norm_in: bool, names: list[str]) -> None:
    played = Played(tiny_model(arch, norm_in=norm_in, n_layers=1).write(tmp_path / "tiny.gguf"))
    kinds = (lib.BN_OP_MATMUL, lib.BN_OP_GATED_MATMUL)
    assert [label(op) for op in played.ops if op["kind"] in kinds] == names

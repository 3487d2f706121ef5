"""Qwen3 graphs with ternary projections: SiLU, queries and keys normed per head, halves rotated.

BitNet-embedding-0.6B has a norm before every projection, plain Qwen3 models (Ternary-Bonsai) have none.
"""

from __future__ import annotations

from bitnet_cli.arch.architecture import Arch

ARCH = Arch(name="qwen3", hidden_act="silu", sub_norms=False, rope="neox", qk_norms=True, input_norms=True)

"""Llama graphs with ternary projections (Llama3-8B-1.58, Falcon3-1.58bit, Falcon-E): SiLU, no sub-norms."""

from __future__ import annotations

from bitnet_cli.arch.architecture import Arch

ARCH = Arch(name="llama", hidden_act="silu", sub_norms=False, rope="norm")

"""Llama graphs with ternary projections (Llama3-8B-1.58, Falcon3-1.58bit, Falcon-E, TriLM): SiLU, no sub-norms.

Models that transformers quantised with `use_rms_norm` have a norm before every projection, the others none.
"""

from __future__ import annotations

from bitnet_cli.arch.architecture import Arch

ARCH = Arch(name="llama", hidden_act="silu", sub_norms=False, rope="norm", input_norms=True)

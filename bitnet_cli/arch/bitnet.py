"""The reproductions of the first BitNet b1.58 paper (1bitLLM): SiLU, sub-norms, halves rotated.

The name alone says SiLU: no metadata key names the activation, and `bitnet-b1.58` is the relu² model.
"""

from __future__ import annotations

from bitnet_cli.arch.architecture import Arch

ARCH = Arch(name="bitnet", hidden_act="silu", sub_norms=True, rope="neox")

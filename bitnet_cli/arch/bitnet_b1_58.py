"""BitNet b1.58 2B-4T: relu², sub-norms, halves rotated. First published files say `bitnet-25`."""

from __future__ import annotations

from bitnet_cli.arch.architecture import Arch

ARCH = Arch(name="bitnet-b1.58", hidden_act="relu2", sub_norms=True, rope="neox", aliases=("bitnet-25",))

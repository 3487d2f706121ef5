"""What the tensors of a model are for, by their names and types: which are ternary, which are the embedding."""

from __future__ import annotations

import re
from typing import Literal

from bitnet_cli.formats.codecs import TERNARY_FLOATS, TERNARY_TYPES
from bitnet_cli.formats.gguf_reader import TensorInfo

Role = Literal["ternary", "embedding", "other"]

EMBEDDINGS = frozenset({"token_embd.weight", "output.weight"})
"""The embedding and the output matrix, which may be of any type."""

# The matrices that every graph multiplies with: if they are floats, these may stand for ternary weights.
_PROJECTION = re.compile(r"blk\.\d+\.(attn_(q|k|v|qkv|output)|ffn_(gate|up|down))\.weight")


def role_of(info: TensorInfo) -> Role:
    """What decides the type of a tensor when a model is written: the ternary type, the embedding's, or nothing.

    Matrices of floats in places of ternary ones are `ternary`; whether they really are, their values tell.
    """
    if info.name in EMBEDDINGS:
        return "embedding"
    if info.type in TERNARY_TYPES:
        return "ternary"
    is_float = info.type in TERNARY_FLOATS and len(info.shape) == 2
    return "ternary" if is_float and _PROJECTION.fullmatch(info.name) else "other"

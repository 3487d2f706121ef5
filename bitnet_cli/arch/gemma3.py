"""Gemma 3 text graphs with ternary projections (BitNet-embedding-270M).

Norms before and after attention and feed-forward, queries and keys normed per head, GELU, scaled embeddings; five layers of
six see only a window of positions and rotate with a base of their own. A file's norms are what multiplies: Hugging Face's
weights plus one, but for those of `*_norm_in`, which are stored as they are.
"""

from __future__ import annotations

from bitnet_cli.arch.architecture import Arch

ARCH = Arch(
    name="gemma3",
    hidden_act="gelu_tanh",
    sub_norms=False,
    rope="neox",
    qk_norms=True,
    input_norms=True,
    post_norms=True,
    embedding_scaled=True,
    window_period=6,
)

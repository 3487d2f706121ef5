"""A forward pass of Llama and Qwen3 graphs with ternary projections, written out in float64; nothing of the package is
imported.

Weights are float arrays that are ternary times their scales already, under Hugging Face names: this code knows nothing of
trits, scales, formats or row orders. Activations are rounded to int8 per token as the engine's are (127 over the largest
magnitude, half to even), which is what the graph of these models means; all else is float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Graph:
    """Sizes and constants.

    Attributes:
        qk_norms: heads of queries and keys are normed, as in Qwen3.
        yarn: factor and original context of a rotation stretched by YaRN.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    eps: float
    theta: float
    qk_norms: bool = False
    yarn: tuple[float, int] | None = None


def logits(w: Weights, graph: Graph, tokens: np.ndarray) -> np.ndarray:
    """float64 [n_tokens, vocabulary]"""
    g = graph
    w = {name.removeprefix("model."): values.astype(np.float64) for name, values in w.items()}
    x = w["embed_tokens.weight"][tokens]
    for i in range(g.n_layers):
        at = f"layers.{i}"
        h = int8(rms(x, w[f"{at}.input_layernorm.weight"], g.eps))
        q, k, v = (h @ w[f"{at}.self_attn.{n}_proj.weight"].T for n in "qkv")
        q, k, v = (y.reshape(len(tokens), -1, g.head_dim) for y in (q, k, v))
        if g.qk_norms:
            q = rms(q, w[f"{at}.self_attn.q_norm.weight"], g.eps)
            k = rms(k, w[f"{at}.self_attn.k_norm.weight"], g.eps)
        attended = attention(rotated(q, g), rotated(k, g), v)
        x = x + int8(attended) @ w[f"{at}.self_attn.o_proj.weight"].T
        h = int8(rms(x, w[f"{at}.post_attention_layernorm.weight"], g.eps))
        gate, up = h @ w[f"{at}.mlp.gate_proj.weight"].T, h @ w[f"{at}.mlp.up_proj.weight"].T
        x = x + int8(gate / (1 + np.exp(-gate)) * up) @ w[f"{at}.mlp.down_proj.weight"].T
    return rms(x, w["norm.weight"], g.eps) @ w.get("lm_head.weight", w["embed_tokens.weight"]).T


def rms(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def int8(x: np.ndarray) -> np.ndarray:
    """Values as they are after a passage through int8, one scale a token."""
    s = 127 / np.maximum(np.abs(x).max(-1, keepdims=True), 1e-5)
    return np.rint(x * s) / s


def rotated(x: np.ndarray, graph: Graph) -> np.ndarray:
    """Pairs (i, i + half) of each head, [tokens, heads, head_dim], turned by position * theta^(-i/half)."""
    half = x.shape[-1] // 2
    speed, length = graph.theta ** (-np.arange(half) / half), 1.0
    if graph.yarn is not None:
        factor, original = graph.yarn
        # The pair, not whole, that turns n times within the original context: 32 times and once.
        first, last = (half * np.log(original / (2 * np.pi * n)) / np.log(graph.theta) for n in (32, 1))
        low, high = max(np.floor(first), 0), min(np.ceil(last), 2 * half - 1)
        slowed = np.clip((np.arange(half) - low) / (high - low), 0, 1)
        speed, length = speed * (1 - slowed) + speed / factor * slowed, 1 + 0.1 * np.log(factor)
    angle = np.arange(len(x))[:, None, None] * speed
    a, b = x[..., :half] * length, x[..., half:] * length
    return np.concatenate(
        [a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], axis=-1
    )


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """[tokens, heads * head_dim]"""
    k, v = (np.repeat(each, q.shape[1] // each.shape[1], axis=1) for each in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
    scores[:, np.triu_indices(len(q), 1)[0], np.triu_indices(len(q), 1)[1]] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v).reshape(len(q), -1)

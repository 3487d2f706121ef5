"""The BitNet b1.58 2B-4T network in miniature, written for training: float masters, ternary weights, int8 activations.

The seven projections of all layers are kept as stacks [layers, out, in] of float masters. `working_weights` turns them,
once per optimiser step, into the bf16 matrices which the network multiplies with; their gradient is passed to the
masters unchanged (straight-through estimator).
"""

import dataclasses

import torch
import torch.nn.functional as F

PROJECTIONS = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
NORMS = {
    "input": "input_layernorm",
    "attn_sub": "self_attn.attn_sub_norm",
    "post": "post_attention_layernorm",
    "ffn_sub": "mlp.ffn_sub_norm",
}
FUSED = {"qkv": ("q", "k", "v"), "o": ("o",), "gate_up": ("gate", "up"), "down": ("down",)}


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of the network."""

    hidden: int = 256
    ffn: int = 768
    layers: int = 7
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    vocab: int = 4096
    context: int = 512
    eps: float = 1e-5
    rope_theta: float = 10000.0

    def projection(self, name):
        """Returns (out, in) of one projection."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q": (q, self.hidden),
            "k": (kv, self.hidden),
            "v": (kv, self.hidden),
            "o": (self.hidden, q),
            "gate": (self.ffn, self.hidden),
            "up": (self.ffn, self.hidden),
            "down": (self.hidden, self.ffn),
        }[name]

    def norm(self, name):
        """Returns the width of one norm."""
        return {
            "input": self.hidden,
            "post": self.hidden,
            "attn_sub": self.heads * self.head_dim,
            "ffn_sub": self.ffn,
        }[name]

    def ternary_weights(self):
        """Returns the number of ternary weights."""
        return self.layers * sum(o * i for o, i in map(self.projection, PROJECTIONS))


def new_masters(shape, seed):
    """Returns freshly initialised float32 masters: projections and norms stacked over the layers, and the embedding."""
    g = torch.Generator().manual_seed(seed)
    masters = {
        "embed": torch.randn(shape.vocab, shape.hidden, generator=g) * 0.02,
        "final": torch.ones(shape.hidden),
    }
    for name in PROJECTIONS:
        out, inner = shape.projection(name)
        scale = inner**-0.5 * (0.2 if name in ("o", "down") else 0.6)
        masters[name] = torch.randn(shape.layers, out, inner, generator=g) * scale
    for name in NORMS:
        masters[name] = torch.ones(shape.layers, shape.norm(name))
    return masters


def ternarise(stack):
    """Returns the ternary values and the scale, mean |W| rounded to bf16 as it will be stored, of each matrix of a stack."""
    mean = stack.abs().mean((1, 2), keepdim=True).clamp(min=1e-5)
    return (stack * (1 / mean)).round().clamp(-1, 1), mean.bfloat16().float()


def working_weights(masters, quantise, dtype):
    """Returns {fused name: [one leaf matrix per layer]}: ternary times scale, or the masters in the float phase."""
    ready = {}
    for name in PROJECTIONS:
        if quantise:
            t, scale = ternarise(masters[name])
            ready[name] = (t * scale).to(dtype)
        else:
            ready[name] = masters[name].to(dtype)
    return {
        fused: [torch.cat([ready[p][i] for p in parts]).requires_grad_() for i in range(len(ready[parts[0]]))]
        for fused, parts in FUSED.items()
    }


def rope_tables(shape, length):
    """Returns cos and sin, each [length, head_dim / 2], in float32."""
    freq = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angle = torch.arange(length).float()[:, None] * freq
    return angle.cos(), angle.sin()


def rms_norm(x, weight, eps):
    """Computes RMSNorm in float32."""
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def int8_levels(x):
    """Returns the rounded int8 activations (as floats) and the factor 127 / max |x| of each token."""
    s = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
    return (x * s).round().clamp(-128, 127), s


def quantised_linear(x, weight):
    """Multiplies the int8-quantised x with a working weight; the gradient passes through the rounding."""
    q, s = int8_levels(x.detach())
    x = x + (q / s - x).detach()
    return F.linear(x.to(weight.dtype), weight)


def rotate(x, cos, sin):
    """Applies the rotary embedding, pairs being (i, i + head_dim / 2)."""
    a, b = x.float().chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


def attention(q, k, v, block=256):
    """Computes causal attention by plain matrix products, one block of queries at a time.

    On a CPU this is faster, forward and backward, than the fused kernel at these lengths.
    """
    length, out = q.shape[2], []
    for at in range(0, length, block):
        end = min(at + block, length)
        scores = (q[:, :, at:end] @ k[:, :, :end].mT).float() * q.shape[-1] ** -0.5
        future = torch.arange(end) > torch.arange(at, end)[:, None]
        scores = scores.masked_fill(future, float("-inf"))
        out.append(scores.softmax(-1).to(v.dtype) @ v[:, :, :end])
    return torch.cat(out, 2)


def network(shape, weights, masters, tokens, cos, sin, probe=None):
    """Returns the final normed hidden states [batch, length, hidden] of a batch of token rows.

    The compute type is that of the working weights; the residual stream is float32. `probe`, if given, is called with
    the layer number, the output of relu2 and the input of down_proj.
    """
    batch, length = tokens.shape
    q_width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    x = F.embedding(tokens, masters["embed"])
    for i in range(shape.layers):
        h = rms_norm(x, masters["input"][i], shape.eps)
        q, k, v = quantised_linear(h, weights["qkv"][i]).split((q_width, kv_width, kv_width), -1)
        q, k, v = (t.view(batch, length, -1, shape.head_dim).transpose(1, 2) for t in (q, k, v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = shape.heads // shape.kv_heads
        a = attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1))
        a = a.transpose(1, 2).reshape(batch, length, q_width)
        x = x + quantised_linear(rms_norm(a, masters["attn_sub"][i], shape.eps), weights["o"][i])
        h = rms_norm(x, masters["post"][i], shape.eps)
        gate, up = quantised_linear(h, weights["gate_up"][i]).split(shape.ffn, -1)
        r = F.relu(gate.float()).square()
        m = rms_norm(r * up, masters["ffn_sub"][i], shape.eps)
        if probe is not None:
            probe(i, r, m)
        x = x + quantised_linear(m, weights["down"][i])
    return rms_norm(x, masters["final"], shape.eps)


def token_losses(shape, weights, masters, tokens, targets, cos, sin, reduction="mean"):
    """Returns the cross-entropy of the next tokens; targets of -100 do not count."""
    x = network(shape, weights, masters, tokens, cos, sin)
    dtype = weights["qkv"][0].dtype
    logits = F.linear(x.to(dtype), masters["embed"].to(dtype)).float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction=reduction)

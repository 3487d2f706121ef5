"""Tiny GGUF models made in memory, for tests of the engine and of the command line.

Written byte by byte here, not with the package's writer, so that the reader meets files from another hand. A model is a
`TinyGGUF`: change its metadata or tensors, then `write` it; hostile variants are such changes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TYPE_F32, TYPE_F16, TYPE_I2_S = 0, 1, 36


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, by byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(extra)) for b in range(256)]


def i2_s(trits: np.ndarray, scale: float) -> bytes:
    """Layout A: value k of a row in byte (k // 128) * 32 + k % 32 at bits 6 - 2 * (k % 128 // 32), then the tail."""
    codes = (trits.astype(np.int16) + 1).astype(np.uint8).reshape(-1, 4, 32)
    packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    return packed.tobytes() + struct.pack("<f", scale) + bytes(28)


@dataclass
class TinyGGUF:
    """A model about to be written: metadata (key -> (type, value)) and tensors (name -> (ne, type, bytes))."""

    metadata: dict[str, tuple[int, object]] = field(default_factory=dict)
    tensors: dict[str, tuple[tuple[int, ...], int, bytes]] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Writes a GGUF version 3 file with an alignment of 32 and returns its path."""
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.metadata))
        for key, (kind, value) in self.metadata.items():
            head += _string(key) + struct.pack("<I", kind) + _value(kind, value)
        data = b""
        for name, (ne, kind, raw) in self.tensors.items():
            head += _string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, len(data))
            data += raw + bytes(-len(raw) % 32)
        path.write_bytes(head + bytes(-len(head) % 32) + data)
        return path


def tiny_model(
    arch: str = "bitnet-b1.58",
    *,
    dim: int = 128,
    ffn_dim: int = 256,
    n_layers: int = 2,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    head_dim: int | None = None,
    context_length: int = 128,
    norm_in: bool = False,
    window: tuple[int, int] | None = None,
    pooling: int | None = None,
    chat_template: str | None = None,
    seed: int = 0,
) -> TinyGGUF:
    """A random model whose vocabulary is the 256 bytes, `<bos>` (256) and `<eos>` (257).

    Args:
        norm_in: every projection norms its input (`qwen3`, `gemma3`).
        window: positions that a layer sees, and every how many layers one sees all (`gemma3`).
        pooling: the number of `pooling_type`; texts then end with EOS.
    """
    random = np.random.RandomState(seed)
    sizes = {"key_length": head_dim, "value_length": head_dim} if head_dim else {}
    head_dim = head_dim or dim // n_heads
    vocab = [*byte_alphabet(), "<bos>", "<eos>"]
    model = TinyGGUF()
    m = model.metadata
    m["general.architecture"] = (STRING, arch)
    m["general.name"] = (STRING, "tiny")
    for key, value in {
        "vocab_size": len(vocab),
        "context_length": context_length,
        "embedding_length": dim,
        "block_count": n_layers,
        "feed_forward_length": ffn_dim,
        "rope.dimension_count": head_dim,
        "attention.head_count": n_heads,
        "attention.head_count_kv": n_kv_heads,
        **{f"attention.{key}": value for key, value in sizes.items()},
    }.items():
        m[f"{arch}.{key}"] = (U32, value)
    if window is not None:
        m[f"{arch}.attention.sliding_window"] = (U32, window[0])
        m[f"{arch}.attention.sliding_window_pattern"] = (U32, window[1])
        m[f"{arch}.rope.freq_base_swa"] = (F32, 100.0)
    if pooling is not None:
        m[f"{arch}.pooling_type"] = (U32, pooling)
        m["tokenizer.ggml.add_eos_token"] = (BOOL, True)
    m[f"{arch}.attention.layer_norm_rms_epsilon"] = (F32, 1e-5)
    m[f"{arch}.rope.freq_base"] = (F32, 10000.0)
    m["general.file_type"] = (U32, 40)
    m["tokenizer.ggml.model"] = (STRING, "gpt2")
    m["tokenizer.ggml.pre"] = (STRING, "llama-bpe")
    m["tokenizer.ggml.tokens"] = (ARRAY, (STRING, vocab))
    m["tokenizer.ggml.token_type"] = (ARRAY, (I32, [1] * 256 + [3, 3]))
    m["tokenizer.ggml.merges"] = (ARRAY, (STRING, []))
    m["tokenizer.ggml.bos_token_id"] = (U32, 256)
    m["tokenizer.ggml.eos_token_id"] = (U32, 257)
    m["tokenizer.ggml.add_bos_token"] = (BOOL, True)
    if chat_template is not None:
        m["tokenizer.chat_template"] = (STRING, chat_template)

    def norm(n: int) -> tuple[tuple[int, ...], int, bytes]:
        return (n,), TYPE_F32, random.uniform(0.5, 1.5, n).astype("<f4").tobytes()

    def ternary(rows: int, cols: int) -> tuple[tuple[int, ...], int, bytes]:
        return (
            (cols, rows),
            TYPE_I2_S,
            i2_s(random.randint(-1, 2, (rows, cols)), float(random.uniform(0.5, 1.5))),
        )

    embedding = random.standard_normal((len(vocab), dim)).astype("<f2")
    model.tensors["token_embd.weight"] = ((dim, len(vocab)), TYPE_F16, embedding.tobytes())
    for i in range(n_layers):
        block = {
            "attn_norm": norm(dim),
            "attn_q": ternary(n_heads * head_dim, dim),
            "attn_k": ternary(n_kv_heads * head_dim, dim),
            "attn_v": ternary(n_kv_heads * head_dim, dim),
            "attn_output": ternary(dim, n_heads * head_dim),
            "ffn_norm": norm(dim),
            "ffn_gate": ternary(ffn_dim, dim),
            "ffn_up": ternary(ffn_dim, dim),
            "ffn_down": ternary(dim, ffn_dim),
        }
        if arch.startswith("bitnet"):
            block |= {"attn_sub_norm": norm(n_heads * head_dim), "ffn_sub_norm": norm(ffn_dim)}
        if arch in ("qwen3", "gemma3"):
            block |= {"attn_q_norm": norm(head_dim), "attn_k_norm": norm(head_dim)}
        if arch == "gemma3":
            block |= {"post_attention_norm": norm(dim), "post_ffw_norm": norm(dim)}
        if norm_in:
            inputs = {name: ne[0] for name, (ne, kind, _) in block.items() if kind == TYPE_I2_S}
            block |= {f"{name}_norm_in": norm(cols) for name, cols in inputs.items()}
        model.tensors |= {f"blk.{i}.{name}.weight": tensor for name, tensor in block.items()}
    model.tensors["output_norm.weight"] = norm(dim)
    return model


def _string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, value: object) -> bytes:
    if kind == STRING:
        return _string(value)  # type: ignore[arg-type]
    if kind == ARRAY:
        element, values = value  # type: ignore[misc]
        return struct.pack("<IQ", element, len(values)) + b"".join(_value(element, v) for v in values)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)

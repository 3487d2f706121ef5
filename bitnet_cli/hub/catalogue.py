"""Ternary models that people have, as data: short names, repositories, licences and sizes.

Sizes are worked out from the shape of a model, never copied from anywhere: where the shape is not known for sure, the
size stays unknown until the hub is asked. `tested` says what was tried: random models of each
format; none of the published weights were run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Encoding = Literal["packed", "blocks", "f16", "f32"]
_ENCODED_BITS = {"packed": 2.0, "blocks": 2.125, "f16": 16.0, "f32": 32.0}
"""Bits of a ternary weight in a file: four to a byte, blocks of 128 with a scale, floats (bf16 is as long as f16)."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a transformer, as far as memory depends on them."""

    dim: int
    ffn_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    tied: bool
    """The embedding serves as the head too."""
    ternary_embedding: bool = False
    """Embedding and head are ternary, too."""

    @property
    def ternary_weights(self) -> int:
        """Weights of all matrices in all layers."""
        attention = self.dim * self.head_dim * (2 * self.n_heads + 2 * self.n_kv_heads)
        return self.n_layers * (attention + 3 * self.dim * self.ffn_dim)

    @property
    def embedding_weights(self) -> int:
        """Weights of one matrix between tokens and hidden states."""
        return self.vocab_size * self.dim

    def kv_bytes(self, n_positions: int) -> int:
        """Keys and values of so many positions, in f16."""
        return 4 * self.n_layers * self.n_kv_heads * self.head_dim * n_positions

    def checkpoint_bytes(self, encoding: Encoding) -> int:
        """About the size of a model on disk; embeddings that are not ternary are f32 where all is, else f16."""
        bits = _ENCODED_BITS[encoding]
        embedding_bits = bits if self.ternary_embedding else max(16.0, bits)
        n_embeddings = self.embedding_weights * (1 if self.tied else 2)
        return int(self.ternary_weights * bits + n_embeddings * embedding_bits) // 8

    @property
    def read_bytes(self) -> int:
        """About what each token reads: the layers at two bits a weight, the head in f16, a ternary one in q2_0."""
        return (
            self.ternary_weights // 4
            + int(self.embedding_weights * (2.25 if self.ternary_embedding else 16.0)) // 8
        )


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue."""

    name: str
    repo: str
    """The repository with the checkpoint."""
    about: str
    licence: str
    encoding: Encoding = "packed"
    """How the checkpoint holds its ternary weights."""
    sizes: Sizes | None = None
    gguf_repo: str | None = None
    """A repository with a GGUF file that needs no conversion, if there is one."""
    gguf_file: str | None = None
    """The recommended file in it."""
    gguf_encoding: Encoding = "packed"
    """How that file holds its ternary weights."""
    tested: Literal["shape", "format"] = "format"
    """`format`: tiny random models of this format are tested; `shape`: one of the real shape, with the real tokenizer."""

    @property
    def download_bytes(self) -> int | None:
        """About how much `bitnet download` fetches; None if unknown."""
        if self.sizes is None:
            return None
        return self.sizes.checkpoint_bytes(self.gguf_encoding if self.gguf_repo else self.encoding)


_FALCON = "Falcon LLM"
_SEE = "see its page"
_2B = Sizes(2560, 6912, 30, 20, 5, 128, 128256, True)
_FALCON3 = {
    "1b": Sizes(2048, 8192, 18, 8, 4, 256, 131072, False),
    "3b": Sizes(3072, 9216, 22, 12, 4, 256, 131072, False),
    "7b": Sizes(3072, 23040, 28, 12, 4, 256, 131072, False),
    "10b": Sizes(3072, 23040, 40, 12, 4, 256, 131072, False),
}
_TRILM = {
    size: Sizes(dim, ffn_dim, n_layers, n_heads, n_heads, dim // n_heads, 50304, False)
    for size, dim, ffn_dim, n_layers, n_heads in (
        ("99M", 512, 1280, 16, 8),
        ("190M", 768, 2048, 16, 12),
        ("390M", 1024, 2560, 24, 16),
        ("560M", 1280, 3072, 24, 20),
        ("830M", 1536, 4096, 24, 24),
        ("1.1B", 1792, 5120, 24, 28),
        ("1.5B", 2048, 6144, 24, 32),
        ("2.4B", 2304, 7680, 30, 36),
        ("3.9B", 3072, 9216, 30, 24),
    )
}
"""Those of the paper on the Spectra suite (arXiv 2407.12327), which add up to the weights it counts."""
_BONSAI = {
    "1.7B": Sizes(2048, 6144, 28, 16, 8, 128, 151936, True, True),
    "4B": Sizes(2560, 9728, 36, 32, 8, 128, 151936, True, True),
    "8B": Sizes(4096, 12288, 36, 32, 8, 128, 151936, False, True),
}
"""Those of Qwen3; the files of group-128 blocks, which the older repositories call Q2_0, then have the published sizes."""


def _falcon3() -> list[Entry]:
    """Falcon3 in four sizes: `falcon3-1b` follows instructions, `falcon3-1b-base` continues text."""
    return [
        Entry(
            f"falcon3-{size}{suffix}",
            f"tiiuae/Falcon3-{size.upper()}-{kind}-1.58bit",
            f"Falcon3 {size.upper()}, {what}",
            _FALCON,
            sizes=sizes,
        )
        for size, sizes in _FALCON3.items()
        for suffix, kind, what in (("", "Instruct", "chat"), ("-base", "Base", "base"))
    ]


def _falcon_e() -> list[Entry]:
    return [
        Entry(
            f"falcon-e-{size}{suffix}",
            f"tiiuae/Falcon-E-{size.upper()}-{kind}",
            f"Falcon-E {size.upper()}, {what}",
            _FALCON,
            gguf_repo=f"tiiuae/Falcon-E-{size.upper()}-{kind}-GGUF",
            gguf_file="ggml-model-i2_s.gguf",
        )
        for size in ("1b", "3b")
        for suffix, kind, what in (("", "Instruct", "chat"), ("-base", "Base", "base"))
    ]


def _trilm() -> list[Entry]:
    return [
        Entry(
            f"trilm-{size.lower()}",
            f"SpectraSuite/TriLM_{size}_Unpacked",
            f"TriLM {size}, base",
            _SEE,
            "f16",
            sizes,
        )
        for size, sizes in _TRILM.items()
    ]


def _bonsai() -> list[Entry]:
    return [
        Entry(
            f"bonsai-{size.lower()}",
            f"prism-ml/Ternary-Bonsai-{size}-unpacked",
            f"Bonsai {size}, chat",
            "Apache-2.0",
            "f16",
            gguf_repo=f"prism-ml/Ternary-Bonsai-{size}-gguf",
            gguf_file=f"Ternary-Bonsai-{size}-Q2_0.gguf",
            gguf_encoding="blocks",
            sizes=sizes,
        )
        for size, sizes in _BONSAI.items()
    ]


_ENTRIES = [
    Entry(
        "2b",
        "microsoft/bitnet-b1.58-2B-4T",
        "BitNet 2B-4T, chat",
        "MIT",
        sizes=_2B,
        gguf_repo="microsoft/bitnet-b1.58-2B-4T-gguf",
        gguf_file="ggml-model-i2_s.gguf",
        tested="shape",
    ),
    Entry("2b-bf16", "microsoft/bitnet-b1.58-2B-4T-bf16", "master weights of 2b", "MIT", "f16", _2B),
    Entry(
        "large",
        "1bitLLM/bitnet_b1_58-large",
        "BitNet 0.7B, base",
        "MIT",
        "f32",
        Sizes(1536, 4096, 24, 16, 16, 96, 32002, True),
    ),
    Entry(
        "3b",
        "1bitLLM/bitnet_b1_58-3B",
        "BitNet 3B, base",
        "MIT",
        "f16",
        Sizes(3200, 8640, 26, 32, 32, 100, 32002, True),
    ),
    Entry(
        "llama3-8b",
        "HF1BitLLM/Llama3-8B-1.58-100B-tokens",
        "Llama 3 8B, base",
        "Llama 3",
        sizes=Sizes(4096, 14336, 32, 32, 8, 128, 128256, False),
    ),
    *_falcon3(),
    *_falcon_e(),
    *_trilm(),
    *_bonsai(),
    Entry(
        "embedding-0.6b",
        "microsoft/BitNet-embedding-0.6B",
        "text embeddings",
        _SEE,
        "f16",
        Sizes(1024, 3072, 28, 16, 8, 128, 151936, True),
    ),
    Entry(
        "embedding-270m",
        "microsoft/BitNet-embedding-270M",
        "text embeddings",
        _SEE,
        "f16",
        Sizes(640, 2048, 18, 4, 1, 256, 262144, True),
    ),
]
CATALOGUE = {entry.name: entry for entry in _ENTRIES}

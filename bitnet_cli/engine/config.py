"""What the metadata of a model file say of its shape, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnet_cli.arch import Arch, arch_for
from bitnet_cli.arch.limits import MAX_COUNT, MAX_LAYERS, RMS_EPS_RANGE, ROPE_THETA_RANGE
from bitnet_cli.arch.yarn import (
    YARN_ATTENTION_RANGE,
    YARN_FACTOR_RANGE,
    YARN_TURNS_RANGE,
    Yarn,
    usual_attention_factor,
)
from bitnet_cli.errors import FormatError, UnsupportedError, printable
from bitnet_cli.formats.file_mapping import located

POOLINGS = ("none", "mean", "cls", "last")
"""How the hidden states of a text become one vector, by the number that `pooling_type` has."""
_ROTATED_ACTIVATIONS = "prism.hadamard."
"""Keys of files whose weights meet activations that were multiplied by a Hadamard matrix."""
SCALE_RANGE = (1e-6, 1e6)
"""Lowest and highest scale of attention scores."""


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model, read from GGUF metadata."""

    arch: Arch
    name: str
    n_layers: int
    dim: int
    ffn_dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    n_rot: int
    """Values of each head that RoPE turns."""
    vocab_size: int
    context_length: int
    rms_eps: float
    rope_theta: float
    attention_scale: float | None = None
    """What scores are multiplied by; None for 1/sqrt(head_dim)."""
    window: int = 0
    """Positions that layers with a window see, the token's own included; 0 if no layer has one."""
    window_period: int = 0
    """Every window_period-th layer sees all positions in spite of that."""
    local_rope_theta: float = 10000.0
    """Base of the rotation in layers with a window."""
    pooling: str = "none"
    """How hidden states become the vector of a text, one of POOLINGS; `none` for a model that continues texts."""

    yarn: Yarn | None = None
    """How the rotation is stretched, in layers that see all positions; None if it is not."""

    def has_window(self, layer: int) -> bool:
        """Whether a layer sees only the last `window` positions."""
        return self.window > 0 and self.window_period > 0 and (layer + 1) % self.window_period != 0

    @classmethod
    def from_metadata(cls, meta: Mapping[str, object], path: Path, vocab_size: int) -> ModelConfig:
        """Reads and checks the keys of `general.architecture`.

        Args:
            vocab_size: rows of the embedding.

        Raises:
            FormatError: a key is missing or out of range.
            UnsupportedError: the architecture or a feature of it is unknown.
        """
        with located(path, "general.architecture"):
            arch = arch_for(_string(meta, "general.architecture", path))
        keys = _Keys(meta, _string(meta, "general.architecture", path), path)
        _refuse_unknown_features(keys, arch)
        dim, n_heads = keys.count("embedding_length"), keys.count("attention.head_count")
        head_dim = keys.count("attention.key_length", dim // n_heads)
        if keys.count("attention.value_length", head_dim) != head_dim:
            raise UnsupportedError(f"{path}: keys and values of different head sizes are not supported")
        config = cls(
            arch=arch,
            name=str(meta.get("general.name", path.stem)),
            n_layers=keys.count("block_count", limit=MAX_LAYERS),
            dim=dim,
            ffn_dim=keys.count("feed_forward_length"),
            n_heads=n_heads,
            n_kv_heads=keys.count("attention.head_count_kv", n_heads),
            head_dim=head_dim,
            n_rot=keys.count("rope.dimension_count", head_dim),
            vocab_size=vocab_size,
            context_length=keys.count("context_length"),
            rms_eps=keys.number("attention.layer_norm_rms_epsilon", RMS_EPS_RANGE),
            rope_theta=keys.number("rope.freq_base", ROPE_THETA_RANGE, default=10000.0),
            attention_scale=keys.number("attention.scale", SCALE_RANGE)
            if keys.has("attention.scale")
            else None,
            pooling=_pooling(keys),
            yarn=_yarn(keys),
            **(_windows(keys, arch) if arch.window_period else {}),
        )
        if config.n_heads % config.n_kv_heads or config.n_rot % 2 or config.n_rot > head_dim:
            raise FormatError(
                f"{n_heads} heads of {head_dim} with {config.n_kv_heads} key heads and {config.n_rot} rotated values "
                "do not fit together",
                path=path,
            )
        if config.yarn is not None and (config.window or config.rope_theta == 1.0):
            raise UnsupportedError(f"{path}: YaRN beside windows, or for a base of 1, is not supported")
        return config


def _yarn(keys: _Keys) -> Yarn | None:
    """How the rotation is stretched, under the keys of llama.cpp; a file that names a factor but no kind means `linear`.

    Raises:
        UnsupportedError: it is stretched in another way.
    """
    kind = keys.meta.get(f"{keys.prefix}.rope.scaling.type", "linear")
    factor = keys.number("rope.scaling.factor", (0.0, YARN_FACTOR_RANGE[1]), 1.0)
    if kind == "none" or (kind == "linear" and factor in (0.0, 1.0)):
        return None
    unknown = [key for key in ("yarn_log_multiplier",) if keys.has(f"rope.scaling.{key}")]
    if (
        kind != "yarn"
        or unknown
        or keys.number("rope.scaling.yarn_ext_factor", (-1.0, 1.0), 1.0) not in (1.0, -1.0)
    ):
        raise UnsupportedError(
            f"{keys.path}: RoPE scaling {_brief(kind)} by {factor:g} is not supported in this form",
            hint="models without it run, and models with YaRN as llama.cpp writes it",
        )
    factor = keys.number("rope.scaling.factor", YARN_FACTOR_RANGE)
    attention = usual_attention_factor(factor)
    for key in ("attn_factor", "yarn_attn_factor"):
        attention *= keys.number(f"rope.scaling.{key}", YARN_ATTENTION_RANGE, 1.0)
    return Yarn(
        factor,
        keys.count("rope.scaling.original_context_length"),
        attention,
        keys.number("rope.scaling.yarn_beta_fast", YARN_TURNS_RANGE, 32.0),
        keys.number("rope.scaling.yarn_beta_slow", YARN_TURNS_RANGE, 1.0),
    )


def _windows(keys: _Keys, arch: Arch) -> dict[str, Any]:
    """The fields of layers that see only the last positions; a file without a window has none."""
    if not keys.has("attention.sliding_window"):
        return {}
    return {
        "window": keys.count("attention.sliding_window"),
        "window_period": keys.count("attention.sliding_window_pattern", arch.window_period),
        "local_rope_theta": keys.number("rope.freq_base_swa", ROPE_THETA_RANGE, arch.local_rope_theta),
    }


def _pooling(keys: _Keys) -> str:
    """One of POOLINGS.

    Raises:
        UnsupportedError: rankers, which give a text no vector but a score.
    """
    if not keys.has("pooling_type") or keys.number("pooling_type", (0, 4)) == 0:
        return "none"
    number = keys.count("pooling_type")
    if number >= len(POOLINGS):
        raise UnsupportedError(f"{keys.path}: rankers are not supported", hint="embedding models run")
    return POOLINGS[number]


def _refuse_unknown_features(keys: _Keys, arch: Arch) -> None:
    """Graphs that this version would silently compute in another way."""
    if not arch.window_period and keys.has("attention.sliding_window"):
        raise UnsupportedError(
            f"{keys.path}: a window in `{printable(keys.prefix)}` models is not supported",
            hint="models without it run",
        )
    if keys.meta.get(f"{keys.prefix}.attention.causal", True) is not True:
        raise UnsupportedError(
            f"{keys.path}: attention to later positions is not supported", hint="causal models run"
        )
    if any(key.startswith(_ROTATED_ACTIVATIONS) for key in keys.meta):
        raise UnsupportedError(
            f"{keys.path}: rotated activations (`{_ROTATED_ACTIVATIONS}*`, Bonsai 2) are not supported",
            hint="the first Ternary-Bonsai models run",
        )
    for kind in ("attn_logit_softcapping", "final_logit_softcapping"):
        if keys.has(kind) and keys.number(kind, (0.0, 1e6)) != 0:
            raise UnsupportedError(f"{keys.path}: `{kind}` is not supported", hint="models without it run")


class _Keys:
    """Typed access to the metadata keys under one architecture's prefix."""

    def __init__(self, meta: Mapping[str, object], prefix: str, path: Path) -> None:
        self.meta, self.prefix, self.path = meta, prefix, path

    def count(self, key: str, default: int | None = None, limit: int = MAX_COUNT) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
            raise FormatError(
                f"expected a count from 1 to {limit}, found {_brief(value)}",
                path=self.path,
                tensor=f"{self.prefix}.{key}",
            )
        return value

    def number(self, key: str, range_: tuple[float, float], default: float | None = None) -> float:
        value, (low, high) = self._get(key, default), range_
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise FormatError(
                f"expected a number from {low:g} to {high:g}, found {_brief(value)}",
                path=self.path,
                tensor=f"{self.prefix}.{key}",
            )
        return float(value)

    def has(self, key: str) -> bool:
        """Whether the file says anything of it."""
        return f"{self.prefix}.{key}" in self.meta

    def _get(self, key: str, default: object) -> object:
        value = self.meta.get(f"{self.prefix}.{key}", default)
        if value is None:
            raise FormatError("the key is missing", path=self.path, tensor=f"{self.prefix}.{key}")
        return value


def _brief(value: object) -> str:
    """A metadata value in a few characters, safe to show."""
    if isinstance(value, bool | int | float | str):
        return f"`{printable(str(value), 40)}`"
    return "a list"


def _string(meta: Mapping[str, object], key: str, path: Path) -> str:
    value = meta.get(key)
    if not isinstance(value, str):
        raise FormatError("the key is missing or no string", path=path, tensor=key)
    return value

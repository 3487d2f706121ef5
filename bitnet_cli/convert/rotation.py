"""What config.json says about positions: the base of the rotary embedding, how it is stretched, layers with a window."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_cli.arch import Arch
from bitnet_cli.arch.limits import MAX_LAYERS, ROPE_THETA_RANGE
from bitnet_cli.arch.yarn import (
    YARN_ATTENTION_RANGE,
    YARN_FACTOR_RANGE,
    YARN_TURNS_RANGE,
    Yarn,
    usual_attention_factor,
)
from bitnet_cli.convert.config_fields import Fields
from bitnet_cli.errors import UnsupportedError, printable


@dataclass(frozen=True)
class Windows:
    """Layers that see only the last positions.

    Attributes:
        size: positions that they see, the token's own included.
        period: every period-th layer sees all positions in spite of that.
        rope_theta: base of the rotation in layers with a window.
    """

    size: int
    period: int
    rope_theta: float


def read_windows(fields: Fields, arch: Arch) -> Windows | None:
    """The layers with a window: every one but each n-th, n from `layer_types` or `sliding_window_pattern`."""
    if not fields.has("sliding_window"):
        return None
    period = arch.window_period
    for key in ("sliding_window_pattern", "_sliding_window_pattern"):
        if fields.has(key):
            period = fields.size(key, MAX_LAYERS)
    types = fields.values.get("layer_types")
    if types is not None:
        n_layers = fields.size("num_hidden_layers", MAX_LAYERS)
        kinds = types if isinstance(types, list) and len(types) == n_layers else []
        full = [i + 1 for i, kind in enumerate(kinds) if kind == "full_attention"]
        period = full[0] if full else n_layers + 1
        every = list(range(period, n_layers + 1, period))
        if not kinds or full != every or len(full) + kinds.count("sliding_attention") != n_layers:
            raise UnsupportedError(
                f"{fields.path}: `layer_types` in which full attention does not come at every n-th layer are not "
                "supported"
            )
    theta = arch.local_rope_theta
    local = (fields.group("rope_parameters") or Fields({}, fields.path)).group("sliding_attention")
    if local is not None and local.has("rope_theta"):
        theta = local.number("rope_theta", *ROPE_THETA_RANGE)
    elif fields.has("rope_local_base_freq"):
        theta = fields.number("rope_local_base_freq", *ROPE_THETA_RANGE)
    return Windows(fields.size("sliding_window"), period, theta)


def read_rope(fields: Fields, arch: Arch) -> tuple[float, Yarn | None]:
    """The base of the rotary embedding, and how it is stretched if it is.

    Either stands at top level or in `rope_parameters`, there perhaps by kind of layer.

    Raises:
        FormatError: a value is missing or makes no sense.
        UnsupportedError: another way to stretch than YaRN, or one for layers with a window.
    """
    parameters = fields.group("rope_parameters")
    by_kind = parameters.group("full_attention") if parameters is not None else None
    groups = [fields.group("rope_scaling"), by_kind or parameters]
    if by_kind is not None and parameters is not None:
        groups.append(parameters.group("sliding_attention"))
    stretched = [found for group in groups if group is not None and (found := _yarn(group)) is not None]
    if stretched and arch.window_period:
        raise UnsupportedError(
            f"{fields.path}: stretched rotations of layers with a window are not supported"
        )
    if len(set(stretched)) > 1:
        raise fields.error("rope_scaling", "it is another way to stretch than in `rope_parameters`")
    holder = fields if fields.has("rope_theta") else by_kind or parameters or fields
    return holder.number("rope_theta", *ROPE_THETA_RANGE), stretched[0] if stretched else None


def _yarn(group: Fields) -> Yarn | None:
    """How one group of parameters stretches the rotation; None if it does not."""
    kind = group.word("rope_type") or group.word("type") or "default"
    factor = group.positive("factor") if group.has("factor") else 1.0
    if group.has("partial_rotary_factor") and group.positive("partial_rotary_factor") != 1.0:
        raise UnsupportedError(f"{group.path}: partly rotated heads are not supported")
    if kind == "default" or (kind == "linear" and factor == 1.0):
        return None
    if kind != "yarn":
        raise UnsupportedError(
            f"{group.path}: rotary embeddings scaled by `{printable(kind)}` are not supported"
        )
    for key in ("mscale", "mscale_all_dim"):
        if group.has(key):
            raise UnsupportedError(f"{group.path}: YaRN with `{key}` is not supported")
    if group.flag("truncate") is False:
        raise UnsupportedError(f"{group.path}: YaRN with `truncate` false is not supported")
    factor = group.number("factor", *YARN_FACTOR_RANGE)
    return Yarn(
        factor,
        group.size("original_max_position_embeddings"),
        group.number("attention_factor", *YARN_ATTENTION_RANGE)
        if group.has("attention_factor")
        else usual_attention_factor(factor),
        group.number("beta_fast", *YARN_TURNS_RANGE) if group.has("beta_fast") else 32.0,
        group.number("beta_slow", *YARN_TURNS_RANGE) if group.has("beta_slow") else 1.0,
    )

"""Names and shapes of a model's tensors: those of Hugging Face checkpoints and those of GGUF files.

`tensor_plan` writes down what a model must have, in the order of the published bitnet.cpp files; `match`
finds it in a checkpoint and refuses whatever is missing, doubled or left over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from bitnet_cli.convert.model_config import CheckpointConfig
from bitnet_cli.errors import FormatError, UnsupportedError, printable

Role = Literal["ternary", "norm", "embedding"]
HEAD = "output.weight"
_PROJECTIONS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_INPUT_NORM_ENDS = ("_proj.norm.weight", "_proj.rms_norm.weight")
# Not weights: recomputed from config.json.
_DROPPED_ENDS = ("rotary_emb.inv_freq",)


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of the file to be written.

    Attributes:
        name: in the GGUF file.
        sources: names in the checkpoint without the prefix `model.`; families spell some differently.
        shape: NumPy order, (rows, cols) or (size,).
        permuted_heads: number of heads whose rows are interleaved (see head_rows.py), 0 for none.
        offset: what is added to every value; Gemma's checkpoints hold norms less 1.
    """

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    role: Role
    permuted_heads: int = 0
    offset: float = 0.0

    @property
    def kind(self) -> str:
        """The name without block number and `.weight`: `attn_q`, `token_embd`."""
        return self.name.removesuffix(".weight").split(".")[-1]


def tensor_plan(
    config: CheckpointConfig, *, with_head: bool, input_norms: bool = False
) -> list[PlannedTensor]:
    """Every tensor of the file in file order.

    Args:
        with_head: the output matrix is not the embedding.
        input_norms: every projection has a norm for its input.
    """
    table = (config.vocab_size, config.hidden_size)
    plan = [PlannedTensor(HEAD, ("lm_head.weight",), table, "embedding")] if with_head else []
    plan.append(PlannedTensor("token_embd.weight", ("embed_tokens.weight",), table, "embedding"))
    for layer in range(config.n_layers):
        plan += _block(config, layer)
        if input_norms:
            plan += _input_norms(config, layer)
    final = PlannedTensor(
        "output_norm.weight", ("norm.weight",), (config.hidden_size,), "norm", offset=_offset(config)
    )
    return [*plan, final]


def has_input_norms(config: CheckpointConfig, bare: Collection[str]) -> bool:
    """Whether the checkpoint has norms of the inputs of projections, which graphs of this kind may have or not."""
    return config.arch.input_norms and any(name.endswith(_INPUT_NORM_ENDS) for name in bare)


def _offset(config: CheckpointConfig) -> float:
    """What a native norm lacks in the checkpoint: Gemma multiplies by 1 + weight."""
    return 1.0 if config.arch.post_norms else 0.0


def _block(config: CheckpointConfig, layer: int) -> list[PlannedTensor]:
    """The tensors that a block has in every checkpoint of its graph."""
    hidden, ffn, arch = config.hidden_size, config.intermediate_size, config.arch
    q_rows, kv_rows = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim

    def norm(name: str, size: int, *sources: str) -> PlannedTensor:
        names = tuple(f"layers.{layer}.{source}.weight" for source in sources)
        return PlannedTensor(f"blk.{layer}.{name}.weight", names, (size,), "norm", offset=_offset(config))

    def ternary(name: str, rows: int, cols: int, source: str, heads: int = 0) -> PlannedTensor:
        permuted = heads if arch.rope == "norm" else 0
        names = (f"layers.{layer}.{source}.weight",)
        return PlannedTensor(f"blk.{layer}.{name}.weight", names, (rows, cols), "ternary", permuted)

    before_ffn = "pre_feedforward_layernorm" if arch.post_norms else "post_attention_layernorm"
    ffn_sub = norm("ffn_sub_norm", ffn, "mlp.ffn_sub_norm", "mlp.ffn_layernorm", "feed_forward.ffn_sub_norm")
    attn_sub = norm(
        "attn_sub_norm",
        q_rows,
        "self_attn.attn_sub_norm",
        "self_attn.inner_attn_ln",
        "attention.attn_sub_norm",
    )
    qk_norms = [norm(f"attn_{each}_norm", config.head_dim, f"self_attn.{each}_norm") for each in ("q", "k")]
    post_norms = [
        norm("post_attention_norm", hidden, "post_attention_layernorm"),
        norm("post_ffw_norm", hidden, "post_feedforward_layernorm"),
    ]
    return [
        norm("attn_norm", hidden, "input_layernorm"),
        ternary("ffn_down", hidden, ffn, "mlp.down_proj"),
        *([ffn_sub] if arch.sub_norms else []),
        ternary("ffn_gate", ffn, hidden, "mlp.gate_proj"),
        ternary("ffn_up", ffn, hidden, "mlp.up_proj"),
        norm("ffn_norm", hidden, before_ffn),
        *([attn_sub] if arch.sub_norms else []),
        ternary("attn_k", kv_rows, hidden, "self_attn.k_proj", config.n_kv_heads),
        ternary("attn_output", hidden, q_rows, "self_attn.o_proj"),
        ternary("attn_q", q_rows, hidden, "self_attn.q_proj", config.n_heads),
        ternary("attn_v", kv_rows, hidden, "self_attn.v_proj"),
        *(qk_norms if arch.qk_norms else []),
        *(post_norms if arch.post_norms else []),
    ]


def _input_norms(config: CheckpointConfig, layer: int) -> list[PlannedTensor]:
    """The norms of the inputs of a block's projections; these hold what multiplies in every graph."""
    hidden, q_rows = config.hidden_size, config.n_heads * config.head_dim
    sizes = {"attn_output": q_rows, "ffn_down": config.intermediate_size}
    return [
        PlannedTensor(
            f"blk.{layer}.{name}_norm_in.weight",
            tuple(f"layers.{layer}.{module}.{norm}.weight" for norm in ("norm", "rms_norm")),
            (sizes.get(name, hidden),),
            "norm",
        )
        for name, module in _PROJECTIONS.items()
    ]


def bare_names(names: Collection[str]) -> dict[str, str]:
    """Names without the prefix `model.` → names as they are.

    Raises:
        FormatError: a tensor is there with the prefix and without.
    """
    bare: dict[str, str] = {}
    for name in names:
        short = name.removeprefix("model.")
        if short in bare:
            raise FormatError(f"`{printable(short)}` is there twice, with the prefix `model.` and without")
        bare[short] = name
    return bare


def match(plan: list[PlannedTensor], bare: Mapping[str, str], *, ignore_head: bool) -> dict[str, str]:
    """The checkpoint's name of every planned tensor, by GGUF name.

    Args:
        plan: what must be there.
        bare: what is there, from `bare_names`.
        ignore_head: `lm_head.weight` may be left over, since it is the embedding once more.

    Raises:
        FormatError: a tensor is missing or is there under two names.
        UnsupportedError: there is a tensor that this graph has no place for.
    """
    found: dict[str, str] = {}
    for planned in plan:
        hits = [source for source in planned.sources if source in bare]
        if not hits:
            raise FormatError(f"the checkpoint has no `{planned.sources[0]}`, which becomes `{planned.name}`")
        if len(hits) > 1:
            raise FormatError(f"`{hits[0]}` and `{hits[1]}` both are `{planned.name}`")
        found[planned.name] = bare[hits[0]]
    used = set(found.values())
    used |= {f"{found[planned.name]}_scale" for planned in plan if planned.role == "ternary"}
    for short, name in bare.items():
        dropped = short.endswith(_DROPPED_ENDS) or (ignore_head and short == "lm_head.weight")
        if name not in used and not dropped:
            kind = (
                "a bias, which this graph does not have"
                if short.endswith(".bias")
                else "not a part of this graph"
            )
            raise UnsupportedError(
                f"the checkpoint's tensor `{printable(name)}` is {kind}",
                hint="the model would be wrong without it; config.json may name the wrong class",
            )
    return found

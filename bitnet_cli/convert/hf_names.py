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
    """

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    role: Role
    permuted_heads: int = 0

    @property
    def kind(self) -> str:
        """The name without block number and `.weight`: `attn_q`, `token_embd`."""
        return self.name.removesuffix(".weight").split(".")[-1]


def tensor_plan(config: CheckpointConfig, *, with_head: bool) -> list[PlannedTensor]:
    """Every tensor of the file in file order; `with_head` if the output matrix is not the embedding."""
    table = (config.vocab_size, config.hidden_size)
    plan = [PlannedTensor(HEAD, ("lm_head.weight",), table, "embedding")] if with_head else []
    plan.append(PlannedTensor("token_embd.weight", ("embed_tokens.weight",), table, "embedding"))
    for layer in range(config.n_layers):
        plan += _block(config, layer)
    plan.append(PlannedTensor("output_norm.weight", ("norm.weight",), (config.hidden_size,), "norm"))
    return plan


def _block(config: CheckpointConfig, layer: int) -> list[PlannedTensor]:
    hidden, ffn = config.hidden_size, config.intermediate_size
    q_rows, kv_rows = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    permuted = config.arch.rope == "norm"

    def norm(name: str, size: int, *sources: str) -> PlannedTensor:
        return planned(name, (size,), "norm", *sources)

    def ternary(name: str, rows: int, cols: int, source: str, heads: int = 0) -> PlannedTensor:
        return planned(name, (rows, cols), "ternary", source, heads=heads if permuted else 0)

    def planned(
        name: str, shape: tuple[int, ...], role: Role, *sources: str, heads: int = 0
    ) -> PlannedTensor:
        names = tuple(f"layers.{layer}.{source}.weight" for source in sources)
        return PlannedTensor(f"blk.{layer}.{name}.weight", names, shape, role, heads)

    ffn_sub = norm("ffn_sub_norm", ffn, "mlp.ffn_sub_norm", "mlp.ffn_layernorm", "feed_forward.ffn_sub_norm")
    attn_sub = norm(
        "attn_sub_norm",
        q_rows,
        "self_attn.attn_sub_norm",
        "self_attn.inner_attn_ln",
        "attention.attn_sub_norm",
    )
    return [
        norm("attn_norm", hidden, "input_layernorm"),
        ternary("ffn_down", hidden, ffn, "mlp.down_proj"),
        *([ffn_sub] if config.arch.sub_norms else []),
        ternary("ffn_gate", ffn, hidden, "mlp.gate_proj"),
        ternary("ffn_up", ffn, hidden, "mlp.up_proj"),
        norm("ffn_norm", hidden, "post_attention_layernorm"),
        *([attn_sub] if config.arch.sub_norms else []),
        ternary("attn_k", kv_rows, hidden, "self_attn.k_proj", config.n_kv_heads),
        ternary("attn_output", hidden, q_rows, "self_attn.o_proj"),
        ternary("attn_q", q_rows, hidden, "self_attn.q_proj", config.n_heads),
        ternary("attn_v", kv_rows, hidden, "self_attn.v_proj"),
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

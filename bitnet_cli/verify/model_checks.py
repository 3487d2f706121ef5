"""Whether metadata, tensors and tokenizer of a file belong together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.target import OUTTYPES
from bitnet_cli.engine.config import ModelConfig
from bitnet_cli.engine.model import check_structure
from bitnet_cli.errors import BitnetError, printable
from bitnet_cli.formats.codecs import TERNARY_TYPES, codec_named
from bitnet_cli.formats.gguf_types import GGMLType, type_name
from bitnet_cli.text.chat_template import ChatTemplate
from bitnet_cli.text.repairs import repair
from bitnet_cli.text.tokenizer import Tokenizer
from bitnet_cli.verify.report import VerifyReport

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_SAMPLE = "Hello, world! It's 3.14 o'clock: äöü, 日本語, 🙂\n\tend"
_FILE_TYPE = "general.file_type"


def check_model(source: GGUFSource, report: VerifyReport) -> None:
    """Checks everything that is no weight and adds what it finds to the report."""
    meta, notes = repair(source.reader.metadata)
    for note in notes:
        report.remark("", note)
    _check_shapes(source, meta, report)
    _check_blocks(source, meta, report)
    _check_file_type(source, meta, report)
    _check_tokenizer(source, meta, report)


def _check_shapes(source: GGUFSource, meta: Mapping[str, object], report: VerifyReport) -> None:
    """Sizes in the metadata against those of tensors."""
    embedding = source.reader.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        report.problem("token_embd.weight", "the file has no such matrix")
        return
    try:
        config = ModelConfig.from_metadata(meta, source.path, embedding.shape[0])
    except BitnetError as error:
        report.problem("", error.message.removeprefix(f"{source.path}: "), error.hint)
        return
    q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    wanted: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (config.vocab_size, config.dim),
        "output.weight": (config.vocab_size, config.dim),
        "output_norm.weight": (config.dim,),
    }
    for i in range(config.n_layers):
        wanted |= {
            f"blk.{i}.{name}.weight": shape
            for name, shape in {
                "attn_norm": (config.dim,),
                "attn_q": (q_dim, config.dim),
                "attn_k": (kv_dim, config.dim),
                "attn_v": (kv_dim, config.dim),
                "attn_sub_norm": (q_dim,),
                "attn_output": (config.dim, q_dim),
                "ffn_norm": (config.dim,),
                "ffn_gate": (config.ffn_dim, config.dim),
                "ffn_up": (config.ffn_dim, config.dim),
                "ffn_sub_norm": (config.ffn_dim,),
                "ffn_down": (config.dim, config.ffn_dim),
            }.items()
        }
    optional = {"output.weight"} if config.arch.sub_norms else {"output.weight", "sub_norm.weight"}
    for name, shape in wanted.items():
        info = source.reader.tensors.get(name)
        if info is None and not name.endswith(tuple(optional)):
            report.problem(name, f"the architecture `{config.arch.name}` needs this tensor")
        elif info is not None and info.shape != shape:
            report.problem(name, f"the metadata imply the shape {list(shape)}, found {list(info.shape)}")


def check_loading(source: GGUFSource, report: VerifyReport) -> None:
    """Whatever else keeps the engine from running the file: it is asked itself."""
    meta, _ = repair(source.reader.metadata)
    try:
        check_structure(source.reader, meta, source.codec_for)
    except BitnetError as error:
        where = str(getattr(error, "tensor", None) or "")
        text = error.message.removeprefix(f"{source.path}: ").removeprefix(f"`{printable(where)}`: ")
        report.problem(where, text, error.hint)


def _check_blocks(source: GGUFSource, meta: Mapping[str, object], report: VerifyReport) -> None:
    """Every block must have the same tensors, and there must be as many as the metadata say."""
    blocks: dict[int, set[str]] = {}
    for name in source.reader.tensors:
        found = _BLOCK.fullmatch(name)
        if found:
            blocks.setdefault(int(found[1]), set()).add(found[2])
    count = meta.get(f"{source.architecture}.block_count")
    beyond = [i for i in blocks if isinstance(count, int) and i >= count]
    if beyond:
        report.problem(f"blk.{beyond[0]}", f"the metadata say that there are {count} blocks")
    if blocks:
        usual = Counter(frozenset(names) for names in blocks.values()).most_common(1)[0][0]
        for i, names in sorted(blocks.items()):
            for name in sorted(usual ^ names):
                text = (
                    "other blocks have this tensor" if name in usual else "other blocks have no such tensor"
                )
                report.problem(f"blk.{i}.{name}", text)


def _check_file_type(source: GGUFSource, meta: Mapping[str, object], report: VerifyReport) -> None:
    """`general.file_type` should name the type of the weights. Readers go by the tensors, so it is only a remark."""
    types = Counter(tensor.kept for tensor in source.tensors if tensor.kept in TERNARY_TYPES)
    stated = meta.get(_FILE_TYPE)
    if not types or not isinstance(stated, int):
        return
    most = types.most_common(1)[0][0]
    known = {
        int(GGMLType.F16 if name == "f16" else codec_named(name).type_id): each.file_type
        for name, each in OUTTYPES.items()
    }
    if most in known and known[most] != stated:
        report.remark(_FILE_TYPE, f"it is {stated}, and {known[most]} stands for {type_name(most)}")


def _check_tokenizer(source: GGUFSource, meta: Mapping[str, object], report: VerifyReport) -> None:
    """The tokenizer must be complete, fit the embedding, and bring a text back as it was."""
    try:
        tokenizer = Tokenizer.from_metadata(meta)
        ids = tokenizer.encode(_SAMPLE, add_bos=False)
        back = tokenizer.decode(ids)
        template = ChatTemplate.from_metadata(meta, tokenizer)
        if template is not None:
            template.encode([{"role": "user", "content": "Hello"}])
    except BitnetError as error:
        report.problem("tokenizer", error.message, error.hint)
        return
    if back != _SAMPLE:
        report.remark("tokenizer", f"a text does not come back as it was: `{_first_change(_SAMPLE, back)}`")
    embedding = source.reader.tensors.get("token_embd.weight")
    if embedding is not None and embedding.shape[0] < tokenizer.n_vocab:
        report.problem(
            "tokenizer", f"it has {tokenizer.n_vocab} tokens, and the embedding has {embedding.shape[0]} rows"
        )
    elif embedding is not None and embedding.shape[0] > tokenizer.n_vocab:
        spare = embedding.shape[0] - tokenizer.n_vocab
        report.remark("tokenizer", f"{spare} rows of the embedding belong to no token")
    if not tokenizer.eos_ids:
        report.remark("tokenizer", "no token is declared to end a text: a generation ends only at its limit")


def _first_change(text: str, back: str) -> str:
    """The first characters of a text that came back differently."""
    at = next(
        (i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back))
    )
    return text[at : at + 8]

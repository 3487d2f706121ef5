"""The `tokenizer.*` metadata of a GGUF file, made from a tokenizer.json. Standard library only."""

from __future__ import annotations

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def byte_bpe_metadata(tokenizer_json: dict, pre: str, **extra: object) -> dict[str, object]:
    """Metadata of a byte-level BPE vocabulary; `extra` adds or replaces keys under `tokenizer.ggml.`.

    Ids that the tokenizer.json leaves out are named `[PAD<i>]` and unused.
    """
    vocab: dict[str, int] = dict(tokenizer_json["model"]["vocab"])
    added = {token["id"]: token for token in tokenizer_json["added_tokens"]}
    n = max([*vocab.values(), *added]) + 1
    tokens = [f"[PAD{i}]" for i in range(n)]
    types = [UNUSED] * n
    for token, i in vocab.items():
        tokens[i], types[i] = token, NORMAL
    for i, token in added.items():
        tokens[i], types[i] = token["content"], CONTROL if token["special"] else USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer_json["model"]["merges"]]
    keys: dict[str, object] = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": types,
        "merges": merges,
        "add_bos_token": False,
        **extra,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}

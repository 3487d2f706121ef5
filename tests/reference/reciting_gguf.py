"""A tiny GGUF model that says one and the same thing to whatever it is asked, a token at a time, and ends its turn."""

from __future__ import annotations

import numpy as np
from tiny_gguf import ARRAY, I32, STRING, TYPE_F16, TYPE_F32, U32, TinyGGUF, i2_s, tiny_model

USER_DEFINED, CONTROL = 4, 3
TEMPLATE = (
    "{{% for m in messages %}}{{{{ '<begin>' if m.role == 'assistant' else m.role }}}}{{{{ m.content }}}}<end>"
    "{{% endfor %}}{{% if add_generation_prompt %}}<begin>{after_begin}{{% endif %}}"
)


def reciting_model(
    words: list[str], *, after_begin: str = "", tag_type: int = USER_DEFINED, context_length: int = 256
) -> TinyGGUF:
    """A chat model whose answer is always `words`, which are tokens of its own, all different.

    All weights but the embedding and the head are zero: what comes next depends on the last token alone.

    Args:
        words: the answer, no word of one byte.
        after_begin: what the template begins the answer with; if that is the first of `words`, the second comes next.
        tag_type: the token type of words that are written like a tag.
    """
    model = tiny_model(context_length=context_length, chat_template=TEMPLATE.format(after_begin=after_begin))
    kind, (_, vocab) = model.metadata["tokenizer.ggml.tokens"]
    tokens = [*vocab, "<begin>", "<end>", *(word.replace(" ", "Ġ").replace("\n", "Ċ") for word in words)]
    types = [1] * 256 + [CONTROL] * 4 + [tag_type if word[:1] == "<" else 1 for word in words]
    model.metadata["tokenizer.ggml.tokens"] = (ARRAY, (STRING, tokens))
    model.metadata["tokenizer.ggml.token_type"] = (ARRAY, (I32, types))
    model.metadata["tokenizer.ggml.eos_token_id"] = (U32, 259)
    model.metadata["bitnet-b1.58.vocab_size"] = (U32, len(tokens))
    said = [258, *range(260, len(tokens)), 259]
    random = np.random.RandomState(1)
    embedding = np.sign(random.standard_normal((len(tokens), 128))).astype("<f2")
    head = np.zeros_like(embedding)
    head[said[1:]] = embedding[said[:-1]]
    for name, (shape, kind, _) in model.tensors.items():
        if kind not in (TYPE_F32, TYPE_F16):
            model.tensors[name] = (shape, kind, i2_s(np.zeros((shape[1], shape[0]), np.int8), 1.0))
        elif kind == TYPE_F32:
            model.tensors[name] = (shape, kind, np.ones(shape, "<f4").tobytes())
    model.tensors["token_embd.weight"] = ((128, len(tokens)), TYPE_F16, embedding.tobytes())
    model.tensors["output.weight"] = ((128, len(tokens)), TYPE_F16, head.tobytes())
    return model

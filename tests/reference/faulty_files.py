"""A folder of models, checkpoints and texts, most of them faulty in one way, which their names say; and such a hub."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from fake_hub import FakeHub, Handler, cut_after, noise, oid_of
from ternary_models import ternary_model
from tiny_checkpoints import read_safetensors, write_checkpoint, write_safetensors
from tiny_gguf import ARRAY, F32, STRING, TYPE_F16, TYPE_F32, TYPE_I2_S, U32, TinyGGUF, tiny_model

from bitnet_cli.hub.catalogue import CATALOGUE

CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ARCH = "bitnet-b1.58"
Q = "blk.0.attn_q.weight"
NAN = struct.pack("<f", float("nan"))
EXTRA_KEYS: dict[str, tuple[str, int, object]] = {
    "mamba": ("general.architecture", STRING, "mamba"),
    "hostile-name": ("general.architecture", STRING, "\x1b[2J\n"),
    "no-layers": (f"{ARCH}.block_count", U32, 0),
    "one-layer-more": (f"{ARCH}.block_count", U32, 3),
    "one-layer-less": (f"{ARCH}.block_count", U32, 1),
    "width-of-2-31": (f"{ARCH}.embedding_length", U32, 2**31),
    "odd-heads": (f"{ARCH}.attention.head_count_kv", U32, 3),
    "epsilon-nan": (f"{ARCH}.attention.layer_norm_rms_epsilon", F32, float("nan")),
    "linear-rope": (f"{ARCH}.rope.scaling.factor", F32, 4.0),
    "ranker": (f"{ARCH}.pooling_type", U32, 4),
    "wordpiece": ("tokenizer.ggml.model", STRING, "bert"),
    "unknown-words": ("tokenizer.ggml.pre", STRING, "clingon"),
    "eos-outside": ("tokenizer.ggml.eos_token_id", U32, 100000),
    "more-tokens": ("tokenizer.ggml.tokens", ARRAY, (STRING, [f"t{i}" for i in range(300)])),
    "few-tokens": ("tokenizer.ggml.tokens", ARRAY, (STRING, ["a", "b"])),
    "twin-tokens": ("tokenizer.ggml.tokens", ARRAY, (STRING, ["a"] * 258)),
    "bad-merge": ("tokenizer.ggml.merges", ARRAY, (STRING, ["ab"])),
    "merge-of-nothing": ("tokenizer.ggml.merges", ARRAY, (STRING, ["a b"])),
    "bad-template": ("tokenizer.chat_template", STRING, "{% for m in messages %}"),
    "refusing-template": ("tokenizer.chat_template", STRING, "{{ raise_exception('only children talk here') }}"),
    "failing-template": ("tokenizer.chat_template", STRING, "{{ messages[0].nothing.there }}"),
    "endless-template": (
        "tokenizer.chat_template", STRING, "{% for a in range(9999) %}{{ 'x' * 99999 }}{% endfor %}"),
}  # fmt: skip
"""Name of a file → key, its type and its value."""


def make_files(folder: Path) -> None:
    """Writes everything into `folder`."""
    _texts(folder)
    tiny = tiny_model(chat_template=CHATML)
    sound = tiny.write(folder / "model.gguf").read_bytes()
    tiny_model().write(folder / "no-template.gguf")
    tiny_model("qwen3", norm_in=True, pooling=3).write(folder / "embedding.gguf")
    ternary_model("tq2_0", "256").write(folder / "tq2_0.gguf")
    ternary_model("q2_0", "64").write(folder / "groups.gguf")
    (folder / "empty.gguf").write_bytes(b"")
    (folder / "text.gguf").write_bytes(b"Once upon a time")
    (folder / "page.gguf").write_bytes(b"<!DOCTYPE html><html>")
    (folder / "lfs-pointer.gguf").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:")
    (folder / "cut-in-the-table.gguf").write_bytes(sound[:200])
    (folder / "cut-in-the-data.gguf").write_bytes(sound[: len(sound) // 2])
    (folder / "version-9.gguf").write_bytes(sound[:4] + struct.pack("<I", 9) + sound[8:])
    (folder / "big-endian.gguf").write_bytes(sound[:4] + struct.pack(">I", 3) + sound[8:])
    (folder / "2-63-tensors.gguf").write_bytes(sound[:8] + struct.pack("<Q", 1 << 63) + sound[16:])
    for name, (key, kind, value) in EXTRA_KEYS.items():
        _changed(folder / f"{name}.gguf", lambda m, k=key, v=(kind, value): m.metadata.__setitem__(k, v))
    for name, key in {
        "no-architecture": "general.architecture",
        "no-context": f"{ARCH}.context_length",
        "no-tokenizer": "tokenizer.ggml.model",
        "no-tokens": "tokenizer.ggml.tokens",
    }.items():
        _changed(folder / f"{name}.gguf", lambda m, k=key: m.metadata.pop(k))
    for name, tensor in {"no-embedding": "token_embd.weight", "no-norm": "blk.1.ffn_sub_norm.weight"}.items():
        _changed(folder / f"{name}.gguf", lambda m, t=tensor: m.tensors.pop(t))
    for name, (tensor, entry) in {
        "extra-tensor": ("blk.0.attn_q.bias", ((128,), TYPE_F32, bytes(512))),
        "turned-matrix": ("blk.0.ffn_up.weight", ((256, 128), TYPE_I2_S, bytes(8192 + 32))),
        "float-matrix": (Q, ((128, 128), TYPE_F16, bytes(range(64)) * 512)),
        "q8-matrix": (Q, ((128, 128), 8, bytes(128 * 4 * 34))),
        "unknown-type": (Q, ((128, 128), 99, bytes(4096))),
    }.items():
        _changed(folder / f"{name}.gguf", lambda m, t=tensor, e=entry: m.tensors.__setitem__(t, e))
    for name, (tensor, at, raw) in {
        "code-3": (Q, 77, b"\xff"),
        "scale-nan": (Q, -32, NAN),
        "norm-nan": ("output_norm.weight", 8, NAN),
        "embedding-nan": ("token_embd.weight", 0, b"\x00\x7e" * 258 * 128),
    }.items():
        _changed(folder / f"{name}.gguf", lambda m, t=tensor, a=at, r=raw: _patch(m, t, a, r))
    _changed(folder / "part-1-of-2.gguf", _first_part)
    _tiled(folder)
    _checkpoints(folder)


def _changed(path: Path, change: Callable[[TinyGGUF], object]) -> None:
    model = tiny_model(chat_template=None if "template" in path.name else CHATML)
    change(model)
    model.write(path)


def _patch(model: TinyGGUF, name: str, at: int, raw: bytes) -> None:
    ne, kind, data = model.tensors[name]
    at %= len(data)
    model.tensors[name] = (ne, kind, data[:at] + raw + data[at + len(raw) :])


def _first_part(model: TinyGGUF) -> None:
    """As a file of a model in two files: the second layer is elsewhere."""
    model.metadata["split.count"] = (U32, 2)
    model.tensors = {name: entry for name, entry in model.tensors.items() if "blk.1." not in name}


def _tiled(folder: Path) -> None:
    """A TL1 file that says its tiling, and one that does not."""
    from bitnet_cli.convert.pipeline import convert

    ternary_model().write(folder / "i2_s.gguf")
    convert(folder / "i2_s.gguf", folder / "tl1.gguf", outtype="tl1")
    raw = (folder / "tl1.gguf").read_bytes()
    (folder / "tl1-unsaid.gguf").write_bytes(raw.replace(b"bitnet_cli.tl1.tiling", b"bitnet_cli.xxx.tiling"))


def _texts(folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "loop.gguf").symlink_to("loop.gguf")
    os.mkfifo(folder / "pipe.gguf")
    (folder / "exists.gguf").write_bytes(b"precious")
    (folder / "empty.txt").write_text("")
    (folder / "blank.txt").write_text("\n\n")
    (folder / "short.txt").write_text("Once upon a time\n")
    (folder / "long.txt").write_text("Once upon a time. " * 200)
    (folder / "latin-1.txt").write_bytes("Grüße\n".encode("latin-1"))
    (folder / "no-results.json").write_text('{"a": 1}')
    (folder / "other-results.json").write_text("[]")
    (folder / "half-results.json").write_text('[{"model": "x"}]')
    (folder / "not.json").write_text("{")
    (folder / "not.toml").write_text("temp = ")
    (folder / "hot.toml").write_text('temp = "hot"\n')
    (folder / "typo.toml").write_text("temprature = 1\n")
    (folder / "list.toml").write_text("temp = [1]\n")
    (folder / "list-in-lines.toml").write_text("temp = 1\nstop = [\n]\n")
    chat = {"format": "bitnet-chat", "version": 1, "messages": [{"role": "user", "content": "a"}]}
    (folder / "half-chat.json").write_text(json.dumps(chat))
    (folder / "version-9-chat.json").write_text(json.dumps(chat | {"version": 9}))
    (folder / "no-chat.md").write_text("Hello\n")


def _checkpoints(folder: Path) -> None:
    """`packed`, a sound checkpoint of BitNet b1.58; `masters`, one of float weights; and faulty copies."""
    packed = folder / "packed"
    write_checkpoint(packed, ARCH, "packed_auto", num_hidden_layers=1)
    write_checkpoint(
        folder / "plain",
        "llama",
        "masters",
        num_hidden_layers=1,
        config_changes={"quantization_config": None},
    )
    write_checkpoint(folder / "sentencepiece", "bitnet", "masters", num_hidden_layers=1)
    for name, change in {
        "no-class": {"architectures": None},
        "gpt2": {"architectures": ["GPT2LMHeadModel"]},
        "gelu": {"hidden_act": "gelu"},
        "biased": {"attention_bias": True},
        "gptq": {"quantization_config": {"quant_method": "gptq"}},
        "no-quantization": {"quantization_config": None},
        "wide-heads": {"num_attention_heads": 5},
        "more-layers": {"num_hidden_layers": 2},
        "fewer-layers": {"num_hidden_layers": 0},
        "scaled-rope": {"rope_scaling": {"rope_type": "longrope", "factor": 4.0}},
        "untied": {"tie_word_embeddings": False},
        "text-width": {"hidden_size": "wide"},
    }.items():
        path = _copy(packed, folder / name) / "config.json"
        config = {k: v for k, v in (json.loads(path.read_text()) | change).items() if v is not None}
        _replace(path, json.dumps(config).encode())
    for name, (file, content) in {
        "damaged-config": ("config.json", b"{"),
        "damaged-tokenizer": ("tokenizer.json", b"{"),
        "word-tokenizer": ("tokenizer.json", b'{"model": {"type": "WordLevel", "vocab": {}}}'),
        "damaged-weights": ("model.safetensors", b"{"),
        "huge-header": ("model.safetensors", struct.pack("<Q", 1 << 62) + b"{}"),
        "damaged-index": ("model.safetensors.index.json", b'{"weight_map": {}}'),
        "missing-shard": ("model.safetensors.index.json", b'{"weight_map": {"a": "a.safetensors"}}'),
        "shard-elsewhere": ("model.safetensors.index.json", b'{"weight_map": {"a": "../a.safetensors"}}'),
    }.items():
        _replace(_copy(packed, folder / name) / file, content)
    for name, file in {
        "no-config": "config.json",
        "no-weights": "model.safetensors",
        "no-tokenizer": "tokenizer.json",
        "only-pickles": "model.safetensors",
    }.items():
        (_copy(packed, folder / name) / file).unlink()
    (folder / "only-pickles" / "pytorch_model.bin").write_bytes(b"x")
    weights = packed / "model.safetensors"
    _replace(_copy(packed, folder / "cut-weights") / weights.name, weights.read_bytes()[:-1])
    _replace(_copy(folder / "sentencepiece", folder / "unigram") / "tokenizer.model", b"\x12\x02\x18\x01")
    norm = "model.layers.0.input_layernorm.weight"
    q = next(name for name in read_safetensors(weights) if name.endswith("q_proj.weight"))
    for name, tensors in {
        "missing-tensor": lambda held: held.pop(norm),
        "extra-tensor": lambda held: held.__setitem__("model.layers.0.self_attn.q_proj.bias", held[norm]),
        "other-shape": lambda held: held.__setitem__(norm, (held[norm][0], held[norm][1][:-1])),
        "code-3": lambda held: held[q][1].reshape(-1).__setitem__(7, 255),
        "norm-nan": lambda held: held[norm][1].reshape(-1).__setitem__(-1, 0x7FC0),
        "no-scale": lambda held: held.pop(f"{q}_scale"),
    }.items():  # fmt: skip
        held = read_safetensors(weights)
        tensors(held)
        path = _copy(packed, folder / f"{name}-checkpoint") / weights.name
        path.unlink()
        write_safetensors(path, held)


def _copy(source: Path, target: Path) -> Path:
    return shutil.copytree(source, target, copy_function=os.link)


def _replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # It may be a link to the sound file.
    path.write_bytes(content)


ANSWERS = {
    "private": (401, "RepoNotFound"),
    "gated": (403, "GatedRepo"),
    "forbidden": (403, ""),
    "moved": (418, ""),
    "asked-too-often": (429, ""),
    "broken": (500, ""),
    "overloaded": (503, ""),
}
"""Repository of `org` → status and error code of every request about it."""


def fill_hub(hub: FakeHub) -> None:
    """Repositories of `org` that behave as they are called, on a hub that behaves."""
    hub.add("org/model").files = {
        "model.gguf": noise(20_000),
        "config.json": b"{}",
        "pytorch_model.bin": b"x",
    }
    hub.add("org/two-ggufs").files = {"a.gguf": noise(20_000), "b.gguf": noise(20_000, 1)}
    hub.add("org/pickles").files = {"pytorch_model.bin": noise(20_000), "README.md": b"# x"}
    hub.add("org/bad-name").files = {"../../model.gguf": noise(20_000)}
    hub.add("org/text").files = {"model.gguf": b"Once upon a time " * 1000}
    hub.add(CATALOGUE["2b"].gguf_repo or "").files = {"ggml-model-i2_s.gguf": noise(20_000)}
    for name in ("cut", "damaged", "longer", "no-storage"):
        hub.add(f"org/{name}").files = {"model.gguf": noise(20_000, len(name))}
    for name, answer in ANSWERS.items():
        hub.add(f"org/{name}").error = answer
    hub.every = _misbehave


def _misbehave(handler: Handler, content: bytes) -> bool:
    """What the name of a repository promises for its contents."""
    hub, oid = handler.hub, oid_of(content)
    name = next(
        repo for repo, held in hub.repos.items() if oid in [oid_of(file) for file in held.files.values()]
    )
    if name == "org/cut":
        return cut_after(0)(handler, content)
    if name == "org/damaged":
        handler.send_content(bytes(len(content)))
        return True
    if name == "org/longer":
        handler.send_content(content + b"more")
        return True
    if name == "org/no-storage":
        handler.answer(503, b"")
        return True
    return False

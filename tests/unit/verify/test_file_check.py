"""What `verify` finds in a file by itself: every damage by its place, nothing in sound files of any type."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ternary_models import ternary_model
from tiny_checkpoints import write_checkpoint
from tiny_gguf import ARRAY, F32, I32, STRING, TYPE_F16, TYPE_F32, U32, TinyGGUF, tiny_model

from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.pipeline import convert, open_source
from bitnet_cli.convert.target import OUTTYPES
from bitnet_cli.engine.model import Model
from bitnet_cli.errors import BitnetError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.library import BUILTIN_MODEL
from bitnet_cli.native import Context
from bitnet_cli.verify.file_check import check_file, total_bytes
from bitnet_cli.verify.report import VerifyReport

Q = "blk.0.attn_q.weight"
NORM = "blk.0.ffn_norm.weight"


def checked(path: Path, against: Path | None = None) -> VerifyReport:
    with GGUFSource(path) as source:
        if against is None:
            return check_file(source, None, lambda n, name: None)
        with open_source(against) as other:
            return check_file(source, other, lambda n, name: None)


@pytest.mark.parametrize("outtype", OUTTYPES)
def test_sound_files(tmp_path: Path, outtype: str) -> None:
    path = convert(ternary_model().write(tmp_path / "in.gguf"), tmp_path / "out.gguf", outtype=outtype).path
    report = checked(path)
    assert report.ok and report.remarks == []
    assert report.kinds["attn_q", outtype].checked == "codes, scales"
    assert report.kinds["token_embd", "f16"].checked == "values"
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["ok"] is True


def test_the_built_in_model() -> None:
    assert checked(BUILTIN_MODEL).problems == []


def patched(name: str, at: int, raw: bytes) -> Callable[[TinyGGUF], None]:
    def change(model: TinyGGUF) -> None:
        ne, kind, data = model.tensors[name]
        at_byte = at % len(data)
        model.tensors[name] = (ne, kind, data[:at_byte] + raw + data[at_byte + len(raw) :])

    return change


def tensor(name: str, ne: tuple[int, ...], kind: int, raw: bytes) -> Callable[[TinyGGUF], None]:
    return lambda model: model.tensors.__setitem__(name, (ne, kind, raw))


def key(name: str, kind: int, value: object) -> Callable[[TinyGGUF], None]:
    return lambda model: model.metadata.__setitem__(name, (kind, value))


def drop(name: str) -> Callable[[TinyGGUF], None]:
    return lambda model: model.tensors.pop(name) and None


def drop_key(name: str) -> Callable[[TinyGGUF], None]:
    return lambda model: model.metadata.pop(name) and None


NAN, INF = struct.pack("<f", np.nan), struct.pack("<f", np.inf)
PROBLEMS = {
    "code 3": (patched(Q, 77, b"\xff"), [f"`{Q}`: row 1, column 13 holds the code 3, which stands for no weight"]),
    "scale NaN": (patched(Q, -32, NAN), [f"`{Q}`: the scale must be a finite number, found nan"]),
    "norm NaN": (patched(NORM, 8, NAN), [f"`{NORM}`: value 2 is nan, not a finite number"]),
    "embedding infinite": (
        patched("token_embd.weight", 1026, b"\x00\x7c"),
        ["`token_embd.weight`: row 2, column 1 is inf, not a finite number"],
    ),
    "a type that is not known": (
        tensor("output.weight", (256, 258), 3, bytes(258 * 160)),
        ["`output.weight`: tensors of type Q4_1 are not supported"],
    ),
    "floats that are not ternary": (
        tensor(Q, (256, 256), TYPE_F16, bytes(range(64)) * 2048),
        [f"`{Q}`: the weights are ordinary floats, not ternary"],
    ),
    "a norm missing": (
        drop(NORM),
        [f"`{NORM}`: the architecture `bitnet-b1.58` needs this tensor"],
    ),
    "a norm of another size": (
        tensor(NORM, (128,), TYPE_F32, bytes(512)),
        [f"`{NORM}`: the metadata imply the shape [256], found [128]"],
    ),
    "a block too many": (
        key("bitnet-b1.58.block_count", U32, 2),
        ["`blk.1.attn_norm.weight`: the architecture `bitnet-b1.58` needs this tensor"],
    ),
    "a block that the metadata do not know": (
        tensor("blk.7.attn_norm.weight", (256,), TYPE_F32, bytes(1024)),
        ["`blk.7`: the metadata say that there are 1 blocks"],
    ),
    "no width": (drop_key("bitnet-b1.58.embedding_length"), ["`bitnet-b1.58.embedding_length`: the key is missing"]),
    "an unknown architecture": (
        key("general.architecture", STRING, "mamba"),
        ["`general.architecture`: models of architecture `mamba` are not supported"],
    ),
    "no embedding": (drop("token_embd.weight"), ["`token_embd.weight`: the file has no such matrix"]),
    "no vocabulary": (drop_key("tokenizer.ggml.tokens"), ["`tokenizer`: "]),
    "a larger vocabulary": (
        key("tokenizer.ggml.token_type", ARRAY, (I32, [1] * 3)),
        ["`tokenizer`: "],
    ),
    "a template that does not work": (
        key("tokenizer.chat_template", STRING, "{% for m in %}"),
        ["`tokenizer`: "],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_problems(tmp_path: Path, case: str) -> None:
    change, expected = PROBLEMS[case]
    model = ternary_model()
    change(model)
    report = checked(model.write(tmp_path / "x.gguf"))
    found = [str(problem) for problem in report.problems]
    assert not report.ok
    assert all(any(line.startswith(wanted) for line in found) for wanted in expected), found
    assert len(report.problems) == len({str(problem) for problem in report.problems})


REMARKS = {
    "another file type": (key("general.file_type", U32, 36), "`general.file_type`: it is 36, and 40 stands for I2_S"),
    "no end of text": (drop_key("tokenizer.ggml.eos_token_id"), "`tokenizer`: no token is declared to end a text"),
    "no pre-tokenizer": (drop_key("tokenizer.ggml.pre"), "the file does not say how text is split"),
    "an empty matrix": (patched(Q, 0, b"\x55" * 16384), f"`{Q}`: all weights are 0"),
    "a scale of 0": (patched(Q, -32, bytes(4)), f"`{Q}`: a scale is 0 although its weights are not"),
}  # fmt: skip


@pytest.mark.parametrize("case", REMARKS)
def test_remarks(tmp_path: Path, case: str) -> None:
    change, expected = REMARKS[case]
    model = ternary_model()
    change(model)
    report = checked(model.write(tmp_path / "x.gguf"))
    assert any(str(remark).startswith(expected) for remark in report.remarks), report.remarks
    assert report.ok


@pytest.mark.parametrize("type_name", ["iq2_bn", "q2_0"])
def test_scales_of_rows_that_are_zero_are_no_remark(tmp_path: Path, type_name: str) -> None:
    """Types store 0 for a row or group without weights, which stays 0 where its neighbours do not agree."""
    report = checked(ternary_model(type_name, "row").write(tmp_path / "x.gguf"))
    assert report.ok and not [remark for remark in report.remarks if "scale" in str(remark)]


LOADING = {
    "a norm of heads gone": ("qwen3", drop("blk.0.attn_q_norm.weight"), "`blk.0.attn_q_norm.weight`: "),
    "a norm behind of another size": (
        "gemma3",
        tensor("blk.0.post_ffw_norm.weight", (64,), TYPE_F32, bytes(256)),
        "`blk.0.post_ffw_norm.weight`: expected the shape",
    ),
    "a bias": (
        "llama",
        tensor("blk.0.attn_q.bias", (128,), TYPE_F32, bytes(512)),
        "1 tensor is not part of",
    ),
    "a norm of 8 bits": (
        "llama",
        tensor(NORM, (128,), 8, bytes(136)),
        f"`{NORM}` of type Q8_0",
    ),
    "sliding windows": ("llama", key("llama.attention.sliding_window", U32, 8), "a window in `llama` models"),
}


@pytest.mark.parametrize("case", LOADING)
def test_what_the_engine_refuses_is_a_problem(tmp_path: Path, case: str) -> None:
    arch, change, expected = LOADING[case]
    model = tiny_model(arch, n_layers=1)
    assert checked(model.write(tmp_path / "sound.gguf")).ok
    change(model)
    path = model.write(tmp_path / "x.gguf")
    problems = [str(problem) for problem in checked(path).problems]
    assert any(problem.startswith(expected) for problem in problems), problems
    with GGUFReader(path) as reader, pytest.raises(BitnetError):
        Model.load(reader, reader.metadata, Context("scalar", 1))


def test_padding(tmp_path: Path) -> None:
    model = ternary_model()
    model.tensors["output_norm.weight"] = ((256,), TYPE_F32, np.ones(256, "<f4").tobytes())
    model.tensors["blk.0.attn_q.bias"] = ((3,), TYPE_F32, bytes(12) + b"\x01" * 20)
    path = model.write(tmp_path / "x.gguf")
    assert [str(remark) for remark in checked(path).remarks] == [
        "`blk.0.attn_q.bias`: the padding behind it is not zero"
    ]
    path.write_bytes(path.read_bytes() + bytes(500))
    assert [str(remark) for remark in checked(path).remarks] == [
        "`blk.0.attn_q.bias`: 520 bytes behind it belong to no tensor"
    ]


def test_padding_of_tl2_is_checked(tmp_path: Path) -> None:
    path = convert(ternary_model().write(tmp_path / "in.gguf"), tmp_path / "x.gguf", outtype="tl2").path
    with GGUFSource(path) as source:
        info = source.reader.tensors[Q]
    raw = bytearray(path.read_bytes())
    raw[info.offset + info.n_bytes - 33] = 7  # Before the tail.
    path.write_bytes(raw)
    problems = checked(path).problems
    assert len(problems) == 1 and problems[0].where == Q and "padding" in problems[0].text


def test_everything_is_told_to_the_meter(tmp_path: Path) -> None:
    path = ternary_model().write(tmp_path / "x.gguf")
    told: list[int] = []
    with GGUFSource(path) as source, GGUFSource(path) as other:
        check_file(source, other, lambda n, name: told.append(n))
        assert sum(told) == total_bytes(source, other)


@pytest.mark.parametrize("outtype", OUTTYPES)
def test_against_the_checkpoint(tmp_path: Path, outtype: str) -> None:
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}
    write_checkpoint(tmp_path / "m", "llama", "masters", num_hidden_layers=1, head_dim=64, **shape)
    path = convert(tmp_path / "m", tmp_path / "x.gguf", outtype=outtype, embed_type="q8_0").path
    report = checked(path, tmp_path / "m")
    assert report.ok and report.kinds["token_embd", "q8_0"].different
    exact = outtype in ("i2_s", "tl1", "tl2", "iq2_bn")
    assert (report.kinds["attn_q", outtype].different == 0) is exact


CHANGES = {
    "a weight": (patched(Q, 40, b"\xaa"), f"`{Q}`: "),
    "a scale": (patched(Q, -32, struct.pack("<f", 9.0)), f"`{Q}`: "),
    "a norm": (patched(NORM, 4, struct.pack("<f", 1.25)), f"`{NORM}`: 1 of 256 weights differ, by at most "),
    "an embedding": (
        patched("token_embd.weight", 0, b"\x00\x42"),
        "`token_embd.weight`: 1 of 66048 weights differ",
    ),
    "a tensor gone": (drop(NORM), f"`{NORM}`: "),
    "a tensor more": (tensor("more", (4,), TYPE_F32, bytes(16)), "`more`: "),
    "another shape": (tensor(NORM, (128,), TYPE_F32, bytes(512)), f"`{NORM}`: the shape is [128], not [256]"),
}


@pytest.mark.parametrize("outtype", ["i2_s", "tq1_0"])
@pytest.mark.parametrize("case", CHANGES)
def test_against_another_file(tmp_path: Path, case: str, outtype: str) -> None:
    change, expected = CHANGES[case]
    convert(ternary_model().write(tmp_path / "a.gguf"), tmp_path / "sound.gguf", outtype=outtype)
    assert checked(tmp_path / "sound.gguf", tmp_path / "a.gguf").ok
    model = ternary_model()
    change(model)
    report = checked(model.write(tmp_path / "b.gguf"), tmp_path / "sound.gguf")
    assert any(str(problem).startswith(expected) for problem in report.problems), report.problems


@pytest.mark.parametrize("rounding", ["q2_0", "pq2_0", "iq1_bn", "tq1_0", "f16", "bf16"])
def test_what_a_type_rounds_is_explained(tmp_path: Path, rounding: str) -> None:
    exact = ternary_model(exact=False).write(tmp_path / "exact.gguf")
    rounded = ternary_model(rounding, exact=False).write(tmp_path / "rounded.gguf")
    for first, second in ((rounded, exact), (exact, rounded)):
        report = checked(first, second)
        assert report.ok, report.problems
        assert any(kind.different for kind in report.kinds.values())


def test_small_differences_between_equal_types_are_problems(tmp_path: Path) -> None:
    """Nothing was rounded on the way, so nothing explains them."""
    ternary_model().write(tmp_path / "a.gguf")
    scale, low_bit = ternary_model(), ternary_model()
    raw = bytearray(scale.tensors[Q][2])
    (value,) = struct.unpack_from("<f", raw, len(raw) - 32)
    struct.pack_into("<f", raw, len(raw) - 32, value * 1.0004)
    scale.tensors[Q] = (*scale.tensors[Q][:2], bytes(raw))
    ne, kind, embedding = low_bit.tensors["token_embd.weight"]
    low_bit.tensors["token_embd.weight"] = (ne, kind, bytes([embedding[0] ^ 1]) + embedding[1:])
    for name, model, tensor_name in (("scale", scale, Q), ("bit", low_bit, "token_embd.weight")):
        report = checked(model.write(tmp_path / f"{name}.gguf"), tmp_path / "a.gguf")
        assert [problem.where for problem in report.problems] == [tensor_name], report.problems


def test_a_reference_that_is_damaged(tmp_path: Path) -> None:
    sound, odd = ternary_model(), ternary_model()
    patched(NORM, 4, NAN)(odd)
    patched(Q, 0, b"\xff")(odd)
    report = checked(sound.write(tmp_path / "a.gguf"), odd.write(tmp_path / "b.gguf"))
    assert {problem.where for problem in report.problems} == {NORM, Q}
    kinds = json.loads(json.dumps(report.to_json(), allow_nan=False))["kinds"]
    assert "inf" in [kind["largest"] for kind in kinds]


@pytest.mark.parametrize("embed_type", ["f16", "q8_0", "q6_k", "q4_0"])
@pytest.mark.parametrize("spread", [0.02, 1.0, 300.0])
def test_rounding_of_embeddings_is_no_problem_but_more_is(
    tmp_path: Path, embed_type: str, spread: float
) -> None:
    model = ternary_model()
    values = np.random.default_rng(1).standard_normal((258, 256)).astype(np.float32) * np.float32(spread)
    values[7] *= np.exp(np.random.default_rng(2).uniform(-6, 2, 256))
    values[8] = -np.abs(values[8])
    values[9] = 0
    model.tensors["token_embd.weight"] = ((256, 258), TYPE_F32, values.astype("<f4").tobytes())
    source = model.write(tmp_path / "in.gguf")
    convert(source, tmp_path / "out.gguf", embed_type=embed_type)
    assert checked(tmp_path / "out.gguf", source).ok
    values[20] *= np.float32(1.3)
    model.tensors["token_embd.weight"] = ((256, 258), TYPE_F32, values.astype("<f4").tobytes())
    model.write(source)
    report = checked(tmp_path / "out.gguf", source)
    assert [problem.where for problem in report.problems] == ["token_embd.weight"]


def test_metadata_of_another_kind_never_escape_as_another_exception(tmp_path: Path) -> None:
    """Every value replaced by values of other kinds ends in a report or in an error of ours."""
    sound = ternary_model()
    for name in sound.metadata:
        for odd in ((U32, 0), (U32, 2**32 - 1), (F32, float("nan")), (STRING, ""), (ARRAY, (I32, []))):
            model = ternary_model()
            model.metadata[name] = odd
            try:
                report = checked(model.write(tmp_path / "x.gguf"))
            except BitnetError:
                continue
            json.dumps(report.to_json(), allow_nan=False)

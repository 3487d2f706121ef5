"""Differences of two files: keys and tensors that are new, gone or other ones, down to single weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from ternary_models import ternary_model
from tiny_gguf import ARRAY, BOOL, F32, I32, STRING, TYPE_F32, U32, TinyGGUF

from bitnet_cli.convert.gguf_source import GGUFSource
from bitnet_cli.convert.pipeline import convert
from bitnet_cli.convert.target import OUTTYPES
from bitnet_cli.verify.diff import Diff, TensorChange, diff_files

Q, NORM = "blk.0.attn_q.weight", "output_norm.weight"


def difference(tmp_path: Path, first: TinyGGUF | Path, second: TinyGGUF | Path) -> Diff:
    paths = [
        model if isinstance(model, Path) else model.write(tmp_path / f"{i}.gguf")
        for i, model in enumerate((first, second))
    ]
    with GGUFSource(paths[0]) as a, GGUFSource(paths[1]) as b:
        told: list[int] = []
        found = diff_files(a, b, lambda n, name: told.append(n))
        own = [info.n_bytes for s in (a, b) for info in s.reader.tensors.values()]
        assert sum(told) <= sum(own)
    json.dumps(found.to_json(), allow_nan=False)
    return found


def test_the_same(tmp_path: Path) -> None:
    found = difference(tmp_path, ternary_model(), ternary_model())
    assert found.metadata == () and found.tensors == () and found.to_json()["same"] is True
    assert (found.same_metadata, found.same_tensors) == (len(ternary_model().metadata), 13)


METADATA = {
    "number": ((U32, 1), (U32, 2), ("1", "2")),
    "float": ((F32, 0.1), (F32, 0.25), ("0.1", "0.25")),
    "bool": ((BOOL, True), (BOOL, False), ("true", "false")),
    "type": ((U32, 1), (I32, 1), ("1 (u32)", "1 (i32)")),
    "text": ((STRING, "a\nb"), (STRING, "a\tb"), ("a\\nb", "a\\tb")),
    "end of a long text": ((STRING, "x" * 99 + "a"), (STRING, "x" * 99 + "b"), ("…a", "…b")),
    "length": ((ARRAY, (I32, [1, 2])), (ARRAY, (I32, [1, 2, 3])), ("2 × i32", "3 × i32")),
    "element": ((ARRAY, (I32, [1, 2])), (ARRAY, (I32, [1, 3])), ("[1] 2", "[1] 3")),
    "element behind NaN": (
        (ARRAY, (F32, [float("nan"), 1.0])),
        (ARRAY, (F32, [float("nan"), 2.0])),
        ("[1] 1.0", "[1] 2.0"),
    ),
    "NaN and a number": (
        (ARRAY, (F32, [1.0, float("nan")])),
        (ARRAY, (F32, [1.0, 2.0])),
        ("[1] nan", "[1] 2.0"),
    ),
    "last digit of a float": (
        (F32, 0.1),
        (F32, 0.10000000894069672),
        ("0.10000000149011612", "0.10000000894069672"),
    ),
    "word": ((ARRAY, (STRING, ["a", "b"])), (ARRAY, (STRING, ["c", "b"])), ("[0] a", "[0] c")),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata(tmp_path: Path, case: str) -> None:
    before, after, words = METADATA[case]
    first, second = ternary_model(), ternary_model()
    first.metadata["some.key"], second.metadata["some.key"] = before, after
    change = difference(tmp_path, first, second).metadata[0]
    assert (change.key, change.change, change.before, change.after) == ("some.key", "changed", *words)
    gone = difference(tmp_path, first, ternary_model()).metadata[0]
    assert (gone.change, gone.after) == ("removed", None)
    new = difference(tmp_path, ternary_model(), second).metadata[0]
    assert (new.change, new.before) == ("added", None)


def test_nan_is_nan(tmp_path: Path) -> None:
    model = ternary_model()
    model.metadata["a"] = (F32, float("nan"))
    model.metadata["b"] = (ARRAY, (F32, [float("nan")]))
    model.tensors[NORM] = ((256,), TYPE_F32, struct.pack("<f", np.nan) * 256)
    assert difference(tmp_path, model, model).to_json()["same"] is True


def test_tensors(tmp_path: Path) -> None:
    first, second = ternary_model(), ternary_model()
    del second.tensors["blk.0.attn_norm.weight"]
    second.tensors["extra"] = ((4, 2), TYPE_F32, bytes(32))
    second.tensors["blk.0.ffn_norm.weight"] = ((128,), TYPE_F32, bytes(512))
    ne, kind, raw = second.tensors[NORM]
    values = np.frombuffer(raw, "<f4").copy()
    values[[3, 9]] += (0.5, -0.25)
    second.tensors[NORM] = (ne, kind, values.tobytes())
    ne, kind, raw = second.tensors[Q]
    other = 0 if raw[5] >> 6 else 1  # The code of the weight in the top bits.
    second.tensors[Q] = (ne, kind, raw[:5] + bytes([raw[5] & 0x3F | other << 6]) + raw[6:])
    found = {change.name: change for change in difference(tmp_path, first, second).tensors}
    assert found.pop("blk.0.attn_norm.weight") == TensorChange(
        "blk.0.attn_norm.weight", "removed", "F32 256", None, 256
    )
    assert found.pop("extra") == TensorChange("extra", "added", None, "F32 2 × 4", 8)
    assert found.pop("blk.0.ffn_norm.weight") == TensorChange(
        "blk.0.ffn_norm.weight", "changed", "F32 256", "F32 128", 128
    )
    assert found.pop(NORM) == TensorChange(NORM, "changed", "F32 256", "F32 256", 256, 2, 0.5)
    assert (found[Q].weights, found[Q].different) == (256 * 256, 1)
    assert list(found) == [Q]


@pytest.mark.parametrize("outtype", [name for name in OUTTYPES if name != "i2_s"])
def test_the_same_weights_in_another_type(tmp_path: Path, outtype: str) -> None:
    first = ternary_model().write(tmp_path / "a.gguf")
    second = convert(first, tmp_path / "b.gguf", outtype=outtype).path
    found = difference(tmp_path, first, second)
    assert len(found.tensors) == 7
    assert all(change.different == 0 and change.before != change.after for change in found.tensors)
    assert difference(tmp_path, second, second).tensors == ()


def test_scales_that_were_rounded(tmp_path: Path) -> None:
    first = ternary_model(exact=False).write(tmp_path / "a.gguf")
    second = convert(first, tmp_path / "b.gguf", outtype="tq2_0").path
    for change in difference(tmp_path, first, second).tensors:
        assert change.different and 0 < (change.largest or 0) < 1e-3


def test_damage_is_an_obstacle(tmp_path: Path) -> None:
    model = ternary_model()
    ne, kind, raw = model.tensors[Q]
    model.tensors[Q] = (ne, kind, b"\xff" + raw[1:])
    (change,) = difference(tmp_path, ternary_model(), model).tensors
    assert change.different is None and "code 3" in str(change.obstacle)


def test_types_that_cannot_be_read(tmp_path: Path) -> None:
    first, second = ternary_model(), ternary_model()
    first.tensors["a"] = second.tensors["a"] = ((32, 1), 3, bytes(20))
    assert difference(tmp_path, first, second).tensors == ()
    second.tensors["a"] = ((32, 1), 3, bytes(19) + b"\x01")
    (change,) = difference(tmp_path, first, second).tensors
    assert change.obstacle == "one of the types cannot be read; the bytes differ"


def test_scales_in_tensors_of_their_own(tmp_path: Path) -> None:
    first, second = ternary_model(), ternary_model()
    ne, kind, raw = second.tensors[Q]
    (scale,) = struct.unpack_from("<f", raw, 256 * 64)
    second.tensors[Q] = (ne, kind, raw[: 256 * 64] + struct.pack("<f", 1.0) + raw[-28:])
    second.tensors["blk.0.attn_q.scale"] = ((1,), TYPE_F32, struct.pack("<f", scale))
    (change,) = difference(tmp_path, first, second).tensors
    assert (change.name, change.change) == ("blk.0.attn_q.scale", "added")
    third = ternary_model()
    third.tensors |= second.tensors | {"blk.0.attn_q.scale": ((1,), TYPE_F32, struct.pack("<f", 2 * scale))}
    (change,) = difference(tmp_path, second, third).tensors
    assert (change.name, change.change) == (Q, "changed") and change.largest == np.float32(scale)

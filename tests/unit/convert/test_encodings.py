"""Each encoding is recognised by its data, gives the trits and scale it holds, and odd ones are refused."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import (
    ENCODINGS,
    FAMILIES,
    absmean,
    pack_rows,
    rounded,
    to_dtype,
    weights,
    write_checkpoint,
    write_safetensors,
)

from bitnet_cli.convert.checkpoint import Checkpoint
from bitnet_cli.convert.encodings import EncodingFinder, TernarySource
from bitnet_cli.convert.model_config import Quantization
from bitnet_cli.errors import BitnetError, FormatError, RepresentationError, UnsupportedError

NAME = "model.layers.0.mlp.up_proj.weight"
SCALE = NAME + "_scale"
MULTIPLIES = Quantization(ternary=True, scale_divides=False, not_converted=())
DIVIDES = Quantization(ternary=True, scale_divides=True, not_converted=())
SILENT = Quantization(ternary=False, scale_divides=None, not_converted=())
MASTER = weights("llama")[NAME][:12, :128]
TRITS, MEAN = absmean(MASTER)
WORD = {"masters": "masters", "ternary_floats": "ternary floats", "unpacked_auto": "unpacked"}


def find(
    tmp_path: Path,
    tensors: dict[str, tuple[str, np.ndarray]],
    quantization: Quantization = MULTIPLIES,
    *,
    rows: int = 12,
    cols: int = 128,
    ternarize: bool = False,
) -> TernarySource:
    """The source of a checkpoint that holds nothing but one matrix."""
    (tmp_path / "config.json").write_text("{}")
    write_safetensors(tmp_path / "model.safetensors", tensors)
    checkpoint = Checkpoint(tmp_path)
    return EncodingFinder(checkpoint, quantization, ternarize=ternarize).find(NAME, rows, cols)


def floats(values: np.ndarray, dtype: str = "f32") -> tuple[str, np.ndarray]:
    return dtype.upper(), to_dtype(np.asarray(values, np.float32), dtype)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
def test_every_encoding_gives_its_trits_and_scale(
    tmp_path: Path, family: str, encoding: str, dtype: str
) -> None:
    truth = write_checkpoint(tmp_path, family, encoding, dtype=dtype, num_hidden_layers=1)
    quantization = DIVIDES if encoding == "packed_bitlinear" else MULTIPLIES
    finder = EncodingFinder(Checkpoint(tmp_path), quantization, ternarize=False)
    for name, trits in truth.trits.items():
        source = finder.find(name, *trits.shape)
        assert source.encoding == WORD.get(encoding, "packed")
        assert source.scales.tobytes() == truth.scales[name].tobytes()
        assert np.array_equal(source.trits(0, source.rows), trits)
        cuts = [0, 1, trits.shape[0] // 4 + 3, trits.shape[0] - 1, trits.shape[0]]
        parts = [source.trits(a, b) for a, b in itertools.pairwise(cuts)]
        assert np.array_equal(np.concatenate(parts), trits)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 9, 11])
def test_packed_rows_that_are_no_multiple_of_four(tmp_path: Path, rows: int) -> None:
    packed = {NAME: ("U8", pack_rows(TRITS[:rows])), SCALE: floats(np.array([0.5]))}
    source = find(tmp_path, packed, rows=rows)
    assert np.array_equal(source.trits(0, rows), TRITS[:rows])


def test_packing_of_the_published_example() -> None:
    rows = "1,0,-1,0 0,1,-1,-1 -1,-1,0,1 -1,-1,1,1 -1,-1,-1,-1 1,0,1,-1 -1,-1,-1,1 0,1,1,1"
    trits = np.array([[int(t) for t in row.split(",")] for row in rows.split()], np.int8)
    assert pack_rows(trits).tobytes().hex(" ", 4) == "02010489 6192a888"


def test_packing_by_hash() -> None:
    """The published 256 x 512 matrix from a linear congruential generator."""
    state, trits = 1, []
    for _ in range(256 * 512):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        trits.append((state >> 16) % 3 - 1)
    packed = pack_rows(np.array(trits, np.int8).reshape(256, 512)).tobytes()
    assert packed[:8].hex(" ") == "16 95 24 99 a9 aa 54 24"
    assert hashlib.sha256(packed).hexdigest().startswith("bfb7af9711eba7b1")


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
def test_ternary_floats_may_be_one_unit_in_the_last_place_apart(tmp_path: Path, dtype: str) -> None:
    bits = to_dtype(TRITS * rounded(MEAN, dtype), dtype)
    raw = bits.view(f"<u{bits.itemsize}")
    raw[(TRITS != 0) & (np.arange(TRITS.size).reshape(TRITS.shape) % 3 == 0)] += 1
    source = find(tmp_path, {NAME: (dtype.upper(), bits)})
    values = source.checkpoint.float_rows(NAME, 0, 12)
    assert source.encoding == "ternary floats" and source.scales[0, 0] == np.abs(values).max()
    assert np.array_equal(source.trits(0, 12), TRITS)
    error = source.largest_error(TRITS, 0, 12)
    assert 0 < error == np.abs(TRITS * source.scales[0, 0] - values).max()


def test_two_units_apart_are_masters(tmp_path: Path) -> None:
    values = (TRITS * np.float32(0.5)).astype(np.float32)
    values.view(np.uint32)[0, np.flatnonzero(TRITS[0])[0]] += 2
    assert find(tmp_path, {NAME: ("F32", values)}).encoding == "masters"


def test_absmean_is_not_taken_of_ternary_floats(tmp_path: Path) -> None:
    """The absmean of a matrix with many zeros is far below its scale."""
    sparse = np.zeros((12, 128), np.float32)
    sparse[3, 5], sparse[7, 9] = 0.75, -0.75
    source = find(tmp_path, {NAME: ("F32", sparse)})
    assert (source.encoding, source.scales[0, 0]) == ("ternary floats", np.float32(0.75))
    assert source.trits(0, 12).sum() == 0 and np.count_nonzero(source.trits(0, 12)) == 2


@pytest.mark.parametrize(("quantization", "scale"), [(MULTIPLIES, 1e-5), (SILENT, 0.0)])
def test_all_zero_floats(tmp_path: Path, quantization: Quantization, scale: float) -> None:
    source = find(tmp_path, {NAME: ("F32", np.zeros((12, 128), np.float32))}, quantization)
    assert source.scales[0, 0] == np.float32(scale) and not source.trits(0, 12).any()


def test_floats_are_ternarised_only_on_demand(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="ordinary floats") as caught:
        find(tmp_path, {NAME: floats(MASTER)}, SILENT)
    assert "--ternarize" in (caught.value.hint or "")
    source = find(tmp_path, {NAME: floats(MASTER)}, SILENT, ternarize=True)
    assert source.encoding == "masters" and source.scales[0, 0] == MEAN


def test_data_that_is_ternary_needs_no_declaration(tmp_path: Path) -> None:
    assert find(tmp_path, {NAME: floats(TRITS * MEAN)}, SILENT).encoding == "ternary floats"


def changed(values: np.ndarray, value: float) -> np.ndarray:
    values = values.astype(np.float32)
    values[11, 127] = value
    return values


ROW_SCALES = np.repeat(np.array([0.25, 0.5, 0.75], np.float32), 4)[:, None]
ONE = floats(np.array([0.5]))
PACKED = ("U8", pack_rows(TRITS))
CODE_3 = pack_rows(TRITS)
CODE_3[2, 127] |= 0xC0
GROUP_SCALES = np.array([[0.5, 0.25, 0.5, 1.0], [0.75, 0.5, 0.125, 0.5]], np.float32)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("quantization", [MULTIPLIES, SILENT], ids=["declared", "silent"])
@pytest.mark.parametrize("group", [64, 128, 256])
def test_scales_of_groups(tmp_path: Path, group: int, quantization: Quantization, dtype: str) -> None:
    """As few scales as hold the matrix; a group of zeros has none of its own."""
    trits = np.random.default_rng(group).integers(-1, 2, (2, 4 * group), np.int8)
    trits[1, :64] = 0
    values = trits * np.repeat(GROUP_SCALES, group, axis=1)
    source = find(tmp_path, {NAME: floats(values, dtype)}, quantization, rows=2, cols=4 * group)
    assert source.encoding == "ternary floats"
    wanted = GROUP_SCALES.copy()
    if group == 64:
        wanted[1, 0] = 0
    assert np.array_equal(source.scales, wanted)
    assert np.array_equal(source.trits(0, 2), trits) and np.array_equal(source.trits(1, 2), trits[1:])
    assert source.largest_error(trits, 0, 2) == source.largest_error(trits[1:], 1, 2) == 0


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_scales_by_row(tmp_path: Path, dtype: str) -> None:
    source = find(tmp_path, {NAME: floats(TRITS * ROW_SCALES, dtype)}, SILENT)
    assert source.encoding == "ternary floats" and np.array_equal(source.scales, ROW_SCALES)
    assert source.largest_error(TRITS[5:], 5, 12) == 0


@pytest.mark.parametrize(
    ("quantization", "power"), [(MULTIPLIES, 1), (DIVIDES, -1)], ids=["multiplies", "divides"]
)
def test_stored_scales_by_row(tmp_path: Path, quantization: Quantization, power: int) -> None:
    source = find(tmp_path, {NAME: PACKED, SCALE: floats(ROW_SCALES[:, 0])}, quantization)
    assert np.array_equal(source.scales, (ROW_SCALES**power).astype(np.float32))
    assert np.array_equal(source.trits(0, 12), TRITS)


REFUSED = {
    "stored scales of some rows": (
        {NAME: PACKED, SCALE: floats(np.ones(3))},
        MULTIPLIES,
        FormatError,
        "one for each of 12 rows",
    ),
    "one of the row scales NaN": (
        {NAME: PACKED, SCALE: floats(np.where(np.arange(12) == 7, np.nan, 1.0))},
        MULTIPLIES,
        FormatError,
        "nan",
    ),
    "row scales beside floats": (
        {NAME: floats(TRITS * ROW_SCALES), SCALE: ONE},
        MULTIPLIES,
        RepresentationError,
        "values other than",
    ),
    "no stored scale": ({NAME: PACKED}, MULTIPLIES, FormatError, "no `weight_scale`"),
    "empty scale": ({NAME: PACKED, SCALE: floats(np.ones(0))}, MULTIPLIES, FormatError, "empty"),
    "scale as bytes": ({NAME: PACKED, SCALE: ("U8", np.ones(1, np.uint8))}, MULTIPLIES, FormatError, "U8"),
    "scale NaN": ({NAME: PACKED, SCALE: floats(np.array([np.nan]))}, MULTIPLIES, FormatError, "nan"),
    "scale infinite": ({NAME: PACKED, SCALE: floats(np.array([np.inf]))}, DIVIDES, FormatError, "inf"),
    "scale zero": ({NAME: PACKED, SCALE: floats(np.array([0.0]))}, DIVIDES, FormatError, "positive"),
    "scale negative": ({NAME: PACKED, SCALE: floats(np.array([-1.0]))}, MULTIPLIES, FormatError, "positive"),
    "scale without reciprocal": (
        {NAME: PACKED, SCALE: floats(np.array([1e-44]))},
        DIVIDES,
        FormatError,
        "out of range",
    ),
    "unknown convention": ({NAME: PACKED, SCALE: ONE}, SILENT, FormatError, "quantization_config"),
    "packed shape": ({NAME: ("U8", pack_rows(TRITS)[:2]), SCALE: ONE}, MULTIPLIES, FormatError, "2 x 128"),
    "packed along columns": (
        {NAME: ("U8", np.zeros((12, 32), np.uint8)), SCALE: ONE},
        MULTIPLIES,
        UnsupportedError,
        "along the columns",
    ),
    "float shape": ({NAME: floats(MASTER.T)}, MULTIPLIES, FormatError, "128 x 12"),
    "NaN": ({NAME: floats(changed(MASTER, np.nan))}, MULTIPLIES, FormatError, "row 11, column 127"),
    "infinity, f16": (
        {NAME: floats(changed(MASTER, -np.inf), "f16")},
        MULTIPLIES,
        FormatError,
        "row 11, column 127",
    ),
    "NaN among trits, bf16": (
        {NAME: floats(changed(TRITS, np.nan), "bf16"), SCALE: ONE},
        MULTIPLIES,
        FormatError,
        "finite",
    ),
    "a scale beside no trits": (
        {NAME: floats(MASTER), SCALE: ONE},
        MULTIPLIES,
        RepresentationError,
        "other than -1, 0, 1",
    ),
    "a scale beside halves": (
        {NAME: floats(TRITS * 0.5), SCALE: ONE},
        MULTIPLIES,
        RepresentationError,
        "other than -1, 0, 1",
    ),
    "floats among packed": (
        {NAME: floats(MASTER), "x.weight_scale": ONE},
        MULTIPLIES,
        RepresentationError,
        "among quantised",
    ),
    "excluded from conversion": (
        {NAME: floats(MASTER)},
        Quantization(ternary=True, scale_divides=None, not_converted=("mlp.up_proj",)),
        RepresentationError,
        "modules_to_not_convert",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    tensors, quantization, kind, words = REFUSED[case]
    with pytest.raises(BitnetError) as caught:
        find(tmp_path, tensors, quantization)
    assert type(caught.value) is kind and words in caught.value.message, caught.value.message


def test_code_3_is_refused_where_it_lies(tmp_path: Path) -> None:
    source = find(tmp_path, {NAME: ("U8", CODE_3), SCALE: ONE})
    assert np.array_equal(source.trits(0, 11), TRITS[:11])
    with pytest.raises(FormatError, match="row 11, column 127 holds the code 3"):
        source.trits(9, 12)


def test_excluded_modules_that_are_packed_anyway_are_ternary(tmp_path: Path) -> None:
    quantization = Quantization(ternary=True, scale_divides=False, not_converted=("model.layers.0",))
    assert find(tmp_path, {NAME: PACKED, SCALE: ONE}, quantization).encoding == "packed"

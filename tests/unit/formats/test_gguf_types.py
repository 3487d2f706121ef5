"""Type numbers and sizes against the `gguf` package, and those of types that it does not know."""

from __future__ import annotations

import gguf
import pytest

from bitnet_cli.errors import RepresentationError, UnsupportedError
from bitnet_cli.formats.gguf_types import (
    GGMLType,
    ValueType,
    bare_tensor_bytes,
    file_number,
    has_known_size,
    meant_type,
    tensor_bytes,
    type_name,
)

FOREIGN = (
    *(GGMLType.I2_S, GGMLType.TL1, GGMLType.TL2),
    *(GGMLType.Q2_0, GGMLType.PQ2_0, GGMLType.IQ1_BN, GGMLType.IQ2_BN, GGMLType.IQ2_BN_R4),
)


@pytest.mark.parametrize("known", [t for t in GGMLType if has_known_size(t) and t not in FOREIGN])
def test_sizes_are_those_of_the_gguf_package(known: GGMLType) -> None:
    reference = gguf.GGMLQuantizationType(file_number(known))
    assert reference.name == known.name
    block, block_bytes = gguf.GGML_QUANT_SIZES[reference]
    assert tensor_bytes(known, (3, 5 * block)) == 15 * block_bytes
    if block > 1:
        with pytest.raises(RepresentationError, match=f"multiple of {block}"):
            tensor_bytes(known, (3, 5 * block + 1))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 128), 64), ((2560, 2560), 1_638_432), ((640, 2560), 409_632), ((6912, 2560), 4_423_712)],
)
def test_i2_s_size(shape: tuple[int, ...], expected: int) -> None:
    assert tensor_bytes(GGMLType.I2_S, shape) == expected


@pytest.mark.parametrize("shape", [(128,), (1, 2, 128), (4, 127), (3200, 8640)])
def test_i2_s_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(RepresentationError):
        tensor_bytes(GGMLType.I2_S, shape)


@pytest.mark.parametrize(
    ("type_id", "shape", "expected"),
    [
        (42, (3, 128), 3 * 2 * 18),
        (134, (3, 128), 3 * (2 + 2 * 13)),
        (135, (3, 128), 3 * (4 + 2 * 16)),
        (335, (8, 128), 8 * (4 + 2 * 16)),
        (134, (2560, 6912), 2560 * (2 + 108 * 13)),
    ],
)
def test_sizes_of_other_ternary_types(type_id: int, shape: tuple[int, int], expected: int) -> None:
    assert tensor_bytes(type_id, shape) == expected


@pytest.mark.parametrize(("type_id", "expected"), [(134, 3 * 26), (135, 3 * 32)])
def test_sizes_without_row_scales(type_id: int, expected: int) -> None:
    assert bare_tensor_bytes(type_id, (3, 128)) == expected
    with pytest.raises(UnsupportedError, match="TQ1_0"):
        bare_tensor_bytes(34, (3, 256))


@pytest.mark.parametrize(
    ("type_id", "shape", "words", "hint"),
    [
        (
            34,
            (2, 384),
            "TQ1_0 needs rows of a multiple of 256 values, not 384",
            "`i2_s`, `q2_0`, `iq1_bn`, `iq2_bn`",
        ),
        (35, (2, 8640), "TQ2_0.*256.*8640", "`q2_0`, `iq1_bn`, `iq2_bn` can"),
        (36, (2, 8640), "I2_S.*128.*8640", "`q2_0`, `iq1_bn`, `iq2_bn` can"),
        (42, (2, 100), "Q2_0.*64.*100", "`f16` holds rows of any length"),
        (134, (2, 32), "IQ1_BN.*64.*32", "`f16`"),
        (335, (6, 64), "IQ2_BN_R4 stores 4 rows together, and 6", "`iq2_bn`"),
        (135, (64,), "IQ2_BN holds matrices of 2 dimensions, not 1", None),
        (134, (2, 2, 64), "IQ1_BN holds matrices of 2 dimensions, not 3", None),
    ],
)
def test_shapes_that_do_not_fit(type_id: int, shape: tuple[int, ...], words: str, hint: str | None) -> None:
    with pytest.raises(RepresentationError, match=words) as error:
        tensor_bytes(type_id, shape)
    assert hint is None or hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("type_id", "name"), [(36, "I2_S"), (39, "TL2"), (1 << 32 | 39, "MXFP4"), (38, "TL1"), (999, "type 999")]
)
def test_names(type_id: int, name: str) -> None:
    assert type_name(type_id) == name


@pytest.mark.parametrize("type_id", [37, 40, 999])
def test_unknown_sizes(type_id: int) -> None:
    with pytest.raises(UnsupportedError, match=str(type_id)):
        tensor_bytes(type_id, (2, 256))


@pytest.mark.parametrize(
    ("type_id", "shape", "expected"),
    [
        (38, (32, 4), 64),
        (38, (2560, 6912), 2560 * 6912 // 4 + 32),
        (39, (32, 256), 32 * 64 + 32),
        (39, (256, 512), 30080),
        (39, (4096, 4096), 3_538_976),
    ],
)
def test_sizes_of_tiled_types(type_id: int, shape: tuple[int, int], expected: int) -> None:
    assert tensor_bytes(type_id, shape) == expected


@pytest.mark.parametrize(
    ("type_id", "shape", "words"),
    [
        (38, (32, 6), "TL1 needs rows of a multiple of 4 values, not 6"),
        (38, (33, 8), "TL1 needs a multiple of 32 rows, not 33"),
        (39, (32, 248), "at least 256, not 248"),
        (39, (32, 260), "multiple of 8 values"),
        (39, (16, 256), "TL2 needs a multiple of 32 rows, not 16"),
        (39, (256,), "2 dimensions, not 1"),
    ],
)
def test_shapes_that_tiled_types_refuse(type_id: int, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(RepresentationError, match=words):
        tensor_bytes(type_id, shape)


TL2_BYTES, MXFP4_BYTES = 3_538_976, 8_912_896
TL2_FILE = {"general.architecture": "bitnet-b1.58", "general.file_type": 39}
MXFP4_FILE = {"general.architecture": "gpt-oss", "general.file_type": 38}


@pytest.mark.parametrize(
    ("room", "metadata", "meant"),
    [
        (TL2_BYTES, TL2_FILE, GGMLType.TL2),
        (MXFP4_BYTES, MXFP4_FILE, GGMLType.MXFP4),
        (TL2_BYTES, {}, GGMLType.TL2),  # the room alone
        (MXFP4_BYTES, {}, GGMLType.MXFP4),
        (TL2_BYTES, MXFP4_FILE, GGMLType.TL2),  # the room against the words
        (MXFP4_BYTES, TL2_FILE, GGMLType.MXFP4),
        (1000, TL2_FILE, GGMLType.TL2),  # a damaged file: the words alone
        (1000, MXFP4_FILE, GGMLType.MXFP4),
        (1000, {"general.architecture": "llama", "general.file_type": 39}, GGMLType.TL2),
        (1000, {"general.architecture": "qwen3", "general.file_type": 39}, GGMLType.MXFP4),  # NVFP4 there
        (-5, {}, GGMLType.MXFP4),
    ],
)
def test_39_is_tl2_or_mxfp4(room: int, metadata: dict[str, object], meant: GGMLType) -> None:
    assert meant_type(39, (4096, 4096), room, 32, metadata) == meant


@pytest.mark.parametrize(
    ("shape", "room", "meant"),
    [
        ((64, 256), 64 * 4 * 18, GGMLType.Q2_0),
        ((64, 256), 64 * 2 * 34, GGMLType.PQ2_0),
        ((64, 256), 64 * 2 * 34 + 31, GGMLType.Q2_0),  # fills neither: damage is told of the usual type
        ((9, 128), 9 * 34 + 14, GGMLType.PQ2_0),
        ((1, 128), 64, GGMLType.Q2_0),  # fills both
        ((64, 192), 64 * 3 * 18, GGMLType.Q2_0),
        ((64, 192), 64 * 3 * 17, GGMLType.Q2_0),
    ],
)
def test_42_is_q2_0_or_pq2_0(shape: tuple[int, int], room: int, meant: GGMLType) -> None:
    assert meant_type(42, shape, room, 32, {}) == meant
    assert meant_type(142, shape, room, 32, {}) == GGMLType.PQ2_0


def test_only_39_and_42_are_doubtful() -> None:
    for number in (36, 38, 40, 142, 1000):
        assert meant_type(number, (4096, 4096), MXFP4_BYTES, 32, MXFP4_FILE) == number
    # Three dimensions, and rows that TL2 does not have.
    assert meant_type(39, (8, 32, 64), 8 * 32 * 34, 32, {}) == GGMLType.MXFP4
    assert meant_type(39, (3, 64), 3 * 34, 32, {}) == GGMLType.MXFP4
    # Up to the alignment, behind the last tensor or before the next one.
    assert meant_type(39, (3, 64), 128, 32, TL2_FILE) == GGMLType.MXFP4
    assert meant_type(39, (32, 256), 2112, 64, {}) == GGMLType.TL2
    assert file_number(GGMLType.MXFP4) == file_number(GGMLType.TL2) == 39


def test_value_types_are_those_of_the_gguf_package() -> None:
    words = {"UINT8": "u8", "INT8": "i8", "UINT16": "u16", "INT16": "i16", "UINT32": "u32", "INT32": "i32"}
    words |= {"FLOAT32": "f32", "BOOL": "bool", "STRING": "string", "ARRAY": "array", "UINT64": "u64"}
    words |= {"INT64": "i64", "FLOAT64": "f64"}
    assert {words[t.name]: t.value for t in gguf.GGUFValueType} == {t.word: t.value for t in ValueType}

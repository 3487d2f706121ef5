"""Type numbers and sizes against the `gguf` package, and the sizes of I2_S that its users know."""

from __future__ import annotations

import gguf
import pytest

from bitnet_cli.errors import RepresentationError, UnsupportedError
from bitnet_cli.formats.gguf_types import GGMLType, ValueType, has_known_size, tensor_bytes, type_name


@pytest.mark.parametrize("known", [t for t in GGMLType if has_known_size(t) and t != GGMLType.I2_S])
def test_sizes_are_those_of_the_gguf_package(known: GGMLType) -> None:
    reference = gguf.GGMLQuantizationType(known.value)
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
    ("type_id", "name"), [(36, "I2_S"), (39, "TL2 or MXFP4"), (38, "TL1"), (999, "type 999")]
)
def test_names(type_id: int, name: str) -> None:
    assert type_name(type_id) == name


@pytest.mark.parametrize("type_id", [38, 39, 40, 999])
def test_unknown_sizes(type_id: int) -> None:
    with pytest.raises(UnsupportedError, match=str(type_id)):
        tensor_bytes(type_id, (2, 256))


def test_value_types_are_those_of_the_gguf_package() -> None:
    words = {"UINT8": "u8", "INT8": "i8", "UINT16": "u16", "INT16": "i16", "UINT32": "u32", "INT32": "i32"}
    words |= {"FLOAT32": "f32", "BOOL": "bool", "STRING": "string", "ARRAY": "array", "UINT64": "u64"}
    words |= {"INT64": "i64", "FLOAT64": "f64"}
    assert {words[t.name]: t.value for t in gguf.GGUFValueType} == {t.word: t.value for t in ValueType}

"""The registry of codecs: found by number and by name, unknown types refused in words."""

from __future__ import annotations

import pytest

from bitnet_cli.errors import UnsupportedError
from bitnet_cli.formats.codecs import (
    CODECS,
    TERNARY_CODECS,
    TERNARY_TYPES,
    codec,
    codec_named,
    dense_codec,
)
from bitnet_cli.formats.gguf_types import GGMLType


def test_every_codec_is_found_by_number_and_name() -> None:
    dense, ternary = (
        ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_0", "q4_k", "iq4_nl"],
        [c.name for c in TERNARY_CODECS],
    )
    assert ternary == [
        "iq1_bn",
        "tq1_0",
        "tl2",
        "i2_s",
        "tl1",
        "iq2_bn",
        "iq2_bn_r4",
        "tq2_0",
        "pq2_0",
        "q2_0",
    ]
    assert [c.name for c in CODECS] == dense + ternary
    for each in CODECS:
        assert codec(each.type_id) is each
        assert codec_named(each.name) is each
        assert each.type_id == GGMLType[each.name.upper()]
        assert each.ternary == (each.name in ternary) == (each.type_id in TERNARY_TYPES)


@pytest.mark.parametrize(
    ("type_id", "words"), [(3, "Q4_1"), (40, "NVFP4"), (GGMLType.MXFP4, r"MXFP4` \(39\)"), (77, "type 77")]
)
def test_unknown_types_are_named(type_id: int, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words) as error:
        codec(type_id)
    assert "I2_S" in str(error.value.hint)


def test_unknown_names() -> None:
    with pytest.raises(UnsupportedError, match="`q5_0`") as error:
        codec_named("q5_0")
    assert "`q6_k`" in str(error.value.hint)


def test_dense_codec_refuses_ternary() -> None:
    assert dense_codec(GGMLType.F16).name == "f16"
    for ternary in TERNARY_CODECS:
        with pytest.raises(UnsupportedError, match=ternary.type_id.name):
            dense_codec(ternary.type_id)

"""Damaged tensors of every ternary type: each is refused by the reader, the codec and the engine, at its place."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tiny_gguf import STRING, TinyGGUF

from bitnet_cli.errors import FormatError
from bitnet_cli.formats.codecs import codec, ternary_codec_for
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.native import Context, NotTernaryError, TernaryMatrix, lib

ONE, NAN, INFINITY = struct.pack("<e", 1.0), struct.pack("<e", np.nan), struct.pack("<e", np.inf)
ONE_F32, NAN_F32, INFINITY_F32 = (struct.pack("<f", x) for x in (1.0, np.nan, -np.inf))
# Zeros: every field 01, or every digit 1.
FIELDS, FIVE, FOUR_FIRST, FOUR_LAST = b"\x55", b"\x80", b"\x7f", b"\x2b"

TQ1_0, TQ2_0, I2_S, Q2_0, IQ1_BN, IQ2_BN, IQ2_BN_R4 = 34, 35, 36, 42, 134, 135, 335
# type: (ne of two blocks and some rows, the bytes of a matrix of zeros)
SOUND: dict[int, tuple[tuple[int, int], bytes]] = {
    TQ1_0: ((512, 3), (FIVE * 48 + FOUR_FIRST * 4 + ONE) * 6),
    TQ2_0: ((512, 3), (FIELDS * 64 + ONE) * 6),
    I2_S: ((256, 3), FIELDS * 192 + ONE_F32 + bytes(28)),
    Q2_0: ((128, 3), (ONE + FIELDS * 16) * 6),
    IQ1_BN: ((128, 3), (ONE + (FIVE * 12 + FOUR_LAST) * 2) * 3),
    IQ2_BN: ((128, 3), (ONE_F32 + FIELDS * 32) * 3),
    IQ2_BN_R4: ((128, 8), (ONE_F32 * 4 + FIELDS * 128) * 2),
}


def patched(kind: int, at: int, value: bytes) -> tuple[int, tuple[int, ...], bytes]:
    ne, data = SOUND[kind]
    assert len(value) + at <= len(data)
    return kind, ne, data[:at] + value + data[at + len(value) :]


def shaped(kind: int, *ne: int) -> tuple[int, tuple[int, ...], bytes]:
    """The shape that a file claims, with room enough for it."""
    return kind, ne, bytes(1 << 16)


CASES: dict[str, tuple[tuple[int, tuple[int, ...], bytes], str]] = {
    # what stands for no weight
    "TQ1_0: a byte beyond": (patched(TQ1_0, 0, b"\x14"), "row 0, column 0 holds a byte that is no five trits"),
    "TQ1_0: in the 16": (patched(TQ1_0, 54 + 33, b"\xed"), "row 0, column 417 holds a byte"),
    "TQ1_0: a fifth trit": (patched(TQ1_0, 5 * 54 + 49, b"\x81"), "row 2, column 497 holds a byte"),
    "TQ2_0: code 3": (patched(TQ2_0, 3 * 66 + 40, b"\xd5"), "row 1, column 488 holds the code 3"),
    "I2_S: code 3": (patched(I2_S, 64 + 33, b"\x57"), "row 1, column 225 holds the code 3"),
    "Q2_0: code 3": (patched(Q2_0, 2 * 18 + 2, b"\x75"), r"row 1, column 2 holds the code 3 \(\+2"),
    "IQ1_BN: a byte beyond": (patched(IQ1_BN, 28 + 2, b"\x14"), "row 1, column 0 holds a byte that is no five trits"),
    "IQ1_BN: a fifth trit": (patched(IQ1_BN, 14, b"\x80"), "row 0, column 15 holds a byte"),
    "IQ2_BN: code 3": (patched(IQ2_BN, 36 + 4 + 16, b"\x5d"), "row 1, column 80 holds the code 3"),
    "IQ2_BN_R4: code 3": (patched(IQ2_BN_R4, 144 + 16 + 64 + 9, b"\x75"), "row 6, column 73 holds the code 3"),
    # scales
    "TQ1_0: scale NaN": (patched(TQ1_0, 52, NAN), "scale of row 0, group 0 must be a finite number, found nan"),
    "TQ1_0: scale infinite": (patched(TQ1_0, 5 * 54 + 52, INFINITY), "scale of row 2, group 1 .* found inf"),
    "TQ2_0: scale NaN": (patched(TQ2_0, 66 + 64, NAN), "scale of row 0, group 1"),
    "Q2_0: scale NaN": (patched(Q2_0, 4 * 18, NAN), "scale of row 2, group 0"),
    "IQ1_BN: scale infinite": (patched(IQ1_BN, 28, INFINITY), "scale of row 1 must"),
    "IQ2_BN: scale NaN": (patched(IQ2_BN, 72, NAN_F32), "scale of row 2 must"),
    "IQ2_BN_R4: scale infinite": (patched(IQ2_BN_R4, 144 + 8, INFINITY_F32), "scale of row 6 must.*found -inf"),
    "I2_S: scale NaN": (patched(I2_S, 192, NAN_F32), "the scale must be a finite number"),
    # sizes and shapes
    **{
        f"{codec(kind).name}: cut off": ((kind, ne, data[: len(data) // 2]), "passes the end")
        for kind, (ne, data) in SOUND.items()
    },
    "TQ1_0: half a block": (shaped(TQ1_0, 128, 2), "TQ1_0 needs rows of a multiple of 256 values, not 128"),
    "TQ2_0: a block and a half": (shaped(TQ2_0, 384, 2), "TQ2_0 needs rows of a multiple of 256"),
    "Q2_0: half a block": (shaped(Q2_0, 32, 2), "Q2_0 needs rows of a multiple of 64"),
    "IQ1_BN: 13 columns": (shaped(IQ1_BN, 13, 64), "IQ1_BN needs rows of a multiple of 64"),
    "IQ2_BN: 65 columns": (shaped(IQ2_BN, 65, 2), "IQ2_BN needs rows of a multiple of 64"),
    "IQ2_BN_R4: 6 rows": (shaped(IQ2_BN_R4, 64, 6), "IQ2_BN_R4 stores 4 rows together"),
    "IQ1_BN: a vector": (shaped(IQ1_BN, 64), "2 dimensions"),
    "IQ2_BN: 3 dimensions": (shaped(IQ2_BN, 64, 4, 4), "2 dimensions"),
    "IQ2_BN: 2^63 rows": (shaped(IQ2_BN, 64, 1 << 63), "passes the end"),
    "IQ2_BN_R4: 2^62 rows": (shaped(IQ2_BN_R4, 64, 1 << 62), "passes the end"),
    "TQ2_0: 2^56 x 2^56": (shaped(TQ2_0, 1 << 56, 1 << 56), "passes the end"),
    # room for rows without scales, less a byte
    "IQ2_BN: no scales, cut off": ((IQ2_BN, (128, 64), bytes(64 * 32 - 32)), "passes the end"),
    "IQ1_BN: some scales": ((IQ1_BN, (128, 64), bytes(64 * 26 + 64)), "passes the end"),
}  # fmt: skip


def write(path: Path, kind: int, ne: tuple[int, ...], data: bytes) -> Path:
    model = TinyGGUF({"general.architecture": (STRING, "llama")}, {"t": (ne, kind, data)})
    return model.write(path / "hostile.gguf")


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with GGUFReader(path) as reader:
        info = reader.tensors["t"]
        with located(path, "t"):
            return ternary_codec_for(reader, info).decode(reader.data("t"), info.shape)


@pytest.mark.parametrize("case", CASES)
def test_is_refused(case: str, tmp_path: Path) -> None:
    tensor, words = CASES[case]
    with pytest.raises(FormatError, match=words) as error:
        read(write(tmp_path, *tensor))
    assert "`t`" in str(error.value)


@pytest.mark.parametrize("kind", SOUND)
def test_the_sound_ones_are_read(kind: int, tmp_path: Path) -> None:
    ne, data = SOUND[kind]
    trits, scales = read(write(tmp_path, kind, ne, data))
    assert trits.shape == ne[::-1] and not trits.any() and (scales == 1).all()


@pytest.mark.parametrize("case", [case for case, (_, words) in CASES.items() if "holds" in words])
def test_the_kernels_are_not_packed_from_it_either(case: str) -> None:
    (kind, ne, data), _ = CASES[case]
    found = codec(kind)
    assert found.ternary
    codes = found.codes(np.frombuffer(data, np.uint8), ne[::-1])
    with pytest.raises(NotTernaryError):
        TernaryMatrix.pack(Context(), getattr(lib, f"BN_PACK_{found.name.upper()}"), codes, ne[1], ne[0], 1.0)


def test_rows_without_scales_are_told_by_the_room_they_have(tmp_path: Path) -> None:
    for kind, row_bytes in ((IQ1_BN, 26), (IQ2_BN, 32)):
        for n_rows in (16, 64, 1001):
            row = (FIVE * 12 + FOUR_LAST) * 2 if kind == IQ1_BN else FIELDS * 32
            assert len(row) == row_bytes
            trits, scales = read(write(tmp_path, kind, (128, n_rows), row * n_rows))
            assert not trits.any() and scales.shape == (1, 1)

"""Models whose matrices are stored in any ternary type: the same weights give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from naive_gguf import naive_i2_s
from tiny_gguf import TYPE_F32, TYPE_I2_S, TinyGGUF, tiny_model

from bitnet_cli.errors import FormatError, UnsupportedError, UsageError
from bitnet_cli.formats.codecs import TERNARY_CODECS
from bitnet_cli.formats.codecs.i2_s import I2S, I2SArm
from bitnet_cli.formats.codecs.iq1_bn import IQ1_BN
from bitnet_cli.formats.codecs.iq2_bn import IQ2_BN
from bitnet_cli.formats.codecs.ternary_codec import TernaryCodec
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.library import BitNetModel
from bitnet_cli.native import Context, NotTernaryError, TernaryMatrix, lib

# TL1 and TL2 are made for other shapes: test_tiled_types.py.
CODECS = tuple(codec for codec in TERNARY_CODECS if not isinstance(codec, TiledCodec))
IDS = [256, 65, 66, 65, 200, 0, 7]
Scaled = Callable[[np.ndarray, np.float32], np.ndarray]


def one(trits: np.ndarray, scale: np.float32) -> np.ndarray:
    """The model's own scale, as f16 holds it."""
    return np.full((1, 1), np.float16(scale), np.float32)


def by_row(trits: np.ndarray, scale: np.float32) -> np.ndarray:
    """Each row has its own scale."""
    factors = np.random.default_rng(trits.shape).uniform(0.5, 1.5, (len(trits), 1))
    return (factors * scale).astype(np.float16).astype(np.float32)


def by_group(trits: np.ndarray, scale: np.float32) -> np.ndarray:
    """Each 256 columns of a row have their own scale."""
    factors = np.random.default_rng(trits.shape).uniform(0.5, 1.5, (len(trits), trits.shape[1] // 256))
    return (factors * scale).astype(np.float16).astype(np.float32)


def stored(codec: TernaryCodec, scaled: Scaled, dim: int = 256, ffn_dim: int = 512) -> TinyGGUF:
    """A tiny model with its matrices in another type; some rows and blocks of them are zero."""
    model = tiny_model(dim=dim, ffn_dim=ffn_dim)
    for name, (ne, kind, raw) in model.tensors.items():
        if kind == TYPE_I2_S:
            trits, scale = naive_i2_s(raw, ne[1], ne[0])
            trits[3] = 0
            trits[5, :256] = 0
            model.tensors[name] = (
                ne,
                int(codec.type_id),
                codec.encode(trits, scaled(trits, scale)).tobytes(),
            )
    return model


def logits(model: TinyGGUF, path: Path, **options: str) -> np.ndarray:
    return BitNetModel.from_pretrained(model.write(path / "model.gguf"), n_threads=1, **options).logits(IDS)  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_one_scale(codec: TernaryCodec, tmp_path: Path) -> None:
    expected = logits(stored(I2S(), one), tmp_path)
    assert np.array_equal(logits(stored(codec, one), tmp_path), expected)


@pytest.mark.parametrize("codec", [c for c in CODECS if c.name != "i2_s"], ids=lambda codec: codec.name)
def test_a_scale_for_each_row(codec: TernaryCodec, tmp_path: Path) -> None:
    expected = logits(stored(IQ2_BN(), by_row), tmp_path)
    assert not np.array_equal(expected, logits(stored(I2S(), one), tmp_path))
    assert np.array_equal(logits(stored(codec, by_row), tmp_path), expected)


@pytest.mark.parametrize("number", [42, 142])
def test_blocks_of_128_under_either_number(number: int, tmp_path: Path) -> None:
    """As in the files of Ternary-Bonsai, of which the first ones have the number of Q2_0."""
    codecs = {codec.name: codec for codec in CODECS}
    model = stored(codecs["pq2_0"], by_group)
    for name, (ne, kind, raw) in model.tensors.items():
        model.tensors[name] = (ne, number if kind == GGMLType.PQ2_0 else kind, raw)
    assert sum(kind == number for _, kind, _ in model.tensors.values()) == 14
    expected = logits(stored(codecs["tq2_0"], by_group), tmp_path)
    assert np.array_equal(logits(model, tmp_path), expected)


@pytest.mark.parametrize("name", ["tq1_0", "q2_0"])
def test_a_scale_for_each_256_columns(name: str, tmp_path: Path) -> None:
    codecs = {codec.name: codec for codec in CODECS}
    expected = logits(stored(codecs["tq2_0"], by_group), tmp_path)
    assert np.array_equal(logits(stored(codecs[name], by_group), tmp_path), expected)


def test_the_arm_layout_is_read_if_asked_for(tmp_path: Path) -> None:
    expected = logits(stored(I2S(), one), tmp_path)
    assert np.array_equal(logits(stored(I2SArm(), one), tmp_path, i2s_layout="arm64"), expected)
    assert not np.array_equal(logits(stored(I2SArm(), one), tmp_path), expected)
    with pytest.raises(UsageError, match="layout `mips`") as error:
        logits(stored(I2S(), one), tmp_path, i2s_layout="mips")
    assert "`arm64`" in str(error.value.hint)


def with_scale_tensors(codec: TernaryCodec) -> TinyGGUF:
    """Weights of scale 1 beside `*.scale` tensors."""
    model = stored(codec, lambda trits, scale: np.ones((1, 1), np.float32))
    for name, (ne, kind, raw) in stored(I2S(), one).tensors.items():
        if kind == TYPE_I2_S:
            scale = naive_i2_s(raw, ne[1], ne[0])[1]
            model.tensors[name.removesuffix("weight") + "scale"] = ((1,), TYPE_F32, scale.tobytes())
    return model


@pytest.mark.parametrize(
    "codec",
    [IQ1_BN(bare=True), IQ2_BN(bare=True), IQ2_BN(), I2S()],
    ids=["iq1_bare", "iq2_bare", "iq2", "i2_s"],
)
def test_scales_in_tensors_of_their_own(codec: TernaryCodec, tmp_path: Path) -> None:
    expected = logits(stored(I2S(), one), tmp_path)
    assert np.array_equal(logits(with_scale_tensors(codec), tmp_path), expected)


def replace(model: TinyGGUF, name: str, ne: tuple[int, ...], kind: int, raw: bytes) -> TinyGGUF:
    model.tensors[name] = (ne, kind, raw)
    return model


def test_what_is_wrong_with_scale_tensors(tmp_path: Path) -> None:
    name = "blk.0.attn_q.scale"
    lacking = with_scale_tensors(IQ2_BN(bare=True))
    del lacking.tensors[name]
    with pytest.raises(FormatError, match=r"attn_q.weight.*no scales.*no `blk.0.attn_q.scale`"):
        logits(lacking, tmp_path)
    with pytest.raises(FormatError, match=r"attn_q.scale.*finite"):
        logits(
            replace(with_scale_tensors(I2S()), name, (1,), TYPE_F32, np.float32(np.nan).tobytes()), tmp_path
        )
    with pytest.raises(FormatError, match=r"attn_q.scale.*shape"):
        logits(replace(with_scale_tensors(I2S()), name, (2,), TYPE_F32, bytes(8)), tmp_path)
    with pytest.raises(UnsupportedError, match=r"attn_q.scale.*F16"):
        logits(replace(with_scale_tensors(I2S()), name, (1,), int(GGMLType.F16), bytes(2)), tmp_path)
    huge = np.float32(3e38).tobytes()
    with pytest.raises(FormatError, match=r"attn_q.weight.*finite"):
        model = stored(IQ2_BN(), lambda trits, scale: np.full((1, 1), 3e38, np.float32))
        logits(replace(model, name, (1,), TYPE_F32, huge), tmp_path)


def test_models_of_odd_widths(tmp_path: Path) -> None:
    """As bitnet_b1_58-3B, whose feed-forward width is 67.5 times 128."""
    codecs = {codec.name: codec for codec in TERNARY_CODECS}
    found = [
        logits(stored(codecs[name], one, 192, 320), tmp_path)
        for name in ("iq2_bn", "iq1_bn", "q2_0", "iq2_bn_r4")
    ]
    assert np.isfinite(found[0]).all() and found[0].std() > 0
    assert all(np.array_equal(other, found[0]) for other in found)


@pytest.mark.parametrize("name", ["q2_0", "iq1_bn", "iq2_bn", "i2_s_arm"])
@pytest.mark.parametrize("shape", [(5, 64), (17, 192), (300, 8640), (16, 832)])
def test_widths_that_are_no_multiple_of_128(name: str, shape: tuple[int, int]) -> None:
    """As the matrices of bitnet_b1_58-3B: the kernels pad what the file does not."""
    codecs = {codec.name: codec for codec in CODECS}
    trits = np.random.default_rng(shape).integers(-1, 2, shape, np.int8)
    if name == "i2_s_arm":
        data = np.zeros(trits.size // 4, np.uint8)
        for field, quarter in enumerate(np.moveaxis(trits.reshape(-1, 4, 16), 1, 0)):
            data |= ((quarter + 1).astype(np.uint8) << (6 - 2 * field)).reshape(-1)
    else:
        data = codecs[name].encode(trits, 1.0)
    pack_format = getattr(lib, f"BN_PACK_{name.upper()}")
    mat = TernaryMatrix.pack(Context(), pack_format, data, *shape, 1.0)
    assert np.array_equal(mat.unpack(), trits)


@pytest.mark.parametrize("codec", [*CODECS, I2SArm()], ids=lambda codec: codec.name)
def test_the_c_decoders_agree_with_the_codecs(codec: TernaryCodec) -> None:
    """On the same bytes, sound or damaged: the same weights, or both refuse."""
    rng, ctx, shape = np.random.default_rng(5), Context(n_threads=2), (36, 1792)
    pack_format = getattr(lib, f"BN_PACK_{codec.name.upper().replace('PQ', 'Q')}")
    for i in range(40):
        trits = rng.integers(-1, 2, shape, np.int8)
        data = codec.encode(trits, 1.0)
        if i:
            data[rng.integers(0, data.size)] = rng.integers(0, 256)
        found: np.ndarray | None = None
        try:
            mat = TernaryMatrix.pack(ctx, pack_format, codec.codes(data, shape), *shape, 1.0)
            found = mat.unpack()
        except NotTernaryError:
            pass
        try:
            expected, _ = codec.decode(data, shape)
        except FormatError as error:
            assert found is None or "scale" in error.message
        else:
            assert found is not None and np.array_equal(found, expected)
            assert i or np.array_equal(found, trits)

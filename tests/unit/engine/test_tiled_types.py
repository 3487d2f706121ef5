"""Models stored in TL1 and TL2: the tiling comes from the file, the table or the user, and the bits are those of I2_S."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from naive_gguf import naive_i2_s
from naive_tl import naive_tl1, naive_tl2
from tiny_gguf import ARRAY, STRING, TYPE_I2_S, TinyGGUF, tiny_model

from bitnet_cli.errors import FormatError, UnsupportedError, UsageError
from bitnet_cli.formats.codecs import codec_named
from bitnet_cli.formats.codecs.tiled_codec import TiledCodec
from bitnet_cli.formats.codecs.tiling import Tiling, tiling_key, tiling_metadata
from bitnet_cli.formats.codecs.tl1 import TL1
from bitnet_cli.formats.codecs.tl2 import TL2
from bitnet_cli.formats.gguf_types import GGMLType
from bitnet_cli.library import BitNetModel
from bitnet_cli.native import Context, Layout, NotTernaryError, TernaryMatrix, lib

IDS = [256, 65, 66, 65, 200, 0, 7]
SHAPES = [(256, 256), (128, 256), (512, 256), (256, 512)]
# A tiling for all of SHAPES, and not the one that we choose.
OTHER = {"tl1": Tiling(64, 32, 64), "tl2": Tiling(64, 192, 32)}
KINDS: dict[str, type[TiledCodec]] = {"tl1": TL1, "tl2": TL2}
NAIVE = {"tl1": naive_tl1, "tl2": naive_tl2}


def i2_s_model() -> TinyGGUF:
    return tiny_model(dim=256, ffn_dim=512)


def tiled_model(codec: TiledCodec, *, with_metadata: bool = True) -> TinyGGUF:
    """`i2_s_model` with its matrices in TL1 or TL2."""
    model, tilings = i2_s_model(), {}
    for name, (ne, kind, raw) in model.tensors.items():
        if kind == TYPE_I2_S:
            trits, scale = naive_i2_s(raw, ne[1], ne[0])
            model.tensors[name] = (ne, int(codec.type_id), codec.encode(trits, float(scale)).tobytes())
            tilings[trits.shape] = codec.tiling_for(trits.shape)
    if with_metadata:
        key, _, entries = tiling_metadata(codec.type_id, tilings)
        model.metadata[key] = (ARRAY, (STRING, entries))
    return model


def load(model: TinyGGUF, directory: Path, tiling: list[str] | None = None) -> BitNetModel:
    return BitNetModel.from_pretrained(model.write(directory / "model.gguf"), n_threads=1, tiling=tiling)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return load(i2_s_model(), tmp_path_factory.mktemp("i2_s")).logits(IDS)


@pytest.mark.parametrize("name", KINDS)
def test_our_own_files_say_how_they_are_tiled(name: str, tmp_path: Path, expected: np.ndarray) -> None:
    codec = codec_named(name)
    assert isinstance(codec, TiledCodec)
    assert np.array_equal(load(tiled_model(codec), tmp_path).logits(IDS), expected)
    other = tiled_model(KINDS[name](OTHER[name]))
    assert np.array_equal(load(other, tmp_path).logits(IDS), expected)


@pytest.mark.parametrize("name", KINDS)
def test_files_of_others_need_to_be_told(name: str, tmp_path: Path, expected: np.ndarray) -> None:
    model = tiled_model(KINDS[name](OTHER[name]), with_metadata=False)
    with pytest.raises(UnsupportedError, match=f"{name.upper()} files do not record") as error:
        load(model, tmp_path)
    assert "--tiling 256x256=BM,BK,bm" in str(error.value.hint)
    assert str(tmp_path) in str(error.value)
    assert np.array_equal(load(model, tmp_path, [str(OTHER[name])]).logits(IDS), expected)
    by_shape = [f"{rows}x{cols}={OTHER[name]}" for rows, cols in SHAPES]
    assert np.array_equal(load(model, tmp_path, by_shape).logits(IDS), expected)
    with pytest.raises(UsageError, match=r"`--tiling 48,96,32` does not fit `blk.0.attn_q.weight`"):
        load(model, tmp_path, ["48,96,32"])


@pytest.mark.parametrize("name", KINDS)
def test_what_the_user_says_goes_before_the_file(name: str, tmp_path: Path, expected: np.ndarray) -> None:
    model = tiled_model(KINDS[name](OTHER[name]))
    key = tiling_key(KINDS[name].type_id)
    model.metadata[key] = (ARRAY, (STRING, ["nonsense"]))
    with pytest.raises(FormatError, match="nonsense"):
        load(model, tmp_path)
    assert np.array_equal(load(model, tmp_path, [str(OTHER[name])]).logits(IDS), expected)


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_placed(name: str, tmp_path: Path) -> None:
    model = tiled_model(KINDS[name](OTHER[name]))
    ne, kind, raw = model.tensors["blk.1.ffn_up.weight"]
    model.tensors["blk.1.ffn_up.weight"] = (ne, kind, b"\xff" + raw[1:])
    with pytest.raises(
        FormatError, match=r"model.gguf: `blk.1.ffn_up.weight`: row 0, column 0 holds the code 15"
    ):
        load(model, tmp_path)


def test_a_file_of_mxfp4_is_refused_by_name(tmp_path: Path) -> None:
    model = i2_s_model()
    model.tensors["blk.0.attn_q.weight"] = ((256, 256), 39, bytes(256 * 8 * 17))
    with pytest.raises(UnsupportedError, match=r"blk.0.attn_q.weight.*MXFP4|MXFP4.*\(39\)"):
        load(model, tmp_path)


# ---- The C decoders against the codecs ----

TILED_SHAPES = [
    ("tl1", (32, 8), (32, 8, 32)),
    ("tl1", (192, 1540), (64, 220, 64)),
    ("tl1", (800, 264), (160, 24, 32)),
    ("tl2", (32, 256), (32, 960, 32)),
    ("tl2", (288, 864), (96, 192, 32)),
    ("tl2", (320, 800), (160, 96, 32)),
]


@pytest.mark.parametrize(("name", "shape", "tiling"), TILED_SHAPES)
def test_the_c_decoders_agree_with_the_codecs(
    name: str, shape: tuple[int, int], tiling: tuple[int, int, int]
) -> None:
    """On the same bytes, sound or damaged: the same weights, or both refuse."""
    rng, ctx, codec = np.random.default_rng(5), Context(n_threads=2), KINDS[name](Tiling(*tiling))
    pack_format = getattr(lib, f"BN_PACK_{name.upper()}")
    refused = 0
    for i in range(12):
        trits = rng.integers(-1, 2, shape, np.int8)
        data = codec.encode(trits, 1.0)
        codes = codec.codes(data, shape)
        if i:
            codes[rng.integers(0, codes.size)] = rng.integers(0, 256)
        layout = list(Layout)[i % 4]
        try:
            expected, _ = codec.decode(data, shape)
        except FormatError:
            refused += 1
            with pytest.raises(NotTernaryError):
                TernaryMatrix.pack(ctx, pack_format, codes, *shape, 1.0, layout, codec.tiling)
        else:
            mat = TernaryMatrix.pack(ctx, pack_format, codes, *shape, 1.0, layout, codec.tiling)
            assert np.array_equal(mat.unpack(), expected)
            assert np.array_equal(NAIVE[name](codes, *shape, tiling), expected)
    assert refused < 12


@pytest.mark.parametrize("name", KINDS)
def test_real_shapes_reach_the_kernels(name: str) -> None:
    """2B-4T's, with the tilings that we choose."""
    codec = codec_named(name)
    assert isinstance(codec, TiledCodec)
    for shape in ((640, 2560), (2560, 6912)):
        trits = np.random.default_rng(shape).integers(-1, 2, shape, np.int8)
        codes = codec.codes(codec.encode(trits, 1.0), shape)
        mat = TernaryMatrix.pack(
            Context(),
            getattr(lib, f"BN_PACK_{name.upper()}"),
            codes,
            *shape,
            1.0,
            Layout.L3,
            codec.tiling_for(shape),
        )
        assert np.array_equal(mat.unpack(), trits)
    assert codec.type_id in (GGMLType.TL1, GGMLType.TL2)

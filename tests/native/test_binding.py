"""The binding: instruction sets listed, chosen and proven; matrices packed and unpacked; wrong input refused."""

from __future__ import annotations

import numpy as np
import pytest

from bitnet_cli import native
from bitnet_cli.errors import NativeError, UsageError

I2_S = native.lib.BN_PACK_I2_S
SUPPORTED = [isa.name for isa in native.isas() if isa.supported]


def random_trits(rows: int, cols: int, seed: int = 1) -> np.ndarray:
    return np.random.RandomState(seed).randint(-1, 2, (rows, cols)).astype(np.int8)


def test_scalar_is_always_there_and_first() -> None:
    assert native.isas()[0] == native.Isa("scalar", True)
    assert native.physical_cores() >= 1
    assert native.compiler()


@pytest.mark.parametrize("isa", SUPPORTED)
def test_a_forced_isa_is_the_one_that_runs(isa: str) -> None:
    ctx = native.Context(isa)
    assert ctx.isa == isa
    assert ctx.kernel_isa("gemm_panel_i8") == isa
    assert ctx.kernel_isa("no_such_kernel") is None


def test_default_is_the_strongest() -> None:
    assert native.Context().isa == SUPPORTED[-1]


@pytest.mark.parametrize("isa", ["", "AVX2", "sse9", "avx2 "])
def test_unknown_isa(isa: str) -> None:
    with pytest.raises(UsageError, match="unknown instruction set") as error:
        native.Context(isa)
    assert "`scalar`" in (error.value.hint or "")


@pytest.mark.parametrize("n_threads", [0, -1, 257])
def test_thread_count_out_of_range(n_threads: int) -> None:
    with pytest.raises(UsageError, match="threads must be 1 to 256"):
        native.Context(n_threads=n_threads)


@pytest.mark.parametrize("rows", [1, 3, 15, 16, 17, 64, 101])
@pytest.mark.parametrize("cols", [1, 4, 15, 16, 17, 100, 128, 640])
def test_pack_and_unpack(rows: int, cols: int) -> None:
    trits = random_trits(rows, cols)
    mat = native.TernaryMatrix.from_trits(native.Context(n_threads=2), trits, 0.5)
    assert (mat.rows, mat.cols) == (rows, cols)
    np.testing.assert_array_equal(mat.unpack(), trits)


def test_a_head_tells_what_it_is() -> None:
    data = np.zeros(17 * 210, np.uint8)
    head = native.DenseMatrix(native.Context(n_threads=2), native.lib.BN_TYPE_Q6_K, data, 17, 256)
    assert (head.type, head.rows, head.cols) == (native.lib.BN_TYPE_Q6_K, 17, 256)
    assert head.n_bytes >= data.nbytes


@pytest.mark.parametrize("shape", [(16, 256), (17, 128), (0, 256), (17, 0)])
def test_a_head_of_the_wrong_size_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(NativeError, match="head"):
        native.DenseMatrix(native.Context(), native.lib.BN_TYPE_Q6_K, np.zeros(17 * 210, np.uint8), *shape)


def test_i2_s_codes_become_the_same_matrix() -> None:
    """Layout A by its definition: value k of a row in byte (k // 128) * 32 + k % 32, at bits 6 - 2 * (k % 128 // 32)."""
    trits = random_trits(33, 384, seed=5)
    codes = np.zeros((33, 384 // 4), np.uint8)
    for k in range(384):
        codes[:, k // 128 * 32 + k % 32] |= (trits[:, k] + 1).astype(np.uint8) << (6 - 2 * (k % 128 // 32))
    mat = native.TernaryMatrix.pack(native.Context(), I2_S, codes.reshape(-1), 33, 384, 1.0)
    np.testing.assert_array_equal(mat.unpack(), trits)
    counts = native.count_codes(codes.reshape(-1))
    assert counts.tolist() == [int((trits == v).sum()) for v in (-1, 0, 1)] + [0]


@pytest.mark.parametrize("at", [0, 31, 32, 1055])
def test_code_3_is_refused(at: int) -> None:
    codes = np.full(33 * 32, 0x55, np.uint8)
    codes[at] |= 0x0C
    with pytest.raises(native.NotTernaryError):
        native.TernaryMatrix.pack(native.Context(n_threads=2), I2_S, codes, 33, 128, 1.0)


@pytest.mark.parametrize("value", [2, -2, 127, -128])
def test_a_trit_out_of_range_is_refused(value: int) -> None:
    trits = random_trits(5, 40)
    trits[4, 39] = value
    with pytest.raises(native.NotTernaryError):
        native.TernaryMatrix.from_trits(native.Context(), trits, 1.0)


@pytest.mark.parametrize(("n_bytes", "rows", "cols"), [(32, 2, 128), (31, 1, 128), (25, 1, 100), (0, 0, 128)])
def test_i2_s_of_the_wrong_size_is_refused(n_bytes: int, rows: int, cols: int) -> None:
    with pytest.raises(NativeError, match="out of range"):
        native.TernaryMatrix.pack(native.Context(), I2_S, np.full(n_bytes, 0x55, np.uint8), rows, cols, 1.0)


def test_arrays_of_the_wrong_kind_do_not_reach_c() -> None:
    trits = random_trits(16, 32)
    with pytest.raises(TypeError, match="int8"):
        native.TernaryMatrix.from_trits(native.Context(), trits.astype(np.int16), 1.0)
    with pytest.raises(TypeError, match="contiguous"):
        native.TernaryMatrix.from_trits(native.Context(), trits[:, ::2], 1.0)


@pytest.mark.parametrize("kind", ["ternary", "head", "head of trits"])
def test_ctrl_c_just_after_packing_leaves_nothing(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Python hears of Ctrl-C when the library returns, before anybody owns what it made."""
    from bitnet_cli.native import matrices

    ctx = native.Context()
    trits = np.ones((8, 128), np.int8)
    ternary = native.TernaryMatrix.from_trits(ctx, trits, 1.0)
    make = {
        "ternary": lambda: native.TernaryMatrix.from_trits(ctx, trits, 1.0),
        "head": lambda: native.DenseMatrix(ctx, native.lib.BN_TYPE_F32, np.zeros(512, np.uint8), 1, 128),
        "head of trits": lambda: native.DenseMatrix.from_ternary(ctx, ternary),
    }[kind]
    freed: list[bool] = []
    place = matrices._place

    def watched(kind: str, free: object) -> object:
        return place(kind, lambda made: (freed.append(made != matrices.ffi.NULL), free(made)))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(matrices, "_place", watched)
    assert make().rows > 0 and freed == [False]
    monkeypatch.setattr(matrices, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert freed == [False, True]

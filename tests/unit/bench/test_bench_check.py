"""tools/bench_check.py: noise does not fail it, slowness does."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bitnet_cli.native import Context

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "bench_check.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The tool with a clock that goes on by a second whenever it is read."""
    spec = importlib.util.spec_from_file_location("bench_check", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_check", module)
    spec.loader.exec_module(module)
    clock = itertools.count()
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    yield module


def samples(*seconds: float) -> Callable[[], float]:
    """These samples, then the last again and again."""
    them = itertools.chain(seconds, itertools.repeat(seconds[-1]))
    return lambda: next(them)


def rates(*bytes_per_s: float) -> Callable[[], tuple[float, float]]:
    them = itertools.chain(bytes_per_s, itertools.repeat(bytes_per_s[-1]))
    return lambda: (next(them), 1e9)


def test_the_share_is_of_what_takes_longer(script: ModuleType) -> None:
    check = script.Check("x", samples(1.0), n_bytes=100, products=300, best_s=2.0)
    assert check.share(bytes_per_s=100.0, products_per_s=1000.0) == 0.5
    assert check.share(bytes_per_s=1000.0, products_per_s=150.0) == 1.0


def test_good_shares_end_it_after_the_least_rounds(script: ModuleType) -> None:
    check = script.Check("x", samples(2.0), n_bytes=100, products=0)
    shares, best = script.run([check], rates(100.0), 0.5)
    assert shares == {"x": 0.5} and best == (100.0, 1e9)


def test_one_good_sample_among_disturbed_ones_is_enough(script: ModuleType) -> None:
    check = script.Check("x", samples(9.0, 9.0, 9.0, 9.0, 1.25, 9.0), n_bytes=100, products=0)
    shares, _ = script.run([check], rates(10.0, 100.0, 20.0), 0.5)
    assert shares == {"x": 0.8}


def test_a_slow_one_among_others_is_found_in_limited_time(script: ModuleType) -> None:
    slow = script.Check("slow", samples(4.0), n_bytes=100, products=0)
    fine = script.Check("fine", samples(1.0), n_bytes=100, products=0)
    shares, _ = script.run([fine, slow], rates(100.0), 0.5)
    assert shares == {"fine": 1.0, "slow": 0.25}
    assert script.time.monotonic() > script.MAX_SECONDS


def test_the_exit_code_tells(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if Context().isa == "scalar":
        pytest.skip("this CPU has nothing but plain C")
    tried = script.Check("token", samples(2.0), n_bytes=int(1e9), products=0)
    monkeypatch.setattr(script, "checks", lambda ctx: iter([tried]))
    monkeypatch.setattr(script, "memory_bandwidth", lambda ctx, n_bytes: 1.0)
    monkeypatch.setattr(script, "int8_peak", lambda ctx: 1.0)
    assert script.main(["--floor", "0.4"]) == 0
    assert script.main(["--floor", "0.6"]) == 1
    told = capsys.readouterr()
    assert "token" in told.out and "TOO SLOW" in told.out
    assert told.err.startswith("error: token: below 60 % of what this machine can do")


def test_every_kind_of_token_is_sampled(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitnet_cli.bench.shapes import Shape

    tiny = Shape("tiny", "bitnet-b1.58", 256, 384, 2, 4, 2, 64, 300, True, 1e-5, 1e4)
    monkeypatch.setattr(script, "SHAPE", tiny)
    found = {check.name: check for check in script.checks(Context())}
    assert list(found) == ["prompt", "token", "token, zeros skipped"]
    assert all(check.sample() > 0 for check in found.values())
    assert found["prompt"].products == script.PROMPT_TOKENS * found["token"].products
    assert found["token"].n_bytes > 2 * (4 * 256 * 256 + 3 * 256 * 384) // 4 // 2

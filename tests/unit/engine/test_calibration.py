"""The choice of a kernel: measured once, remembered per machine, and never lost to a bad file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bitnet_cli.engine import calibration
from bitnet_cli.native import Context, Plan, isas

LARGE = calibration.MIN_WEIGHTS


def vector_sets() -> list[str]:
    """What this CPU runs besides plain C."""
    found = [isa.name for isa in isas() if isa.supported and isa.name != "scalar"]
    if not found:
        pytest.skip("this CPU has nothing but plain C")
    return found


def remembered() -> Path:
    """The file, which these users have."""
    path = calibration.cache_file()
    assert path is not None
    return path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Measuring finds the kernel that is last in this list faster, and adds to it."""
    found = ["lut"]

    def measure(ctx: Context) -> dict[str, float]:
        winner = found[-1]
        found.append("mad" if winner == "lut" else "lut")
        return {"mad": 2.0, "lut": 2.0, winner: 1.0}

    monkeypatch.setattr(calibration, "measure", measure)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def test_small_models_are_not_measured(measured: list[str]) -> None:
    assert calibration.kernel_for(Context(None, 1), LARGE - 1) == "mad"
    assert len(measured) == 1 and not remembered().exists()


def test_measured_once_and_remembered(measured: list[str]) -> None:
    assert [calibration.kernel_for(Context(vector_sets()[-1], 1), LARGE) for _ in range(3)] == ["lut"] * 3
    assert len(measured) == 2
    assert [path.name for path in remembered().parent.iterdir()] == ["calibration.json"]


def test_threads_isa_and_build_are_told_apart(measured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sets = vector_sets()
    chosen = [calibration.kernel_for(Context(sets[-1], n), LARGE) for n in (1, 2)]
    monkeypatch.setattr(calibration, "build", lambda: "another")
    chosen.append(calibration.kernel_for(Context(sets[-1], 1), LARGE))
    assert chosen == ["lut", "mad", "lut"] and len(measured) == 4
    assert len(json.loads(remembered().read_text())) == 3


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '"x"', "null", "[" * 100000, "\x00\xff", '{"a": {"kernel": "fast"}}']
)
def test_a_damaged_file_is_ignored_and_replaced(measured: list[str], text: str) -> None:
    file = remembered()
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("latin-1"))
    assert [calibration.kernel_for(Context(vector_sets()[-1], 1), LARGE) for _ in range(2)] == ["lut", "lut"]
    assert len(json.loads(file.read_text())) == 1


def test_an_entry_that_makes_no_sense_is_measured_again(measured: list[str]) -> None:
    ctx = Context(vector_sets()[-1], 1)
    calibration.kernel_for(ctx, LARGE)
    file = remembered()
    file.write_text(json.dumps({key: {"kernel": ["lut"]} for key in json.loads(file.read_text())}))
    assert calibration.kernel_for(ctx, LARGE) == "mad" and len(measured) == 3


def test_an_unwritable_cache_costs_only_the_memory(measured: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    assert [calibration.kernel_for(Context(vector_sets()[-1], 1), LARGE) for _ in range(2)] == ["lut", "mad"]


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibration.cache_file() == tmp_path / "bitnet" / "calibration.json"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected = Path(os.path.expanduser("~")) / ".cache" / "bitnet" / "calibration.json"
    assert calibration.cache_file() == expected


def test_measuring_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices: what is faster there does not matter, that both are measured does."""
    monkeypatch.setattr(calibration, "ROWS", 64)
    monkeypatch.setattr(calibration, "COLS", 96)
    monkeypatch.setattr(calibration, "COPIES", 2)
    seconds = calibration.measure(Context(None, 2))
    assert set(seconds) == {"mad", "lut"} and all(0 < s < 1 for s in seconds.values())


def test_measuring_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ROWS": 64, "COLS": 96, "COPIES": 1, "SECONDS": 0.0}.items():
        monkeypatch.setattr(calibration, name, value)
    runs: list[object] = []
    run = Plan.run
    monkeypatch.setattr(Plan, "run", lambda *args: (runs.append(args), run(*args)))
    calibration.measure(Context(None, 1))
    assert len(runs) == 2 * (calibration.MIN_ROUNDS + 1)


def test_plain_c_is_not_measured(measured: list[str]) -> None:
    assert calibration.kernel_for(Context("scalar", 1), LARGE) == "mad" and len(measured) == 1


def test_a_user_without_a_home(measured: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert calibration.cache_file() is None
    assert [calibration.kernel_for(Context(vector_sets()[-1], 1), LARGE) for _ in range(2)] == ["lut", "mad"]

"""What a download shows on real terminals: wide, narrow, and one that can only print lines."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, noise

pexpect = pytest.importorskip("pexpect")

REPO = "org/model"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    server = FakeHub()
    server.add(REPO, model_with_quite_a_long_name__safetensors=noise(1_500_000))
    server.bytes_per_s = 1_000_000
    yield server
    server.close()


def shown(hub: FakeHub, folder: Path, columns: int, term: str = "xterm-256color") -> str:
    """All that a terminal is sent."""
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder), "TERM": term, "PYTHONPATH": os.getcwd()}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "bitnet_cli", "download", REPO],
        env=env,
        cwd=str(folder),
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=60,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return str(child.before)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_wide_terminal_has_bars(hub: FakeHub, tmp_path: Path) -> None:
    assert re.search(
        r"long_name\.safetensors ━+.* \d\.\d/1\.5 MB +[\d.]+ MB/s", plain(shown(hub, tmp_path, 80))
    )


def test_a_narrow_terminal_has_room_for_what_matters(hub: FakeHub, tmp_path: Path) -> None:
    text = plain(shown(hub, tmp_path, 40))
    assert re.search(r"…e\.safetensors +\d+% +[\d.]+ [kM]B/s +\d+:\d\d", text), text


def test_a_terminal_that_cannot_draw_has_lines(hub: FakeHub, tmp_path: Path) -> None:
    text = shown(hub, tmp_path, 80, "dumb")
    assert "\x1b" not in text, repr(text)
    assert "arrived and checked; total 100 %" in " ".join(text.split())

"""Help texts as snapshots, 80 columns wide. `BITNET_UPDATE_SNAPSHOTS=1 pytest tests/cli/test_help.py` writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SNAPSHOTS = Path(__file__).parent / "snapshots"
COMMANDS = {
    "bitnet": ["--help"],
    "bitnet_chat": ["chat", "--help"],
    "bitnet_run": ["run", "--help"],
    "bitnet_convert": ["convert", "--help"],
    "bitnet_inspect": ["inspect", "--help"],
    "bitnet_verify": ["verify", "--help"],
    "bitnet_perplexity": ["perplexity", "--help"],
    "bitnet_embed": ["embed", "--help"],
    "bitnet_bench": ["bench", "--help"],
    "bitnet_download": ["download", "--help"],
    "bitnet_list": ["list", "--help"],
    "bitnet_rm": ["rm", "--help"],
    "bitnet_verify_cache": ["verify-cache", "--help"],
    "bitnet_doctor": ["doctor", "--help"],
    "bitnet_config": ["config", "--help"],
    "bitnet_completion": ["completion", "--help"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_help(bitnet: Callable, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = bitnet(*COMMANDS[name])
    snapshot = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("BITNET_UPDATE_SNAPSHOTS"):
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_text(ran.out, encoding="utf-8")
    assert ran.code == 0 and ran.err == ""
    assert ran.out == snapshot.read_text(encoding="utf-8")
    assert max(len(line) for line in ran.out.splitlines()) <= 80


def test_no_command_shows_the_help(bitnet: Callable) -> None:
    assert bitnet() == bitnet("--help")


def test_version(bitnet: Callable) -> None:
    from bitnet_cli import __version__

    assert bitnet("--version").out.startswith(f"bitnet {__version__}")

"""Texts onto the clipboard: by a program, by the terminal, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bitnet_cli.cli.clipboard import copy
from bitnet_cli.errors import BitnetError


def test_copy_names_its_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TMUX", "SSH_CONNECTION", "SSH_TTY", "WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "wl-copy"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/copied\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BitnetError, match="no terminal"):
        copy("text")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert copy("Grüße") == "with `wl-copy`" and (tmp_path / "copied").read_text() == "Grüße"
    monkeypatch.setenv("SSH_CONNECTION", "elsewhere")
    with pytest.raises(BitnetError, match="no terminal"):
        copy("text")

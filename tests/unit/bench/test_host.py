"""The machine by its names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bitnet_cli import __version__, native
from bitnet_cli.bench import host


def test_this_host() -> None:
    found = host.this_host()
    assert found.cpu and found.cores >= 1 and found.compiler and found.version == __version__


def test_an_installed_package_knows_what_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_CHECKOUT", tmp_path)
    assert host.this_host().commit == native.commit()
    monkeypatch.setattr(host, "commit", lambda: "0123abc-dirty")
    assert host.this_host().commit == "0123abc-dirty"


def test_commits(tmp_path: Path) -> None:
    assert host._commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for step in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *step], check=True)
    commit = host._commit(tmp_path)
    assert commit is not None and 7 <= len(commit) <= 12 and int(commit, 16) >= 0
    (tmp_path / ".git" / "HEAD").write_text("damaged")
    assert host._commit(tmp_path) is None

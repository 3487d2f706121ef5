"""The machine by its names."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bitnet_cli import __version__
from bitnet_cli.bench import host


def test_this_host() -> None:
    found = host.this_host()
    assert found.cpu and found.cores >= 1 and found.compiler and found.version == __version__


def test_commits(tmp_path: Path) -> None:
    assert host._commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for step in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *step], check=True)
    commit = host._commit(tmp_path)
    assert commit is not None and 7 <= len(commit) <= 12 and int(commit, 16) >= 0
    (tmp_path / ".git" / "HEAD").write_text("damaged")
    assert host._commit(tmp_path) is None

"""Digests of files, as git and the hub's large files have them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bitnet_cli.hub.digest import digest_of


def test_digests_are_those_of_git_and_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello\n")
    assert digest_of(tmp_path / "x", is_sha256=False) == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert digest_of(tmp_path / "x", is_sha256=True) == hashlib.sha256(b"hello\n").hexdigest()

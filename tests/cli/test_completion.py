"""Completion, by the words and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["ch"], ["chat"]),
        (["con"], ["convert", "config"]),
        (["run", "--kernel", ""], ["auto", "mad", "lut"]),
        (["run", "--kv"], ["--kv-type"]),
        (["bench", "-o", "js"], ["json", "jsonl"]),
        (["run", "-m", "falcon3-10"], ["falcon3-10b", "falcon3-10b-base"]),
        (["chat", "2"], ["2b", "2b-bf16"]),
        (["chat", "-t", "2", "3"], ["3b"]),
        (["chat", "2b", "x"], []),
        (["run", "-t", ""], []),
        (["convert", "2b", "-o", ""], []),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["config", "top"], ["top-k", "top-p"]),
        (["nonsense", "x"], []),
    ],
)
def test_words(
    bitnet: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: list[str], expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = bitnet("completion", "words", "--", str(len(line)), "bitnet", *line)
    assert ran.code == 0 and sorted(ran.out.split()) == sorted(expected)


def test_files_that_may_be_models(bitnet: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.gguf", "mine.txt", ".hidden.gguf"):
        (tmp_path / name).touch()
    (tmp_path / "minefolder").mkdir()
    ran = bitnet("completion", "words", "--", "2", "bitnet", "inspect", "mi")
    assert ran.out.split() == ["mine.gguf", "minefolder/"]


@pytest.mark.parametrize("line", [[], ["x"], ["99", "bitnet"], ["1"], ["0", "bitnet"]], ids=str)
def test_nonsense_gives_nothing_bad(bitnet: Callable, line: list[str]) -> None:
    assert bitnet("completion", "words", "--", *line).code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(bitnet: Callable, shell: str, tmp_path: Path) -> None:
    ran = bitnet("completion", shell)
    assert ran.code == 0 and "bitnet completion words" in ran.out
    program = shutil.which(shell)
    if program is not None:
        (tmp_path / "script").write_text(ran.out)
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "bitnet"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bitnet_cli "$@"\n')
    program.chmod(0o755)
    script = """
        source <(bitnet completion bash)
        COMP_WORDS=(bitnet run --kernel l); COMP_CWORD=3; _bitnet; echo "${COMPREPLY[@]}"
        COMP_WORDS=(bitnet verify-); COMP_CWORD=1; _bitnet; echo "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
    )
    assert ran.stdout.split() == ["lut", "verify-cache"], ran.stderr

"""Two seconds of each fuzzer, through its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("target", ["fuzz_gguf.py", "fuzz_safetensors.py", "fuzz_convert.py"])
def test_two_seconds(target: str) -> None:
    result = subprocess.run(
        [sys.executable, HERE / target, "--seconds", "2", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
    )
    assert result.returncode == 0, result.stderr
    assert "read" in result.stdout and "FormatError" in result.stdout

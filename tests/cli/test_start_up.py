"""Help is quick: no heavy library is imported for it, and it costs little CPU."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

HEAVY = [
    "numpy",
    "rich",
    "tokenizers",
    "jinja2",
    "gguf",
    "safetensors",
    "huggingface_hub",
    "asyncio",
    "filelock",
    "httpx2",
    "prompt_toolkit",
    "pydantic",
    "_cffi_backend",
    "bitnet_cli.native._bitnet",
]
COMMANDS = [
    ["--help"],
    ["chat", "--help"],
    ["run", "--help"],
    ["convert", "--help"],
    ["inspect", "--help"],
    ["bench", "--help"],
    ["download", "--help"],
    ["list", "--json"],
    ["list", "--remote"],
]

PROBE = """
import json, sys
from bitnet_cli.cli.app import main
code = main(sys.argv[1:])
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]), file=sys.stderr)
"""


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *args], capture_output=True, text=True, check=True
    )
    code, imported = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert imported == []
    assert done.stdout


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_help_takes_less_than_150_ms_of_cpu(args: list[str]) -> None:
    # Compiled modules are kept on a user's machine, whatever this environment says.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def cpu_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "bitnet_cli", *args], capture_output=True, check=True, env=env)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    best = min(cpu_s() for _ in range(5))
    assert best < 0.150, f"{best * 1000:.0f} ms"

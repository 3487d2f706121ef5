"""What several tests share: the instruction sets of this machine and tiny models on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "reference"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument `isa` runs once for every instruction set of this machine."""
    if "isa" in metafunc.fixturenames and not any(
        "isa" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        from bitnet_cli import native

        metafunc.parametrize("isa", [isa.name for isa in native.isas() if isa.supported])


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random relu² model without a chat template."""
    from tiny_gguf import tiny_model

    return tiny_model().write(tmp_path_factory.mktemp("models") / "tiny.gguf")

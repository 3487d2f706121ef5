"""The processor by its name."""

from __future__ import annotations

from pathlib import Path

from bitnet_cli.native.processor import cpu_name


def test_cpu_names(tmp_path: Path) -> None:
    text = tmp_path / "cpuinfo"
    text.write_text("processor\t: 0\nmodel name\t: Some  CPU  @ 2 GHz\nmodel name\t: Other\n")
    assert cpu_name(text) == "Some CPU @ 2 GHz"
    text.write_text("CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n")
    assert cpu_name(text).endswith(" 0x41 0xd0c")
    assert cpu_name(tmp_path / "none")
    assert cpu_name()

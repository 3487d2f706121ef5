"""`bitnet doctor`: what it says of machines that are well and of machines that are not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_gguf import STRING, TYPE_I2_S, tiny_model

from bitnet_cli.doctor import checks, self_check
from bitnet_cli.machine import Memory
from bitnet_cli.native import isas

QUICK = ["doctor", "--quick", "--json"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def findings(ran_out: str) -> dict[str, dict]:
    return {f"{each['section']}/{each['name']}": each for each in json.loads(ran_out)["findings"]}


def test_this_machine(bitnet: Callable) -> None:
    ran = bitnet(*QUICK)
    assert ran.code == 0 and json.loads(ran.out)["problems"] == 0
    found = findings(ran.out)
    for isa in isas():
        if isa.supported and isa.name != "scalar":
            assert found[f"kernels/{isa.name}"]["text"] == "proven: the same bits as plain C"
        elif not isa.supported:
            assert found[f"kernels/{isa.name}"]["mark"] == "absent"
    assert {"processor/CPU", "memory/memory", "folders/hub cache", "versions/bitnet"} <= set(found)
    assert "speed/bandwidth" not in found


def test_on_a_screen(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = bitnet("doctor", "--quick")
    assert ran.code == 0 and ran.out.rstrip().splitlines()[-1].startswith("no problems")
    assert "\x1b" not in ran.out and "  ✓ CPU" in ran.out
    assert all(len(line) <= 80 for line in ran.out.splitlines() if "/" not in line)


def test_on_a_narrow_screen(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "48")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    lines = bitnet("doctor", "--quick").out.splitlines()
    advice = next(i for i, line in enumerate(lines) if "→" in line)
    assert all(len(line) <= 48 for line in lines[advice : advice + 2])


def test_a_terminal_without_colours(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[32m" in out_of(bitnet, monkeypatch, "xterm")
    assert "\x1b" not in out_of(bitnet, monkeypatch, "dumb")


def out_of(bitnet: Callable, monkeypatch: pytest.MonkeyPatch, term: str) -> str:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", term)
    return bitnet("doctor", "--quick").out


def test_wrong_kernels_are_a_problem(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(isa.supported and isa.name != "scalar" for isa in isas()):
        pytest.skip("this CPU has nothing but plain C")
    right = self_check.logits
    monkeypatch.setattr(
        self_check,
        "logits",
        lambda isa, n_threads=2: right(isa, n_threads)[:-1] + bytes([right(isa, n_threads)[-1] ^ 1]),
    )
    ran = bitnet(*QUICK)
    bad = [each for each in findings(ran.out).values() if each["mark"] == "problem"]
    assert (
        ran.code == 1
        and bad
        and all("other bits" in each["text"] and "BITNET_ISA" in each["advice"] for each in bad)
    )


def test_little_memory(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "memory", lambda: Memory(2_000_000_000, 500_000_000, limited=True))
    found = findings(bitnet(*QUICK).out)
    assert found["memory/memory"]["text"] == "0.5 GB free of 2.0 GB, a container's limit"
    assert found["memory/memory"]["mark"] == "note" and "2b" in found["memory/models"]["text"]


def test_a_folder_that_cannot_be_written(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    ran = bitnet(*QUICK)
    assert ran.code == 1 and "HF_HOME" in findings(ran.out)["folders/hub cache"]["advice"]


def test_a_folder_below_a_file(bitnet: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file" / "hf"))
    found = findings(bitnet(*QUICK).out)["folders/hub cache"]
    assert found["mark"] == "problem" and "cannot be written" in found["text"]


def test_a_folder_that_cannot_be_searched(
    bitnet: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may search every folder")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    monkeypatch.setenv("HF_HOME", str(closed / "hf"))
    found = findings(bitnet(*QUICK).out)["folders/hub cache"]
    closed.chmod(0o700)
    assert found["mark"] == "problem" and "cannot be written" in found["text"]


def test_huge_pages_and_cores(bitnet: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "enabled").write_text("always madvise [never]\n")
    monkeypatch.setattr(checks, "_HUGE_PAGES", tmp_path / "enabled")
    monkeypatch.setattr(checks, "processors", lambda: (64, 4))
    found = findings(bitnet(*QUICK).out)
    assert found["memory/huge pages"]["mark"] == "note" and "madvise" in found["memory/huge pages"]["advice"]
    assert "4 of 64 processors" in found["processor/cores"]["text"]


def test_version(bitnet: Callable) -> None:
    ran = bitnet("--version")
    assert (
        ran.code == 0
        and ran.out.startswith("bitnet 0.")
        and ran.out.rstrip().split(", ")[-1] in {i.name for i in isas()}
    )


def test_files_of_the_cache(bitnet: Callable, folders: Path) -> None:
    """One that is well is not mentioned, nor another program's; one that has a known fault or is damaged is."""
    faulty = tiny_model()
    faulty.metadata["tokenizer.chat_template"] = (STRING, "{{ 'BITNETAssistant: ' }}")
    snapshot = folders / "hf" / "hub" / "models--org--name" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    tiny_model().write(snapshot / "well.gguf")
    faulty.write(snapshot / "faulty.gguf")
    faulty.metadata["general.architecture"] = (STRING, "llama")
    faulty.tensors = {name: value for name, value in faulty.tensors.items() if value[1] != TYPE_I2_S}
    faulty.write(snapshot / "another.gguf")
    (snapshot / "damaged.gguf").write_bytes(b"GGUF nonsense")
    ran = bitnet(*QUICK)
    models = [
        each
        for each in json.loads(ran.out)["findings"]
        if each["name"] == "models" and each["section"] == "folders"
    ]
    assert [(each["text"].split(":")[0], each["mark"]) for each in models] == [
        ("org/name/damaged.gguf", "problem"),
        ("org/name/faulty.gguf", "note"),
    ]
    assert ran.code == 1 and "verify-cache" in models[0]["advice"]

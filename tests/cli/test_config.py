"""Defaults of options: flags over environment over file over the program's own."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = ["run", "Once upon a time", "-n", "4", "--json"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("BITNET_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "folder" / "config.toml"
    monkeypatch.setenv("BITNET_CONFIG", str(path))
    return path


def test_who_wins(bitnet: Callable, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(*flags: str) -> int:
        return int(json.loads(bitnet(*RUN, *flags).out)["threads"])

    assert bitnet("config", "threads", "3").code == 0
    assert threads() == 3 and threads("-t", "1") == 1
    monkeypatch.setenv("BITNET_THREADS", "2")
    assert threads() == 2 and threads("-t", "1") == 1
    monkeypatch.setenv("BITNET_THREADS", "")
    assert threads() == 3


def test_values_come_with_their_source(bitnet: Callable, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bitnet("config", "temp", "0.25")
    monkeypatch.setenv("BITNET_TOP_K", "7")
    rows = {row["name"]: row for row in json.loads(bitnet("config", "--json").out)}
    assert rows["temp"] == {"name": "temp", "value": 0.25, "source": "file", "place": str(file)}
    assert rows["top-k"] == {"name": "top-k", "value": "7", "source": "environment", "place": "BITNET_TOP_K"}
    assert rows["model"]["value"] is None and rows["model"]["source"] == "default"
    assert bitnet("config", "temp").out == "0.25\n"
    assert bitnet("config", "model").out == "" and "temp" in bitnet("config").out
    assert bitnet("config", "--path").out == f"{file}\n"


def test_other_lines_stay(bitnet: Callable, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("# mine\ntemp = 0.5 # warm\n\ntop-k = 3\n")
    assert bitnet("config", "temp", "0.75").code == bitnet("config", "system", 'Say "yes"\\no').code == 0
    assert file.read_text() == '# mine\ntemp = 0.75\n\ntop-k = 3\nsystem = "Say \\"yes\\"\\\\no"\n'
    assert tomllib.loads(file.read_text())["system"] == 'Say "yes"\\no'
    assert bitnet("config", "--unset", "temp").code == 0 and "temp" not in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("temp = ", "is not TOML"),
        ("temprature = 1", "did you mean `temp`"),
        ("temp = [1]", "must be a number or a text"),
        ("temp = true", "must be a number or a text"),
        ("[run]\ntemp = 1", "there is no setting `run`"),
        ('temp = "hot"', "`temp` takes a number, not `hot`"),
        ("temp = -1", "`temp`"),
        ("temp = nan", "`temp` takes a number, not `nan`"),
        ("threads = 0", "`threads`"),
        ('model = ""', "`model`: it is empty"),
        ('temp = "\\ud800"', "is not TOML"),
    ],
)
def test_damaged_files(bitnet: Callable, file: Path, content: str, words: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    ran = bitnet(*RUN)
    assert ran.code == 2 and ran.out == "" and str(file) in ran.err
    assert words in ran.err and "hint: " in ran.err and "Traceback" not in ran.err
    assert bitnet("run", "--help").code == 0, "help does not need the file"
    assert bitnet("config", "--path").code == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["tempp", "1"], "did you mean `temp`"),
        (["temp", "hot"], "takes a number"),
        (["threads", "0"], "`threads` must be at least 1"),
        (["model", ""], "it is empty"),
        (["--unset", "nothing"], "there is no setting"),
        (["temp", "--path"], "not several"),
        (["--unset", "temp", "--path"], "not several"),
    ],
)
def test_wrong_usage(bitnet: Callable, file: Path, args: list[str], words: str) -> None:
    ran = bitnet("config", *args)
    assert ran.code == 2 and words in ran.err and not file.exists()


def test_a_wrong_variable_is_named(bitnet: Callable, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITNET_TEMP", "hot")
    ran = bitnet(*RUN)
    assert ran.code == 2 and "BITNET_TEMP" in ran.err and "unset BITNET_TEMP" in ran.err


def test_a_link_and_a_mode_stay(bitnet: Callable, file: Path, tmp_path: Path) -> None:
    """Many people keep such files elsewhere, under version control, and link to them."""
    kept = tmp_path / "kept.toml"
    kept.write_text("temp = 0.1\n")
    kept.chmod(0o600)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(kept)
    assert bitnet("config", "temp", "0.5").code == 0
    assert file.is_symlink() and kept.read_text() == "temp = 0.5\n" and kept.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written(bitnet: Callable, file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    ran = bitnet("config", "temp", "0.5")
    assert ran.code in (1, 2) and "hint: " in ran.err and "Traceback" not in ran.err


def test_a_model_by_setting_and_by_argument(bitnet: Callable, file: Path, tiny_gguf: Path) -> None:
    """What is typed wins, in whatever way a command takes its model."""
    bitnet("config", "model", tiny_gguf)
    by_setting = bitnet("chat", "--json", "-n", "2", stdin=b"hi\n")
    assert by_setting.code == 0
    other = bitnet("chat", str(tiny_gguf), "--json", "-n", "2", stdin=b"hi\n")
    assert other.code == 0, other.err
    assert bitnet("bench", "--shape", "nonsense").code == 2
    assert "`-m`" not in bitnet("bench", "--shape", "nonsense").err

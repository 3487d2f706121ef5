"""How a process ends that is interrupted, terminated, or loses its streams: real processes, seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_checkpoints import write_checkpoint

import bitnet_cli.__main__

ROOT = Path(__file__).resolve().parents[2]
ENV = os.environ | {"PYTHONPATH": str(ROOT)}
SHORT = ("run", "Once", "-n", "4", "--temp", "0")
ENDLESS = (
    "run",
    "Once",
    "-n",
    "400",
    "--temp",
    "2",
    "--min-p",
    "0",
    "--top-k",
    "0",
    "-t",
    "1",
    "--seed",
    "1",
)


def start(*args: object, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bitnet_cli", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENV | env,
        text=True,
    )


def in_shell(line: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell line in which `$bitnet` is the program; stdin is empty."""
    return subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        env=ENV | {"bitnet": f"{sys.executable} -m bitnet_cli"},
        stdin=subprocess.DEVNULL,
    )


def test_ctrl_c_while_generating() -> None:
    """The text so far stays, the statistics are shown, and it is said once."""
    process = start(*ENDLESS, BITNET_ISA="scalar")
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    text, err = process.communicate(timeout=30)
    assert process.returncode == 130 and first + text != ""
    assert err.count("interrupted") == 1 and "stopped because interrupted" in err
    assert "Traceback" not in err and "error" not in err


def test_ctrl_c_before_generating(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitnet_cli.library import BitNetModel

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BitNetModel, "from_pretrained", interrupted)
    ran = bitnet("run", "a")
    assert ran.code == 130 and ran.out == "" and ran.err.endswith("error: interrupted\n")


def test_ctrl_c_while_importing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "bitnet_cli.cli.app", Interrupted("app"))
    assert bitnet_cli.__main__.main() == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 143, "terminated"),
    ],
)
@pytest.mark.parametrize("verify", [(), ("--verify",)], ids=["plain", "verify"])
def test_a_stopped_conversion_leaves_nothing(
    tmp_path: Path, number: int, code: int, word: str, verify: tuple[str, ...]
) -> None:
    write_checkpoint(tmp_path / "m", "bitnet", "masters", dtype="f32", vocab_size=30_000, num_hidden_layers=4)
    process = start("convert", tmp_path / "m", "-o", tmp_path / "out.gguf", *verify)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.part")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and err.endswith(f"error: {word}\n"), err
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_do_afterwards_what_they_did_before(bitnet: Callable, number: int) -> None:
    before = signal.getsignal(number)
    assert bitnet("--version").code == 0
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ignored_signals_stay_ignored(number: int) -> None:
    from bitnet_cli.cli.termination import termination_raises

    before = signal.signal(number, signal.SIG_IGN)
    try:
        with termination_raises():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_reader_that_goes_away_is_no_disaster(tiny_gguf: Path) -> None:
    process = start("run", "-m", tiny_gguf, "Hello", "-n", "100", "--temp", "0")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=30) == 1
    assert "Traceback" not in err and "Exception ignored" not in err and "error" not in err


@pytest.mark.parametrize(
    ("line", "code", "to_stdout", "to_stderr"),
    [
        (f"$bitnet {' '.join(SHORT)} 2>&-", 0, "upon a time", None),
        (f"$bitnet {' '.join(SHORT)} >&-", 0, None, "generated 4 tokens"),
        (f"$bitnet {' '.join(SHORT)} <&-", 0, "upon a time", "generated 4 tokens"),
        (f"$bitnet {' '.join(SHORT)} <&- >&- 2>&-", 0, None, None),
        ("$bitnet run <&-", 2, None, "error: there is no prompt"),
        ("$bitnet inspect nowhere.gguf 2>&-", 1, None, None),
        (f"$bitnet {' '.join(SHORT)} >/dev/full", 1, None, "error: the disk is full"),
        ("$bitnet --help >/dev/full", 1, None, "error: the disk is full"),
        (f"$bitnet {' '.join(SHORT)} 2>/dev/full", 0, "upon a time", None),
    ],
)
def test_streams_that_are_closed_or_full(
    line: str, code: int, to_stdout: str | None, to_stderr: str | None
) -> None:
    """None: nothing at all comes there."""
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = in_shell(line)
    assert done.returncode == code, done.stderr
    for text, words in ((done.stdout, to_stdout), (done.stderr, to_stderr)):
        assert text == "" if words is None else words in text
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr

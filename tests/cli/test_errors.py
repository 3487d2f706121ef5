"""Every error that a command can be brought to without a network, as a snapshot of what a person sees.

`snapshots/errors/COMMAND.txt` is the table: each line that begins with `$ ` is run as it stands, in a folder of faulty
files (`faulty_files`), and what it says to stderr and its exit code in brackets are compared. Before it may stand settings
of the environment and a `printf` whose output it reads; a comment in the line before it may name one of SITUATIONS. To add
a case, add its line and run `BITNET_UPDATE_SNAPSHOTS=1 pytest tests/cli/test_errors.py`; then read what it says.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub
from faulty_files import fill_hub, make_files

SNAPSHOTS = Path(__file__).parent / "snapshots" / "errors"
COMMANDS = sorted(path.stem for path in SNAPSHOTS.glob("*.txt"))
VARIABLES = (
    *("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "BITNET_ISA", "BITNET_KERNEL"),
    *("TMUX", "SSH_CONNECTION", "SSH_TTY", "WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME", "BITNET_DEBUG"),
)
ANSWERS_ON_STDOUT = ("inspect", "verify", "verify_cache", "doctor", "bench")


def _full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 0))


def _failing_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitnet_cli.formats.gguf_writer import GGUFWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GGUFWriter, "_open", full)


def _defect(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitnet_cli.library import BitNetModel

    monkeypatch.setattr(BitNetModel, "from_pretrained", lambda *_, **__: 1 // 0)


def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitnet_cli.library import BitNetModel

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(BitNetModel, "from_pretrained", fail)


def _interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitnet_cli.library import BitNetModel

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BitNetModel, "from_pretrained", interrupt)


def _large_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitnet_cli.cli import model_argument

    monkeypatch.setattr(model_argument, "ASK_BYTES", 1000)


def _untrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    def refuse(*_: object, **__: object) -> None:
        raise httpx2.ConnectError(
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
        )

    monkeypatch.setattr(httpx2.Client, "send", refuse)


SITUATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "with a full disk": _full_disk,
    "with a disk that becomes full": _failing_disk,
    "with a defect of this program": _defect,
    "with little memory": _little_memory,
    "with Ctrl-C": _interrupted,
    "with a model too large to be fetched unasked": _large_downloads,
    "with a certificate that nobody knows": _untrusted,
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faulty")
    make_files(folder)
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    server = FakeHub()
    fill_hub(server)
    yield server
    server.close()


@pytest.fixture
def say(
    bitnet: Callable, faulty: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], str]:
    """`say(line, situation)`: what a command line says to stderr, and its exit code."""
    from bitnet_cli.cli import forecast
    from bitnet_cli.hub import patience

    monkeypatch.setattr(forecast, "_bandwidth_gbps", lambda: 10.0)  # It takes half a second.
    monkeypatch.chdir(faulty)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    for name in ("HF_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(line: str, situation: str) -> str:
        printed, _, command = line.rpartition(" | ")
        words = shlex.split(command)
        stdin = codecs.escape_decode(shlex.split(printed)[1].encode())[0] if printed else b""
        before = set(os.listdir(faulty))
        with monkeypatch.context() as changed:
            while "=" in words[0]:
                changed.setenv(*words.pop(0).split("=", 1))
            if situation in SITUATIONS:
                SITUATIONS[situation](changed)
            assert words.pop(0) == "bitnet"
            ran = bitnet(*words, stdin=stdin)
        left = "".join(f"left behind: {name}\n" for name in sorted(set(os.listdir(faulty)) - before))
        for name in set(os.listdir(faulty)) - before:
            (faulty / name).unlink()
        if ran.out and words[0] not in ANSWERS_ON_STDOUT:
            left += f"to stdout: {len(ran.out.splitlines())} lines\n"
        return f"{_normal(ran.err, faulty, hub, tmp_path)}{left}[{ran.code}]\n"

    return run


def _normal(text: str, faulty: Path, hub: FakeHub, tmp_path: Path) -> str:
    """Without what differs from machine to machine."""
    for place, name in (
        (hub.url, "https://huggingface.co"),
        (str(faulty), "/home/you"),
        (str(tmp_path), "/home"),
    ):
        text = text.replace(place, name)
    text = re.sub(
        r"HF_HOME|(?<=/home/)XDG_CACHE_HOME",
        lambda found: {"XDG_CACHE_HOME": ".cache"}.get(found[0], found[0]),
        text,
    )
    text = re.sub(r"(this machine runs) .*", r"\1 …", text)
    return text[max(text.find("error: "), 0) :]  # What is said before, of memory and speed, is not the error.


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_said(say: Callable[[str, str], str], command: str) -> None:
    snapshot = SNAPSHOTS / f"{command}.txt"
    written = snapshot.read_text(encoding="utf-8")
    found, comment = "", ""
    for line in written.splitlines():
        if line.startswith("# "):
            found, comment = found + f"{line}\n", line.removeprefix("# ")
        elif line.startswith("$ "):
            found += f"{line}\n{say(line.removeprefix('$ '), comment)}\n"
            comment = ""
    if os.environ.get("BITNET_UPDATE_SNAPSHOTS"):
        snapshot.write_text(found, encoding="utf-8")
        written = found
    assert found == written


@pytest.mark.parametrize("command", COMMANDS)
def test_the_house_style(command: str) -> None:
    """One error in one sentence and one hint in a line each, which fit on a screen; no traceback, no internals."""
    for case in (SNAPSHOTS / f"{command}.txt").read_text(encoding="utf-8").split("$ ")[1:]:
        line, _, rest = case.partition("\n")
        said = re.sub(r"^# .*\n?", "", rest, flags=re.MULTILINE).strip()
        lines = [each for each in said.splitlines() if each]
        assert lines[-1] in ("[1]", "[2]", "[130]"), line
        errors = [each for each in lines if each.startswith("error: ")]
        hints = [each for each in lines if each.startswith("hint: ")]
        assert "left behind: " not in said and "to stdout: " not in said, line
        assert len(errors) == 1 and len(hints) == (0 if lines[-1] == "[130]" else 1), line
        assert not errors[0].endswith((".", ":", " ")), line
        assert all(len(each) <= 330 for each in lines), line
        assert not re.search(r"Traceback|<class|object at|NoneType|0x[0-9a-f]{8}", said), line

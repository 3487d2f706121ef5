"""A download that is killed at any moment goes on afterwards, and nothing with a real name is ever wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_hub import FakeHub, noise, oid_of

from bitnet_cli.hub.cache import RepoCache
from bitnet_cli.hub.part_file import read_note

REPO = "org/model"
PIECES = 64 << 10
CHILD = f"""
import sys
from bitnet_cli.hub import transfer
transfer.PIECE_BYTES, transfer.SAVE_S = {PIECES}, 0.1
from bitnet_cli.cli.app import main
sys.exit(main(["download", "{REPO}"]))
"""


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def check(content: bytes) -> None:
    cache = RepoCache(REPO)
    for blob in cache.blob_files():
        assert oid_of(blob.read_bytes()) == blob.name
    for part in (path for path in cache.parts() if path.suffix == ".part" and read_note(path)):
        data, at = part.read_bytes(), 0
        for start, stop in [*read_note(part)["missing"], [len(content)] * 2]:
            assert data[at:start] == content[at:start], "the note knows more than there is"
            at = stop


@pytest.mark.slow
def test_killed_fifty_times(hub: FakeHub) -> None:
    content = noise(3_000_000)
    hub.add(REPO, model__safetensors=content)
    hub.bytes_per_s = 250_000
    chance, kills, resumed = random.Random(5), 0, 0
    while kills < 50:
        child = start()
        asked = len(hub.log)
        while len(hub.log) == asked and child.poll() is None:
            time.sleep(0.01)  # Python has to start first: killing that proves nothing.
        time.sleep(chance.uniform(0.0, 0.5))
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.communicate()
        check(content)
        notes = [read_note(path) for path in RepoCache(REPO).parts() if path.suffix == ".part"]
        resumed += any(note and note["missing"] != [[0, len(content)]] for note in notes)
        if RepoCache(REPO).blob_files():  # Complete before all kills were done: again from the beginning.
            subprocess.run(["rm", "-rf", str(RepoCache(REPO).folder)], check=True)
    assert resumed > 10
    hub.bytes_per_s = 0
    child = start()
    out, err = child.communicate()
    assert child.returncode == 0, err.decode()
    assert (Path(out.decode().strip())).read_bytes() == content
    assert RepoCache(REPO).parts() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(hub: FakeHub, number: signal.Signals) -> None:
    content = noise(1_000_000)
    hub.add(REPO, model__safetensors=content)
    hub.bytes_per_s = 100_000
    child = start()
    while len(hub.contents_asked()) < 4:
        time.sleep(0.01)
    time.sleep(0.7)
    started = time.monotonic()
    child.send_signal(number)
    _, err = child.communicate()
    assert time.monotonic() - started < 2
    assert child.returncode == (130 if number == signal.SIGINT else 143)
    assert b"Traceback" not in err and err.splitlines()[-1].startswith(b"error: ")
    check(content)
    note = read_note(next(path for path in RepoCache(REPO).parts() if path.suffix == ".part"))
    assert sum(stop - start for start, stop in note["missing"]) < 900_000
    hub.bytes_per_s = 0
    child = start()
    out, _ = child.communicate()
    assert Path(out.decode().strip()).read_bytes() == content


def test_two_processes(hub: FakeHub) -> None:
    content = noise(600_000)
    hub.add(REPO, model__safetensors=content)
    hub.bytes_per_s = 200_000
    children = [start() for _ in range(2)]
    ends = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert len({out for out, _ in ends}) == 1
    assert Path(ends[0][0].decode().strip()).read_bytes() == content
    assert len(hub.contents_asked()) == -(-600_000 // PIECES)
    assert any(b"another process" in err for _, err in ends)

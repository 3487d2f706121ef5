"""Whatever the hub does: a downloaded file is right, or it is not there."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fake_hub
import pytest
from fake_hub import FakeHub, Repo, corrupt, cut_after, longer, noise, normal, status
from told import Told

from bitnet_cli.errors import BitnetError, HubError
from bitnet_cli.hub import download as downloads
from bitnet_cli.hub import transfer
from bitnet_cli.hub.cache import RepoCache, cached_repos
from bitnet_cli.hub.download import Plan, download, plan_download
from bitnet_cli.hub.part_file import note_of
from bitnet_cli.hub.remote import Hub
from bitnet_cli.hub.selection import select

REPO, FILE = "org/model", "model.safetensors"
SIZES = [0, 1, 9_999, 10_000, 99_999, 100_000, 100_001, 400_000, 1_000_003]


def planned(local_dir: Path | None = None, token: str | None = None) -> tuple[Hub, Plan]:
    hub = Hub(token)
    listing = hub.listing(REPO)
    return hub, plan_download(listing, select(listing.files), local_dir)


def get(local_dir: Path | None = None) -> dict[str, Path]:
    hub, plan = planned(local_dir)
    paths = download(hub, plan, Told())
    return {item.file.path: path for item, path in zip(plan.items, paths, strict=True)}


def nothing_is_wrong(repo: Repo) -> None:
    """Each file under its name in the cache is what the repository had, and each blob is what it is called."""
    everything = {content for files in repo.commits.values() for content in files.values()}
    for cache in cached_repos():
        for blob in cache.blob_files():
            assert fake_hub.oid_of(blob.read_bytes()) == blob.name
        for snapshot in cache.snapshots():
            for file in snapshot.files:
                assert file.local.read_bytes() == repo.commits[snapshot.commit][file.path]
                assert file.local.read_bytes() in everything


def leftovers() -> list[str]:
    return [path.name for cache in cached_repos() for path in cache.parts()]


@pytest.mark.parametrize("size", SIZES)
def test_sizes(hub: FakeHub, size: int) -> None:
    hub.add(REPO, model__safetensors=noise(size), config__json=b"{}")
    paths = get()
    assert paths[FILE].read_bytes() == noise(size)
    assert paths["config.json"].read_bytes() == b"{}"
    assert leftovers() == []


def test_the_layout_is_that_of_other_tools(hub: FakeHub) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    hub.add(REPO, model__safetensors=noise(300_000), config__json=b"{}")
    path = get()[FILE]
    root = RepoCache(REPO).root
    assert path.is_symlink() and path.resolve().parent == (RepoCache(REPO).blobs).resolve()
    found = scan_cache_dir(root)
    assert not found.warnings and {repo.repo_id for repo in found.repos} == {REPO}
    assert try_to_load_from_cache(REPO, FILE, cache_dir=root) == str(path)


def test_what_another_tool_has_downloaded_is_found(hub: FakeHub) -> None:
    from huggingface_hub import hf_hub_download

    hub.add(REPO, model__safetensors=noise(300_000))
    theirs = hf_hub_download(REPO, FILE, cache_dir=RepoCache(REPO).root, endpoint=hub.url)
    before = len(hub.contents_asked())
    assert str(get()[FILE]) == theirs
    assert len(hub.contents_asked()) == before


FAULTS: dict[str, tuple[list[fake_hub.Fault], bool]] = {
    "cut at once": ([cut_after(0)] * 3, True),
    "cut in the middle": ([cut_after(33_333)] * 8, True),
    "cut before the last byte": ([cut_after(99_999)] * 4, True),
    "one byte differs": ([normal, corrupt], True),
    "busy": ([status(503), status(429, Retry_After="0"), status(500)], True),
    "a signature has run out": ([status(403)], True),
    "longer than listed": ([longer], False),
    "refused": ([status(403)] * 60, False),
    "range refused": ([status(416)] * 4, False),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(hub: FakeHub, name: str) -> None:
    faults, succeeds = FAULTS[name]
    repo = hub.add(REPO, model__safetensors=noise(450_000))
    hub.faults = list(faults)
    if succeeds:
        get()
    else:
        with pytest.raises(HubError):
            get()
        assert RepoCache(REPO).blob_files() == []
        hub.faults = []
        get()
    nothing_is_wrong(repo)
    assert RepoCache(REPO).snapshots()[0].files[0].local.read_bytes() == noise(450_000)
    assert leftovers() == []


def test_always_corrupt_means_absent(hub: FakeHub) -> None:
    hub.add(REPO, model__safetensors=noise(250_000))
    hub.every = corrupt
    with pytest.raises(HubError, match="arrives damaged"):
        get()
    assert RepoCache(REPO).blob_files() == [] and leftovers() == []


@pytest.mark.parametrize("lie", [-1, 1, 1000])
def test_a_lie_about_the_size_is_found_out(hub: FakeHub, lie: int) -> None:
    hub.add(REPO, model__safetensors=noise(250_000))
    hub.size_lie = lie
    with pytest.raises(HubError, match="bytes according to the hub"):
        get()
    assert RepoCache(REPO).blob_files() == []
    hub.size_lie = 0
    assert get()[FILE].read_bytes() == noise(250_000)


def test_a_server_without_ranges(hub: FakeHub) -> None:
    hub.add(REPO, model__safetensors=noise(450_000))
    hub.ranges = False
    assert get()[FILE].read_bytes() == noise(450_000)


def test_a_server_without_ranges_that_is_cut(hub: FakeHub) -> None:
    """Nothing can be kept then; it begins anew a few times, and not for ever."""
    hub.add(REPO, model__safetensors=noise(900_000))
    hub.ranges = False
    hub.every = cut_after(600_000)
    with pytest.raises(HubError, match="neither whole nor in the ranges"):
        get()
    hub.every = None
    hub.faults = [cut_after(600_000)] * 4
    assert get()[FILE].read_bytes() == noise(900_000)


def test_the_next_run_goes_on(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CONNECTIONS", 1)
    hub.add(REPO, model__safetensors=noise(1_000_000))
    hub.faults = [normal] * 7 + [status(403)] * 40
    with pytest.raises(HubError):
        get()
    _, plan = planned()
    assert plan.missing_bytes == 300_000
    hub.faults, hub.log = [], []
    assert get()[FILE].read_bytes() == noise(1_000_000)
    assert hub.contents_asked() == [f"bytes={n}00000-{n}99999" for n in (7, 8, 9)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda part: note_of(part).write_text("{"),
        lambda part: note_of(part).write_text('{"oid": "x", "missing": []}'),
        lambda part: note_of(part).unlink(),
        lambda part: os.truncate(part, 1000),
        lambda part: part.write_bytes(bytes(part.stat().st_size)),
        lambda part: note_of(part).write_text(note_of(part).read_text().replace("[[", "[[1, 2], [")),
        lambda part: note_of(part).write_text('{"missing": [[-5, 1e9]]}'),
    ],
)
def test_a_damaged_part_does_no_harm(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(transfer, "CONNECTIONS", 1)
    hub.add(REPO, model__safetensors=noise(500_000))
    hub.faults = [normal] * 3 + [status(403)] * 40
    with pytest.raises(HubError):
        get()
    damage(next(path for path in RepoCache(REPO).parts() if path.suffix == ".part"))
    hub.faults = []
    assert get()[FILE].read_bytes() == noise(500_000)


def test_a_file_that_changes_between_runs(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CONNECTIONS", 1)
    repo = hub.add(REPO, model__safetensors=noise(500_000))
    hub.faults = [normal] * 3 + [status(403)] * 40
    with pytest.raises(HubError):
        get()
    repo.files[FILE] = noise(500_000, seed=1)
    hub.faults = []
    assert get()[FILE].read_bytes() == noise(500_000, seed=1)
    assert leftovers() == []
    nothing_is_wrong(repo)


def test_a_version_that_somebody_is_fetching_is_left_alone(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CONNECTIONS", 1)
    repo = hub.add(REPO, model__safetensors=noise(500_000))
    client, older = planned()
    reached, go_on = threading.Event(), threading.Event()

    def wait(handler: fake_hub.Handler, content: bytes) -> bool:
        reached.set()
        go_on.wait(30)
        return False

    hub.faults = [normal, normal, wait]
    paths: list[Path] = []
    thread = threading.Thread(target=lambda: paths.extend(download(client, older, Told())))
    thread.start()
    assert reached.wait(30)
    before = leftovers()
    assert any(name.endswith(".part") for name in before)
    repo.files[FILE] = noise(500_000, seed=1)
    assert get()[FILE].read_bytes() == noise(500_000, seed=1)
    assert set(before) <= set(leftovers())
    go_on.set()
    thread.join(30)
    assert paths[0].read_bytes() == noise(500_000)
    assert leftovers() == []
    nothing_is_wrong(repo)


def test_a_new_commit_shares_what_did_not_change(hub: FakeHub) -> None:
    repo = hub.add(REPO, model__safetensors=noise(500_000), config__json=b"{}")
    get()
    repo.files["config.json"] = b'{"new": 1}'
    hub.log = []
    _, plan = planned()
    assert plan.missing_bytes == 10 and not plan.target.folder.exists(), "a plan changes nothing"
    get()
    assert hub.contents_asked() == []
    snapshots = RepoCache(REPO).snapshots()
    assert len(snapshots) == 2
    assert [s.refs for s in snapshots if s.commit == repo.commit()] == [("main",)]
    nothing_is_wrong(repo)


def test_a_token_goes_to_the_hub_only(hub: FakeHub) -> None:
    other = FakeHub()  # Another port is another origin, as storage is another host.
    try:
        repo = hub.add(REPO, model__safetensors=noise(50_000))
        other.repos[REPO] = repo

        def elsewhere(handler: fake_hub.Handler, content: bytes) -> bool:
            location = f"{other.url}/storage/{REPO}/{fake_hub.oid_of(content)}"
            handler.answer(302, b"", Location=location)
            return True

        hub.every = elsewhere
        client, plan = planned(token="hf_secret")
        download(client, plan, Told())
    finally:
        other.close()
    assert {token for path, token in hub.tokens if path.startswith("/api")} == {"Bearer hf_secret"}
    assert len(other.tokens) > 0 and all(token is None for _, token in other.tokens)


def test_two_at_once_fetch_once(hub: FakeHub) -> None:
    repo = hub.add(REPO, model__safetensors=noise(450_000))
    hub.bytes_per_s = 400_000
    plans = [planned() for _ in range(2)]
    told = [Told(), Told()]
    errors: list[Exception] = []

    def run(i: int) -> None:
        try:
            download(*plans[i], told[i])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    nothing_is_wrong(repo)
    assert len(hub.contents_asked()) == 5
    assert sum("another process" in sentence for t in told for sentence in t.sentences) == 1


def test_retry_after_is_honoured(hub: FakeHub) -> None:
    hub.add(REPO, model__safetensors=noise(50_000))
    hub.faults = [status(429, Retry_After="1")]
    started = time.monotonic()
    client, plan = planned()
    told = Told()
    download(client, plan, told)
    assert time.monotonic() - started >= 1
    assert told.sentences == ["the hub limits how often it is asked (429); trying again in 1 s"]


def test_a_long_pause_is_told_not_waited_for(hub: FakeHub) -> None:
    hub.add(REPO, model__safetensors=noise(50_000))
    hub.every = status(429, Retry_After="3600")
    with pytest.raises(HubError, match="429") as caught:
        get()
    assert "3600 s" in (caught.value.hint or "")


def test_a_full_disk_is_told_before_the_first_byte(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, model__safetensors=noise(50_000))
    usage = shutil.disk_usage("/")._replace(free=downloads.SPARE_BYTES)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(BitnetError, match="not enough room"):
        get()
    assert hub.contents_asked() == []


def test_a_disk_that_fills_up_keeps_what_has_arrived(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CONNECTIONS", 1)
    hub.add(REPO, model__safetensors=noise(500_000))
    real, written = os.pwrite, [0]

    def pwrite(fd: int, data: bytes, at: int) -> int:
        if written[0] >= 200_000:
            raise OSError(28, "No space left on device")
        written[0] += len(data)
        return real(fd, data, at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        with pytest.raises(OSError, match="No space"):
            get()
    _, plan = planned()
    assert 0 < plan.missing_bytes <= 300_000
    assert get()[FILE].read_bytes() == noise(500_000)


@pytest.mark.parametrize("how", ["switched off", "impossible"])
def test_without_links(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "switched off":
        monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    else:

        def refuse(*_: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(os, "symlink", refuse)
    repo = hub.add(REPO, model__safetensors=noise(300_000), config__json=b"{}")
    path = get()[FILE]
    assert path.read_bytes() == noise(300_000) and not path.is_symlink()
    hub.log = []
    assert get()[FILE] == path
    assert hub.contents_asked() == []
    nothing_is_wrong(repo)


def test_into_a_folder(hub: FakeHub, tmp_path: Path) -> None:
    repo = hub.add(REPO, model__safetensors=noise(300_000))
    repo.files["sub/config.json"] = b"{}"
    there = tmp_path / "there"
    paths = get(there)
    assert paths[FILE] == there / FILE and paths[FILE].read_bytes() == noise(300_000)
    assert (there / "sub" / "config.json").read_bytes() == b"{}"
    assert cached_repos() == []
    hub.log = []
    get(there)
    assert hub.contents_asked() == []
    os.utime(there / FILE)  # Changed since the note, perhaps: it is read to know.
    get(there)
    assert hub.contents_asked() == []
    damaged = bytearray(noise(300_000))
    damaged[7] ^= 1
    (there / FILE).write_bytes(bytes(damaged))
    assert get(there)[FILE].read_bytes() == noise(300_000)
    assert not list(there.rglob("*.part*"))


def test_a_file_of_the_users_is_not_replaced(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, config__json=b"{}")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_bytes(b"my own notes")
    with pytest.raises(HubError, match="is there already"):
        get(folder)
    assert (folder / "config.json").read_bytes() == b"my own notes"

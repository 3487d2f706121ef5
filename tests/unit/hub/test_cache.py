"""The cache of all tools: what is found in it, what goes with a model, and what is found damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import FakeHub, noise

from bitnet_cli.errors import HubError
from bitnet_cli.hub import converted, folders, resolve
from bitnet_cli.hub.cache import RepoCache, cached_repos
from bitnet_cli.hub.download import download, offline_path, plan_download
from bitnet_cli.hub.names import parse
from bitnet_cli.hub.remote import Hub
from bitnet_cli.hub.removal import plan_removal, remove
from bitnet_cli.hub.selection import select
from bitnet_cli.hub.verification import checks, verify

REPO = "org/model"


class Quiet:
    """Hears nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def get(repo: str = REPO, only: str = "*") -> Path:
    hub = Hub("")
    listing = hub.listing(repo)
    plan = plan_download(listing, select(listing.files, include=[only]))
    download(hub, plan, Quiet())  # type: ignore[arg-type]
    return plan.target.folder


ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"HF_HOME": "/x/home"},
    {"HF_HUB_CACHE": "~/cache"},
    {"HUGGINGFACE_HUB_CACHE": "/x/old"},
    {"HF_HUB_CACHE": "$HOME/a", "HF_HOME": "/x/home"},
    {"XDG_CACHE_HOME": "/x/xdg"},
    {"HF_ENDPOINT": "https://mirror.example/"},
    {"HF_HUB_OFFLINE": "1"},
    {"TRANSFORMERS_OFFLINE": "yes"},
    {"HF_HUB_OFFLINE": "0"},
]
_THEIRS = """
from huggingface_hub import constants as c
print(c.HF_HUB_CACHE, c.ENDPOINT, c.HF_HUB_OFFLINE, sep="|")
"""


@pytest.mark.parametrize("values", ENVIRONMENTS, ids=str)
def test_the_environment_means_the_same_as_to_the_library(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_")):
            monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", _THEIRS], capture_output=True, text=True, check=True)
    ours = f"{folders.hub_cache()}|{folders.endpoint()}|{folders.is_offline()}"
    assert ours == done.stdout.strip()


def test_an_empty_cache(hub: FakeHub) -> None:
    assert cached_repos() == [] and checks() == []
    assert RepoCache(REPO).snapshot(None) is None and plan_removal(REPO, None) is None
    assert resolve.find_local(parse(REPO), "gguf") is None
    with pytest.raises(HubError, match="not on this machine"):
        offline_path(RepoCache(REPO), None)


def test_revisions_are_found_by_branch_and_commit(hub: FakeHub) -> None:
    repo = hub.add(REPO, config__json=b"{}")
    get()
    cache, commit = RepoCache(REPO), repo.commit()
    assert [cache.commit_of(r) for r in (None, "main", commit, commit[:8])] == [commit] * 4
    assert [cache.commit_of(r) for r in ("other", commit[:3], "0" * 40)] == [None] * 3


def test_what_is_foreign_is_passed_over(hub: FakeHub) -> None:
    hub.add(REPO, config__json=b"{}")
    folder = get()
    root = folders.hub_cache()
    (root / "models--x--y").write_text("a file")
    (root / "datasets--a--b").mkdir()
    (root / "models--empty--one").mkdir()
    (RepoCache(REPO).folder / "refs" / "bad").write_bytes(b"\xff\xfe")
    (RepoCache(REPO).folder / "snapshots" / "junk").write_text("x")
    (folder / "dangling.json").symlink_to("../../blobs/none")
    assert [cache.repo for cache in cached_repos()] == ["empty/one", REPO]
    assert {file.path: file.size for file in RepoCache(REPO).snapshot("main").files} == {  # type: ignore[union-attr]
        "config.json": 2,
        "dangling.json": -1,
    }
    assert [check.name for check in checks() if verify(check).state == "missing"] == ["dangling.json"]


def test_removal_spares_what_another_commit_needs(hub: FakeHub) -> None:
    repo = hub.add(REPO, model__safetensors=noise(50_000), config__json=b"{}")
    old = get()
    repo.files["config.json"] = b'{"new": 1}'
    new = get()
    removal = plan_removal(REPO, old.name)
    assert removal is not None and not removal.whole and removal.size_bytes == 2
    remove(removal)
    assert not old.exists()
    assert (new / "model.safetensors").read_bytes() == noise(50_000)
    assert len(RepoCache(REPO).blob_files()) == 2
    rest = plan_removal(REPO, None)
    assert rest is not None and rest.whole
    remove(rest)
    assert cached_repos() == []


def test_removal_stays_in_the_cache(hub: FakeHub, tmp_path: Path) -> None:
    """A link that leads out goes; what it leads to stays."""
    hub.add(REPO, config__json=b"{}")
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"precious")
    (get() / "link.gguf").symlink_to(mine)
    removal = plan_removal(REPO, None)
    assert removal is not None and mine not in removal.contents
    remove(removal)
    assert mine.read_bytes() == b"precious" and cached_repos() == []


def test_what_came_after_the_question_stays(hub: FakeHub) -> None:
    repo = hub.add(REPO, config__json=b"{}")
    get()
    removal = plan_removal(REPO, None)
    repo.files["config.json"] = b'{"new": 1}'
    new = get()
    assert removal is not None
    with pytest.raises(HubError, match="another version"):
        remove(removal)
    assert (new / "config.json").read_bytes() == b'{"new": 1}'


def test_removal_takes_parts_and_converted_files_along(hub: FakeHub) -> None:
    hub.add(REPO, model__safetensors=noise(50_000))
    commit = get().name
    (RepoCache(REPO).blobs / f"{'a' * 64}.part").write_bytes(b"x" * 100)
    made = converted.converted_path(REPO, commit, resolve.CONVERTED_KIND)
    made.parent.mkdir(parents=True)
    made.write_bytes(b"GGUF")
    converted.record(made)
    removal = plan_removal(REPO, None)
    assert removal is not None
    remove(removal)
    assert cached_repos() == [] and converted.converted_models() == [] and not made.parent.exists()


def test_removal_without_links(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    repo = hub.add(REPO, model__safetensors=noise(50_000))
    repo.files["sub/config.json"] = b"{}"
    get()
    assert {verify(check).state for check in checks()} == {"unknown"}
    removal = plan_removal(REPO, None)
    assert removal is not None and removal.size_bytes == 50_002
    remove(removal)
    assert cached_repos() == []


def test_what_is_being_downloaded_is_not_removed(hub: FakeHub) -> None:
    import filelock

    hub.add(REPO, config__json=b"{}")
    get()
    lock = next(RepoCache(REPO).lock("x").parent.glob("*.lock"))
    removal = plan_removal(REPO, None)
    assert removal is not None
    with filelock.FileLock(lock), pytest.raises(HubError, match="just being downloaded"):
        remove(removal)
    assert len(RepoCache(REPO).blob_files()) == 1


def test_damage_is_found_and_named(hub: FakeHub) -> None:
    hub.add(REPO, model__safetensors=noise(50_000), config__json=b"{}")
    folder = get()
    made = converted.converted_path(REPO, folder.name, resolve.CONVERTED_KIND)
    made.parent.mkdir(parents=True)
    made.write_bytes(b"GGUF")
    converted.record(made)
    assert {verify(check).state for check in checks()} == {"right"}
    blob = (folder / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[100] ^= 1
    blob.write_bytes(bytes(data))
    made.write_bytes(b"GGUf")
    found = {finding.check.name: finding for check in checks() if (finding := verify(check)).state != "right"}
    assert {name: finding.state for name, finding in found.items()} == {
        "model.safetensors": "damaged",
        f"converted {folder.name[:7]}": "damaged",
    }
    assert all("delete it" in (finding.remedy or "") for finding in found.values())
    again = f"`bitnet download {REPO} model.safetensors` fetches it again"
    assert found["model.safetensors"].remedy == f"delete it, then {again}"
    blob.unlink()
    finding = next(verify(check) for check in checks() if check.name == "model.safetensors")
    assert (finding.state, finding.remedy) == ("missing", again)


def test_the_remedy_for_what_this_program_never_downloads(hub: FakeHub) -> None:
    hub.add(REPO, model__safetensors=noise(50_000))
    folder = get()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").resolve().write_bytes(noise(50_000, 1))
    (finding,) = [verify(check) for check in checks()]
    assert finding.state == "damaged" and "bitnet download" not in (finding.remedy or "")


INDEX = json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}).encode()
CHECKPOINT = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": noise(20_000)}
SHARDED = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors.index.json": INDEX,
    "m-1.safetensors": b"1",
    "m-2.safetensors": b"2",
}
RESOLUTIONS: dict[str, tuple[dict[str, bytes], str, resolve.Need, str | None]] = {
    "a GGUF file": ({"m.gguf": b"GGUF"}, "*", "gguf", "m.gguf"),
    "a GGUF file before a checkpoint": ({**CHECKPOINT, "m.gguf": b"GGUF"}, "*", "gguf", "m.gguf"),
    "a checkpoint to convert": ({**CHECKPOINT, "m.gguf": b"GGUF"}, "*", "checkpoint", ""),
    "a GGUF file to convert": ({"m.gguf": b"GGUF"}, "*", "checkpoint", "m.gguf"),
    "a checkpoint to run": (CHECKPOINT, "*", "gguf", ""),
    "shards": (SHARDED, "*", "gguf", ""),
    "a shard is missing": (SHARDED, "[!m]*", "gguf", None),
    "no weights": (CHECKPOINT, "*.json", "gguf", None),
}


@pytest.mark.parametrize("name", RESOLUTIONS)
def test_what_a_name_finds_here(hub: FakeHub, name: str) -> None:
    files, only, need, expected = RESOLUTIONS[name]
    hub.add(REPO).files = dict(files)
    folder = get(only=only)
    asked = len(hub.log)
    found = resolve.find_local(parse(REPO), need)
    assert (found.path if found else None) == (None if expected is None else folder / expected)
    assert len(hub.log) == asked
    wanted = resolve.find_remote(parse(REPO), need, Hub(""))
    if expected:
        assert [file.path for file in wanted.files] == [expected] and wanted.kind == "gguf"
    else:
        assert wanted.kind == "checkpoint" and len(wanted.files) == len([f for f in files if f != "m.gguf"])


def test_the_catalogue_prefers_its_gguf_file_to_run_and_its_checkpoint_to_convert(hub: FakeHub) -> None:
    hub.add("microsoft/bitnet-b1.58-2B-4T").files = dict(CHECKPOINT)
    hub.add("microsoft/bitnet-b1.58-2B-4T-gguf").files = {
        "ggml-model-i2_s.gguf": b"GGUF",
        "other.gguf": b"GGUF",
    }
    run = resolve.find_remote(parse("2b"), "gguf", Hub(""))
    assert [file.path for file in run.files] == ["ggml-model-i2_s.gguf"]
    convert = resolve.find_remote(parse("2b"), "checkpoint", Hub(""))
    assert convert.listing.repo == "microsoft/bitnet-b1.58-2B-4T" and len(convert.files) == 3
    get("microsoft/bitnet-b1.58-2B-4T-gguf", "other*")
    assert resolve.find_local(parse("2b"), "gguf") is None
    get("microsoft/bitnet-b1.58-2B-4T")
    assert resolve.find_local(parse("2b"), "gguf").kind == "checkpoint"  # type: ignore[union-attr]
    get("microsoft/bitnet-b1.58-2B-4T-gguf")
    assert resolve.find_local(parse("2b"), "gguf").path.name == "ggml-model-i2_s.gguf"  # type: ignore[union-attr]


def test_a_converted_file_is_found(hub: FakeHub) -> None:
    hub.add(REPO).files = dict(CHECKPOINT)
    commit = get().name
    made = converted.converted_path(REPO, commit, resolve.CONVERTED_KIND)
    made.parent.mkdir(parents=True)
    made.write_bytes(b"GGUF")
    assert resolve.find_local(parse(REPO), "gguf") == resolve.Local(made, "gguf", REPO, commit)


def test_nothing_of_use(hub: FakeHub) -> None:
    hub.add(REPO).files = {"pytorch_model.bin": b"x", "config.json": b"{}"}
    with pytest.raises(HubError, match="neither a GGUF file nor safetensors"):
        resolve.find_remote(parse(REPO), "gguf", Hub(""))

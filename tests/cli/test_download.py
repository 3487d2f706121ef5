"""`bitnet download`, `list`, `rm`, `verify-cache`, and names of models wherever a command takes a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, noise, status

from bitnet_cli.hub import patience
from bitnet_cli.hub.cache import RepoCache

REPO = "org/model"
GGUF_OF_2B = "microsoft/bitnet-b1.58-2B-4T-gguf"
STORIES = Path(__file__).resolve().parents[2] / "bitnet_cli" / "models" / "stories.gguf"
Bitnet = Callable


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    server = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)
    yield server
    server.close()


def test_a_file_its_path_and_the_way_back(hub: FakeHub, bitnet: Bitnet) -> None:
    hub.add(GGUF_OF_2B).files = {"ggml-model-i2_s.gguf": noise(200_000), "README.md": b"# x"}
    ran = bitnet("download", "2b")
    assert ran.code == 0
    path = Path(ran.out.removesuffix("\n"))
    assert path.name == "ggml-model-i2_s.gguf" and path.read_bytes() == noise(200_000)
    assert "about 1.69 GB of memory" in ran.err and "tokens a second here" in ran.err
    assert "ggml-model-i2_s.gguf: 200 kB arrived and checked; total 100 %" in ran.err
    again = bitnet("download", "2b")
    assert again.out == ran.out and "all here already" in again.err
    listed = bitnet("list")
    assert GGUF_OF_2B in listed.out and "200 kB" in listed.out and "main" in listed.out
    assert bitnet("verify-cache").code == 0
    refused = bitnet("rm", "2b")
    assert refused.code == 2 and path.exists()
    assert bitnet("rm", "2b", "--yes").code == 0 and not path.exists()
    assert bitnet("rm", "2b", "--yes").code == 1
    assert bitnet("list").out == ""


def test_json(hub: FakeHub, bitnet: Bitnet) -> None:
    repo = hub.add(REPO, model__safetensors=noise(20_000), config__json=b"{}")
    ran = bitnet("download", REPO, "--json")
    value = json.loads(ran.out)
    assert ran.err == "" and value["repo"] == REPO and value["commit"] == repo.commit()
    assert value["total_bytes"] == value["missing_bytes"] == 20_002
    assert {file["path"]: file["size"] for file in value["files"]} == {
        "model.safetensors": 20_000,
        "config.json": 2,
    }
    assert all(Path(file["local"]).stat().st_size == file["size"] for file in value["files"])
    row = json.loads(bitnet("list", "--json").out)[0]
    assert row["repo"] == REPO and row["kind"] == "checkpoint" and row["revisions"][0]["refs"] == ["main"]
    assert json.loads(bitnet("verify-cache", "--json").out)["states"] == {"right": 2}
    assert json.loads(bitnet("rm", REPO, "--yes", "--json").out) == {"removed": [REPO], "bytes": 20_002}


def test_a_dry_run_fetches_nothing(hub: FakeHub, bitnet: Bitnet) -> None:
    hub.add(REPO, model__safetensors=noise(20_000), config__json=b"{}", pytorch_model__bin=b"x")
    ran = bitnet("download", REPO, "--dry-run")
    assert ran.code == 0 and hub.contents_asked() == []
    assert "model.safetensors" in ran.out and "pytorch_model.bin" not in ran.out
    assert not RepoCache(REPO).folder.exists()
    value = json.loads(bitnet("download", REPO, "--dry-run", "--json").out)
    assert value["dry_run"] and value["missing_bytes"] == 20_002


def test_weights_that_are_left_out_are_named(hub: FakeHub, bitnet: Bitnet) -> None:
    hub.add(REPO).files = {"config.json": b"{}", "a.bin": b"x", "b.pt": b"y", ".gitattributes": b""}
    assert "left out: `a.bin` and 1 more, weights in a format that" in bitnet("download", REPO).err
    assert json.loads(bitnet("download", REPO, "--json").out)["left_out"] == ["a.bin", "b.pt"]
    hub.repos[REPO].files["model.safetensors"] = noise(20_000)
    assert "left out" not in bitnet("download", REPO).err


def test_several_files_to_run(hub: FakeHub, bitnet: Bitnet) -> None:
    hub.add(REPO).files = {f"{name}.gguf": b"GGUF" for name in "abcd"}
    ran = bitnet("run", "-m", REPO, "hi")
    assert ran.code == 2 and f"`{REPO}` has 4 GGUF files" in ran.err
    assert f"`{REPO}/a.gguf` or `{REPO}/b.gguf` or `{REPO}/c.gguf` or another" in ran.err


def test_patterns_files_and_a_folder(hub: FakeHub, bitnet: Bitnet, tmp_path: Path) -> None:
    hub.add(REPO, model__safetensors=noise(20_000), config__json=b"{}", other__gguf=b"GGUF")
    ran = bitnet(
        "download", REPO, "--include", "*.json", "--include", "*.gguf", "--exclude", "o*", "--local-dir", "d"
    )
    assert ran.out == "d/config.json\n"
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"config.json", ".cache"}
    assert bitnet("download", REPO, "other.gguf", "config.json", "--local-dir", "d").out == "d\n"
    assert (tmp_path / "d" / "other.gguf").read_bytes() == b"GGUF"
    assert bitnet("download", REPO, "config.json", "--include", "*").code == 2


@pytest.mark.parametrize("option", [("--kernel", "fast"), ("--isa", "sse9"), ("--kv-type", "f64")], ids=str)
def test_nothing_is_downloaded_for_an_option_that_does_not_exist(
    hub: FakeHub, bitnet: Bitnet, option: tuple[str, str]
) -> None:
    hub.add(GGUF_OF_2B).files = {"ggml-model-i2_s.gguf": STORIES.read_bytes()}
    for command in (["run", "-m", "2b", "x"], ["chat", "2b"], ["bench", "-m", "2b"]):
        ran = bitnet(*command, *option)
        assert ran.code == 2 and f"`{option[1]}`" in ran.err and not hub.log


@pytest.mark.parametrize("asked", [["model.gguf"], ["--include", "*.gguf"]])
def test_a_short_name_and_gguf_files(hub: FakeHub, bitnet: Bitnet, asked: list[str]) -> None:
    hub.add("microsoft/bitnet-b1.58-2B-4T", config__json=b"{}")
    hub.add(GGUF_OF_2B, model__gguf=b"GGUF", config__json=b"{}")
    ran = bitnet("download", "2b", *asked)
    assert ran.code == 0 and "2B-4T-gguf" in ran.out and ran.out.endswith("model.gguf\n")
    assert "2B-4T-gguf" not in bitnet("download", "2b", "config.json").out


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["nosuch/model"], 1, "error: there is no model `nosuch/model` on the hub that you may see"),
        (["org/model", "--revision", "v9"], 1, "error: `org/model` has no revision `v9`"),
        (["org/model", "x.gguf"], 1, "error: the repository has no file `x.gguf`"),
        (["org/model", "x.bin"], 2, "error: `x.bin` is not downloaded: files of its kind can hold programs"),
        (["org/gated"], 1, "error: `org/gated` is gated: its owners decide who may download it"),
        (["2c"], 2, "error: there is no model `2c`: neither a file nor a name of the catalogue"),
        (
            ["org/model@a", "--revision", "b"],
            2,
            "error: `org/model@a` and `--revision b` contradict each other",
        ),
        (["org/model", "--exclude", "*"], 1, "error: no file of the repository is of a kind"),
    ],
)
def test_errors(hub: FakeHub, bitnet: Bitnet, args: list[str], code: int, sentence: str) -> None:
    hub.add(REPO, config__json=b"{}", x__bin=b"x")
    hub.add("org/gated").error = (403, "GatedRepo")
    ran = bitnet("download", *args)
    lines = ran.err.splitlines()
    assert ran.code == code and lines[0].startswith(sentence) and lines[-1].startswith("hint: ")
    assert ran.out == ""


def test_offline_takes_what_is_here(hub: FakeHub, bitnet: Bitnet, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, model__gguf=noise(20_000))
    path = bitnet("download", REPO).out
    asked = len(hub.log)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert bitnet("download", REPO).out == path
    for args in (["download", "org/other"], ["run", "-m", "2b", "hi"], ["convert", "2b"]):
        ran = bitnet(*args)
        assert ran.code == 1 and "HF_HUB_OFFLINE" in ran.err
    assert len(hub.log) == asked


@pytest.mark.parametrize(
    ("args", "code", "what"),
    [
        (["config.json"], 0, "config.json"),
        (["missing.gguf"], 1, "what is asked for of `org/model` is not on this machine"),
        (["--include", "*.gguf"], 1, "what is asked for of `org/model` is not on this machine"),
        (["--include", "*.json", "--exclude", "d/*"], 0, "config.json"),
        (["--include", "d/*"], 0, "d/e.json"),
        (["x.json", "--include", "*"], 2, "patterns have no meaning"),
        (["x.bin"], 1, "what is asked for"),
    ],
)
def test_offline_takes_what_is_asked_for(
    hub: FakeHub, bitnet: Bitnet, monkeypatch: pytest.MonkeyPatch, args: list[str], code: int, what: str
) -> None:
    hub.add(REPO).files = {"model.safetensors": noise(20_000), "config.json": b"{}", "d/e.json": b"[]"}
    assert bitnet("download", REPO).code == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ran = bitnet("download", REPO, *args)
    assert ran.code == code and what in (ran.err if code else ran.out.removesuffix("\n"))
    assert bool(ran.out) == (code == 0)


def test_damage_in_the_cache_is_named(hub: FakeHub, bitnet: Bitnet) -> None:
    hub.add(REPO, model__gguf=noise(20_000))
    path = Path(bitnet("download", REPO).out.strip())
    path.resolve().write_bytes(bytes(20_000))
    ran = bitnet("verify-cache")
    assert ran.code == 1
    assert (
        ran.out.startswith("damaged: org/model model.gguf (")
        and "then `bitnet download org/model model.gguf`" in ran.out
    )
    assert json.loads(bitnet("verify-cache", "--json").out)["problems"][0]["state"] == "damaged"


@pytest.mark.parametrize("command", ["run", "bench", "perplexity", "inspect", "inspect --diff", "verify"])
def test_commands_take_names(hub: FakeHub, bitnet: Bitnet, tmp_path: Path, command: str) -> None:
    hub.add(GGUF_OF_2B).files = {"ggml-model-i2_s.gguf": STORIES.read_bytes()}
    (tmp_path / "text").write_text("Once upon a time there was a little girl. " * 20)
    args = {
        "run": ["run", "-m", "2b", "Once", "-n", "2"],
        "bench": ["bench", "-m", "2b", "-p", "8", "-n", "2", "-r", "1"],
        "perplexity": ["perplexity", "-m", "2b", "-f", tmp_path / "text", "-c", "64", "--chunks", "1"],
        "inspect": ["inspect", "2b"],
        "inspect --diff": ["inspect", "2b", "--diff", "2b"],
        "verify": ["verify", "2b", "--against", GGUF_OF_2B],
    }[command]
    ran = bitnet(*args)
    assert ran.code == 0, ran.err
    assert "arrived and checked" in ran.err
    asked = len(hub.log)
    assert bitnet(*args).code == 0
    assert len(hub.log) == asked, "what is here needs no network"


def test_a_path_comes_before_a_name(hub: FakeHub, bitnet: Bitnet, tmp_path: Path) -> None:
    shutil.copy(STORIES, tmp_path / "2b")
    assert bitnet("run", "-m", "2b", "Once", "-n", "1").code == 0
    assert hub.log == []


def test_a_large_download_is_not_begun_unasked(
    hub: FakeHub, bitnet: Bitnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitnet_cli.cli import model_argument

    monkeypatch.setattr(model_argument, "ASK_BYTES", 1000)
    hub.add(GGUF_OF_2B).files = {"ggml-model-i2_s.gguf": STORIES.read_bytes()}
    ran = bitnet("run", "-m", "2b", "Once")
    assert ran.code == 1 and "3.67 MB would have to be downloaded" in ran.err
    assert "hint: `bitnet download 2b` fetches it, or add `--yes`" in ran.err
    assert hub.contents_asked() == []
    assert bitnet("run", "-m", "2b", "Once", "-n", "1", "--yes").code == 0


def test_a_checkpoint_is_converted_once(hub: FakeHub, bitnet: Bitnet, tmp_path: Path) -> None:
    from tiny_checkpoints import write_checkpoint

    source = tmp_path / "source"
    write_checkpoint(source, "bitnet-b1.58", "packed_auto")
    hub.add(REPO).files = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    first = bitnet("run", "-m", REPO, "a", "-n", "2", "--temp", "0", "--raw")
    assert first.code == 0 and "converted org/model" in first.err
    asked = len(hub.log)
    second = bitnet("run", "-m", REPO, "a", "-n", "2", "--temp", "0", "--raw")
    assert second.out == first.out and "converted" not in second.err and len(hub.log) == asked
    kinds = {row["kind"] for row in json.loads(bitnet("list", "--json").out)}
    assert kinds == {"checkpoint", "converted"}
    assert bitnet("verify", REPO, "--against", REPO).code == 0
    assert bitnet("verify-cache").code == 0
    assert bitnet("convert", REPO, "-o", "here.gguf").code == 0 and (tmp_path / "here.gguf").exists()
    assert bitnet("rm", REPO, "--yes").code == 0 and json.loads(bitnet("list", "--json").out) == []


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("one scale", {"i2_s", "f16"}),
        ("TriLM", {"iq2_bn", "f16"}),
        ("Bonsai", {"q2_0"}),
        ("Qwen3, groups of 256", {"q2_0", "f16"}),
    ],
)
def test_a_checkpoint_is_converted_to_types_that_hold_it(
    hub: FakeHub, bitnet: Bitnet, tmp_path: Path, name: str, types: set[str]
) -> None:
    from tiny_families import FAMILIES, write

    from bitnet_cli.formats.gguf_reader import GGUFReader
    from bitnet_cli.formats.gguf_types import type_name
    from bitnet_cli.hub.converted import converted_models

    source = write(tmp_path / "source", next(family for family in FAMILIES if family.name == name))
    hub.add(REPO).files = {path.name: path.read_bytes() for path in source.iterdir()}
    assert bitnet("run", "-m", REPO, "a", "-n", "2", "--raw").code == 0
    (made,) = converted_models(REPO)
    with GGUFReader(made.path) as reader:
        assert {type_name(tensor.type).lower() for tensor in reader.tensors.values()} == types | {"f32"}
    ran = bitnet("verify", str(made.path), "--against", str(source), "--json")
    assert ran.code == 0, ran.err


def test_a_list_reads_each_repository_once(
    hub: FakeHub, bitnet: Bitnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, config__json=b"{}")
    assert bitnet("download", REPO).code == 0
    read: list[str] = []
    snapshots = RepoCache.snapshots
    monkeypatch.setattr(RepoCache, "snapshots", lambda self: read.append(self.repo) or snapshots(self))
    assert REPO in bitnet("list").out and read == [REPO]


def test_what_another_tool_downloaded_can_go(hub: FakeHub, bitnet: Bitnet, tmp_path: Path) -> None:
    """Repositories of early days have no ORG; `bitnet list` shows them as they are."""
    folder = tmp_path / "hf" / "hub" / "models--gpt2"
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (folder / "snapshots" / ("a" * 40) / "config.json").write_text("{}")
    assert bitnet("list").out.splitlines()[1].split()[0] == "gpt2"
    assert bitnet("rm", "gpt3", "--yes").code == 2 and bitnet("rm", "gpt2@" + "b" * 40, "--yes").code == 1
    assert bitnet("rm", "gpt2", "--yes").code == 0 and not folder.exists()


def test_the_catalogue(bitnet: Bitnet) -> None:
    ran = bitnet("list", "--remote")
    lines = ran.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert any(line.split()[:3] == ["2b", "1.18", "GB"] for line in lines)
    rows = json.loads(bitnet("list", "--remote", "--json").out)
    assert {row["tested"] for row in rows} == {"format", "shape"}


def test_nothing_arrives(hub: FakeHub, bitnet: Bitnet) -> None:
    hub.add(REPO, model__gguf=noise(20_000))
    hub.every = status(503)
    ran = bitnet("download", REPO)
    assert (
        ran.code == 1
        and "error: the hub has a problem (503)" in ran.err
        and "what has arrived is kept" in ran.err
    )
    assert [path for path in RepoCache(REPO).folder.rglob("*") if path.suffix == ".gguf"] == []

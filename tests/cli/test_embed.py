"""`bitnet embed`: texts from everywhere, a line of numbers for each, one clear error for what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_gguf import tiny_model

from bitnet_cli.library import BitNetModel


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("qwen3", norm_in=True, pooling=3).write(tmp_path_factory.mktemp("embed") / "e.gguf")


def vectors(text: str) -> np.ndarray:
    return np.array([line.split() for line in text.splitlines()], np.float32)


def test_a_line_of_numbers_for_each_text(bitnet: Callable, model: Path) -> None:
    ran = bitnet("embed", "-m", model, "query: one", "Grüße")
    assert ran.code == 0 and "2 texts, 128 numbers each" in ran.err
    found = vectors(ran.out)
    assert found.shape == (2, 128)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    expected = BitNetModel.from_pretrained(model).embed(["query: one", "Grüße"])
    assert found.tobytes() == expected.tobytes()


def test_texts_from_arguments_file_and_stdin_are_the_same(
    bitnet: Callable, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("one\r\nzwölf\n\nend\n".encode())
    ran = [
        bitnet("embed", "-m", model, "one", "zwölf", "", "end"),
        bitnet("embed", "-m", model, "-f", file),
        bitnet("embed", "-m", model, stdin=file.read_bytes()),
    ]
    assert len(ran[0].out.splitlines()) == 4 and len({r.out for r in ran}) == 1


def test_json_has_the_same_numbers(bitnet: Callable, model: Path) -> None:
    ran = bitnet("embed", "-m", model, "one", "two", "--json")
    answer = json.loads(ran.out)
    assert ran.code == 0 and ran.err == ""
    assert (answer["dim"], answer["pooling"], answer["model"]) == (128, "last", str(model))
    assert [e["text"] for e in answer["embeddings"]] == ["one", "two"]
    found = np.array([e["embedding"] for e in answer["embeddings"]], np.float32)
    assert found.tobytes() == vectors(bitnet("embed", "-m", model, "one", "two").out).tobytes()


@pytest.mark.parametrize(
    "options", [["-t", "1"], ["-t", "3"], ["--isa", "scalar"], ["--kernel", "lut"]], ids=str
)
def test_numbers_do_not_depend_on_threads_isa_or_kernel(
    bitnet: Callable, model: Path, options: list[str]
) -> None:
    assert bitnet("embed", "-m", model, "one", *options).out == bitnet("embed", "-m", model, "one").out


@pytest.mark.parametrize(
    ("args", "stdin", "message"),
    [
        (["one", "-f", "texts.txt"], b"", "not both"),
        ([], b"", "there is no text"),
        ([], b"\n\n", "there is no text"),
        (["x" * 200], b"", "do not fit"),
        (["one", "-c", "129"], b"", "1 to 128 tokens"),
    ],
)
def test_wrong_usage(bitnet: Callable, model: Path, args: list[str], stdin: bytes, message: str) -> None:
    ran = bitnet("embed", "-m", model, *args, stdin=stdin)
    assert ran.code == 2 and message in ran.err and "hint:" in ran.err and ran.out == ""


def test_the_model_must_be_named(bitnet: Callable) -> None:
    ran = bitnet("embed", "one")
    assert ran.code == 2 and "`-m`" in ran.err


def test_a_model_that_gives_no_vectors(bitnet: Callable, tiny_gguf: Path) -> None:
    ran = bitnet("embed", "-m", tiny_gguf, "one")
    assert ran.code == 2 and "is no embedding model" in ran.err and "`bitnet run`" in ran.err


@pytest.mark.parametrize("command", [["run", "one"], ["bench", "-p", "4", "-n", "2"]], ids=str)
def test_an_embedding_model_continues_no_text(bitnet: Callable, model: Path, command: list[str]) -> None:
    ran = bitnet(command[0], "-m", model, *command[1:])
    assert ran.code == 2 and ran.out == "" and "Traceback" not in ran.err
    assert "is an embedding model" in ran.err and "`bitnet embed`" in ran.err


@pytest.mark.parametrize("command", ["chat", "perplexity"])
def test_an_embedding_model_is_refused_before_the_work_begins(
    bitnet: Callable, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("word " * 100)
    monkeypatch.setattr(BitNetModel, "tokenize", lambda *_, **__: pytest.fail("the text was taken up"))
    args = {"chat": ["chat", model], "perplexity": ["perplexity", "-m", model, "-f", text, "-c", "16"]}[
        command
    ]
    ran = bitnet(*args, stdin=b"")
    assert ran.code == 2 and ran.out == ""
    assert (
        ran.err == f"error: {model} is an embedding model: it turns texts into vectors and continues none\n\n"
        "hint: `bitnet embed` is for it\n"
    )

"""Conversations to files and back; files that somebody else wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_gguf import ARRAY, STRING, tiny_model
from tiny_models import converted

from bitnet_cli.chat.conversation import Conversation, Reply
from bitnet_cli.chat.transcript import load, save
from bitnet_cli.chat.turn import Turn
from bitnet_cli.errors import BitnetError, FormatError, UsageError
from bitnet_cli.library import BitNetModel, GenerationConfig

HEADINGS = "a\n## User\nb\n\\## Assistant  \n### User\n ## User\n\n## System"


@pytest.fixture(scope="module")
def bitnet(tmp_path_factory: pytest.TempPathFactory) -> BitNetModel:
    path = converted(tmp_path_factory.mktemp("models"), "bitnet-b1.58", "packed_auto")
    return BitNetModel.from_pretrained(path, n_threads=1)


@pytest.fixture
def conversation(bitnet: BitNetModel) -> Conversation:
    made = Conversation(bitnet, "Be brief\n\nand kind", GenerationConfig(max_new_tokens=8))
    for text in ("Hello", "Grüße 日本\n\x00\ud800 two"):
        list(made.say(text))
    return made


def resumed(path: Path, model: BitNetModel) -> Conversation:
    found = load(path, model)
    made = Conversation(model, found.system, GenerationConfig(max_new_tokens=8))
    made.resume(found.turns)
    return made


def test_json_goes_on_exactly(conversation: Conversation, bitnet: BitNetModel, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    save(conversation, path)
    assert load(path, bitnet).notes == []
    other = resumed(path, bitnet)
    assert [turn.ids for turn in other.turns] == [turn.ids for turn in conversation.turns]
    first, second = Reply(), Reply()
    list(conversation.say("And?", first))
    list(other.say("And?", second))
    assert other.turns[2].ids == conversation.turns[2].ids
    assert second.prompt_tokens == 1 and second.reused_tokens == first.prompt_tokens + first.reused_tokens - 1


@pytest.mark.parametrize("suffix", [".md", ".json", ".MD"])
@pytest.mark.parametrize(
    "turns",
    [[("Hello", "I am fine")], [(HEADINGS, HEADINGS), ("x", "")], [("```\n# code\n```", "* a\n* b\n\n\nc")]],
)
def test_texts_come_back(
    bitnet: BitNetModel, tmp_path: Path, suffix: str, turns: list[tuple[str, str]]
) -> None:
    for system in ("", HEADINGS):
        made = Conversation(bitnet, system)
        made.resume([Turn(*turn) for turn in turns])
        path = tmp_path / f"chat{suffix}"
        save(made, path, overwrite=True)
        found = load(path, bitnet)
        assert [(turn.user, turn.answer) for turn in found.turns] == turns
        assert found.system == system


def test_markdown_is_what_a_person_would_write(bitnet: BitNetModel, tmp_path: Path) -> None:
    made = Conversation(bitnet, "Be brief")
    made.resume([Turn("Hello", "I am **fine**")])
    save(made, tmp_path / "chat.md")
    text = (tmp_path / "chat.md").read_text(encoding="utf-8")
    assert text.endswith("\n\n## System\n\nBe brief\n\n## User\n\nHello\n\n## Assistant\n\nI am **fine**\n")
    assert text.startswith("# Conversation with ")


def test_files_are_written_as_a_whole(
    conversation: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.json"
    save(conversation, path, private=True)
    before = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(BitnetError, match="exists already"):
        save(conversation, path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BitnetError, match="cannot be written: No space"):
        save(conversation, path, overwrite=True)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(BitnetError, match="cannot be written"):
        save(conversation, tmp_path / "nowhere" / "chat.md")
    with pytest.raises(UsageError, match=r"`.md` or `.json`"):
        save(conversation, tmp_path / "chat.txt")


def changed(conversation: Conversation, path: Path, **answer: object) -> Path:
    """A saved conversation whose first answer is changed by hand."""
    save(conversation, path, overwrite=True)
    whole = json.loads(path.read_text(encoding="utf-8"))
    whole["messages"][1] |= answer
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def test_ids_that_are_not_their_text_are_not_used(
    conversation: Conversation, bitnet: BitNetModel, tmp_path: Path
) -> None:
    path, ids = tmp_path / "chat.json", list(conversation.turns[0].ids or ())
    eot = bitnet.tokenizer.control_id("<|eot_id|>")
    for wrong in ([*ids, eot], ids[1:], [*ids, -1], [*ids, 10**9], [*ids, True], ["a"], "a", None, [1.5]):
        found = load(changed(conversation, path, ids=wrong), bitnet)
        assert found.turns[0].ids is None and found.turns[1].ids == conversation.turns[1].ids
        assert "1 answers" in found.notes[0]
    found = load(changed(conversation, path, content="I never said that <|eot_id|>"), bitnet)
    assert found.turns[0].ids is None
    control = [i for i in resumed(path, bitnet)._encode() if bitnet.tokenizer.is_control(i)]
    assert control == [bitnet.tokenizer.bos_id] + [eot] * 5


def test_another_vocabulary(conversation: Conversation, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    save(conversation, path)
    model = tiny_model()
    tokens = list(model.metadata["tokenizer.ggml.tokens"][1][1])  # type: ignore[index]
    tokens[65], tokens[66] = tokens[66], tokens[65]
    model.metadata["tokenizer.ggml.tokens"] = (ARRAY, (STRING, tokens))
    other = BitNetModel.from_pretrained(model.write(tmp_path / "other.gguf"), n_threads=1)
    found = load(path, other)
    assert all(turn.ids is None for turn in found.turns) and "another vocabulary" in found.notes[0]
    assert [turn.answer for turn in found.turns] == [turn.answer for turn in conversation.turns]


WRONG = {
    "empty.json": "",
    "list.json": "[]",
    "other.json": '{"format": "other"}',
    "version.json": '{"format": "bitnet-chat", "version": 9, "messages": []}',
    "messages.json": '{"format": "bitnet-chat", "version": 1, "messages": [3]}',
    "content.json": '{"format": "bitnet-chat", "version": 1, "messages": [{"role": "user", "content": 3}]}',
    "role.json": '{"format": "bitnet-chat", "version": 1, "messages": [{"role": "tool", "content": "a"}]}',
    "half.json": '{"format": "bitnet-chat", "version": 1, "messages": [{"role": "user", "content": "a"}]}',
    "deep.json": "[" * 100_000,
    "latin.json": b"\xff",
    "empty.md": "",
    "text.md": "Hello\n\n# User\n",
    "half.md": "## User\n\nHello\n",
    "twice.md": "## User\n\nHello\n\n## User\n\nHello\n",
    "system.md": "## User\n\na\n\n## Assistant\n\nb\n\n## System\n\nc\n",
    "latin.md": b"\xff",
}


@pytest.mark.parametrize("name", WRONG)
def test_files_that_are_something_else(bitnet: BitNetModel, tmp_path: Path, name: str) -> None:
    content = WRONG[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FormatError, match="not a saved conversation"):
        load(tmp_path / name, bitnet)


def test_files_that_cannot_be_read(bitnet: BitNetModel, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.json", bitnet)
    with pytest.raises(UsageError, match=r"\.md"):
        load(tmp_path / "chat.gguf", bitnet)

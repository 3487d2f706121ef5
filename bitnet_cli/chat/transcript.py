"""Conversations in files: Markdown for people, JSON to go on exactly where one stopped.

JSON has the ids that the model generated, and what vocabulary they belong to. A file may come from anywhere, so ids are used
only if they say what their text says, and hold no control token: whoever writes a file can put words into both mouths, but
cannot end a turn in the middle of one. Markdown has texts only; a line of a text that looks like one of its headings is
written with a backslash before it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitnet_cli.chat.conversation import Conversation
from bitnet_cli.chat.turn import Turn
from bitnet_cli.errors import BitnetError, FormatError, UsageError
from bitnet_cli.library import BitNetModel

FORMAT, VERSION = "bitnet-chat", 1
SUFFIXES = (".json", ".md")
MAX_BYTES = 1 << 26
_HEADING = re.compile(r"^(\\*)## (System|User|Assistant)([ \t]*)$", re.MULTILINE)
_ROLES = ("user", "assistant")


@dataclass
class Transcript:
    """What a file says."""

    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be taken over, a sentence each."""


def save(conversation: Conversation, path: Path, *, overwrite: bool = False, private: bool = False) -> None:
    """Writes a conversation as JSON or Markdown, by the file's suffix; the file is there as a whole or not at all.

    Args:
        overwrite: replace a file that is there.
        private: nobody else may read it.

    Raises:
        UsageError: another suffix.
        BitnetError: the file exists or cannot be written.
    """
    suffix = _suffix(path)
    if not overwrite and os.path.lexists(path):
        raise BitnetError(
            f"{path} exists already", hint="choose another name, or `/save -f NAME` to replace it"
        )
    text = _to_json(conversation) if suffix == ".json" else _to_markdown(conversation)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with open(number, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space, or write elsewhere" if full else "check the directory, its owner and mode"
        raise BitnetError(f"{path} cannot be written: {error.strerror}", hint=hint) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: Path, model: BitNetModel) -> Transcript:
    """Reads a conversation that `save` wrote, or one in the same form.

    Raises:
        UsageError: the suffix is of another kind of file.
        FormatError: the file is not of this form.
        OSError: it cannot be read.
    """
    suffix = _suffix(path)
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"more than {MAX_BYTES >> 20} MiB are no conversation", path=path)
    try:
        text = path.read_text(encoding="utf-8")
        found = _from_json(text, model) if suffix == ".json" else _from_markdown(text)
    except (ValueError, RecursionError) as error:  # Not UTF-8, not JSON, or not of the form.
        reason = (
            str(error) if isinstance(error, _FormError) else "it is not valid " + suffix.strip(".").upper()
        )
        raise FormatError(
            f"this is not a saved conversation: {reason}",
            path=path,
            hint="`/save` writes files that can be loaded",
        ) from None
    return found


class _FormError(ValueError):
    """What is wrong with a file's form."""


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"the name of a conversation ends in `.md` or `.json`, not `{path.name}`",
            hint="`.md` to read it, `.json` to go on with it exactly",
        )
    return suffix


# ---- JSON ----


def _to_json(conversation: Conversation) -> str:
    messages: list[dict[str, Any]] = []
    for turn in conversation.turns:
        messages.append({"role": "user", "content": turn.user})
        answer: dict[str, Any] = {"role": "assistant", "content": turn.answer or ""}
        if turn.finish_reason:
            answer["finish_reason"] = turn.finish_reason
        if turn.ids is not None:
            answer["ids"] = list(turn.ids)
        messages.append(answer)
    model = conversation.model
    whole = {
        "format": FORMAT,
        "version": VERSION,
        "model": {"name": model.config.name, "vocabulary": model.tokenizer.fingerprint()},
        "system": conversation.system,
        "messages": messages,
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _from_json(text: str, model: BitNetModel) -> Transcript:
    whole = json.loads(text)
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise _FormError(f"`format` is not `{FORMAT}`")
    if whole.get("version") != VERSION:
        raise _FormError(f"its version is not {VERSION}")
    messages = whole.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise _FormError("`messages` is not a list of messages")
    found = Transcript(system=_string(whole, "system", ""))
    made_with = whole.get("model")
    vocabulary = made_with.get("vocabulary") if isinstance(made_with, dict) else None
    same = vocabulary == model.tokenizer.fingerprint()
    if not same and vocabulary is not None:
        found.notes.append("the conversation was had with another vocabulary: its answers are read as texts")
    odd = 0
    texts = [(_string(message, "role"), _string(message, "content")) for message in messages]
    found.turns = _turns(texts)
    for turn, message in zip(found.turns, messages[1::2], strict=True):
        turn.finish_reason = _string(message, "finish_reason", "")
        if same and "ids" in message:
            turn.ids = _trusted_ids(message["ids"], turn.answer or "", model)
            odd += turn.ids is None
    if odd:
        found.notes.append(f"the ids of {odd} answers are not those of their texts: they are read as texts")
    return found


def _string(whole: dict[str, Any], key: str, default: str | None = None) -> str:
    value = whole.get(key, default)
    if not isinstance(value, str):
        raise _FormError(f"`{key}` is missing or not a text")
    return value


def _trusted_ids(ids: object, text: str, model: BitNetModel) -> tuple[int, ...] | None:
    """Ids that say what the text says and command nothing; None for others."""
    n_vocab = model.tokenizer.n_vocab
    if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < n_vocab for i in ids):
        return None
    if any(model.tokenizer.is_control(i) for i in ids) or model.detokenize(ids).strip() != text.strip():
        return None
    return tuple(ids)


# ---- Markdown ----


def _to_markdown(conversation: Conversation) -> str:
    sections = [("System", conversation.system)] if conversation.system else []
    for turn in conversation.turns:
        sections += [("User", turn.user), ("Assistant", turn.answer or "")]
    title = " ".join(f"Conversation with {conversation.model.config.name or 'a model'}".split())
    texts = (f"## {name}\n\n" + _HEADING.sub(r"\\\g<0>", text.strip()) + "\n" for name, text in sections)
    return "\n".join([f"# {title}\n", *texts])


def _from_markdown(text: str) -> Transcript:
    sections: list[tuple[str, str]] = []
    parts = _HEADING.split(text)
    name, content = "", ""
    for backslashes, heading, space, after in zip(*(parts[i::4] for i in (1, 2, 3, 4)), strict=True):
        if backslashes:
            content += f"{backslashes[1:]}## {heading}{space}{after}"
        else:
            sections.append((name, content))
            name, content = heading.lower(), after
    sections.append((name, content))
    found = Transcript()
    texts = [(role, content.strip()) for role, content in sections[1:]]
    if texts and texts[0][0] == "system":
        found.system = texts.pop(0)[1]
    if not texts:
        raise _FormError("it has no heading `## User`")
    found.turns = _turns(texts)
    return found


def _turns(texts: list[tuple[str, str]]) -> list[Turn]:
    """Turns from (role, text) of users and assistants, who must alternate."""
    for n, (role, _) in enumerate(texts):
        if role != _ROLES[n % 2]:
            raise _FormError(f"message {n + 1} should be of `{_ROLES[n % 2]}`")
    if len(texts) % 2:
        raise _FormError("the last message has no answer")
    return [Turn(user, answer) for (_, user), (_, answer) in zip(texts[::2], texts[1::2], strict=True)]

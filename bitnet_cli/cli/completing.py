"""What can stand where the cursor is: commands, options, values, models, and nothing where files are meant."""

from __future__ import annotations

import os
from typing import Any

VALUES = {
    "--kernel": ("auto", "mad", "lut"),
    "--kv-type": ("f32", "f16", "i8"),
    "--outtype": ("i2_s", "tl1", "tl2", "tq1_0", "tq2_0", "q2_0", "iq2_bn", "f16"),
    "--embed-type": ("f16", "q8_0", "q6_k", "q4_0", "q2_0", "keep"),
    "--i2s-layout": ("x86", "arm64"),
    "--isa": ("scalar", "avx2", "avxvnni", "avx512icl", "neon", "dotprod", "i8mm"),
}
"""Of options that take one of a few words."""
_FIRST_IS_MODEL = ("chat", "convert", "download", "inspect", "rm")


def candidates(group: Any, line: list[str]) -> list[str]:
    """The words that may complete a line; none where the shell should offer files.

    Args:
        group: the parser's group of commands.
        line: the number of the word to complete, then all words with the program's name.
    """
    if not line or not line[0].isdigit():
        return []
    index, words = int(line[0]), line[1:]
    word, before = (words[index] if index < len(words) else ""), words[1:index]
    commands = {name: command for name, command in group.commands.items() if not command.hidden}
    if not before:
        return _matching(word, [*commands, "--help", "--version"] if word.startswith("-") else list(commands))
    command = commands.get(before[0])
    if command is None:
        return []
    option = _option(command, before[-1])
    if option is not None and not option.is_flag:
        return _matching(word, _values_of(option))
    if word.startswith("-"):
        return _matching(
            word, [name for param in command.params for name in param.opts if name.startswith("--")]
        )
    if before[0] in _FIRST_IS_MODEL and not _arguments(command, before[1:]):
        return _matching(word, _models())
    if before[0] == "config" and not _arguments(command, before[1:]):
        from bitnet_cli.cli.settings import SETTINGS

        return _matching(word, list(SETTINGS))
    return _matching(word, ["bash", "zsh", "fish"]) if before[0] == "completion" else []


def _matching(word: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(word)]


def _option(command: Any, word: str) -> Any | None:
    """The option that a word is the name of."""
    return next((param for param in command.params if word.startswith("-") and word in param.opts), None)


def _arguments(command: Any, words: list[str]) -> list[str]:
    """The words that are neither options nor their values."""
    found, is_value = [], False
    for word in words:
        if is_value:
            is_value = False
        elif word.startswith("-"):
            option = _option(command, word)
            is_value = option is not None and not option.is_flag
        else:
            found.append(word)
    return found


def _values_of(option: Any) -> list[str]:
    if "--model" in option.opts:
        return _models()
    choices = getattr(option.type, "choices", None)
    return list(choices or next((VALUES[name] for name in option.opts if name in VALUES), ()))


def _models() -> list[str]:
    """Names of the catalogue, and files and folders here that may be models."""
    from bitnet_cli.hub.catalogue import CATALOGUE

    try:
        here = [
            e.name + os.sep if e.is_dir() else e.name for e in os.scandir(".") if not e.name.startswith(".")
        ]
    except OSError:
        here = []
    files = [name for name in here if name.endswith((".gguf", os.sep))]
    return [*CATALOGUE, *sorted(files)]

"""What can stand where the cursor is: commands, options, values, models; and which files, where files are meant.

The answer is lines of text that the script of any shell can read: a word, perhaps with a tab and what it means, or one of
`FILES`, which asks the shell for files, because only the shell knows all about `~`, variables and quotes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

FILES, FOLDERS, MODELS = ":files", ":folders", ":models"
"""Any file; a folder; a GGUF file, or a folder that may hold one."""
VALUES = {
    "--kernel": ("auto", "mad", "lut"),
    "--kv-type": ("f32", "f16", "i8"),
    "--outtype": ("i2_s", "tl1", "tl2", "tq1_0", "tq2_0", "q2_0", "iq2_bn", "f16"),
    "--embed-type": ("f16", "q8_0", "q6_k", "q4_0", "q2_0", "keep"),
    "--i2s-layout": ("x86", "arm64"),
    "--isa": ("scalar", "avx2", "avxvnni", "avx512icl", "neon", "dotprod", "i8mm"),
    "--shape": (
        *("bitnet-2b-4t", "bitnet-large", "bitnet-3b", "llama3-8b"),
        *("falcon3-1b", "falcon3-3b", "falcon3-7b", "falcon3-10b"),
    ),
}
"""Of options that take one of a few words."""
_HEAD_TYPES = ("f16", "q8_0", "q6_k", "q4_0")
_SHELLS = ("bash", "zsh", "fish")
_TAKES_MODEL = ("chat", "convert", "inspect")
_GGUF_OPTIONS = ("--diff", "--against")
_CURSOR = "\0"

Word = tuple[str, str]
"""A word and what it means; nothing where the word says it."""


def completions(group: Any, line: str) -> list[str]:
    """Lines for a shell's script, as the beginning of this file tells.

    Args:
        group: the parser's group of commands.
        line: the command line up to the cursor, quoted as it was typed.
    """
    words = _split(line)
    if len(words) < 2:
        return []
    *before, word = words[1:]
    commands = {name: command for name, command in group.commands.items() if not command.hidden}
    if not before:
        if word.startswith("-"):
            return _matching(word, _options(group, ()))
        return _matching(
            word, [(name, _first_sentence(c.get_short_help_str(100))) for name, c in commands.items()]
        )
    command = commands.get(before[0])
    return [] if command is None else _in_command(command, before[1:], word)


def _in_command(command: Any, before: list[str], word: str) -> list[str]:
    """What may follow a command and the words after it."""
    if "--" not in before:
        option = _option(command, before[-1]) if before else None
        if option is not None and not option.is_flag:
            return _values(command, option, word)
        if word.startswith("--") and "=" in word:
            name, _, value = word.partition("=")
            option = _option(command, name)
            return [] if option is None or option.is_flag else _values(command, option, value)
        if word.startswith("-"):
            return _matching(word, _options(command, before))
    return _argument(command.name, _arguments(command, before), word)


def _split(line: str) -> list[str]:
    """The words of a line, the last one as far as it is there; quotes may still be open. Without assignments before it."""
    for end in ("", '"', "'"):
        try:
            words = shlex.split(line + _CURSOR + end)
        except ValueError:
            continue
        words[-1] = words[-1].replace(_CURSOR, "")
        while words and "=" in words[0]:
            del words[0]
        return words
    return []


def _matching(word: str, found: Iterable[Word]) -> list[str]:
    return [
        f"{name}\t{' '.join(about.split())}" if about else name
        for name, about in found
        if name.startswith(word) and name.isprintable()
    ]


def _options(command: Any, before: Iterable[str]) -> list[Word]:
    """Options with the first sentence about them; those that were given already only if they may be repeated."""
    given = {word.partition("=")[0] for word in before}
    found = [
        (name, _first_sentence(param.help or ""))
        for param in command.params
        if _is_option(param) and not param.hidden and (param.multiple or not given & set(param.opts))
        for name in param.opts
        if name.startswith("--")
    ]
    return [*found, ("--help", "Show what there is.")]


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].removesuffix(".")


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _option(command: Any, word: str) -> Any | None:
    """The option that a word is the name of."""
    return next((param for param in command.params if word.startswith("-") and word in param.opts), None)


def _arguments(command: Any, words: list[str]) -> list[str]:
    """The words that are neither options nor their values."""
    found, is_value, may_be_options = [], False, True
    for word in words:
        if is_value:
            is_value = False
        elif may_be_options and word == "--":
            may_be_options = False
        elif may_be_options and word.startswith("-") and word != "-":
            option = _option(command, word)
            is_value = option is not None and not option.is_flag
        else:
            found.append(word)
    return found


def _argument(command: str, before: list[str], word: str) -> list[str]:
    """What may stand for the argument of a command after those that are there."""
    if command == "config":
        from bitnet_cli.cli.settings import SETTINGS

        if not before:
            return _matching(word, [(name, "") for name in SETTINGS])
        return _matching(
            word, [(v, "") for v in VALUES.get(f"--{before[0]}", ())] if len(before) == 1 else []
        )
    if before:
        return []
    if command in _TAKES_MODEL:
        return [*_matching(word, _models()), MODELS]
    if command == "download":
        return _matching(word, _catalogue())
    if command == "rm":
        return _matching(word, _cached())
    if command == "verify":
        return [MODELS]
    return _matching(word, [(shell, "") for shell in _SHELLS]) if command == "completion" else []


def _values(command: Any, option: Any, word: str) -> list[str]:
    """What may stand for the value of an option."""
    if "--model" in option.opts:
        return [*_matching(word, _models()), MODELS]
    if "--unset" in option.opts:
        return _argument("config", [], word)
    if set(option.opts) & set(_GGUF_OPTIONS):
        return [MODELS]
    choices = getattr(option.type, "choices", None)
    if choices is None and command.name == "bench" and "--embed-type" in option.opts:
        choices = _HEAD_TYPES
    if choices is None:
        choices = next((VALUES[name] for name in option.opts if name in VALUES), None)
    if choices is not None:
        return _matching(word, [(value, "") for value in choices])
    if option.metavar == "DIR":
        return [FOLDERS]
    return [FILES] if hasattr(option.type, "file_okay") else []


def _models() -> list[Word]:
    """Names of the catalogue and of what is in the cache."""
    known = _catalogue()
    return known + [word for word in _cached() if word[0] not in dict(known)]


def _catalogue() -> list[Word]:
    from bitnet_cli.hub.catalogue import CATALOGUE

    return [(name, entry.about) for name, entry in CATALOGUE.items()]


def _cached() -> list[Word]:
    """Repositories on this machine, under their short names, too."""
    from bitnet_cli.hub.cache import cached_repos
    from bitnet_cli.hub.catalogue import CATALOGUE

    repos = [cache.repo for cache in cached_repos()]
    short = [(e.name, e.about) for e in CATALOGUE.values() if e.repo in repos or e.gguf_repo in repos]
    return [*short, *((repo, "on this machine") for repo in repos)]

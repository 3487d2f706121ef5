"""What a line that begins with a slash does in `bitnet chat`: one table, one function for each command."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bitnet_cli.chat.transcript import load, save
from bitnet_cli.cli.chat_loop import Chat, Leave, tell_format
from bitnet_cli.cli.chat_screen import bar, meter, terminal_columns
from bitnet_cli.cli.output import out
from bitnet_cli.cli.sizes import threads_text
from bitnet_cli.errors import BitnetError, UsageError
from bitnet_cli.library import GenerationConfig


@dataclass(frozen=True)
class Command:
    """A command: what it takes, what it does, what completion offers after it."""

    argument: str
    help: str
    run: Callable[[Chat, str], None]
    offers: tuple[str, ...] = ()


def perform(chat: Chat, line: str) -> None:
    """Does what a line that begins with a slash says.

    Raises:
        Leave: it says so.
        UsageError: there is no such command, or it does not take this.
    """
    name, _, argument = line.strip().partition(" ")
    command = COMMANDS.get(ALIASES.get(name, name))
    if command is None:
        near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], 1)
        raise UsageError(
            f"there is no command `{name}`",
            hint=f"did you mean `{ALIASES.get(near[0], near[0])}`?"
            if near
            else "`/help` shows all; `//` begins a turn with a slash",
        )
    argument = argument.strip()
    if argument and not command.argument:
        raise UsageError(f"`{name}` takes nothing, not `{argument}`", hint="`/help` shows what commands take")
    command.run(chat, argument)


def _help(chat: Chat, _: str) -> None:
    width = max(len(f"{name} {command.argument}") for name, command in COMMANDS.items())
    apart = "  " if terminal_columns() >= 76 else "\n      "
    for name, command in COMMANDS.items():
        written = f"{name} {command.argument}".strip()
        for line in f"  {written:{width if apart == '  ' else 0}}{apart}{command.help}".split("\n"):
            out.note(line)
    out.note('  Several lines: a backslash at the end of each, or """ around all, or Alt-Enter')
    out.note("  Ctrl-C stops an answer and keeps what was said, or clears the line")
    out.note("  Ctrl-D leaves; a turn that begins with a slash is written with two")


def _system(chat: Chat, argument: str) -> None:
    if not argument:
        text = chat.conversation.system
        out.note(f"system text: {text}" if text else "there is no system text")
        return
    chat.conversation.system = "" if argument == "-" else argument
    chat.keep()
    out.note(
        "there is no system text any more"
        if argument == "-"
        else "the system text holds from the next turn on"
    )


def _clear(chat: Chat, _: str) -> None:
    chat.keep()
    chat.conversation.clear()
    out.note("all turns are forgotten; the system text stays")


def _regen(chat: Chat, _: str) -> None:
    chat.again()


def _undo(chat: Chat, _: str) -> None:
    _need_turns(chat)
    turn = chat.conversation.undo()
    assert turn is not None
    chat.keep()
    out.note(f"taken back: {_short(turn.user)}")


def _need_turns(chat: Chat) -> None:
    if not chat.conversation.turns:
        raise UsageError("nothing was said yet", hint="say something first")


def _edit(chat: Chat, argument: str) -> None:
    _need_turns(chat)
    if argument or not chat.interactive:
        if not argument:
            raise UsageError("`/edit` needs the new text", hint="for example `/edit Hello again`")
        chat.edits = True
        chat.say(argument)
        return
    chat.edits, chat.suggestion = True, chat.conversation.turns[-1].user


def _save(chat: Chat, argument: str) -> None:
    _need_turns(chat)
    overwrite = argument.startswith("-f ")
    name = argument.removeprefix("-f ").strip() or time.strftime("chat-%Y%m%d-%H%M%S.md")
    path = Path(name).expanduser()
    save(chat.conversation, path if path.suffix else path.with_suffix(".md"), overwrite=overwrite)
    out.note(f"written: {path if path.suffix else path.with_suffix('.md')}")


def _load(chat: Chat, argument: str) -> None:
    if not argument:
        raise UsageError("`/load` needs a file", hint="one that `/save` wrote, `.json` or `.md`")
    take_up(chat, Path(argument).expanduser())


def take_up(chat: Chat, path: Path) -> None:
    """Goes on with the conversation of a file in place of the one that is here."""
    found = load(path, chat.conversation.model)
    chat.conversation.system = found.system
    chat.conversation.resume(found.turns)
    for note in found.notes:
        out.note(f"note: {note}")
    n = len(found.turns)
    out.note(f"{_turns(n)} loaded" + (f", the last one: {_short(found.turns[-1].user)}" if n else ""))


def _set(chat: Chat, argument: str) -> None:
    config = chat.conversation.config
    name, _, text = argument.partition(" ")
    text = text.strip()
    if not name:
        for key in SETTINGS:
            out.note(f"  {key} {_value(config, key)}")
        return
    if name not in SETTINGS:
        near = difflib.get_close_matches(name, SETTINGS, 1)
        raise UsageError(
            f"there is no setting `{name}`",
            hint=(f"did you mean `{near[0]}`? " if near else "") + f"the settings are {', '.join(SETTINGS)}",
        )
    if not text:
        out.note(f"{name} is {_value(config, name)}; {EXAMPLES[name]} changes it")
        return
    field, kind = SETTINGS[name]
    try:
        chat.conversation.config = _changed(config, field, kind(text))
    except UsageError as error:
        raise UsageError(
            error.message.replace(field, f"`{name}`", 1), hint=f"for example {EXAMPLES[name]}"
        ) from None
    except (ValueError, OverflowError):
        raise UsageError(f"`{name}` cannot be `{text}`", hint=f"for example {EXAMPLES[name]}") from None
    out.note(f"{name} is {_value(chat.conversation.config, name)} from the next answer on")


def _value(config: GenerationConfig, name: str) -> str:
    """How a setting is shown."""
    value = getattr(config, SETTINGS[name][0])
    if name == "temp" and not config.do_sample:
        value = 0
    if isinstance(value, bool):
        return "on" if value else "off"
    return (" ".join(map(repr, value)) or "nothing") if isinstance(value, tuple) else str(value)


def _changed(config: GenerationConfig, field: str, value: object) -> GenerationConfig:
    if field != "temperature":
        return replace(config, **{field: value})  # type: ignore[arg-type]
    if value == 0:
        return replace(config, do_sample=False)
    return replace(config, do_sample=True, temperature=value)  # type: ignore[arg-type]


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError
    return text == "on"


def _stops(text: str) -> tuple[str, ...]:
    return () if text == "-" else (text,)


def _stats(chat: Chat, _: str) -> None:
    replies = chat.conversation.replies
    model = chat.conversation.model
    read, read_s = sum(r.prompt_tokens for r in replies), sum(r.prompt_s for r in replies)
    said, said_s = sum(r.decode_tokens for r in replies), sum(r.decode_s for r in replies)
    out.note(f"  answers    {len(replies)}, {sum(r.tokens for r in replies)} tokens" + _rate(said, said_s))
    out.note(f"  read       {read} tokens" + _rate(read, read_s))
    out.note(f"  kept       {sum(r.reused_tokens for r in replies)} tokens that were not read again")
    out.note(
        f"  loaded in  {model.load_s:.2f} s; {model.isa}, {model.kernel}, {threads_text(model.n_threads)}"
    )


def _rate(n: int, seconds: float) -> str:
    return f", {n / seconds:.1f}/s" if seconds > 0 else ""


def _context(chat: Chat, _: str) -> None:
    conversation = chat.conversation
    used, length = conversation.context_tokens, conversation.model.context_length
    n_turns = len(conversation.turns) - conversation.n_dropped
    meters = meter(used, length)
    width = min(terminal_columns() - len(meters) - 4, 40)
    out.note(f"  {bar(used, length, width)} {meters}" if width >= 8 else f"  {meters}")
    if conversation.system:
        system = len(conversation.format.encode(conversation.system, []))
        out.note(f"  system text {system} tokens, {_turns(n_turns)} {used - system}")
    else:
        out.note(f"  {_turns(n_turns)}, no system text")
    if conversation.n_dropped:
        n = conversation.n_dropped
        out.note(f"  {n} older turn{' was' if n == 1 else 's were'} dropped to make room")


def _copy(chat: Chat, _: str) -> None:
    from bitnet_cli.cli.clipboard import copy

    turns = chat.conversation.turns
    answer = chat.conversation.answer(turns[-1]) if turns else ""
    if not answer:
        raise UsageError("there is no answer to copy yet", hint="say something first")
    out.note(f"the last answer was copied {copy(answer)}")


def _model(chat: Chat, argument: str) -> None:
    if argument:
        try:
            chat.change_model(argument)
        except KeyboardInterrupt:
            if not chat.interactive:
                raise
            raise BitnetError(
                "interrupted: the model was not changed", hint="`/model` shows which it is"
            ) from None
    model = chat.conversation.model
    out.note(
        f"model: {model.config.name or 'without a name'}, {model.config.arch.name}, {threads_text(model.n_threads)}"
    )
    if argument:
        tell_format(chat.conversation)


def _exit(chat: Chat, _: str) -> None:
    raise Leave


def _turns(n: int) -> str:
    return f"{n} turn{'' if n == 1 else 's'}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


SETTINGS: dict[str, tuple[str, Callable[[str], object]]] = {
    "temp": ("temperature", float),
    "top-k": ("top_k", int),
    "top-p": ("top_p", float),
    "min-p": ("min_p", float),
    "repeat-penalty": ("repeat_penalty", float),
    "n": ("max_new_tokens", int),
    "stop": ("stop", _stops),
    "speculate": ("speculate", _switch),
}
"""Name → field of GenerationConfig and how it is read."""

EXAMPLES = {"temp": "`/set temp 0.7`", "speculate": "`/set speculate on`"} | {
    name: f"`/set {name} {value}`"
    for name, value in (
        ("top-k", 40),
        ("top-p", 0.9),
        ("min-p", 0.05),
        ("repeat-penalty", 1.1),
        ("n", 256),
        ("stop", "END"),
    )
}

COMMANDS = {
    "/help": Command("", "this list", _help),
    "/system": Command("[TEXT]", "show or set what the model is told first; `-`: nothing", _system),
    "/clear": Command("", "forget all turns", _clear),
    "/regen": Command("", "another answer to the last turn", _regen),
    "/undo": Command("", "take the last turn back", _undo),
    "/edit": Command("[TEXT]", "change the last turn and have it answered again", _edit),
    "/save": Command("[FILE]", "write .md or .json (exact); `-f FILE` replaces a file", _save, ("FILE",)),
    "/load": Command("FILE", "go on with a saved conversation", _load, ("FILE",)),
    "/set": Command(
        "[NAME VALUE]", "show or change temp, top-p, n, stop (`-`: none) …", _set, tuple(SETTINGS)
    ),
    "/stats": Command("", "tokens and speed so far", _stats),
    "/context": Command("", "how full the context is, and of what", _context),
    "/copy": Command("", "the last answer to the clipboard", _copy),
    "/model": Command("[MODEL]", "show the model, or go on with another one", _model, ("FILE",)),
    "/exit": Command("", "leave", _exit),
}
ALIASES = {"/?": "/help", "/quit": "/exit", "/bye": "/exit"}

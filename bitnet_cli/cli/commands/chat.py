"""`bitnet chat`: a conversation with a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.model_argument import model_file
from bitnet_cli.cli.options import (
    ContextOpt,
    I2sLayoutOpt,
    IsaOpt,
    JsonOpt,
    KernelOpt,
    KvTypeOpt,
    ModelOpt,
    ThreadsOpt,
    TilingOpt,
    YesOpt,
    reading_of_use,
)
from bitnet_cli.cli.output import is_styled, is_terminal, out
from bitnet_cli.cli.sampling_options import (
    MinPOpt,
    RepeatPenaltyOpt,
    SeedOpt,
    SpeculateOpt,
    StopOpt,
    TempOpt,
    TopKOpt,
    TopPOpt,
    seed_or_new,
)
from bitnet_cli.cli.settings import is_given
from bitnet_cli.cli.sizes import threads_text
from bitnet_cli.errors import BitnetError, UsageError

if TYPE_CHECKING:
    from bitnet_cli.chat.conversation import Conversation
    from bitnet_cli.cli.chat_screen import Screen
    from bitnet_cli.library import BitNetModel


def chat(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="GGUF file, short name or ORG/NAME. Default: the built-in story model."
        ),
    ] = None,
    model_option: ModelOpt = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="What the model is told beforehand.")
    ] = None,
    n_predict: Annotated[
        int, typer.Option("-n", "--n-predict", metavar="N", min=1, help="Most tokens of an answer.")
    ] = 1024,
    threads: ThreadsOpt = None,
    ctx_size: ContextOpt = None,
    kv_type: KvTypeOpt = None,
    temp: TempOpt = 0.8,
    top_k: TopKOpt = 40,
    top_p: TopPOpt = 0.95,
    min_p: MinPOpt = 0.05,
    repeat_penalty: RepeatPenaltyOpt = 1.0,
    seed: SeedOpt = None,
    stop: StopOpt = None,
    speculate: SpeculateOpt = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last conversation.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Show answers as they are, not as Markdown.")
    ] = False,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Keep neither what is typed nor the conversation on disk.")
    ] = False,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    isa: IsaOpt = None,
    kernel: KernelOpt = None,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Talk with a model.

    On a terminal with line editing and commands (/help); from a pipe each line is a turn. Only answers go to
    stdout. With --json each is an object on a line of its own.

    Examples:

      bitnet chat 2b

      bitnet chat model.gguf --system "Answer in one sentence." --temp 0

      printf 'Hello\\n' | bitnet chat -m model.gguf --json
    """
    if model is not None and is_given(ctx, "model_option"):
        raise UsageError("give the model as an argument or with `-m`, not both", hint="leave one of them out")
    from bitnet_cli.chat.conversation import Conversation
    from bitnet_cli.cli.chat_commands import COMMANDS, perform, take_up
    from bitnet_cli.cli.chat_input import PipedInput, TerminalInput
    from bitnet_cli.cli.chat_loop import (
        Chat,
        Models,
        state_folder,
        tell_format,
        usable_state_folder,
    )
    from bitnet_cli.library import BitNetModel, GenerationConfig

    def load(path: Path | None) -> BitNetModel:
        # Another model is read so, too, if it has such weights.
        reading = (i2s_layout, tiling) if path in (file, None) else reading_of_use(i2s_layout, tiling, path)
        with out.waiting("loading"):
            loaded = BitNetModel.from_pretrained(
                path,
                n_threads=threads,
                context_length=ctx_size,
                isa=isa,
                kernel=kernel,
                kv_type=kv_type,
                i2s_layout=reading[0],
                tiling=reading[1],
            )
        loaded.require_head()
        for note in loaded.notes:
            out.note(f"note: {note}")
        return loaded

    config = GenerationConfig(
        max_new_tokens=n_predict,
        do_sample=temp != 0,
        temperature=temp,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repeat_penalty=repeat_penalty,
        stop=tuple(stop or ()),
        speculate=speculate,
    )
    interactive = is_terminal(sys.stdin)
    last = state_folder() / "last-chat.json"
    if resume and not last.exists():
        raise BitnetError("there is no last conversation", hint="leave `--resume` out")
    name = model or model_option
    if name is None:
        out.note(
            "no model given: the small built-in story model cannot talk, it goes on with what you write; "
            "`bitnet chat 2b` talks with a real one"
        )
    file = _found(name, yes)
    folder = usable_state_folder() if (interactive or resume) and not no_history else None
    # No name here for the conversation, which would hold on to its model when the sitting goes on with another one.
    sitting = Chat(
        Conversation(load(file), system or "", config, seed_or_new(seed)),
        _screen(plain, json, interactive),
        Models(lambda name: _found(name, yes), load),
        file,
        interactive=interactive,
        kept_in=last if folder is not None else None,
    )
    if resume:
        take_up(sitting, last)
        if system is not None:
            sitting.conversation.system = system
    if interactive:
        _greet(sitting.conversation, name)
        commands = {name: command.offers for name, command in COMMANDS.items()}
        history = folder / "chat-history" if folder is not None else None
        finished = sitting.run(TerminalInput(commands, sitting.status, history), perform)
    else:
        if name is not None:
            tell_format(sitting.conversation)
        finished = sitting.run(PipedInput(), perform)
    if not finished:
        raise typer.Exit(130)


def _found(name: str | None, yes: bool) -> Path | None:
    """The file that a model's name stands for; None is the built-in model."""
    return model_file(str(Path(name).expanduser()) if name is not None and "~" in name else name, yes=yes)


def _screen(plain: bool, as_json: bool, interactive: bool) -> Screen:
    import os

    from bitnet_cli.cli.chat_screen import JsonScreen, PlainScreen, TerminalScreen

    if as_json:
        return JsonScreen()
    if plain or not is_terminal(sys.stdout) or os.environ.get("TERM") == "dumb":
        return PlainScreen(with_statistics=interactive)
    return TerminalScreen(styled=is_styled(sys.stdout))


def _greet(conversation: Conversation, name: str | None) -> None:
    """Two lines about what one is talking to and how to leave."""
    from bitnet_cli.cli.chat_loop import tell_format

    model = conversation.model
    called = model.config.name or (name or "built-in")
    out.note(f"{called}: context {model.context_length}, {threads_text(model.n_threads)}, {model.isa}")
    if name is not None:
        tell_format(conversation)
    out.note("/help shows the commands, Ctrl-C stops an answer, Ctrl-D leaves")

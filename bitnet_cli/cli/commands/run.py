"""`bitnet run`: one prompt, one continuation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
)
from bitnet_cli.cli.output import out
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
from bitnet_cli.cli.sizes import threads_text
from bitnet_cli.errors import UsageError

if TYPE_CHECKING:
    from bitnet_cli.library import BitNetModel, Prompt, Result

STOPPED = {
    "stop": "the text ended",
    "length": "reached `-n`",
    "context": "the context is full (`-c`)",
    "interrupted": "interrupted",
}


def run(
    prompt: Annotated[str | None, typer.Argument(help="Text to continue. Default: standard input.")] = None,
    model: ModelOpt = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="Read the prompt from a file.")
    ] = None,
    n_predict: Annotated[
        int, typer.Option("-n", "--n-predict", metavar="N", min=0, help="Most tokens to generate.")
    ] = 512,
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
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it is, without the chat template.")
    ] = False,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="System message for the chat template.")
    ] = None,
    speculate: SpeculateOpt = False,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    isa: IsaOpt = None,
    kernel: KernelOpt = None,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Continue a prompt.

    A model with a chat template gets the prompt as a user's message unless --raw is given. The text goes to stdout,
    statistics to stderr.

    Examples:

      bitnet run "Once upon a time"

      bitnet run -m model.gguf "What is a ternary weight?" --temp 0

      bitnet run -m model.gguf -f notes.txt --raw -n 64 --json
    """
    text = _read_prompt(prompt, file)
    from bitnet_cli.library import BitNetModel, GenerationConfig, Result

    if model is None:
        out.note(
            "no model given: using the small built-in story model; `-m 2b` is a real one, "
            "and `bitnet list --remote` shows others"
        )
    bitnet = BitNetModel.from_pretrained(
        model_file(model, yes=yes),
        n_threads=threads,
        context_length=ctx_size,
        isa=isa,
        kernel=kernel,
        kv_type=kv_type,
        i2s_layout=i2s_layout,
        tiling=tiling,
    )
    bitnet.require_head()
    for note in bitnet.notes:
        out.note(f"note: {note}")
    seed = seed_or_new(seed)
    config = GenerationConfig(
        max_new_tokens=n_predict,
        do_sample=temp != 0,
        temperature=temp,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repeat_penalty=repeat_penalty,
        seed=seed,
        stop=tuple(stop or ()),
        speculate=speculate,
    )
    request, is_raw = _request(bitnet, text, raw, system)
    if is_raw:
        out.dim(text)
    result = Result()
    try:
        for piece in bitnet.generate_stream(request, config, result=result):
            if not json:
                out.stream(piece)
    except KeyboardInterrupt:
        result.finish_reason = "interrupted"
    _report(bitnet, result, seed, str(model or "built-in"), json)
    if result.finish_reason == "interrupted":
        raise typer.Exit(130)


def _read_prompt(prompt: str | None, file: Path | None) -> str:
    if prompt is not None and file is not None:
        raise UsageError(
            "give the prompt as an argument or with `-f`, not both", hint="leave one of them out"
        )
    if file is not None:
        text = file.read_text(encoding="utf-8")
    elif prompt is not None:
        text = prompt
    elif sys.stdin is None or sys.stdin.isatty():
        raise UsageError("there is no prompt", hint='for example `bitnet run "Once upon a time"`')
    else:
        text = sys.stdin.buffer.read().decode("utf-8")
    if file is not None or prompt is None:
        text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise UsageError("the prompt is empty", hint='for example `bitnet run "Once upon a time"`')
    return text


def _request(bitnet: BitNetModel, text: str, raw: bool, system: str | None) -> tuple[Prompt, bool]:
    """What to generate from, and whether that is the text itself."""
    if system is not None and (raw or bitnet.chat_template is None):
        reason = "`--raw` leaves no place for it" if raw else "this model has no chat template"
        raise UsageError(f"`--system` cannot be used: {reason}", hint="put it into the prompt instead")
    if raw or bitnet.chat_template is None:
        return text, True
    messages = [{"role": "system", "content": system}] if system is not None else []
    return [*messages, {"role": "user", "content": text}], False


def _report(bitnet: BitNetModel, result: Result, seed: int, name: str, as_json: bool) -> None:
    t = result.timings
    if as_json:
        timings: dict[str, Any] = {
            "load_s": round(bitnet.load_s, 6),
            "prompt_s": round(t.prompt_s, 6),
            "prompt_tps": round(t.prompt_tps, 3),
            "decode_s": round(t.decode_s, 6),
            "decode_tps": round(t.decode_tps, 3),
            "drafted_tokens": t.drafted_tokens,
            "accepted_tokens": t.accepted_tokens,
        }
        out.json(
            {
                "model": name,
                "prompt_tokens": result.prompt_tokens,
                "token_ids": result.token_ids,
                "text": result.text,
                "finish_reason": result.finish_reason,
                "seed": seed,
                "threads": bitnet.n_threads,
                "isa": bitnet.isa,
                "kernel": bitnet.kernel,
                "timings": timings,
            }
        )
        return
    out.stream("" if result.text.endswith("\n") else "\n")
    out.note("")
    out.note(
        f"load {bitnet.load_s:.2f} s; prompt {result.prompt_tokens} tokens, {t.prompt_tps:.1f}/s; "
        f"generated {len(result.token_ids)} tokens, {t.decode_tps:.1f}/s"
    )
    if t.drafted_tokens:
        out.note(f"guessed {t.drafted_tokens} tokens ahead, {t.accepted_tokens} of them right")
    out.note(
        f"stopped because {STOPPED[result.finish_reason]}; {bitnet.isa}, {bitnet.kernel}, {threads_text(bitnet.n_threads)}, "
        f"seed {seed}"
    )

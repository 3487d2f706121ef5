"""`bitnet perplexity`: how well a model predicts a text."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.model_argument import model_file
from bitnet_cli.cli.options import (
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
from bitnet_cli.cli.output import Progress, out
from bitnet_cli.cli.sizes import threads_text

if TYPE_CHECKING:
    from bitnet_cli.library import BitNetModel
    from bitnet_cli.perplexity import Estimate


def perplexity(
    file: Annotated[Path, typer.Option("-f", "--file", metavar="TEXT", help="Text to predict, UTF-8.")],
    model: ModelOpt = None,
    ctx_size: Annotated[
        int, typer.Option("-c", "--ctx-size", metavar="N", min=8, help="Tokens of a chunk.")
    ] = 512,
    chunks: Annotated[
        int | None,
        typer.Option(
            "--chunks", metavar="N", min=1, help="Chunks, at most. Default: all.", show_default=False
        ),
    ] = None,
    threads: ThreadsOpt = None,
    kv_type: KvTypeOpt = None,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    isa: IsaOpt = None,
    kernel: KernelOpt = None,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Measure how well a model predicts a text.

    The text is cut into chunks; in the second half of each, every token is predicted from those before it. Prints the
    perplexity so far after each chunk, then the final estimate with its standard error.

    Examples:

      bitnet perplexity -m model.gguf -f wiki.test.raw

      bitnet perplexity -m model.gguf -f wiki.test.raw --chunks 20 --json
    """
    text = file.read_bytes().decode("utf-8").removesuffix("\n")
    from bitnet_cli.library import BitNetModel
    from bitnet_cli.perplexity import chunks_of, estimates

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
    pieces = chunks_of(bitnet, text, ctx_size)[:chunks]
    out.note(
        f"{len(pieces)} chunks of {ctx_size} tokens; {bitnet.isa}, {threads_text(bitnet.n_threads)}, cache {bitnet.kv_type}"
    )
    started = time.perf_counter()
    so_far: list[Estimate] = []
    with _progress(len(pieces) * ctx_size) as progress:
        for estimate in estimates(bitnet, pieces, progress.update):
            so_far.append(estimate)
            if json:
                continue
            if len(so_far) == 1:
                out.dim(f"about {(time.perf_counter() - started) * len(pieces):.0f} s\n")
            out.stream(f"[{estimate.n_chunks}]{estimate.perplexity:.4f},")
    seconds = time.perf_counter() - started
    _report(bitnet, so_far, seconds, str(model or "built-in"), file, ctx_size, json)


@contextmanager
def _progress(n_tokens: int) -> Iterator[Progress]:
    """A bar or lines on stderr, unless stdout is the screen: there the values themselves show how far it has come."""
    if not out.json_mode and sys.stdout.isatty():
        yield _Untold()
    else:
        with out.progress("perplexity", n_tokens, "tokens") as progress:
            yield progress


class _Untold:
    def update(self, done: float, label: str | None = None) -> None:
        """The estimates on the screen are enough."""


def _report(
    bitnet: BitNetModel,
    so_far: list[Estimate],
    seconds: float,
    name: str,
    file: Path,
    n_ctx: int,
    as_json: bool,
) -> None:
    final = so_far[-1]
    if not as_json:
        out.stream("\n")
        out.data(f"Final estimate: PPL = {final.perplexity:.4f} +/- {final.error:.5f}")
        out.note(f"{final.n_scored} tokens scored in {seconds:.1f} s")
        return
    out.json(
        {
            "model": name,
            "file": str(file),
            "ctx_size": n_ctx,
            "chunks": final.n_chunks,
            "scored_tokens": final.n_scored,
            "perplexity": _finite(final.perplexity),
            "error": _finite(final.error),
            "running": [_finite(estimate.perplexity) for estimate in so_far],
            "seconds": round(seconds, 6),
            "threads": bitnet.n_threads,
            "isa": bitnet.isa,
            "kernel": bitnet.kernel,
            "kv_type": bitnet.kv_type,
        }
    )


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None

"""`bitnet embed`: texts in, vectors out."""

from __future__ import annotations

import sys
import time
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
    ThreadsOpt,
    TilingOpt,
    YesOpt,
)
from bitnet_cli.cli.output import out
from bitnet_cli.cli.sizes import threads_text
from bitnet_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from bitnet_cli.library import BitNetModel


def embed(
    model: Annotated[
        str,
        typer.Option(
            "-m", "--model", metavar="MODEL", help="GGUF file, short name or ORG/NAME of an embedding model."
        ),
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...", help="Texts. Default: lines of standard input.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="Read texts from a file, one a line.")
    ] = None,
    threads: ThreadsOpt = None,
    ctx_size: ContextOpt = None,
    i2s_layout: I2sLayoutOpt = None,
    tiling: TilingOpt = None,
    isa: IsaOpt = None,
    kernel: KernelOpt = None,
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Turn texts into vectors.

    Prints a line of numbers for each text, a vector of length 1: the product of two of them is their cosine similarity.
    Models want a prefix that names the task before the text, such as `query: `.

    Examples:

      bitnet embed -m embedding.gguf "query: how tall is a giraffe"

      bitnet embed -m embedding.gguf -f passages.txt --json
    """
    wanted = _texts(texts or [], file)
    from bitnet_cli.library import BitNetModel

    bitnet = BitNetModel.from_pretrained(
        model_file(model, yes=yes),
        n_threads=threads,
        context_length=ctx_size,
        isa=isa,
        kernel=kernel,
        i2s_layout=i2s_layout,
        tiling=tiling,
    )
    for note in bitnet.notes:
        out.note(f"note: {note}")
    started = time.perf_counter()
    with out.progress("embed", len(wanted), "texts") as progress:
        vectors = bitnet.embed(wanted, progress.update)
    seconds = time.perf_counter() - started
    _report(bitnet, wanted, vectors, seconds, str(model), json)


def _texts(texts: list[str], file: Path | None) -> list[str]:
    if texts and file is not None:
        raise UsageError("give texts as arguments or with `-f`, not both", hint="leave one of them out")
    if texts:
        return texts
    if file is not None:
        lines = file.read_bytes()
    elif sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "there is no text", hint='for example `bitnet embed -m embedding.gguf "query: giraffes"`'
        )
    else:
        lines = sys.stdin.buffer.read()
    found = [line.removesuffix("\r") for line in lines.decode("utf-8").removesuffix("\n").split("\n")]
    if not any(found):
        raise UsageError("there is no text", hint="write one a line")
    return found


def _report(
    bitnet: BitNetModel, texts: list[str], vectors: np.ndarray, seconds: float, name: str, as_json: bool
) -> None:
    # The shortest digits that give the same float32.
    rows = [[float(str(value)) for value in vector] for vector in vectors]
    if as_json:
        out.json(
            {
                "model": name,
                "dim": bitnet.config.dim,
                "pooling": bitnet.config.pooling,
                "embeddings": [
                    {"text": text, "embedding": row} for text, row in zip(texts, rows, strict=True)
                ],
                "seconds": round(seconds, 6),
                "threads": bitnet.n_threads,
                "isa": bitnet.isa,
                "kernel": bitnet.kernel,
            }
        )
        return
    for row in rows:
        out.data(" ".join(map(repr, row)))
    out.note(
        f"{len(rows)} text{'s' if len(rows) != 1 else ''}, {bitnet.config.dim} numbers each, in {seconds:.2f} s; "
        f"load {bitnet.load_s:.2f} s; "
        f"{bitnet.isa}, {bitnet.kernel}, {threads_text(bitnet.n_threads)}"
    )

"""`bitnet bench --against`: other programs under the same test, one repetition at a time, so that rounds can alternate.

A rival is any program that takes llama-bench's options and prints its JSON, or the package llama-cpp-python. What it prints
is not trusted: its length is limited, its time is, and only the numbers asked for are taken from it.
"""

from __future__ import annotations

import json
import random
import shlex
import subprocess
import threading
import time
from collections import deque
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

from bitnet_cli.errors import BitnetError, UnsupportedError, UsageError, printable

MAX_OUTPUT = 1 << 20
"""Bytes of a program's output, at most."""
TIMEOUT_S = 900.0
"""For one test, loading the model included."""
MAX_RATE = 1e12
"""Tokens a second that nobody reaches."""
LLAMA_CPP = "llama-cpp"
HELP = (
    "`--against` takes a command that knows `-p N -n N -t N -r 1 -o json` as llama-bench does, or `llama-cpp`"
)


class Rival(Protocol):
    """Something to compare with."""

    name: str

    def tokens_per_second(self, n_prompt: int, n_gen: int, depth: int = 0) -> float:
        """The speed of one repetition of a test.

        Args:
            n_prompt: tokens evaluated together; 0 if n_gen is meant.
            n_gen: tokens evaluated one by one; 0 if n_prompt is meant.
            depth: tokens in the context before.

        Raises:
            BitnetError: it failed, took too long, or said nothing that can be used.
        """
        ...


def needs_file(against: str) -> bool:
    """Whether a model file must be given to the rival: its command names none.

    Raises:
        UsageError: no command.
    """
    return against.strip() == LLAMA_CPP or not {"-m", "--model"} & set(_words(against))


def find_rival(against: str, model: Path | None, n_threads: int, n_ctx: int) -> Rival:
    """The rival that `--against` names.

    Args:
        against: a command line, or `llama-cpp`.
        model: the file that it loads, unless its command names another with `-m`; None if it does.
        n_threads: its threads, unless its command says otherwise with `-t`.
        n_ctx: tokens that the longest test needs.

    Raises:
        UsageError: no command.
        BitnetError: the package or the model cannot be loaded.
    """
    if against.strip() == LLAMA_CPP:
        assert model is not None
        return LlamaCpp(model, n_threads, n_ctx)
    return Command(against, model, n_threads)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"`--against`: {error} in the command", hint=HELP) from None
    if not words:
        raise UsageError("`--against` names no command", hint=HELP)
    return words


class Command:
    """A program with llama-bench's options; started anew for every test."""

    def __init__(
        self, command: str, model: Path | None, n_threads: int, timeout_s: float = TIMEOUT_S
    ) -> None:
        words = _words(command)
        if not {"-m", "--model"} & set(words):
            words += ["-m", str(model)]
        if not {"-t", "--threads"} & set(words):
            words += ["-t", str(n_threads)]
        self.name = Path(words[0]).name
        self._words = words
        self._timeout_s = timeout_s

    def tokens_per_second(self, n_prompt: int, n_gen: int, depth: int = 0) -> float:
        """As Rival says."""
        options = ["-p", str(n_prompt), "-n", str(n_gen), "-r", "1", "-o", "json"]
        if depth:
            options += ["-d", str(depth)]
        return self._rate(self._output([*self._words, *options]), n_prompt, n_gen, depth)

    def _output(self, words: list[str]) -> bytes:
        """What the program prints to stdout."""
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise BitnetError(f"cannot start `{printable(words[0])}`: {reason}", hint=HELP) from None
        assert process.stdout is not None and process.stderr is not None
        answer, talk = _Reader(process.stdout, MAX_OUTPUT, process), _Reader(process.stderr, None, process)
        try:
            code = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            raise BitnetError(
                f"`{printable(self.name)}` took longer than {self._timeout_s:g} s for one test",
                hint="compare shorter tests with `-p` and `-n`",
            ) from None
        finally:
            process.kill()
            process.wait()
        data, last_words = answer.all(), talk.all()
        if answer.is_too_long:
            raise BitnetError(f"`{printable(self.name)}` printed more than {MAX_OUTPUT} bytes", hint=HELP)
        if code != 0:
            said = last_words.decode("utf-8", "replace").strip().splitlines()
            raise BitnetError(
                f"`{printable(self.name)}` failed with exit code {code}"
                + (f": {printable(said[-1].strip(), 200)}" if said else ""),
                hint="try its command by itself; `-d`, for tests at a depth, is not known to all versions",
            )
        return data

    def _rate(self, output: bytes, n_prompt: int, n_gen: int, depth: int) -> float:
        """Tokens per second of the test that was asked for."""
        name = printable(self.name)
        for entry in self._entries(output):
            asked = {"n_prompt": n_prompt, "n_gen": n_gen} | ({"n_depth": depth} if depth else {})
            for field in asked:
                if field not in entry:
                    raise BitnetError(f"the JSON of `{name}` lacks `{field}`", hint=HELP)
            if all(entry[field] == value for field, value in asked.items()):
                samples = entry.get("samples_ts")
                rate = samples[0] if isinstance(samples, list) and samples else entry.get("avg_ts")
                if isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate < MAX_RATE:
                    return float(rate)
                raise BitnetError(
                    f"the JSON of `{name}` holds no speed in `samples_ts` or `avg_ts`", hint=HELP
                )
        raise BitnetError(f"the JSON of `{name}` lacks the test that was asked for", hint=HELP)

    def _entries(self, output: bytes) -> list[dict[str, Any]]:
        """The objects of the JSON array, from the first line that begins one."""
        text = output.decode("utf-8", "replace")
        start = 0 if text.startswith("[") else text.find("\n[") + 1
        try:
            entries = json.loads(text[start:])
        except (ValueError, RecursionError):
            entries = None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise BitnetError(f"`{printable(self.name)}` printed no JSON array of tests", hint=HELP)
        return entries


class _Reader:
    """Reads a pipe to its end beside the program, which would wait for a reader; keeps what fits.

    Args:
        pipe: what to read.
        limit: bytes after which the program is stopped; None keeps the last ones and goes on.
        process: the program.
    """

    PIECE = 1 << 16

    def __init__(self, pipe: IO[bytes], limit: int | None, process: subprocess.Popen[bytes]) -> None:
        self._pipe, self._limit, self._process = pipe, limit, process
        self._pieces: deque[bytes] = deque(maxlen=None if limit is not None else 2)
        self.is_too_long = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        size = 0
        while piece := self._pipe.read1(self.PIECE):  # type: ignore[attr-defined]
            size += len(piece)
            if self._limit is not None and size > self._limit:
                self.is_too_long = True
                self._process.kill()
                return
            self._pieces.append(piece)

    def all(self) -> bytes:
        """What was read, once the program has ended; a child that it left behind is not waited for."""
        self._thread.join(1.0)
        return b"".join(list(self._pieces))


class LlamaCpp:
    """The package llama-cpp-python, in this process."""

    name = LLAMA_CPP

    def __init__(self, model: Path, n_threads: int, n_ctx: int) -> None:
        try:
            package = import_module("llama_cpp")
        except ImportError:
            raise UnsupportedError(
                "`--against llama-cpp` needs the package llama-cpp-python",
                hint="`pip install llama-cpp-python`, or give the command of a llama-bench",
            ) from None
        except Exception as error:  # Whatever a foreign package raises.
            raise BitnetError(
                f"llama-cpp-python cannot be imported: {printable(str(error), 200)}",
                hint="install it again, or give the command of a llama-bench",
            ) from None
        try:
            self._llama = package.Llama(
                model_path=str(model),
                n_ctx=n_ctx,
                n_threads=n_threads,
                n_threads_batch=n_threads,
                logits_all=False,
                verbose=False,
            )
        except Exception as error:  # Whatever a foreign package raises.
            raise BitnetError(
                f"llama-cpp-python cannot load {model}: {printable(str(error), 200)}",
                hint="it may not know this encoding: convert the model for it and name that file",
            ) from None
        self._random = random.Random(1)
        self._evaluate(1)

    def tokens_per_second(self, n_prompt: int, n_gen: int, depth: int = 0) -> float:
        """As Rival says."""
        self._llama.reset()
        if depth:
            self._evaluate(depth)
        started = time.perf_counter()
        if n_prompt:
            self._evaluate(n_prompt)
        for _ in range(n_gen):
            self._evaluate(1)
        return (n_prompt + n_gen) / (time.perf_counter() - started)

    def _evaluate(self, n: int) -> None:
        tokens = [self._random.randrange(self._llama.n_vocab()) for _ in range(n)]
        try:
            self._llama.eval(tokens)
        except Exception as error:  # Whatever a foreign package raises.
            raise BitnetError(
                f"llama-cpp-python failed: {printable(str(error), 200)}", hint="try a shorter test"
            ) from None

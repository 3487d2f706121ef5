"""Rivals: programs that behave, and all the ways in which they may not."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from bitnet_cli.bench import rival
from bitnet_cli.errors import BitnetError, UnsupportedError, UsageError

MODEL = Path("our.gguf")
ENTRY = {"n_prompt": 8, "n_gen": 0, "n_depth": 0, "avg_ts": 9.0, "samples_ts": [12.5]}


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """`program(body)`: the command of a Python script that sees its arguments as `args`."""

    def write(body: str) -> str:
        script = tmp_path / "rival.py"
        script.write_text(f"import json, sys, time\nargs = sys.argv[1:]\n{body}\n", encoding="utf-8")
        return f"'{sys.executable}' -S -E '{script}'"

    return write


def says(text: str) -> str:
    return f"sys.stdout.write({text!r})"


def measure(command: str, *, timeout_s: float = 60.0, depth: int = 0) -> float:
    return rival.Command(command, MODEL, 2, timeout_s).tokens_per_second(8, 0, depth)


def test_a_program_gets_the_test_and_is_believed(program: Any) -> None:
    entry = "{'n_prompt': int(o['-p']), 'n_gen': int(o['-n']), 'avg_ts': 1, 'samples_ts': [float(o['-t'])]}"
    command = program(
        "o = dict(zip(args[::2], args[1::2]))\n"
        "assert (o['-m'], o['-r'], o['-o']) == ('our.gguf', '1', 'json') and '-d' not in o\n"
        f"print('a line of talk')\nprint(json.dumps([{entry}]))"
    )
    against = rival.find_rival(command, MODEL, 3, 64)
    assert against.name == Path(sys.executable).name
    assert against.tokens_per_second(8, 0) == 3.0
    assert against.tokens_per_second(0, 4) == 3.0


def test_its_own_model_and_threads_stay(program: Any) -> None:
    command = program(
        "assert args[:4] == ['-m', 'its own.gguf', '-t', '7'] and 'our.gguf' not in args\n"
        + says(json.dumps([ENTRY]))
    )
    assert measure(command + " -m 'its own.gguf' -t 7") == 12.5


def test_depth_is_asked_for_and_checked(program: Any) -> None:
    deep = program("assert args[-2:] == ['-d', '5']\n" + says(json.dumps([ENTRY | {"n_depth": 5}])))
    assert measure(deep, depth=5) == 12.5
    with pytest.raises(BitnetError, match="lacks the test that was asked for"):
        measure(program(says(json.dumps([ENTRY]))), depth=5)


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        ([ENTRY], 12.5),
        ([{**ENTRY, "n_prompt": 9, "samples_ts": [1.0]}, ENTRY], 12.5),
        ([{**ENTRY, "samples_ts": []}], 9.0),
        ([{key: ENTRY[key] for key in ("n_prompt", "n_gen", "avg_ts")}], 9.0),
    ],
    ids=["samples", "the right test", "no samples", "mean only"],
)
def test_where_the_speed_is_found(program: Any, answer: Any, rate: float) -> None:
    assert measure(program(says(json.dumps(answer)))) == rate


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "sys.stderr.write('loading\\nno \\x1b[2Jsuch model\\n\\n'); sys.exit(3)",
            r"exit code 3: no \\x1b\[2Jsuch model",
        ),
        ("sys.exit(1)", "failed with exit code 1$"),
        ("pass", "printed no JSON array"),
        (says("pp8: fast\n"), "printed no JSON array"),
        (says('{"n_prompt": 8}'), "printed no JSON array"),
        (says("[1, 2]"), "printed no JSON array"),
        (says("[" * 100_000), "printed no JSON array"),
        (says("[]"), "lacks the test that was asked for"),
        (says('[{"n_gen": 0, "avg_ts": 1}]'), "lacks `n_prompt`"),
        (says('[{"n_prompt": 8, "avg_ts": 1}]'), "lacks `n_gen`"),
        (says('[{"n_prompt": 8, "n_gen": 0}]'), "holds no speed"),
        (says('[{"n_prompt": 8, "n_gen": 0, "samples_ts": ["fast"]}]'), "holds no speed"),
        (says('[{"n_prompt": 8, "n_gen": 0, "samples_ts": [NaN]}]'), "holds no speed"),
        (says('[{"n_prompt": 8, "n_gen": 0, "samples_ts": [1e999]}]'), "holds no speed"),
        (says('[{"n_prompt": 8, "n_gen": 0, "samples_ts": [true]}]'), "holds no speed"),
        (says('[{"n_prompt": 8, "n_gen": 0, "avg_ts": 0}]'), "holds no speed"),
        ("while True: sys.stdout.write('x' * 65536)", "printed more than 1048576 bytes"),
        ("sys.stderr.write('x' * 10_000_000); sys.exit(2)", "exit code 2: x+…$"),
    ],
)
def test_one_sentence_for_whatever_goes_wrong(program: Any, body: str, message: str) -> None:
    with pytest.raises(BitnetError, match=message) as error:
        measure(program(body))
    assert error.value.hint
    assert len(error.value.message) < 300


def test_a_program_that_hangs_is_ended(program: Any) -> None:
    with pytest.raises(BitnetError, match=r"took longer than 0\.5 s"):
        measure(program("time.sleep(60)"), timeout_s=0.5)


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        ("", UsageError, "names no command"),
        ("bench 'unclosed", UsageError, "No closing quotation"),
        ("/no/such/program", BitnetError, "cannot start `/no/such/program`: No such file"),
        ("/", BitnetError, "cannot start `/`: Permission denied"),
        ("a\0b", BitnetError, "cannot start"),
    ],
)
def test_commands_that_are_none(command: str, kind: type[BitnetError], message: str) -> None:
    with pytest.raises(kind, match=message):
        measure(command)


class FakeLlama:
    """What llama-cpp-python gives, as far as it is used."""

    def __init__(self, **options: Any) -> None:
        if options["model_path"] == "bad.gguf":
            raise ValueError("Failed to load model from file: bad.gguf")
        self.options, self.evaluated = options, [-1]

    def n_vocab(self) -> int:
        return 10

    def reset(self) -> None:
        self.evaluated = []

    def eval(self, tokens: list[int]) -> None:
        assert all(0 <= token < 10 for token in tokens)
        if sum(self.evaluated) + len(tokens) > self.options["n_ctx"]:
            raise RuntimeError("llama_decode returned 1")
        self.evaluated.append(len(tokens))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("llama_cpp")
    module.Llama = FakeLlama  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llama_cpp", module)


def test_the_package(package: None) -> None:
    against = rival.find_rival(rival.LLAMA_CPP, MODEL, 3, 20)
    assert isinstance(against, rival.LlamaCpp)
    llama = against._llama
    assert (llama.options["n_threads"], llama.options["n_threads_batch"], llama.options["n_ctx"]) == (
        3,
        3,
        20,
    )
    assert against.tokens_per_second(8, 0, depth=5) > 0 and llama.evaluated == [5, 8]
    assert against.tokens_per_second(0, 3) > 0 and llama.evaluated == [1, 1, 1]
    with pytest.raises(BitnetError, match="llama-cpp-python failed: llama_decode returned 1"):
        against.tokens_per_second(21, 0)


def test_the_package_refuses_the_file(package: None) -> None:
    with pytest.raises(BitnetError, match=r"cannot load bad\.gguf: Failed to load"):
        rival.find_rival(rival.LLAMA_CPP, Path("bad.gguf"), 1, 64)


def test_the_package_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(UnsupportedError, match="needs the package") as error:
        rival.find_rival(" llama-cpp ", MODEL, 1, 64)
    assert "pip install" in (error.value.hint or "")

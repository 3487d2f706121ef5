"""`bitnet chat` without a terminal: lines of a pipe, JSON, commands, files, every error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from reciting_gguf import reciting_model
from ternary_models import ternary_model
from tiny_gguf import tiny_model
from tiny_models import converted

from bitnet_cli.cli.chat_commands import ALIASES, COMMANDS, EXAMPLES, SETTINGS

CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ROOT = Path(__file__).resolve().parents[2]
GREEDY = ("--temp", "0", "-n", "8")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the person who runs the tests is read or written."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("chat")
    return {
        "2b4t": converted(folder, "bitnet-b1.58", "packed_auto"),
        "jinja": tiny_model(chat_template=CHATML, context_length=256).write(folder / "jinja.gguf"),
    }


@pytest.fixture
def chat(bitnet: Callable, models: dict[str, Path]) -> Callable:
    """`chat("a", "b", options)`: what comes of these lines."""

    def run(*lines: str, options: tuple[object, ...] = (), model: str = "2b4t") -> object:
        stdin = "".join(f"{line}\n" for line in lines).encode()
        return bitnet("chat", models[model], *GREEDY, *options, stdin=stdin)

    return run


def answers(ran: object) -> list[dict[str, object]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def test_answers_and_nothing_else_to_stdout(chat: Callable) -> None:
    ran = chat("Hello", "", "And?")
    objects = answers(chat("Hello", "And?", options=("--json",)))
    assert ran.code == 0 and ran.err == ""
    assert ran.out == "".join(
        str(one["text"]) + ("" if str(one["text"]).endswith("\n") else "\n") for one in objects
    )


def test_json_counts_what_is_new(chat: Callable) -> None:
    first, second = answers(chat("Hello you", "And?", options=("--json",)))
    assert set(first) == {
        *("role", "text", "prompt_tokens", "reused_tokens", "tokens", "prompt_tps", "tps", "finish_reason"),
        *("context_tokens", "context_length", "dropped_turns"),
    }
    assert first["role"] == "assistant" and first["finish_reason"] == "length" and first["tokens"] == 8
    assert first["reused_tokens"] == 0 and first["context_length"] == 512
    # All of the first turn is held but for its last token, which nothing was asked about yet.
    assert second["reused_tokens"] == first["prompt_tokens"] + 7
    new = len("And?") + len("User: ") + len("Assistant: ")
    assert 0 < second["prompt_tokens"] <= new + 3


@pytest.mark.parametrize("model", ["2b4t", "jinja"])
def test_model_by_argument_or_option(bitnet: Callable, models: dict[str, Path], model: str) -> None:
    ran = [
        bitnet("chat", *how, models[model], *GREEDY, "--json", stdin=b"Hello\n")
        for how in ((), ("-m",), ("--model",))
    ]
    assert len({json.loads(r.out)["text"] for r in ran}) == 1 and all(r.err == "" for r in ran)


def test_threads_kernel_cache_and_speculation(chat: Callable) -> None:
    plain = answers(chat("Hello", "And?", options=("--json",)))
    for options in (("-t", "2"), ("--kernel", "lut"), ("--isa", "scalar"), ("--speculate",)):
        other = answers(chat("Hello", "And?", options=("--json", *options)))
        assert [one["text"] for one in other] == [one["text"] for one in plain]
    assert (
        answers(chat("Hello", options=("--json", "--kv-type", "i8", "-c", "64")))[0]["context_length"] == 64
    )


def test_turns_of_several_lines(chat: Callable, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    chat(
        "one\\",
        "two",
        '"""',
        "three",
        "",
        "four",
        '"""',
        '"""five"""',
        "//six",
        "seven\\",
        f"/save {file}",
        f"/save {file}",
    )
    texts = [m["content"] for m in json.loads(file.read_text())["messages"][::2]]
    assert texts == ["one\ntwo", "three\n\nfour", "five", "/six", f"seven\n/save {file}"]


def test_the_system_text(chat: Callable) -> None:
    plain = answers(chat("Hello", options=("--json",)))[0]
    told = answers(chat("Hello", options=("--json", "--system", "Be brief")))[0]
    same = answers(chat("/system Be brief", "Hello", "/system -", "/clear", "Hello", options=("--json",)))
    assert told["context_tokens"] > plain["context_tokens"]
    assert [one["text"] for one in same] == [told["text"], plain["text"]]


def test_commands_that_turn_back(chat: Callable) -> None:
    first, second, again, edited, alone = answers(
        chat("Hello", "And?", "/regen", "/edit Ant", "/undo", "/undo", "Hello", options=("--json",))
    )
    assert again["text"] == second["text"] and again["prompt_tokens"] == 1
    assert edited["reused_tokens"] >= first["context_tokens"] - 1
    assert alone["text"] == first["text"]


def test_set_changes_the_next_answers(chat: Callable) -> None:
    short, hot = answers(
        chat("/set n 3", "Hello", "/set temp 5", "/set top-k 0", "/regen", options=("--json",))
    )
    assert short["tokens"] == 3 and short["text"] != hot["text"]
    shown = chat("/set", "/set temp 0.5", "/set stop END", "/set")
    assert "  speculate off\n" in shown.err
    assert "temp is 0.8; `/set temp 0.7` changes it\n" in chat("/set temp 0.8", "/set temp").err
    assert "stop is nothing from" in chat("/set stop END", "/set stop -").err
    assert "  temp 0\n" in shown.err and "  temp 0.5\n" in shown.err and "  stop 'END'\n" in shown.err
    assert set(EXAMPLES) == set(SETTINGS)


def test_talk_goes_to_stderr(chat: Callable) -> None:
    ran = chat("Hello", "/help", "/stats", "/context", "/model", "/exit", "never said")
    for words in (
        *COMMANDS,
        "Ctrl-D",
        "answers    1, 8 tokens",
        "read ",
        "░ context ",
        "1 turn, no system",
        "bitnet-b1.58",
    ):
        assert words in ran.err
    assert all(len(line) <= 80 for line in ran.err.splitlines())
    assert len(ran.out.splitlines()) == len(chat("Hello").out.splitlines())
    assert set(ALIASES.values()) <= set(COMMANDS)


def test_save_and_load(chat: Callable, tmp_path: Path) -> None:
    exact, readable = tmp_path / "a.json", tmp_path / "a.md"
    _, second = answers(chat("Hello", f"/save {exact}", f"/save {readable}", "And?", options=("--json",)))
    loaded, text = (
        answers(chat(f"/load {file}", "And?", options=("--json",)))[0] for file in (exact, readable)
    )
    assert loaded["text"] == second["text"] and loaded["context_tokens"] == second["context_tokens"]
    assert text["reused_tokens"] == 0 and "## User\n\nHello\n" in readable.read_text()
    ran = chat("Hello", f"/save {readable}")
    assert ran.code == 1 and "exists already" in ran.err
    assert chat("Hello", f"/save -f {tmp_path / 'a'}").code == 0


def test_resume_goes_on_with_the_last_conversation(chat: Callable, own_state: Path) -> None:
    assert chat("Hello", options=("--resume",)).code == 1
    chat("Hello")
    assert not own_state.exists(), "what comes from a pipe is not kept"
    whole = answers(chat("Hello", "And?", options=("--json",)))
    (own_state / "bitnet").mkdir(parents=True)
    chat("Hello", f"/save {own_state / 'bitnet' / 'last-chat.json'}")
    resumed = answers(chat("And?", options=("--json", "--resume")))
    assert (
        resumed[0]["text"] == whole[1]["text"] and resumed[0]["context_tokens"] == whole[1]["context_tokens"]
    )
    third = answers(chat("More", options=("--json", "--resume")))
    assert third[0]["context_tokens"] > resumed[0]["context_tokens"], (
        "it was kept with the turn that was added"
    )


def test_another_model_in_the_middle(chat: Callable, models: dict[str, Path]) -> None:
    ran = chat("Hello", f"/model {models['jinja']}", "And?", options=("--json", "--system", "Be brief"))
    second = answers(ran)[1]
    assert second["context_length"] == 256 and second["context_tokens"] > 40


THINKS = ["<think>", "\n\n", "Well", "\n\n\n", "</think>", " \n\n", "Yes", " indeed"]


@pytest.mark.parametrize("after_begin", ["", "<think>"])
def test_thoughts_and_answers_apart(bitnet: Callable, tmp_path: Path, after_begin: str) -> None:
    path = reciting_model(THINKS, after_begin=after_begin).write(tmp_path / "thinks.gguf")
    (one,) = answers(bitnet("chat", path, "--json", "--temp", "0", stdin=b"Is it?\n"))
    assert one["thinking"] == "Well" and one["text"] == "Yes indeed"
    plain = bitnet("chat", path, "--temp", "0", stdin=b"Is it?\n").out
    assert plain.split() == ["<think>", "Well", "</think>", "Yes", "indeed"]
    (cut,) = answers(bitnet("chat", path, "--json", "--temp", "0", "-n", "3", stdin=b"Is it?\n"))
    assert (cut["thinking"], cut["text"]) == ("Well", "")


def test_two_models_are_never_loaded_at_once(
    chat: Callable, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while another one is loaded, not while the first one comes back because the other one cannot be used."""
    import weakref

    from bitnet_cli.library import BitNetModel

    loaded: list[tuple[str, weakref.ref]] = []
    load = BitNetModel.from_pretrained

    def watched(path: Path, **options: object) -> BitNetModel:
        assert [name for name, model in loaded if model() is not None] == []
        if Path(path).name == "slow.gguf":
            raise KeyboardInterrupt
        model = load(path, **options)
        loaded.append((Path(path).name, weakref.ref(model)))
        return model

    monkeypatch.setattr(BitNetModel, "from_pretrained", watched)
    monkeypatch.setattr("bitnet_cli.cli.commands.chat.is_terminal", lambda _: True)  # Errors do not end it.
    damaged, silent = tmp_path / "damaged.gguf", tmp_path / "base.gguf"
    damaged.write_bytes(models["2b4t"].read_bytes()[:5000])
    tiny_model().write(silent)
    slow = tiny_model().write(tmp_path / "slow.gguf")
    file = tmp_path / "chat.json"
    monkeypatch.setattr("bitnet_cli.cli.chat_input.TerminalInput", lambda *_: PipedInput())
    from bitnet_cli.cli.chat_input import PipedInput

    lines = (
        *("/system Be brief", "Hello", "/model nowhere.gguf", f"/model {damaged}", f"/model {silent}"),
        *("And?", f"/model {slow}", f"/model {models['jinja']}", "So?", f"/save {file}"),
    )
    ran = chat(*lines, options=("--plain", "--no-history"))
    first = models["2b4t"].name
    assert [name for name, _ in loaded] == [first, "base.gguf", first, first, "jinja.gguf"]
    assert (
        ran.code == 0
        and ran.err.count("error: ") == 4
        and "error: interrupted: " in ran.err
        and "no chat template" in ran.err
    )
    assert [m["content"] for m in json.loads(file.read_text())["messages"][::2]] == ["Hello", "And?", "So?"]


def test_no_model_is_left(chat: Callable, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """If neither can be loaded the chat ends with what is wrong."""
    from bitnet_cli.cli.chat_input import PipedInput
    from bitnet_cli.library import BitNetModel

    load = BitNetModel.from_pretrained
    loaded: list[Path] = []

    def once(path: Path, **options: object) -> BitNetModel:
        loaded.append(path)
        if len(loaded) > 1:
            raise MemoryError
        return load(path, **options)

    monkeypatch.setattr(BitNetModel, "from_pretrained", once)
    monkeypatch.setattr("bitnet_cli.cli.commands.chat.is_terminal", lambda _: True)
    monkeypatch.setattr("bitnet_cli.cli.chat_input.TerminalInput", lambda *_: PipedInput())
    ran = chat("Hello", f"/model {models['jinja']}", "And?", options=("--plain", "--no-history"))
    assert ran.code == 1 and "error: not enough memory" in ran.err and len(loaded) == 3


def test_a_model_without_a_template_says_what_it_does(bitnet: Callable, tmp_path: Path) -> None:
    path = tiny_model().write(tmp_path / "base.gguf")
    ran = bitnet("chat", path, *GREEDY, stdin=b"Once\n")
    assert ran.code == 0 and "no chat template: it does not answer, it goes on with what you write" in ran.err


def test_how_one_file_is_read_does_not_hold_another_back(
    chat: Callable, models: dict[str, Path], tmp_path: Path
) -> None:
    other = ternary_model("tq2_0").write(tmp_path / "other.gguf")
    ran = chat(
        "A",
        f"/model {other}",
        "B",
        f"/model {models['2b4t']}",
        "C",
        options=("--i2s-layout", "x86", "--json"),
    )
    assert len(answers(ran)) == 3
    refused = chat("A", options=("--tiling", "64,64,32"))
    assert refused.code == 2 and "`--tiling` says how TL1 and TL2 weights are read" in refused.err


def test_the_context_is_full(chat: Callable) -> None:
    ran = chat(*(f"Message {n}" for n in range(12)), options=("-c", "80"))
    assert ran.code == 0 and "the context is full" in ran.err and "dropped" in ran.err
    objects = answers(chat(*(f"Message {n}" for n in range(12)), options=("-c", "80", "--json")))
    assert sum(int(str(one["dropped_turns"])) for one in objects) > 5
    assert all(int(str(one["context_tokens"])) <= 80 for one in objects)


def test_without_a_model_stories_go_on(bitnet: Callable) -> None:
    ran = bitnet("chat", "--temp", "0", "-n", "4", stdin=b"Once\n")
    assert ran.code == 0 and "story model" in ran.err and ran.out.strip()


def test_ctrl_c_ends_what_comes_from_a_pipe(tmp_path: Path) -> None:
    options = "-m bitnet_cli chat -n 400 --temp 2 --min-p 0 --seed 1"
    process = subprocess.Popen(
        [sys.executable, *options.split()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "BITNET_ISA": "scalar", "XDG_STATE_HOME": str(tmp_path)},
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"Once\nnever\n")
    process.stdin.flush()
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and (first + out).endswith(b"\n")
    assert err.endswith(b"interrupted\n") and b"Traceback" not in err


ERRORS = {
    "model twice": (("a.gguf", "-m", "b.gguf"), b"", 2, "not both"),
    "no such model": (("nowhere.gguf",), b"", 1, "nowhere.gguf"),
    "system without a template": (("--system", "a"), b"", 2, "no chat template"),
    "nothing to resume": (("--resume",), b"", 1, "no last conversation"),
    "no answer at all": (("-n", "0"), b"", 2, "`--n-predict`"),
    "nan": (("--temp", "nan"), b"", 2, "`--temp`"),
    "not UTF-8": ((), b"caf\xe9\n", 1, "not UTF-8"),
    "too long": (("-c", "16"), b"word " * 60 + b"\n", 2, "more than the context"),
    "a system text too long": (
        ("-m", "JINJA", "-c", "64", "--system", "a " * 40),
        b"",
        2,
        "which leaves nothing",
    ),
    "nothing to save": ((), b"/save a.md\n", 2, "nothing was said"),
    "unknown command": ((), b"/hlep\n", 2, "`/hlep`"),
    "no such command": ((), b"/xyzzy\n", 2, "`/xyzzy`"),
    "too much": ((), b"/undo all\n", 2, "takes nothing"),
    "unknown setting": ((), b"/set tmep 1\n", 2, "`tmep`"),
    "no number": ((), b"/set temp hot\n", 2, "`hot`"),
    "out of range": ((), b"/set top-p 3\n", 2, "`top-p`"),
    "nothing to undo": ((), b"/undo\n", 2, "nothing was said"),
    "nothing to regenerate": ((), b"/regen\n", 2, "nothing was said"),
    "nothing to edit": ((), b"/edit a\n", 2, "nothing was said"),
    "nothing to copy": ((), b"/copy\n", 2, "no answer"),
    "load nothing": ((), b"/load\n", 2, "needs a file"),
    "load nowhere": ((), b"/load nowhere.json\n", 1, "nowhere.json"),
    "save elsewhere": ((), b"Once\n/save nowhere/a.md\n", 1, "cannot be written"),
    "save as what": ((), b"Once\n/save a.txt\n", 2, "`.md` or `.json`"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_sentence(bitnet: Callable, models: dict[str, Path], case: str) -> None:
    args, stdin, code, message = ERRORS[case]
    ran = bitnet("chat", *(models["jinja"] if arg == "JINJA" else arg for arg in args), stdin=stdin)
    assert ran.code == code and (ran.out == "" or stdin.startswith(b"Once"))
    first = next(line for line in ran.err.splitlines() if line.startswith("error: "))
    assert message in first and not first.endswith(".")
    assert "\nhint: " in ran.err and "Traceback" not in ran.err


def test_the_nearest_command_is_offered(bitnet: Callable) -> None:
    assert "did you mean `/help`?" in bitnet("chat", stdin=b"/hlep\n").err
    assert "did you mean `/help`?" in bitnet("chat", stdin=b"/\n").err
    assert "did you mean `temp`?" in bitnet("chat", stdin=b"/set tmep 1\n").err


def test_no_input_at_all(bitnet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bitnet("chat", stdin=b"").code == 0
    from bitnet_cli.cli.chat_input import PipedInput

    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(EOFError):
        PipedInput().read()

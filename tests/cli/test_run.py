"""`bitnet run`: prompts from everywhere, text on stdout, talk on stderr, every way to stop, every error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_gguf import tiny_model

CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
GREEDY = ("--temp", "0", "-n", "12")


@pytest.fixture(scope="module")
def chat_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(chat_template=CHATML).write(tmp_path_factory.mktemp("chat") / "chat.gguf")


def test_text_to_stdout_statistics_to_stderr(bitnet: Callable, tiny_gguf: Path) -> None:
    ran = bitnet("run", "-m", tiny_gguf, "Hello", *GREEDY)
    assert ran.code == 0
    assert ran.out.endswith("\n") and len(ran.out) > 1
    assert "prompt 6 tokens" in ran.err and "generated 12 tokens" in ran.err and "reached `-n`" in ran.err


def test_json_is_one_object_and_agrees_with_the_text(bitnet: Callable, tiny_gguf: Path) -> None:
    plain = bitnet("run", "-m", tiny_gguf, "Hello", *GREEDY)
    ran = bitnet("run", "-m", tiny_gguf, "Hello", *GREEDY, "--json")
    assert ran.code == 0 and ran.err == ""
    got = json.loads(ran.out)
    assert got["text"] == plain.out.removesuffix("\n")
    assert got["prompt_tokens"] == 6 and len(got["token_ids"]) == 12
    assert got["finish_reason"] == "length" and got["model"] == str(tiny_gguf)
    timings = got["timings"]
    assert timings.pop("drafted_tokens") == timings.pop("accepted_tokens") == 0
    assert set(timings) == {"load_s", "prompt_s", "prompt_tps", "decode_s", "decode_tps"}
    assert all(value > 0 for value in timings.values())


def test_speculation_gives_the_same_text_and_counts(bitnet: Callable, tiny_gguf: Path) -> None:
    args = ("run", "-m", tiny_gguf, "one two one two", "--temp", "0", "--repeat-penalty", "0.1", "-n", "80")
    plain = json.loads(bitnet(*args, "--json").out)
    got = json.loads(bitnet(*args, "--json", "--speculate").out)
    assert got["token_ids"] == plain["token_ids"]
    timings = got["timings"]
    assert 0 < timings["accepted_tokens"] <= timings["drafted_tokens"]
    said = bitnet(*args, "--speculate").err
    assert f"guessed {timings['drafted_tokens']} tokens ahead, {timings['accepted_tokens']} of them" in said


def test_prompt_from_file_stdin_and_argument_are_the_same(
    bitnet: Callable, tiny_gguf: Path, tmp_path: Path
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes("Grüße\n".encode())
    ran = [
        bitnet("run", "-m", tiny_gguf, "Grüße", *GREEDY, "--json"),
        bitnet("run", "-m", tiny_gguf, "-f", file, *GREEDY, "--json"),
        bitnet("run", "-m", tiny_gguf, *GREEDY, "--json", stdin="Grüße\n".encode()),
    ]
    assert len({json.dumps(json.loads(r.out)["token_ids"]) for r in ran}) == 1
    assert json.loads(ran[0].out)["prompt_tokens"] == 8


def test_threads_and_isa_do_not_change_the_text(bitnet: Callable, tiny_gguf: Path, isa: str) -> None:
    base = json.loads(
        bitnet("run", "-m", tiny_gguf, "Hello", *GREEDY, "--json", "-t", "1", "--isa", "scalar").out
    )
    for threads in (1, 2):
        got = json.loads(
            bitnet("run", "-m", tiny_gguf, "Hello", *GREEDY, "--json", "-t", threads, "--isa", isa).out
        )
        assert got["isa"] == isa and got["threads"] == threads
        assert got["token_ids"] == base["token_ids"]


def test_isa_from_the_environment(bitnet: Callable, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITNET_ISA", "scalar")
    assert json.loads(bitnet("run", "-m", tiny_gguf, "a", *GREEDY, "--json").out)["isa"] == "scalar"
    monkeypatch.setenv("BITNET_ISA", "sse9")
    assert bitnet("run", "-m", tiny_gguf, "a").code == 2


def test_the_kernel_does_not_change_the_text(
    bitnet: Callable, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", "-m", tiny_gguf, "Hello", *GREEDY, "--json")
    got = [json.loads(bitnet(*run, "--kernel", name).out) for name in ("mad", "lut", "auto")]
    assert [g["kernel"] for g in got] == ["mad", "lut", "mad"]
    assert got[0]["token_ids"] == got[1]["token_ids"] == got[2]["token_ids"]
    monkeypatch.setenv("BITNET_KERNEL", "lut")
    assert json.loads(bitnet(*run).out)["kernel"] == "lut"


def test_a_seed_repeats_and_is_reported(bitnet: Callable, tiny_gguf: Path) -> None:
    def ids(*args: str) -> list[int]:
        return json.loads(
            bitnet("run", "-m", tiny_gguf, "Hello", "-n", "16", "--temp", "1.5", "--json", *args).out
        )["token_ids"]

    assert ids("--seed", "5") == ids("--seed", "5") != ids("--seed", "6")
    first = json.loads(bitnet("run", "-m", tiny_gguf, "Hello", "-n", "16", "--temp", "1.5", "--json").out)
    assert ids("--seed", str(first["seed"])) == first["token_ids"]


def test_stop_text_is_not_shown(bitnet: Callable, tiny_gguf: Path) -> None:
    text = json.loads(bitnet("run", "-m", tiny_gguf, "Hello", *GREEDY, "--json").out)["text"]
    stop = text[4:6]
    got = json.loads(
        bitnet("run", "-m", tiny_gguf, "Hello", *GREEDY, "--json", "--stop", "never", "--stop", stop).out
    )
    assert got["text"] == text[: text.index(stop)] and got["finish_reason"] == "stop"


def test_chat_template_is_used_unless_raw(bitnet: Callable, chat_gguf: Path) -> None:
    def prompt_tokens(*args: str) -> int:
        return json.loads(bitnet("run", "-m", chat_gguf, "Hello", "-n", "1", "--json", *args).out)[
            "prompt_tokens"
        ]

    assert prompt_tokens("--raw") == 6
    assert prompt_tokens() == 1 + len("<|user|>Hello\n<|assistant|>")
    assert prompt_tokens("--system", "Be") == 1 + len("<|system|>Be\n<|user|>Hello\n<|assistant|>")


def test_the_built_in_model_says_so(bitnet: Callable) -> None:
    ran = bitnet("run", "Once upon a time", "-n", "8", "--temp", "0")
    assert ran.code == 0 and ran.out.strip()
    assert ran.err.count("built-in") == 1 and "`-m 2b`" in ran.err


ERRORS = {
    "no such file": (("-m", "nowhere.gguf", "a"), 1, "nowhere.gguf", "hint"),
    "a directory": (("-m", ".", "a"), 1, "directory", "hint"),
    "not GGUF": (("-m", __file__, "a"), 1, "GGUF", "hint"),
    "no prompt": ((), 2, "prompt is empty", "Once upon a time"),
    "empty prompt": (("",), 2, "prompt is empty", "hint"),
    "prompt twice": (("a", "-f", "b"), 2, "not both", "leave one"),
    "no such prompt file": (("-f", "nowhere.txt"), 1, "nowhere.txt", "hint"),
    "unknown isa": (("a", "--isa", "sse9"), 2, "`sse9`", "`scalar`"),
    "unknown layout": (("a", "--i2s-layout", "mips"), 2, "`mips`", "`arm64`"),
    "unknown kernel": (("a", "--kernel", "fast"), 2, "`fast`", "`lut`"),
    "zero threads": (("a", "-t", "0"), 2, "`--threads`", "--help"),
    "too many threads": (("a", "-t", "1000"), 2, "threads", "`-t`"),
    "zero context": (("a", "-c", "0"), 2, "`--ctx-size`", "--help"),
    "too long a context": (("a", "-c", "100000000"), 2, "context", "`-c 512` does"),
    "negative temperature": (("a", "--temp", "-1"), 2, "`--temp`", "--help"),
    "temperature nan": (("a", "--temp", "nan"), 2, "`--temp`", "--help"),
    "temperature inf": (("a", "--temp", "inf"), 2, "`--temp`", "--help"),
    "negative top-k": (("a", "--top-k", "-1"), 2, "`--top-k`", "--help"),
    "top-p above one": (("a", "--top-p", "2"), 2, "`--top-p`", "--help"),
    "negative min-p": (("a", "--min-p", "-0.1"), 2, "`--min-p`", "--help"),
    "no repeat penalty": (("a", "--repeat-penalty", "0"), 2, "`--repeat-penalty`", "--help"),
    "negative seed": (("a", "--seed", "-1"), 2, "`--seed`", "--help"),
    "not a number": (("a", "-n", "many"), 2, "many", "--help"),
    "unknown option": (("a", "--tmep", "0"), 2, "`--tmep`", "did you mean `--temp`?"),
    "system without template": (("a", "--system", "b"), 2, "--system", "prompt"),
    "system with raw": (("a", "--system", "b", "--raw"), 2, "--raw", "prompt"),
    "prompt too long": (("word " * 5000,), 2, "do not fit", "shorten the prompt"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_sentence(bitnet: Callable, case: str) -> None:
    args, code, message, hint = ERRORS[case]
    ran = bitnet("run", *args)
    assert ran.code == code
    assert ran.out == ""
    first = next(line for line in ran.err.splitlines() if line.startswith("error: "))
    assert message in first and not first.endswith(".")
    assert hint in ran.err and "\nhint: " in ran.err and "Traceback" not in ran.err


@pytest.mark.parametrize("option", ["--temp", "--top-k", "--top-p", "--min-p", "--repeat-penalty", "-c"])
def test_what_is_out_of_range_is_refused_before_anything_is_loaded(bitnet: Callable, option: str) -> None:
    ran = bitnet("run", "-m", "nowhere.gguf", "a", option, "-1")
    assert ran.code == 2 and " must be " in ran.err


def test_hostile_names_do_not_reach_the_terminal(bitnet: Callable) -> None:
    ran = bitnet("run", "-m", "\x1b[2J\n\x07\u202e.gguf", "a")
    assert ran.code == 1 and r"\x1b[2J\n\x07\u202e.gguf does not exist" in ran.err
    assert not set("\x1b\x07\u202e") & set(ran.err)


def test_a_prompt_that_is_not_utf_8(bitnet: Callable, tiny_gguf: Path) -> None:
    ran = bitnet("run", "-m", tiny_gguf, stdin=b"\xff\xfe")
    assert ran.code == 1 and "not UTF-8" in ran.err

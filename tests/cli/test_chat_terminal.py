"""`bitnet chat` on a real pseudo-terminal: keys, Ctrl-C, Ctrl-D, paste, resizing, narrow screens, odd bytes, completion."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_terminal import ANSWERED, CTRL_C, CTRL_D, ENTER, HOME, LEFT, PASTE, ROOT, UP, Screen, seen
from reciting_gguf import reciting_model
from tiny_gguf import tiny_model

pexpect = pytest.importorskip("pexpect")

GREEDY = ("--temp", "0", "-n", "12")


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[type]:
    """Makes screens and ends their programs."""
    made: list[Screen] = []

    def make(*args: object, **options: object) -> Screen:
        made.append(Screen(tmp_path, *args, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make  # type: ignore[misc]
    for one in made:
        one.child.close(force=True)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that talks for a long time."""
    model = tiny_model(dim=256, ffn_dim=512, n_layers=4, context_length=20_000)
    shape, kind, rows = model.tensors["token_embd.weight"]
    # The rows of <bos> and <eos> are zeros, so that other tokens are always more likely.
    model.tensors["token_embd.weight"] = (shape, kind, rows[: -2 * 2 * 256] + bytes(2 * 2 * 256))
    return model.write(tmp_path_factory.mktemp("endless") / "endless.gguf")


ENDLESS = ("-c", "20000", "-n", "15000", "--temp", "0", "-t", "1", "--isa", "scalar")


def test_a_conversation(screen: type) -> None:
    chat = screen(*GREEDY, columns=100)
    shown = chat.say("Once upon a time")
    assert "12 tokens" in seen(shown) and "reached `-n`" in seen(shown) and "tok/s" in seen(shown)
    assert "read 5, kept 0" in seen(shown)
    assert "kept 16" in seen(chat.say("and then"))
    turns = chat.turns()
    assert [turn["content"] for turn in turns[::2]] == ["Once upon a time", "and then"]
    words = turns[1]["content"].split()
    assert all(word in seen(shown) for word in words)


def test_line_editing_and_history_across_sessions(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.say("once upin" + LEFT + "\x7fo" + HOME + "\x1b[3~" + "O")
    assert chat.turns()[0]["content"] == "Once upon"
    chat = screen(*GREEDY)
    chat.say(UP + " a time")
    assert chat.turns()[0]["content"] == "Once upon a time"
    state = chat.folder / "state" / "bitnet"
    assert (state / "chat-history").stat().st_mode & 0o077 == 0
    assert (state / "last-chat.json").stat().st_mode & 0o077 == 0


def test_nothing_is_kept_if_so_asked(screen: type) -> None:
    chat = screen(*GREEDY, "--no-history")
    chat.say("Once")
    chat.leave()
    assert not (chat.folder / "state").exists()


def test_ctrl_c_in_the_middle_of_an_answer(screen: type, endless: Path) -> None:
    chat = screen(endless, *ENDLESS)
    chat.type("Hello" + ENTER)
    chat.expect("tok/s")
    chat.type(CTRL_C)
    chat.expect("interrupted")
    chat.prompted()
    turns = chat.turns()
    assert turns[1]["finish_reason"] == "interrupted" and 0 < len(turns[1]["ids"]) < 15_000  # type: ignore[arg-type]


def test_ctrl_c_while_reading_takes_the_turn_back(screen: type, endless: Path) -> None:
    chat = screen(endless, *ENDLESS)
    chat.type(PASTE.format("word " * 180) + ENTER)
    chat.expect("reading 256 of")
    chat.type(CTRL_C)
    chat.expect("taken back")
    chat.prompted()
    chat.type(CTRL_C)
    chat.prompted()
    chat.leave()


def test_ctrl_c_at_the_prompt_clears_the_line(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.type("never said")
    chat.expect("never said")
    chat.type(CTRL_C)
    time.sleep(0.2)
    chat.type(CTRL_C)
    chat.expect("Ctrl-D or /exit leaves")
    chat.say("Once")
    assert chat.turns()[0]["content"] == "Once"


def test_ctrl_d_deletes_on_a_line_and_leaves_on_none(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.say("Oncee" + LEFT + CTRL_D)
    assert chat.turns()[0]["content"] == "Once"


def test_what_is_pasted_is_one_turn(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.type(PASTE.format("line one\n/exit\nline three\n"))
    chat.expect("line three")
    chat.say("")
    assert [turn["content"].strip() for turn in chat.turns()[::2]] == ["line one\n/exit\nline three"]


def test_several_lines(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.type("one\\" + ENTER)
    chat.expect(r"\.\.\.")
    chat.say("two")
    chat.type('"""three' + ENTER)
    chat.expect(r"\.\.\.")
    chat.say('four"""')
    chat.type("five\x1b\r")
    chat.expect(r"\.\.\.")
    chat.say("six")
    assert [turn["content"] for turn in chat.turns()[::2]] == ["one\ntwo", "three\nfour", "five\nsix"]


def test_bytes_that_are_no_characters(screen: type) -> None:
    chat = screen(*GREEDY)
    os.write(chat.child.child_fd, b"caf\xe9 \xff\xfe na\xc3\xafve\r")
    chat.expect(ANSWERED)
    chat.prompted()
    assert chat.turns()[0]["content"] == "caf\ufffd \ufffd\ufffd naïve"
    assert "caf" in (chat.folder / "state" / "bitnet" / "chat-history").read_text(encoding="utf-8")


def test_completion(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.type("/con\t")
    chat.expect("/context")
    chat.type(ENTER)
    chat.expect("system text")
    chat.prompted()
    chat.type("/set rep\t")
    chat.expect("repeat-penalty")
    chat.type(" 1.5" + ENTER)
    chat.expect("repeat-penalty is 1.5")
    chat.prompted()
    (chat.folder / "kept-talk.md").write_text("## User\n\na\n\n## Assistant\n\nb\n")
    chat.type("/load kept\t")
    chat.expect("kept-talk.md")
    chat.type(ENTER)
    chat.expect("1 turn loaded")


def test_errors_are_told_and_the_chat_goes_on(screen: type) -> None:
    chat = screen(*GREEDY, "-c", "64")
    assert "did you mean `/help`" in seen(chat.say("/hlep"))
    assert "nothing was said yet" in seen(chat.say("/undo"))
    assert "no such file" in seen(chat.say("/load nowhere.json")).lower()
    assert "nowhere.gguf" in seen(chat.say("/model nowhere.gguf")).split("error", 1)[1]
    chat.type(PASTE.format("word " * 100) + ENTER)
    chat.expect("more than the context of 64")
    chat.prompted()
    assert "12 tokens" in seen(chat.say("Once"))
    chat.leave()


def test_edit_and_regenerate(screen: type) -> None:
    chat = screen("--temp", "2", "-n", "12")
    chat.say("Once upon")
    chat.say("/regen")
    chat.say("/edit")
    chat.say(" a time")
    turns = chat.turns()
    assert [turn["content"] for turn in turns[::2]] == ["Once upon a time"]


def test_an_edit_can_be_given_up(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.say("Once")
    chat.say("/edit")
    chat.type(CTRL_C)
    chat.expect("stays as it was")
    chat.prompted()
    chat.say("/edit")
    chat.type(CTRL_C)
    chat.prompted()
    chat.say("upon")
    assert [turn["content"] for turn in chat.turns()[::2]] == ["Once", "upon"]


def test_resume(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.say("Once upon a time")
    chat.leave()
    chat = screen(*GREEDY, "--resume")
    assert "1 turn loaded" in seen(chat.greeting)
    chat.say("and then")
    assert len(chat.turns()) == 4


@pytest.mark.parametrize("columns", [20, 33])
def test_narrow_screens(screen: type, columns: int) -> None:
    chat = screen("--temp", "0", "-n", "60", columns=columns)
    shown = chat.say("Once upon a time")
    lines = seen(shown[shown.index("reading") : shown.index("60 tokens")]).split("\n")
    assert all(len(line) <= columns for line in lines), lines
    assert len(lines) > 60 * 3 // columns
    chat.leave()


def test_resizing_in_the_middle_of_an_answer(screen: type, endless: Path) -> None:
    chat = screen(endless, *ENDLESS)
    chat.type("Hello" + ENTER)
    chat.expect("tok/s")
    chat.child.setwinsize(24, 30)
    time.sleep(0.3)
    chat.child.setwinsize(10, 100)
    time.sleep(0.3)
    chat.type(CTRL_C)
    chat.expect("interrupted")
    chat.prompted()
    chat.child.setwinsize(24, 40)
    chat.prompted()
    chat.say("/stats")
    chat.leave()


def test_what_is_typed_meanwhile_waits_for_the_prompt(screen: type, endless: Path) -> None:
    """Ctrl-C, which terminals usually empty their queue for, leaves it; pasted lines stay one turn."""
    chat = screen(endless, *ENDLESS)
    chat.type("Hello" + ENTER)
    chat.expect("tok/s")
    chat.type("agaim\x7fn" + ENTER + PASTE.format("two\nlines\n"))
    time.sleep(0.3)
    chat.type(CTRL_C)
    assert "agai" not in seen(chat.expect("interrupted"))
    chat.expect("again")
    chat.expect("tok/s")
    chat.type(CTRL_C)
    chat.expect("interrupted")
    chat.expect("lines")
    chat.type(" more" + ENTER)
    chat.expect("tok/s")
    chat.type(CTRL_D + CTRL_C)
    chat.expect("interrupted")
    chat.child.expect(pexpect.EOF)
    assert [turn["content"] for turn in chat.kept()[::2]] == ["Hello", "again", "two\nlines\n more"]


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_thoughts_are_told_from_the_answer(screen: type, tmp_path: Path, env: dict[str, str]) -> None:
    words = ["<think>", "\n\n", "Let me", " see", "\n\n\n", "</think>", " \n\n", "Yes", " **indeed**", ".."]
    chat = screen(reciting_model(words).write(tmp_path / "thinks.gguf"), "--temp", "0", columns=100, **env)
    shown = chat.say("Is it?")
    assert "\n│ Let me see\n\nYes " in re.sub("10 tokens.*?\n|thinking.*", "", seen(shown))
    assert "think>" not in shown and ("\x1b[2mLet" in shown) == (not env)
    assert chat.turns()[1]["content"] == "".join(words)


def test_a_folder_that_cannot_be_written_is_told_once(screen: type, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    chat = screen(*GREEDY)
    assert chat.greeting.count("is kept") == 1 and "state/bitnet" in chat.greeting
    assert "kept:" not in seen(chat.say("Once") + chat.say("upon"))
    chat.leave()


@pytest.mark.parametrize(
    ("env", "options", "has_styles", "has_status"),
    [
        ({}, (), True, True),
        ({"NO_COLOR": "1"}, (), False, True),
        ({}, ("--plain",), False, False),
        ({"TERM": "dumb"}, (), False, False),
    ],
)
def test_styles(
    screen: type, env: dict[str, str], options: tuple[str, ...], has_styles: bool, has_status: bool
) -> None:
    chat = screen(*GREEDY, *options, **env)
    chat.type("Once upon a time" + ENTER)
    answer = chat.expect(ANSWERED).split("upon a time", 1)[1].split("\n", 1)[-1]
    assert bool(re.search(r"\x1b\[[0-9;]*[1-9]m", answer)) == has_styles
    assert ("Ctrl-C stops" in answer) == has_status


def test_answers_go_to_a_file_while_one_types(tmp_path: Path) -> None:
    line = f"{sys.executable} -m bitnet_cli chat --temp 0 -n 12 > out.txt"
    env = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path), "PROMPT_TOOLKIT_NO_CPR": "1"}
    child = pexpect.spawn("/bin/sh", ["-c", line], env=os.environ | env, cwd=str(tmp_path), encoding="utf-8")
    child.expect(">>>")
    child.send("Once upon a time" + ENTER)
    child.expect("12 tokens")
    child.expect(">>>")
    child.send(CTRL_D)
    child.expect(pexpect.EOF)
    written = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert len(written.split()) > 5 and "\x1b" not in written and "tokens" not in written


def test_copy_asks_the_terminal(screen: type) -> None:
    chat = screen(*GREEDY)
    chat.say("Once upon a time")
    chat.type("/copy" + ENTER)
    chat.expect(r"\x1b\]52;c;[A-Za-z0-9+/=]+\x07")
    chat.expect(r"OSC 52")


def test_the_terminal_is_left_as_it_was(screen: type, endless: Path) -> None:
    """After the end in the middle of an answer, too, the cursor and what is typed can be seen."""
    import signal
    import termios

    chat = screen(endless, *ENDLESS)
    chat.type("Hello" + ENTER)
    chat.expect("tok/s")
    chat.child.kill(signal.SIGTERM)
    chat.expect(r"\x1b\[\?25h")
    chat.expect("terminated")
    chat.child.expect(pexpect.EOF)
    assert termios.tcgetattr(chat.child.child_fd)[3] & termios.ECHO

"""Completion, by the words and in real shells, set up as the help says in an empty home."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect")

ROOT = Path(__file__).resolve().parents[2]
MODELS, FILES, FOLDERS = ":models", ":files", ":folders"
SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two models, one of them in the catalogue."""
    cache = tmp_path / "cache"
    for repo in ("microsoft--bitnet-b1.58-2B-4T", "mine--tiny"):
        (cache / f"models--{repo}").mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def words(bitnet: Callable) -> Callable:
    """What may complete a line, without what it means."""

    def ask(line: str) -> list[str]:
        ran = bitnet("completion", f"--words={line}")
        assert ran.code == 0 and ran.err == ""
        return [found.partition("\t")[0] for found in ran.out.splitlines()]

    return ask


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ch", ["chat"]),
        ("con", ["convert", "config"]),
        ("run --kernel ", ["auto", "mad", "lut"]),
        ("run --kernel=", ["auto", "mad", "lut"]),
        ("run --kernel=l", ["lut"]),
        ("run --json=", []),
        ("run --kv", ["--kv-type"]),
        ("run --kv-type f16 --kv", []),
        ("run --stop a --sto", ["--stop"]),
        ("run -- --kv", []),
        ("run --outt", []),
        ("convert --outt", ["--outtype"]),
        ("convert --outtype tq", ["tq1_0", "tq2_0"]),
        ("convert --embed-type q", ["q8_0", "q6_k", "q4_0", "q2_0"]),
        ("bench --embed-type q", ["q8_0", "q6_k", "q4_0", "q2_0"]),
        ("bench -o js", ["json", "jsonl"]),
        ("bench --shape llama", ["llama3-8b"]),
        ("bench --baseline ", [FILES]),
        ("run -m falcon3-10", ["falcon3-10b", "falcon3-10b-base", MODELS]),
        ("run --model=falcon3-10", ["falcon3-10b", "falcon3-10b-base", MODELS]),
        ("chat mi", ["microsoft/bitnet-b1.58-2B-4T", "mine/tiny", MODELS]),
        ("chat 2", ["2b", "2b-bf16", MODELS]),
        ("chat -t 2 3", ["3b", MODELS]),
        ("chat 2b x", []),
        ("chat 'a b' x", []),
        ("chat 'my mo", [MODELS]),
        ('chat "my mo', [MODELS]),
        ("chat my\\ mo", [MODELS]),
        ("inspect --diff zz", [MODELS]),
        ("bench --against zz", []),
        ("verify 2b-", ["2b-bf16", MODELS]),
        ("verify --against mi", ["microsoft/bitnet-b1.58-2B-4T", "mine/tiny", MODELS]),
        ("rm ", ["2b", "microsoft/bitnet-b1.58-2B-4T", "mine/tiny"]),
        ("download m", []),
        ("download 2b --local-dir ", [FOLDERS]),
        ("run -f ", [FILES]),
        ("run -t ", []),
        ("run Once", []),
        ("convert 2b -o ", [FILES]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("config top", ["top-k", "top-p"]),
        ("config kernel ", ["auto", "mad", "lut"]),
        ("config --unset ker", ["kernel"]),
        ("nonsense x", []),
        ("--v", ["--version"]),
        ("run --hel", ["--help"]),
    ],
)
def test_words(words: Callable, line: str, expected: list[str]) -> None:
    assert sorted(words(f"bitnet {line}")) == sorted(expected)


@pytest.mark.parametrize(
    "line", ["", "bitnet", "'", "\\", "bitnet 'a\"", "bitnet run \\", "a=b", "=", "\t\n"]
)
def test_nonsense_gives_nothing_bad(words: Callable, line: str) -> None:
    words(line)


def test_assignments_before_the_program(words: Callable) -> None:
    assert words("BITNET_ISA=scalar X= bitnet ch") == ["chat"]


def test_what_words_mean(bitnet: Callable) -> None:
    ran = bitnet("completion", "--words=bitnet run --k")
    assert (
        ran.out.splitlines()[1].startswith("--kernel\tmad multiplies and adds") or "--kernel\tmad" in ran.out
    )
    assert "chat\tTalk with a model\n" in bitnet("completion", "--words=bitnet ch").out


def test_values_are_those_that_there_are() -> None:
    import typer

    from bitnet_cli.bench.shapes import SHAPES
    from bitnet_cli.cli.app import app
    from bitnet_cli.cli.completing import VALUES

    assert set(VALUES["--shape"]) == set(SHAPES)
    helps = {
        name: param.help
        for command in typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
        for param in command.params
        for name in param.opts
        if name in VALUES and command.name != "bench"
    }
    for name, help in helps.items():
        assert all(re.search(rf"\b{value}\b", help) for value in VALUES[name]), name


# ---- In real shells ----

SHOW = {
    "bash": "PS1='READY''> '; show() { printf 'args'; printf ':[%s]' \"$@\"; echo ':end'; }\n",
    "zsh": "PS1='READY''> '; show() { printf 'args'; printf ':[%s]' \"$@\"; echo ':end'; }; bindkey -e\n",
    "fish": "function fish_prompt; echo 'READY''> '; end\n"
    "function fish_right_prompt; end; function fish_greeting; end\n"
    "function show; printf args; printf ':[%s]' $argv; echo :end; end\n",
}
"""A prompt that can be waited for, and a command that shows the arguments that it was given."""
TAB, HOME_KEY, CLEAR, ENTER = "\t", "\x01", "\x15", "\r"
CONTROL = re.compile(
    r"\x1b\[[0-9;?>=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x0e\x0f]"
)


def instructions(bitnet: Callable) -> dict[str, tuple[str, str]]:
    """The line for each shell and the file that it belongs into, as the help tells."""
    found = re.findall(
        r"^ +(\S.*?) +# (?:in|at the end of) ~/(\S+)$", bitnet("completion", "--help").out, re.M
    )
    assert len(found) == len(SHELLS)
    return {next(shell for shell in SHELLS if shell in line): (line, file) for line, file in found}


class Shell:
    """An interactive shell in a home that has nothing but what the help says."""

    def __init__(self, name: str, folder: Path, instruction: tuple[str, str]) -> None:
        home, bin = folder / "home", folder / "bin"
        bin.mkdir()
        program = bin / "bitnet"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bitnet_cli "$@"\n')
        program.chmod(0o755)
        line, file = instruction
        (home / file).parent.mkdir(parents=True)
        (home / file).write_text(f"{line}\n{SHOW[name]}")
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ZDOTDIR", "BASH", "PS", "fish"))
        }
        self.child = pexpect.spawn(
            shutil.which(name),
            ["-i"],
            env=kept
            | {"HOME": str(home), "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
            | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            cwd=str(home),
            dimensions=(40, 160),
            encoding="utf-8",
            codec_errors="replace",
        )
        self.child.delaybeforesend = 0
        self.name, self.home, self.program = name, home, program
        self.shown = ""
        """What came that was not waited for yet."""
        self.said: list[str] = []
        """What looks like errors."""
        self.expect("READY> ")

    def expect(self, pattern: str) -> str:
        """Waits until something is shown; returns what was shown before. Both without what moves the cursor or colours.

        Answers meanwhile, as terminals do, what kind of terminal this is.
        """
        while (found := re.search(pattern, CONTROL.sub("", self.shown))) is None:
            try:
                piece = self.child.read_nonblocking(4096, timeout=30)
            except pexpect.TIMEOUT:
                raise AssertionError(f"{pattern!r} is not in {self.shown!r}") from None
            for _ in re.findall(r"\x1b\[0?c", piece):
                self.child.send("\x1b[?62;c")
            self.shown += piece
        self.shown = CONTROL.sub("", self.shown)
        before, self.shown = self.shown[: found.start()], self.shown[found.end() :]
        return before

    def completed(self, line: str) -> list[str]:
        """The words of a line after Tab was pressed at its end, as a command gets them."""
        self.child.send(f"{line}{TAB}{HOME_KEY}show {ENTER}")
        shown = self.expect(r"args:\[")
        self.said += re.findall(r"(?:^|\n)(?:no|.*(?:not found|Unknown command|rror)).*", shown)
        words = self.expect(r"\]:end")
        self.expect("READY> ")
        return words.split("]:[")

    def listed(self, line: str, last: str) -> str:
        """What is shown for a line that may go on in several ways, until `last` is shown."""
        self.child.send(f"{line}{TAB * 2 if self.name == 'bash' else TAB}")
        shown = self.expect(last)
        self.child.send(CLEAR + ENTER)
        self.expect("READY> ")
        return shown


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, bitnet: Callable, tmp_path: Path) -> Iterator[Shell]:
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    one = Shell(name, tmp_path, instructions(bitnet)[name])
    for path in ("my model.gguf", "zy.gguf", "zz.gguf", "zz.txt", "sub folder/inside.gguf", "answer.txt"):
        (one.home / path).parent.mkdir(exist_ok=True)
        (one.home / path).touch()
    yield one
    one.child.close(force=True)


LINES = [
    ("bitnet verify-", ["bitnet", "verify-cache"]),
    ("bitnet run --kern", ["bitnet", "run", "--kernel"]),
    ("bitnet run --kernel l", ["bitnet", "run", "--kernel", "lut"]),
    ("bitnet run --kernel=l", ["bitnet", "run", "--kernel=lut"]),
    ("bitnet run --outt", ["bitnet", "run", "--outt"]),
    ("bitnet convert --outt", ["bitnet", "convert", "--outtype"]),
    ("bitnet run -m falcon3-10b-", ["bitnet", "run", "-m", "falcon3-10b-base"]),
    ("bitnet chat mine", ["bitnet", "chat", "mine/tiny"]),
    ("bitnet chat zz", ["bitnet", "chat", "zz.gguf"]),
    ("bitnet chat my", ["bitnet", "chat", "my model.gguf"]),
    ("bitnet chat my\\ mo", ["bitnet", "chat", "my model.gguf"]),
    ('bitnet chat "my mo', ["bitnet", "chat", "my model.gguf"]),
    ("bitnet chat 'my mo", ["bitnet", "chat", "my model.gguf"]),
    ("bitnet run --model=zz", ["bitnet", "run", "--model=zz.gguf"]),
    ("bitnet chat ~/zz", ["bitnet", "chat", "{home}/zz.gguf"]),
    ("bitnet chat ./zz", ["bitnet", "chat", "./zz.gguf"]),
    ("bitnet inspect sub\\ folder/ins", ["bitnet", "inspect", "sub folder/inside.gguf"]),
    ("bitnet inspect ~/sub\\ folder/ins", ["bitnet", "inspect", "{home}/sub folder/inside.gguf"]),
    ("bitnet run -f ans", ["bitnet", "run", "-f", "answer.txt"]),
    ("bitnet run ans", ["bitnet", "run", "ans"]),
    ("bitnet run 'two words' --kern", ["bitnet", "run", "two words", "--kernel"]),
    ("bitnet download 2b --local-dir sub", ["bitnet", "download", "2b", "--local-dir", "sub folder"]),
]


def test_lines(shell: Shell) -> None:
    wrong = []
    for line, expected in LINES:
        found = shell.completed(line)
        found[-1] = found[-1].removesuffix("/")  # zsh takes the slash away if nothing follows it
        if found != [word.format(home=shell.home) for word in expected]:
            wrong.append((line, found))
    assert not wrong


def test_lists(shell: Shell) -> None:
    shown = shell.listed("bitnet run --k", "--kv-type" if shell.name == "bash" else "Stored keys and values")
    assert "--kernel" in shown and "--outtype" not in shown
    if shell.name != "bash":
        assert "mad multiplies and adds" in shown
    shown = shell.listed("bitnet chat z", "zz.gguf")
    assert "zz.txt" not in shown
    shown = shell.listed("bitnet co", "convert")
    assert "zz" not in shown


def test_nothing_is_said_if_it_fails(shell: Shell) -> None:
    (shell.program).write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    assert shell.completed("bitnet run --kern") == ["bitnet", "run", "--kern"]
    shell.program.unlink()
    assert shell.completed("bitnet run --kern") == ["bitnet", "run", "--kern"]
    assert not shell.said, shell.said


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_in_a_folder_where_zsh_looks(bitnet: Callable, tmp_path: Path) -> None:
    """The first Tab, which loads the file, completes, too."""
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "_bitnet").write_text(bitnet("completion", "zsh").out)
    line = f"fpath+=({tmp_path}/functions); autoload -Uz compinit && compinit"
    zsh = Shell("zsh", tmp_path, (line, ".zshrc"))
    assert zsh.completed("bitnet run --kern") == ["bitnet", "run", "--kernel"]
    zsh.child.close(force=True)

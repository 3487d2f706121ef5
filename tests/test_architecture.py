"""The layering as a test: reads every import of the package and fails on one that points upward."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "bitnet_cli"

# Each package and what of ours it may import, besides itself. errors.py may be imported by all.
MAY_IMPORT = {
    "errors": set(),
    "native": {"errors"},
    "arch": {"errors"},
    "formats": {"errors", "native"},
    "engine": {"errors", "native", "arch", "formats"},
    "text": {"errors", "formats"},
    "convert": {"errors", "native", "arch", "formats", "text"},
    "machine": set(),
    "hub": {"errors", "machine"},
    "generation": {"errors", "engine"},
    "library": {"errors", "native", "arch", "formats", "engine", "text", "generation"},
    "perplexity": {"errors", "library"},
    "verify": {"errors", "native", "arch", "formats", "engine", "text", "convert"},
    "chat": {"errors", "text", "library"},
    "bench": {"errors", "machine", "native", "arch", "formats", "engine", "text", "library", "__init__"},
    "doctor": {"errors", "machine", "native", "formats", "engine", "text", "hub", "bench", "__init__"},
    "cli": {
        *(
            "errors",
            "native",
            "arch",
            "formats",
            "engine",
            "text",
            "convert",
            "verify",
            "hub",
            "machine",
            "doctor",
            "library",
            "perplexity",
            "bench",
            "chat",
        ),
        "__init__",
    },
    "__init__": {"errors", "library"},
    "__main__": {"cli"},
}
ONLY_IN = {  # heavy or dangerous libraries and the only rooms that may import them
    "typer": {"cli"},
    "rich": {"cli"},
    "prompt_toolkit": {"cli"},
    "tokenizers": {"text"},
    "jinja2": {"text"},
    "huggingface_hub": {"hub"},
    "bitnet_cli.native._bitnet": {"native"},
    "click": set(),
    "pickle": set(),
    "torch": set(),
}


def imports_of(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def target_of(parts: list[str]) -> str:
    """The room that `bitnet_cli.<...>` lies in."""
    if len(parts) > 1 and ((ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").exists()):
        return parts[1]
    return "__init__"


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    assert room in MAY_IMPORT, f"{room} has no place in the layering yet"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "bitnet_cli":
            target = target_of(parts)
            assert target in MAY_IMPORT[room] | {room}, f"{room} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_room(path: Path) -> None:
    names = imports_of(path)
    for library, rooms in ONLY_IN.items():
        if room_of(path) not in rooms:
            guilty = {name for name in names if name == library or name.startswith(library + ".")}
            assert not guilty, f"{path.relative_to(ROOT)} must not import {guilty}"


def test_a_planted_upward_import_is_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        "def f():\n    from bitnet_cli.cli.output import out\n    import typer\n    return out, typer\n"
    )
    assert {"bitnet_cli.cli.output", "typer"} <= imports_of(planted)

"""README and docs: every relative link leads to a file, and nothing was left to be filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def broken_links(page: Path) -> list[str]:
    """Relative link targets of a page that do not exist."""
    targets = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    files = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    return [file for file in files if file and not (page.parent / file).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_placeholder_is_left(page: Path) -> None:
    assert re.findall(r"<!--.*?-->", page.read_text(encoding="utf-8"), re.DOTALL) == []


def test_a_planted_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#x) [b](nowhere.md) [c](https://example.org/x) [d](#x) `[e](code)`")
    assert broken_links(page) == ["nowhere.md"]

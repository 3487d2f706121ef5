"""`bitnet doctor`: is everything as it should be?"""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.options import JsonOpt
from bitnet_cli.cli.output import out

if TYPE_CHECKING:
    from bitnet_cli.doctor.finding import Finding

_MARKS = {"ok": ("✓", "32"), "absent": ("-", "2"), "note": ("!", "33"), "problem": ("✗", "31")}
_NAME_WIDTH = 14


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Measure nothing.")] = False,
    json: JsonOpt = False,
) -> None:
    """Check this machine and this installation.

    Runs every kernel of this CPU against plain C, looks at cores, memory and folders, measures what the machine gives, and
    says what to do about whatever is not right. The exit code is 1 if there is a problem.

    Examples:

      bitnet doctor

      bitnet doctor --json
    """
    from bitnet_cli.doctor.checks import all_findings

    found = []
    stages = 3 if quick else 4
    with out.progress("checking", stages, "stages") as bar:
        done = -1

        def say(what: str) -> None:
            nonlocal done
            done += 1
            bar.update(min(done, stages), what)

        for finding in all_findings(say, quick=quick):
            found.append(finding)
    problems = sum(finding.mark == "problem" for finding in found)
    if json:
        out.json({"problems": problems, "findings": [finding.to_json() for finding in found]})
    else:
        out.data(_report(found))
        out.data(f"\n{_summary(found)}")
    if problems:
        raise typer.Exit(1)


def _report(found: list[Finding]) -> str:
    """A section for each kind of finding, no line wider than the screen."""
    lines: list[str] = []
    section = None
    for finding in found:
        if finding.section != section:
            section = finding.section
            lines += ([""] if lines else []) + [section]
        mark, colour = _MARKS[finding.mark]
        lines += _lines(f"  {out.painted(mark, colour)} {finding.name:<{_NAME_WIDTH}} ", finding.text)
        if finding.advice is not None:
            lines += _lines(" " * (4 + _NAME_WIDTH) + " → ", finding.advice)
    return "\n".join(lines)


def _lines(head: str, text: str) -> list[str]:
    rest = " " * (5 + _NAME_WIDTH + (2 if head.endswith("→ ") else 0))
    width = max(shutil.get_terminal_size().columns, 40) - len(rest)
    parts = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    return [head + parts[0], *(rest + part for part in parts[1:])]


def _summary(found: list[Finding]) -> str:
    counts = {mark: sum(finding.mark == mark for finding in found) for mark in _MARKS}
    if counts["problem"]:
        return f"{counts['problem']} problem{'s' if counts['problem'] > 1 else ''}: see the lines with ✗"
    return "no problems" + (
        f"; {counts['note']} remark{'s' if counts['note'] > 1 else ''}" if counts["note"] else ""
    )

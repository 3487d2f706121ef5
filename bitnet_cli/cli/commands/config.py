"""`bitnet config`: defaults of options, and where each comes from."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from bitnet_cli.cli.options import JsonOpt
from bitnet_cli.cli.output import out
from bitnet_cli.cli.settings import (
    SETTINGS,
    Setting,
    check_name,
    chosen,
    config_file,
    default_map,
    parse,
    read_file,
    variable,
)
from bitnet_cli.errors import BitnetError, UsageError


def config(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A setting; alone: show it.", show_default=False)
    ] = None,
    value: Annotated[
        str | None,
        typer.Argument(metavar="[VALUE]", help="Write it into the config file.", show_default=False),
    ] = None,
    unset: Annotated[
        str | None, typer.Option("--unset", metavar="NAME", help="Take a setting out of the config file.")
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Show where the config file is.")] = False,
    json: JsonOpt = False,
) -> None:
    """Show or change the defaults of options.

    A setting has the name of its option and counts for every command with that option. Flags win over the environment
    (BITNET_TEMP for --temp), the environment over the file, the file over the program's defaults.

    Examples:

      bitnet config

      bitnet config model 2b

      bitnet config temp 0.6

      bitnet config --unset temp
    """
    file = config_file()
    if sum([path, unset is not None, name is not None]) > 1:
        raise UsageError(
            "name a setting, or use `--unset` or `--path`, not several", hint="`bitnet config --help`"
        )
    if path:
        out.json({"path": str(file)}) if json else out.data(str(file))
    elif unset is not None:
        check_name(unset, "`--unset`")
        _change(file, unset, None)
        out.note(f"`{unset}` is not set in {file}")
    elif name is not None and value is not None:
        check_name(name, "bitnet config")
        default_map(_group(ctx), {name: Setting(name, value, "file", "bitnet config")})
        _change(file, name, value)
        out.note(f"`{name}` is {value}, in {file}")
    else:
        if name is not None:
            check_name(name, "bitnet config")
        _show(_rows(ctx, [name] if name is not None else list(SETTINGS)), one=name is not None, json=json)


def _group(ctx: typer.Context) -> Any:
    assert ctx.parent is not None
    return ctx.parent.command


def _rows(ctx: typer.Context, names: list[str]) -> list[dict[str, Any]]:
    """Name, value and source of settings; the value is None where each command has its own default."""
    settings = chosen()
    default_map(_group(ctx), settings)  # A value that no option takes is an error here too.
    rows = []
    for name in names:
        setting = settings.get(name)
        rows.append(
            {
                "name": name,
                "value": None if setting is None else setting.value,
                "source": "default" if setting is None else setting.source,
                "place": variable(name) if setting is None else setting.place,
            }
        )
    return rows


def _show(rows: list[dict[str, Any]], *, one: bool, json: bool) -> None:
    if json:
        out.json(rows[0] if one else rows)
    elif one:
        if rows[0]["value"] is None:
            out.note(f"`{rows[0]['name']}` is not set: commands use their own default")
        else:
            out.data(str(rows[0]["value"]))
    else:
        out.table("", ("setting", "value", "from"), [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> tuple[str, str, str]:
    if row["value"] is None:
        return row["name"], "-", "default of the command"
    return row["name"], str(row["value"]), f"{row['source']}: {row['place']}"


def _change(file: Path, name: str, value: str | None) -> None:
    """Writes or removes one line of the file and leaves all others as they are."""
    read_file(file)  # What cannot be read is not overwritten.
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    ours = re.compile(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=")
    at = next((i for i, line in enumerate(lines) if ours.match(line)), None)
    if value is None:
        lines = [line for i, line in enumerate(lines) if i != at]
    elif at is None:
        lines.append(_line(name, value))
    else:
        lines[at] = _line(name, value)
    raw = "".join(line + "\n" for line in lines).encode()
    parse(raw, file)  # A value over several lines, of which one was taken.
    _replace(file, raw)


def _line(name: str, value: str) -> str:
    """TOML: a number as it is, everything else as a text."""
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?", value):
        return f"{name} = {value}"
    import json

    return f"{name} = {json.dumps(value, ensure_ascii=False)}"


def _replace(file: Path, raw: bytes) -> None:
    """The file as a whole or not at all; what a link leads to is replaced, not the link, and its mode stays."""
    file = file.resolve()
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(raw)
        if file.exists():
            shutil.copymode(file, part)
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BitnetError(
            f"{file} cannot be written: {error.strerror}", hint="BITNET_CONFIG names another file"
        ) from None

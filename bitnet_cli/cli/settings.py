"""Defaults of options: what a person wrote into the config file or the environment, in place of the program's own.

A flag wins over the environment, the environment over the file, the file over the default. A setting is called like the
option it stands for, `ctx-size` for `--ctx-size`, BITNET_CTX_SIZE in the environment, and counts for every command that has
the option. Values are checked by the option itself, so a setting can be nothing that the option could not.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitnet_cli.cli.usage_wording import value_refused
from bitnet_cli.errors import UsageError, printable

SETTINGS = (
    "model",
    "threads",
    "ctx-size",
    "n-predict",
    "temp",
    "top-k",
    "top-p",
    "min-p",
    "repeat-penalty",
    "system",
    "kv-type",
    "kernel",
    "isa",
    "outtype",
    "embed-type",
)
_NOT_FOR = {  # Options that are called alike and mean something else, or choose between models
    "bench": {"model", "embed-type"},
    "embed": {"model"},
    "perplexity": {"ctx-size"},
}


@dataclass(frozen=True)
class Setting:
    """One value that somebody chose.

    Attributes:
        name: one of SETTINGS.
        value: as it was written: a number or a text.
        source: `environment` or `file`.
        place: the variable or the file, for messages.
    """

    name: str
    value: str | int | float
    source: str
    place: str


def config_file() -> Path:
    """`bitnet/config.toml` in the user's configuration directory, or the file that BITNET_CONFIG names."""
    chosen = os.environ.get("BITNET_CONFIG")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_config_path("bitnet", appauthor=False) / "config.toml"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "BITNET_" + name.upper().replace("-", "_")


def read_file(path: Path) -> dict[str, Setting]:
    """The settings of a config file by name; none if there is no file.

    Raises:
        UsageError: it is not TOML, or holds something that is no setting.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="check its owner and mode"
        ) from None
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> dict[str, Setting]:
    """The settings in the content of a config file. Raises UsageError as `read_file`."""
    import tomllib

    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint="convert it with `iconv -t UTF-8`") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not TOML: {printable(str(error), 120)}",
            hint='a line is `temp = 0.7` or `model = "2b"`',
        ) from None
    found = {}
    for name, value in values.items():
        check_name(name, str(path))
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise UsageError(
                f"{path}: `{name}` must be a number or a text", hint='such as `temp = 0.7` or `model = "2b"`'
            )
        found[name] = Setting(name, value, "file", str(path))
    return found


def check_name(name: str, place: str) -> None:
    """Raises UsageError, with the nearest name, if there is no such setting."""
    if name in SETTINGS:
        return
    import difflib

    near = difflib.get_close_matches(name.replace("_", "-"), SETTINGS, 1, 0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(SETTINGS)}"
    raise UsageError(f"{place}: there is no setting `{printable(name, 40)}`", hint=hint)


def from_environment() -> dict[str, Setting]:
    """The settings of the environment by name; a variable that is empty counts as not there."""
    return {
        name: Setting(name, os.environ[variable(name)], "environment", variable(name))
        for name in SETTINGS
        if os.environ.get(variable(name))
    }


def chosen() -> dict[str, Setting]:
    """All settings that somebody chose, by name. Raises UsageError as `read_file`."""
    return read_file(config_file()) | from_environment()


def default_map(group: Any, settings: dict[str, Setting]) -> dict[str, dict[str, Any]]:
    """Defaults by command and parameter, as a command line parser takes them.

    Args:
        group: the parser's group of commands.
        settings: from `chosen`.

    Raises:
        UsageError: a value that its option does not take.
    """
    found: dict[str, dict[str, Any]] = {}
    for command_name, command in group.commands.items():
        for parameter in command.params:
            for setting in settings.values():
                if f"--{setting.name}" in parameter.opts and setting.name not in _NOT_FOR.get(
                    command_name, ()
                ):
                    found.setdefault(command_name, {})[parameter.name] = converted(parameter, setting)
    return found


def converted(parameter: Any, setting: Setting) -> Any:
    """The value as its option takes it. Raises UsageError if it does not."""
    try:
        value = parameter.type.convert(setting.value, parameter, None)
    except Exception as error:
        message = getattr(error, "message", None)
        if message is None:
            raise
        raise _refused(setting, str(message)) from None
    if value == "":
        raise _refused(setting, "it is empty")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refused(setting, f"{value} is not a number")
    return value


def _refused(setting: Setting, why: str) -> UsageError:
    if setting.source == "environment":
        hint = f"unset {setting.place}, or give it a value that `--{setting.name}` takes"
    else:
        hint = (
            f"`bitnet config {setting.name} VALUE` sets it, `bitnet config --unset {setting.name}` removes it"
        )
    refusal = value_refused(f"`{setting.name}`", printable(why, 120).rstrip("."))
    return UsageError(f"{setting.place}: {refusal}", hint=hint)


def is_given(ctx: Any, parameter: str) -> bool:
    """Whether a parameter stands on the command line, and does not come from a setting or a default."""
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"

"""How people name models: a short name of the catalogue, or a repository, with a revision and a file if wanted."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from bitnet_cli.errors import UsageError, printable
from bitnet_cli.hub.catalogue import CATALOGUE, Entry

_NAME = re.compile(
    r"(?:hf://)?"
    r"(?P<base>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}|[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(?P<revision>refs/[\w.-]+/[\w.-]+|[\w.-]+))?"
    r"(?:/(?P<file>[^/\0][^\0]*))?"
)


@dataclass(frozen=True)
class ModelName:
    """A model on the hub.

    `2b`, `microsoft/bitnet-b1.58-2B-4T`, `org/name@revision`, `org/name/model.gguf`, `hf://org/name`.
    """

    repo: str
    revision: str | None = None
    """A branch, tag or commit; None for `main`."""
    file: str | None = None
    """One file of the repository, if that was named."""
    entry: Entry | None = None
    """What the catalogue knows, if a short name was given."""

    @property
    def text(self) -> str:
        """The name as a person would type it."""
        base = self.entry.name if self.entry is not None else self.repo
        return base + (f"@{self.revision}" if self.revision else "") + (f"/{self.file}" if self.file else "")

    def at(self, revision: str | None) -> ModelName:
        """The same model at another revision; itself for None.

        Raises:
            UsageError: the name says another revision already.
        """
        if revision is None:
            return self
        if self.revision not in (None, revision):
            raise UsageError(
                f"`{printable(self.text)}` and `--revision {printable(revision)}` contradict each other",
                hint="give the revision once",
            )
        return replace(self, revision=revision)


def parse(text: str) -> ModelName:
    """The model that a text names.

    Raises:
        UsageError: the text is no name, or the catalogue has no such short name.
    """
    found = _NAME.fullmatch(text)
    if found is None or ".." in text or "--" in found["base"]:
        raise UsageError(
            f"`{printable(text)}` is not the name of a model",
            hint="give a file, a short name from `bitnet list --remote`, or a repository such as `org/name`",
        )
    base, revision, file = found["base"], found["revision"], found["file"]
    if "/" in base:
        return ModelName(base, revision, file)
    entry = CATALOGUE.get(base.lower())
    if entry is None:
        near = [f"`{name}`" for name in difflib.get_close_matches(base.lower(), CATALOGUE, n=3)]
        raise UsageError(
            f"there is no model `{printable(text)}`: neither a file nor a name of the catalogue",
            hint=f"perhaps {' or '.join(near)}" if near else "`bitnet list --remote` shows the names",
        )
    return ModelName(entry.repo, revision, file, entry)

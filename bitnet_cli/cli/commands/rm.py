"""`bitnet rm`: takes a model off this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bitnet_cli.cli.options import JsonOpt, YesOpt
from bitnet_cli.cli.output import out
from bitnet_cli.cli.sizes import size_text
from bitnet_cli.errors import HubError, UsageError

if TYPE_CHECKING:
    from bitnet_cli.hub.names import ModelName


def rm(
    model: Annotated[
        str, typer.Argument(help="As `bitnet list` shows it, or a short name; @REVISION for one commit.")
    ],
    yes: YesOpt = False,
    json: JsonOpt = False,
) -> None:
    """Remove a model from this machine.

    Deletes its files in the Hugging Face cache and what was converted from them. Contents that another commit of the
    repository still needs stay. Asks first.

    Examples:

      bitnet rm 2b

      bitnet rm microsoft/bitnet-b1.58-2B-4T@main --yes
    """
    from bitnet_cli.hub.removal import plan_removal, remove

    name = _name(model)
    if name.file is not None:
        raise UsageError("`bitnet rm` takes whole models, not files", hint=f"`bitnet rm {name.repo}`")
    repos = [name.repo]
    if name.entry is not None and name.entry.gguf_repo is not None and name.revision is None:
        repos.append(name.entry.gguf_repo)
    found = [removal for repo in repos if (removal := plan_removal(repo, name.revision)) is not None]
    if not found:
        raise HubError(f"`{name.text}` is not on this machine", hint="`bitnet list` shows what is")
    size = sum(removal.size_bytes for removal in found)
    what = " and ".join(removal.cache.repo for removal in found)
    if not yes and not out.ask(f"Delete {what}, {size_text(size)}?"):
        raise UsageError("nothing was deleted", hint="answer `y`, or add `--yes` where nobody can be asked")
    for removal in found:
        remove(removal)
    if json:
        out.json({"removed": [removal.cache.repo for removal in found], "bytes": size})
    else:
        out.note(f"deleted {what}: {size_text(size)} freed")


def _name(text: str) -> ModelName:
    """The model that is meant; a repository without ORG that another tool has downloaded is one, too."""
    from bitnet_cli.hub.cache import cached_repos
    from bitnet_cli.hub.catalogue import CATALOGUE
    from bitnet_cli.hub.names import ModelName, parse

    repo, _, revision = text.partition("@")
    is_foreign = "/" not in text and repo.lower() not in CATALOGUE
    if is_foreign and repo in {cache.repo for cache in cached_repos()}:
        return ModelName(repo, revision or None)
    return parse(text)

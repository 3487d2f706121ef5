"""`bitnet download`: a model from the hub, into the cache that other tools share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_cli.cli.options import JsonOpt
from bitnet_cli.cli.output import out
from bitnet_cli.cli.sizes import size_text
from bitnet_cli.errors import UsageError

if TYPE_CHECKING:
    from bitnet_cli.cli.forecast import Forecast
    from bitnet_cli.hub.download import Plan
    from bitnet_cli.hub.names import ModelName
    from bitnet_cli.hub.remote import Hub
    from bitnet_cli.hub.resolve import Wanted


def download(
    model: Annotated[
        str,
        typer.Argument(
            help="A short name from `bitnet list --remote`, or a repository: ORG/NAME, ORG/NAME@REVISION.",
            show_default=False,
        ),
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files of the repository. Default: what a short name stands for, or all that can be used.",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Branch, tag or commit.", show_default=False),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include", metavar="GLOB", help="Only files that match, such as '*.gguf'; repeatable."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="GLOB", help="No files that match; repeatable."),
    ] = None,
    local_dir: Annotated[
        Path | None,
        typer.Option(
            "--local-dir", metavar="DIR", help="Put the files here instead of the cache.", show_default=False
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="For private and gated models. Default: HF_TOKEN.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be downloaded.")] = False,
    json: JsonOpt = False,
) -> None:
    """Download a model.

    Goes on where an earlier download ended, and checks every file. Files go to the Hugging Face cache, where other
    tools find them, too. Only safetensors, GGUF, tokenizers and settings are fetched, nothing that can hold programs.
    HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and HTTPS_PROXY are honoured. The path goes to stdout.

    Examples:

      bitnet download 2b

      bitnet download microsoft/bitnet-b1.58-2B-4T --dry-run

      bitnet download org/name model.gguf --local-dir models
    """
    from bitnet_cli.hub import folders
    from bitnet_cli.hub.names import parse

    name = parse(model).at(revision)
    if folders.is_offline() and local_dir is None:
        _report_offline(name, _named(name, files or [], include or [], exclude or []), include, exclude)
        return
    from bitnet_cli.cli.forecast import forecast
    from bitnet_cli.cli.transfer_view import transfer_view
    from bitnet_cli.hub.download import download as carry_out
    from bitnet_cli.hub.download import plan_download
    from bitnet_cli.hub.remote import Hub

    started = time.monotonic()
    hub = Hub(token, tell=out.note)
    wanted = _wanted(hub, name, files or [], include or [], exclude or [])
    plan = plan_download(wanted.listing, wanted.files, local_dir)
    prospect = forecast(hub, wanted, name.entry) if plan.missing_bytes or dry_run else None
    _announce(plan, prospect, list_files=dry_run)
    before = plan.missing_bytes
    if not dry_run:
        with transfer_view(plan) as view:
            carry_out(hub, plan, view)
    if json:
        out.json(_value(plan, prospect, dry_run, before, time.monotonic() - started))
    elif not dry_run:
        seconds = time.monotonic() - started
        if before:
            out.note(f"{size_text(before)} in {seconds:.1f} s; every file is checked")
        out.data(str(_path(plan)))


def _wanted(hub: Hub, name: ModelName, files: list[str], include: list[str], exclude: list[str]) -> Wanted:
    """The files to fetch: those asked for, those that the catalogue recommends, or all of the repository."""
    from bitnet_cli.hub.resolve import Wanted, find_remote
    from bitnet_cli.hub.selection import ggufs_of, select

    names = _named(name, files, include, exclude)
    if name.entry is not None and not names and not include and not exclude:
        return find_remote(name, "gguf", hub)
    listing = hub.listing(_repo(name, names, include), name.revision)
    chosen = select(listing.files, names, include, exclude)
    return Wanted(listing, chosen, "gguf" if len(ggufs_of(chosen)) == 1 else "checkpoint")


def _repo(name: ModelName, names: list[str], include: list[str]) -> str:
    """The repository that is meant: where a short name stands for two, GGUF files are in the second."""
    asked = [*names, *include]
    if name.entry is None or name.entry.gguf_repo is None or name.revision is not None:
        return name.repo
    are_ggufs = bool(asked) and all(text.lower().endswith(".gguf") for text in asked)
    return name.entry.gguf_repo if are_ggufs else name.repo


def _named(name: ModelName, files: list[str], include: list[str], exclude: list[str]) -> list[str]:
    """The files that are named. Raises UsageError if there are patterns as well."""
    names = [*([name.file] if name.file else []), *files]
    if names and (include or exclude):
        raise UsageError("files are named, so patterns have no meaning", hint="leave one of them out")
    return names


def _announce(plan: Plan, prospect: Forecast | None, *, list_files: bool) -> None:
    n, total, missing = len(plan.items), plan.total_bytes, plan.missing_bytes
    if missing == total:
        state = f"{size_text(total)} to download"
    else:
        state = f"{size_text(total)}, " + (
            f"{size_text(missing)} still to come" if missing else "all here already"
        )
    out.note(f"{plan.listing.repo} at {plan.listing.commit[:7]}")
    out.note(f"{n} file{'s' if n > 1 else ''}, {state}")
    if pickles := _pickles(plan):
        more = f" and {len(pickles) - 1} more" if len(pickles) > 1 else ""
        out.note(f"left out: `{pickles[0]}`{more}, weights in a format that can hold programs")
    for sentence in prospect.sentences() if prospect is not None else []:
        out.note(sentence)
    if list_files and not out.json_mode:
        rows = [
            (
                item.file.path,
                size_text(item.file.size),
                "here" if item.found else f"{size_text(item.missing_bytes)} to come",
            )
            for item in plan.items
        ]
        out.table("", ("file", "size", "state"), rows)


def _pickles(plan: Plan) -> list[str]:
    """Weights of the repository that are not downloaded, unless there are others for them."""
    from bitnet_cli.hub.selection import is_pickle

    if any(item.file.path.lower().endswith((".safetensors", ".gguf")) for item in plan.items):
        return []
    return [file.path for file in plan.listing.files if is_pickle(file.path)]


def _path(plan: Plan) -> Path:
    """The file, if it is one; else the folder of all."""
    return plan.path_of(plan.items[0].file) if len(plan.items) == 1 else plan.target.folder


def _value(
    plan: Plan, prospect: Forecast | None, dry_run: bool, missing: int, seconds: float
) -> dict[str, Any]:
    return {
        "repo": plan.listing.repo,
        "revision": plan.listing.revision,
        "commit": plan.listing.commit,
        "path": str(_path(plan)),
        "dry_run": dry_run,
        "total_bytes": plan.total_bytes,
        "missing_bytes": missing,
        "seconds": round(seconds, 3),
        **({} if prospect is None else prospect.to_json()),
        "left_out": _pickles(plan),
        "files": [
            {
                "path": item.file.path,
                "size": item.file.size,
                "digest": item.file.oid,
                "local": str(plan.path_of(item.file)),
                "was_here": item.found is not None,
            }
            for item in plan.items
        ],
    }


def _report_offline(
    name: ModelName, names: list[str], include: list[str] | None, exclude: list[str] | None
) -> None:
    """Under HF_HUB_OFFLINE: what is here of what is asked for, or an error."""
    from bitnet_cli.hub.cache import RepoCache
    from bitnet_cli.hub.download import offline_path
    from bitnet_cli.hub.resolve import find_local

    found = None if names or include or exclude else find_local(name, "gguf")
    if found is not None:
        path, repo = found.path, found.repo
    else:
        repo = _repo(name, names, include or [])
        path = offline_path(RepoCache(repo), name.revision, names, include or [], exclude or [])
    out.note("offline: taking what is here, complete or not")
    if out.json_mode:
        out.json({"repo": repo, "path": str(path), "offline": True})
    else:
        out.data(str(path))

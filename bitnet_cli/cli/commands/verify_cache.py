"""`bitnet verify-cache`: is everything that was downloaded still what it was?"""

from __future__ import annotations

from collections import Counter

from bitnet_cli.cli.options import JsonOpt
from bitnet_cli.cli.output import out
from bitnet_cli.cli.sizes import size_text
from bitnet_cli.errors import HubError


def verify_cache(json: JsonOpt = False) -> None:
    """Check every downloaded and converted model.

    Reads all files of models in the Hugging Face cache and compares them with their digests. Exit code 1 if any is
    damaged, missing or cannot be read; each is named, with what to do.

    Example:

      bitnet verify-cache
    """
    from bitnet_cli.hub.verification import checks, verify

    wanted = checks()
    total = sum(max(0, check.size) for check in wanted)
    findings, done = [], 0
    with out.progress("reading", max(1, total), "B") as bar:
        for check in wanted:
            start = done
            findings.append(verify(check, lambda n, start=start: bar.update(start + n)))  # type: ignore[misc]
            done += max(0, check.size)
    bad = [finding for finding in findings if finding.remedy is not None]
    counts = Counter(finding.state for finding in findings)
    if json:
        out.json(
            {
                "bytes": total,
                "states": dict(counts),
                "problems": [
                    {
                        "repo": finding.check.repo,
                        "file": finding.check.name,
                        "path": str(finding.check.path),
                        "state": finding.state,
                        "remedy": finding.remedy,
                    }
                    for finding in bad
                ],
            }
        )
    else:
        for finding in bad:
            check = finding.check
            out.data(f"{finding.state}: {check.repo} {check.name} ({check.path}): {finding.remedy}")
        if counts["unknown"]:
            out.note(
                f"{counts['unknown']} files have no digest to compare with: the cache is one without links"
            )
        out.note(f"{counts['right']} of {len(findings)} files are right, {size_text(total)} read")
    if bad:
        raise HubError(
            f"{len(bad)} file{'s' if len(bad) > 1 else ''} of the cache cannot be used", hint=bad[0].remedy
        )

"""`bitnet completion`: scripts with which shells complete command lines."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bitnet_cli.cli.output import out

_BASH = """\
_bitnet() {
    local IFS=$'\\n'
    COMPREPLY=($(bitnet completion words -- "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && -d ${COMPREPLY[0]} ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -o filenames -F _bitnet bitnet
"""
_ZSH = """\
#compdef bitnet
_bitnet() {
    local -a found
    found=(${(f)"$(bitnet completion words -- $((CURRENT - 1)) "${words[@]}" 2>/dev/null)"})
    compadd -a found
    _files
}
compdef _bitnet bitnet
"""
_FISH = """\
function __bitnet_words
    set -l before (commandline -opc)
    bitnet completion words -- (count $before) $before (commandline -ct) 2>/dev/null
end
complete -c bitnet -a '(__bitnet_words)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
WORDS = "words"


def completion(
    ctx: typer.Context,
    shell: Annotated[
        Literal["bash", "zsh", "fish", "words"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")
    ],
    line: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Print a script that completes commands, options and models.

    Examples:

      source <(bitnet completion bash)          # in ~/.bashrc

      bitnet completion zsh > ~/.zfunc/_bitnet  # in a folder of $fpath

      bitnet completion fish > ~/.config/fish/completions/bitnet.fish
    """
    if shell != WORDS:
        out.data(SCRIPTS[shell].rstrip("\n"))
        return
    from bitnet_cli.cli.completing import candidates

    assert ctx.parent is not None
    for word in candidates(ctx.parent.command, line or []):
        out.data(word)

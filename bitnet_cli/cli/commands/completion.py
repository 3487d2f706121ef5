"""`bitnet completion`: scripts with which shells complete command lines."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bitnet_cli.cli.output import out

_BASH = """\
_bitnet() {
    local found
    COMPREPLY=()
    while IFS= read -r found; do
        case $found in
            :models)
                while IFS= read -r found; do
                    COMPREPLY+=("$found")
                    compopt -o filenames 2>/dev/null
                done < <(compgen -f -X '!*.gguf' -- "$2"; compgen -d -- "$2") ;;
            :files) compopt -o default 2>/dev/null ;;
            :folders) compopt -o dirnames 2>/dev/null ;;
            *) COMPREPLY+=("${found%%$'\\t'*}") ;;
        esac
    done < <(bitnet completion --words="${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -F _bitnet bitnet
"""
_ZSH = """\
#compdef bitnet
_bitnet() {
    local word about files line="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX"
    local -a found
    local -i ret=1
    while IFS=$'\\t' read -r word about; do
        case $word in
            (:*) files=$word ;;
            (*) found+=("${word//:/\\\\:}${about:+:$about}") ;;
        esac
    done < <(bitnet completion --words="$line" 2>/dev/null)
    compset -P '--[^=]##='
    (( $#found )) && _describe -t words word found && ret=0
    case $files in
        (:models) _files -g '*.gguf' && ret=0 ;;
        (:files) _files && ret=0 ;;
        (:folders) _files -/ && ret=0 ;;
    esac
    return ret
}
if [[ $funcstack[1] == _bitnet ]]; then
    _bitnet "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _bitnet bitnet
fi
"""
_FISH = """\
function __bitnet_complete
    command -q bitnet; or return
    set -l token (commandline -ct | string collect)
    set -l option (string match -r -- '^--[^=]*=' "$token")
    set -l path (string replace -r -- '^--[^=]*=' '' "$token")
    for found in (bitnet completion --words=(commandline -cp | string collect) 2>/dev/null)
        switch $found
            case :models
                __bitnet_files "$option" "$path" '(?:\\.gguf|/)'
            case :files
                __bitnet_files "$option" "$path" ''
            case :folders
                __bitnet_files "$option" "$path" '/'
            case '*'
                echo -- "$option$found"
        end
    end
end
function __bitnet_files
    for file in (complete -C "'' $argv[2]" | string match -r "^[^\\t]*$argv[3](?:\\t.*)?\\$")
        echo -- "$argv[1]$file"
    end
end
complete -c bitnet -f -a '(__bitnet_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def _words(ctx: typer.Context, line: str | None) -> None:
    """Says what may complete a line, which is what the scripts ask."""
    if line is None:
        return
    from bitnet_cli.cli.completing import completions

    assert ctx.parent is not None
    for found in completions(ctx.parent.command, line):
        out.data(found)
    raise typer.Exit


def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")
    ],
    words: Annotated[str | None, typer.Option("--words", hidden=True, is_eager=True, callback=_words)] = None,
) -> None:
    """Print a script that completes commands, options and models.

    Examples:

      source <(bitnet completion bash)  # in ~/.bashrc

      source <(bitnet completion zsh)   # at the end of ~/.zshrc

      bitnet completion fish | source   # in ~/.config/fish/config.fish
    """
    out.data(SCRIPTS[shell].rstrip("\n"))

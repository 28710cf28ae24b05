"""``openmsra completion bash|zsh|fish`` prints a script for the shell; ``openmsra complete WORDS`` is what it asks."""

import argparse
import fnmatch
import importlib

from openmsra.cli import forwarding
from openmsra.resources import PAPERS, config_files

SCRIPTS = {
    'bash': """# eval "$(openmsra completion bash)"   in ~/.bashrc
_openmsra() {
    local IFS=$'\\n'
    COMPREPLY=($(openmsra complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -o bashdefault -F _openmsra openmsra
""",
    'zsh': """# eval "$(openmsra completion zsh)"   in ~/.zshrc
_openmsra() {
    local -a names
    names=("${(@f)$(openmsra complete "${words[@]:1:$((CURRENT - 1))}" 2>/dev/null)}")
    [[ -n $names ]] && compadd -a names || _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _openmsra openmsra
""",
    'fish': """# openmsra completion fish | source   in ~/.config/fish/config.fish
complete -c openmsra -a '(openmsra complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}
SHOWN = ('list', 'demo', 'infer', 'app', 'new', 'train', 'test', 'data', 'weights', 'analyze', 'doctor', 'completion')


def candidates(words: list[str]) -> list[str]:
    """What may stand in the place of the last of the words behind ``openmsra``; nothing means files."""
    *before, current = words or ['']
    if not before:
        names = SHOWN
    elif current.startswith('-'):
        names = _options(before)
    else:
        names = _arguments(before)
    return sorted(fnmatch.filter(names, f'{current}*'))


def _arguments(before: list[str]) -> list[str]:
    command, count = before[0], len(before)
    if command == 'demo' or command in ('infer', 'new') and count == 1:
        return list(PAPERS)
    if command in ('train', 'test', 'list') and count == 1:
        return list(config_files())
    if command in (*forwarding.GROUPS, 'analyze'):
        return list(forwarding.group(command)) if count == 1 else list(config_files()) if count == 2 else []
    if command == 'weights' and count == 1:
        return ['list', 'convert']
    return list(SCRIPTS) if command == 'completion' and count == 1 else []


def _options(before: list[str]) -> list[str]:
    command, *rest = before
    if command in forwarding.COMMANDS:
        return forwarding.options_of(forwarding.COMMANDS[command])
    if command in (*forwarding.GROUPS, 'analyze'):
        script = forwarding.group(command).get(rest[0]) if rest else None
        return forwarding.options_of(script) if script else ['--help']
    if command == 'app':
        from openmsra.cli.app.main import parser

        return [name for action in parser()._actions for name in action.option_strings]
    if command in ('infer', 'new') and rest and rest[0] in PAPERS:
        module = importlib.import_module(f'openmsra.cli.{"inference" if command == "infer" else "new.main"}')
        return [name for action in module.parser_of(rest[0])._actions for name in action.option_strings]
    return ['--help']


def main(argv: list[str]) -> None:
    command, *arguments = argv
    if command == 'complete':
        print('\n'.join(candidates(arguments)))
        return
    parser = argparse.ArgumentParser(
        prog='openmsra completion', description='Print a completion script; its first line says where to put it.'
    )
    parser.add_argument('shell', choices=list(SCRIPTS))
    print(SCRIPTS[parser.parse_args(arguments).shell], end='')

"""Commands and where they lead. Nothing heavy is imported here: ``openmsra --help`` takes a tenth of a second."""

import importlib
import sys
from difflib import get_close_matches

from openmsra import __version__
from openmsra.cli import forwarding
from openmsra.errors import UserError
from openmsra.needs import explained_imports

OWN = {  # command -> module with main(argv)
    'list': 'listing',
    'infer': 'inference',
    'new': 'new.main',
    'app': 'app.main',
    'weights': 'weights',
    'doctor': 'doctor',
    'completion': 'completion',
    'complete': 'completion',
}
HELP = f"""openmsra {__version__}: six ICCV 2021 methods of Microsoft Research Asia
PAPER is autoformer, soft_teacher, ftcn, ckdn, mcn or maskco.

  openmsra list [PATTERN]                         the configs; their names are good for every command below
  openmsra demo [PAPER]                           every paper in miniature, in minutes, and a page that shows it
  openmsra infer PAPER INPUTS --weights FILE      run a trained network on files, folders, patterns, or a list on stdin
  openmsra app --weights PAPER=FILE               a page in the browser for trained networks
  openmsra new PAPER ...                          look at data of your own and write a config for it
  openmsra train CONFIG                           train; --resume goes on where a run has stopped
  openmsra test CONFIG CHECKPOINT                 evaluate
  openmsra data COMMAND                           {' | '.join(forwarding.GROUPS['data'])}
  openmsra weights [list | convert FILE]          the official weights: where they are, and their conversion
  openmsra analyze COMMAND                        what is in tools/analysis: configs, logs, data, complexity
  openmsra doctor                                 versions, operators, GPU, disk, and what each paper can do here
  openmsra completion bash|zsh|fish               completion for your shell

`openmsra COMMAND --help` says more about each. Exit codes: 0 done; 2 something in the command or the data that you can
mend, in one sentence; 75 asked to stop and saved, --resume goes on; 1 anything else.
"""


def main(argv: list[str] | None = None) -> None:
    """Run a command; ends with its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    command, rest = (arguments[0], arguments[1:]) if arguments else ('--help', [])
    if command in ('--help', '-h', 'help'):
        print(HELP, end='')
    elif command in ('--version', '-V', 'version'):
        print(f'openmsra {__version__}')
    elif command in forwarding.COMMANDS:
        _guarded(forwarding.forward, command, forwarding.COMMANDS[command], rest)
    elif command in (*forwarding.GROUPS, 'analyze'):
        _guarded(_group, command, rest)
    elif command in OWN:
        module = importlib.import_module(f'openmsra.cli.{OWN[command]}')
        _guarded(module.main, [command, *rest] if command.startswith('comple') else rest)
    else:
        _refuse('command', command, [*forwarding.COMMANDS, *forwarding.GROUPS, 'analyze', *OWN])


def _group(name: str, arguments: list[str]) -> None:
    scripts = forwarding.group(name)
    if not arguments or arguments[0] in ('--help', '-h'):
        print(f'usage: openmsra {name} COMMAND ...\n')
        for key, script in scripts.items():
            print(f'  {key:<22}{forwarding.summary(script)}')
        return
    key = arguments[0].replace('_', '-')
    if key not in scripts:
        _refuse(f'command of openmsra {name}', arguments[0], list(scripts))
    forwarding.forward(f'{name} {key}', scripts[key], arguments[1:])


def _refuse(kind: str, name: str, valid: list[str]) -> None:
    near = get_close_matches(name, valid, n=1)
    hint = f'Did you mean {near[0]}?' if near else f'There are {", ".join(sorted(set(valid) - {"complete"}))}.'
    print(f'error: no {kind} is called {name!r}. {hint}', file=sys.stderr)
    sys.exit(2)


def _guarded(function, *arguments) -> None:
    """Errors of the user end in their sentence and exit code 2, an interrupted or closed pipe without a traceback."""
    try:
        with explained_imports():
            function(*arguments)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `openmsra list | head`
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)

"""Print a config with everything that it inherits, and the file that defines each of its components."""

import argparse
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openmsra.engine.config.options import OptionAction
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or the name of one of ours')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE', help='override settings')
    parser.add_argument('--only', choices=('text', 'components'), help='print one of both')
    args = parser.parse_args(argv)

    from openmsra.engine.config.check import config_chain
    from openmsra.engine.config.files import load_config

    cfg = load_config(args.config, args.cfg_options)
    if args.only != 'components':
        print(cfg.pretty_text)
    if args.only != 'text':
        print('# files:', *(f'#   {file}' for file in dict.fromkeys(config_chain(Path(cfg.filename)))), sep='\n')
        print('# components:')
        rows = list(components(cfg.to_dict()))
        width = max((len(place) for place, _, _ in rows), default=0)
        for place, kind, source in rows:
            print(f'#   {place:<{width}}  {kind}  {source}')


def components(cfg: dict) -> Iterator[tuple[str, str, str]]:
    """Place, name, and file with line of everything with a ``type=``."""
    from openmsra.engine.config.check import runner_keys

    for key in cfg:
        if key in runner_keys():
            yield from _walk(cfg[key], key, key, None)


def _walk(value: Any, place: str, key: str, scope: str | None, registry=None) -> Iterator[tuple[str, str, str]]:
    from openmsra.engine.config.check import NO_REGISTERED_TYPE
    from openmsra.engine.config.types import REGISTRY_OF_KEY, resolve

    registry = REGISTRY_OF_KEY.get(key, registry)
    if isinstance(value, dict):
        scope = value.get('_scope_', scope)
        kind = value.get('type')
        if isinstance(kind, str) and key not in NO_REGISTERED_TYPE and (resolved := resolve(kind, scope, registry)):
            yield place, kind, _source(resolved[1])
        for name, child in value.items():
            yield from _walk(child, f'{place}.{name}', name, scope, registry)
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from _walk(child, f'{place}.{number}', '', scope, registry)


def _source(target) -> str:
    try:
        return f'{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}'
    except (TypeError, OSError):
        return f'{target.__module__}.{target.__qualname__}'  # compiled, or built while running


if __name__ == '__main__':
    run_tool(main)

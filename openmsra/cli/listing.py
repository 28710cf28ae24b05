"""``openmsra list``: the configs by paper, without torch."""

import argparse
import ast
import fnmatch
from pathlib import Path

from openmsra.errors import ToolError
from openmsra.resources import config_files
from openmsra.suggest import did_you_mean


def sentence_of(file: Path) -> str:
    """The comment on top of a config, or of the first of its bases that has one, up to its first full stop."""
    lines = file.read_text(encoding='utf-8').splitlines()
    comment = []
    for line in lines:
        if not line.startswith('#'):
            break
        comment.append(line.lstrip('# '))
    if comment:
        return ' '.join(comment).partition('. ')[0].rstrip('.')
    bases = next((line.partition('=')[2] for line in lines if line.startswith('_base_')), '[]')
    bases = ast.literal_eval(bases.strip())
    return next(filter(None, (sentence_of(file.parent / base) for base in ([bases] if isinstance(bases, str) else bases))), '')


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog='openmsra list', description='List the configs; each name is good for every command.')
    parser.add_argument('pattern', nargs='?', default='*', help="shell wildcards or a part of the name, such as ckdn or '*mini'")
    parser.add_argument('--long', action='store_true', help='say what each config is')
    parser.add_argument('--paths', action='store_true', help='print the files instead of the names')
    args = parser.parse_args(argv)
    files = config_files()
    pattern = args.pattern if any(sign in args.pattern for sign in '*?[') else f'*{args.pattern}*'
    names = [name for name in files if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(files[name].parent.name, args.pattern)]
    if not names:
        raise ToolError(f'no config matches {args.pattern!r}. {did_you_mean(args.pattern, files)}')
    for name in names:
        print(files[name] if args.paths else name)
        if args.long:
            print(f'    {files[name].parent.name}: {sentence_of(files[name])}')

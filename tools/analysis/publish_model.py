"""Make a checkpoint ready to be handed on: weights alone, a name with the hash of the file, a model card."""

import argparse
import json
from datetime import date
from pathlib import Path

from openmsra.common.outputs import printable, writable_folder
from openmsra.engine.launch import run_tool


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='of a training')
    parser.add_argument('--out', type=Path, default=Path('published'), help='folder to write to (default: %(default)s)')
    parser.add_argument('--name', help='start of the names of the files (default: that of the config)')
    parser.add_argument('--licence', default='not stated', help='of the weights, for the card')
    parser.add_argument('--data', default='not stated', help='what the weights were trained on, for the card')
    args = parser.parse_args(argv)
    writable_folder(args.out)

    from openmsra.common.provenance import sha256_of
    from openmsra.engine.checkpoint.io import load_file, save_file

    checkpoint = load_file(args.checkpoint)
    state = checkpoint.get('state_dict', checkpoint)
    meta = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), dict) else {}
    folder = args.checkpoint.absolute().parent
    config = next(iter(sorted(folder.glob('*.py'))), None)
    name = args.name or (config.stem if config else args.checkpoint.stem)
    draft = args.out / f'{name}.pth'
    save_file(dict(state_dict=state, meta={key: meta[key] for key in ('dataset_meta', 'space') if key in meta}), draft)
    digest = sha256_of(draft)
    target = draft.rename(args.out / f'{name}-{digest[:8]}.pth')
    if config:
        (args.out / f'{name}.py').write_bytes(config.read_bytes())
    card = args.out / f'{name}.md'
    card.write_text(model_card(name, target, digest, state, meta, figures(folder), args), encoding='utf-8')
    before, after = (path.stat().st_size / 2**20 for path in (args.checkpoint, target))
    print(f'wrote {printable(target)} ({after:.1f} MB of {before:.1f} MB) and {printable(card)}')


def figures(folder: Path) -> dict[str, float]:
    """What the training has measured last, where its log lies beside the checkpoint."""
    from openmsra.engine.runs import read_run
    from openmsra.errors import MissingFileError

    try:
        return read_run(folder).last()
    except MissingFileError:
        return {}


def model_card(name: str, file: Path, digest: str, state: dict, meta: dict, measured: dict, args: argparse.Namespace) -> str:
    """Markdown."""
    from openmsra import __version__

    count = sum(value.numel() for value in state.values() if hasattr(value, 'numel'))
    lines = [
        f'# {name}',
        '',
        f'- file: `{file.name}`, SHA-256 `{digest}`',
        f'- {count / 1e6:.2f} million numbers in {len(state)} entries; weights alone, nothing in the file is executed',
        f'- trained with openmsra {__version__}, published on {date.today()}',
        f'- iterations: {meta.get("iter", "not stated")}, epochs: {meta.get("epoch", "not stated")}',
        f'- data: {args.data}',
        f'- licence: {args.licence}',
        '',
        '## Measured',
        '',
    ]
    lines += [f'- {key}: {json.dumps(value)}' for key, value in measured.items()] or ['Nothing is known.']
    lines += ['', '## Use', '', '```bash', f'openmsra test {name}.py {file.name}', '```', '']
    return '\n'.join(lines)


if __name__ == '__main__':
    run_tool(main)

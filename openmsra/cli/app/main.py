"""``openmsra app``: a page in the browser for networks that are trained."""

import argparse
from pathlib import Path

from openmsra.cli.app.uploads import Limits
from openmsra.cli.inference import DEFAULT_CONFIGS, choose_device, config_beside
from openmsra.errors import MissingFileError, ToolError
from openmsra.resources import PAPERS, config_files

EPILOG = """
A tab opens for each paper with weights:
  ftcn           drop a video, see the probability of a forgery over time beside the frames
  ckdn           restored and degraded images: scores and maps of quality
  soft_teacher   images: boxes        autoformer     images: classes
  maskco, mcn    images or videos: click one, see those that are most like it

The page is for this machine alone. With --host 0.0.0.0 others reach it, and need the token that is printed.
Uploads are bounded, checked by their content, kept in a private folder, and removed when the page is closed.
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    limits, command = Limits(), argparse.ArgumentParser(
        prog='openmsra app', description=__doc__.partition(': ')[2], epilog=EPILOG, formatter_class=argparse.RawTextHelpFormatter
    )  # fmt: skip
    command.add_argument(
        '--weights',
        action='append',
        default=[],
        metavar='PAPER=FILE[:CONFIG]',
        help='a checkpoint; the config is the one beside it, else that of the official weights; may be repeated',
    )
    command.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1 (default: %(default)s)')
    command.add_argument('--host', default='127.0.0.1', help='address to listen at (default: %(default)s, this machine alone)')
    command.add_argument('--port', type=int, default=7860, help='0 takes a free one (default: %(default)s)')
    command.add_argument('--token', help='that a browser must give (default: none at 127.0.0.1, a new one elsewhere)')
    command.add_argument('--max-file-mb', type=int, default=limits.file_mb, help='size of an upload (default: %(default)s)')
    command.add_argument('--max-files', type=int, default=limits.files, help='uploads at once (default: %(default)s)')
    command.add_argument('--max-total-mb', type=int, default=limits.total_mb, help='their sum (default: %(default)s)')
    command.add_argument('--max-seconds', type=int, default=limits.seconds, help='of work or upload (default: %(default)s)')
    command.add_argument('--max-frames', type=int, default=limits.frames, help='of a video (default: %(default)s)')
    return command


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    numbers = (args.max_file_mb, args.max_files, args.max_total_mb, args.max_seconds, args.max_frames)
    if min(numbers) < 1:
        raise ToolError(f'limits must be at least 1, got {", ".join(map(str, numbers))}.')
    chosen = [named_weights(text) for text in args.weights]
    if not chosen:
        raise ToolError(
            'no weights: give --weights PAPER=FILE at least once, say --weights ckdn=work_dirs/my_ckdn/epoch_3.pth. '
            '`openmsra weights` says where the official ones are.'
        )
    papers = [paper for paper, _, _ in chosen]
    if twice := {paper for paper in papers if papers.count(paper) > 1}:
        raise ToolError(f'--weights {min(twice)}=... is there twice; a paper has one tab.')

    from openmsra.cli.app import server

    server.require_gradio()
    limits = Limits(args.max_file_mb, args.max_files, args.max_total_mb, args.max_seconds, args.max_frames)
    tabs = [server.Chosen(*item) for item in chosen]
    server.serve(tabs, choose_device(args.device), args.host, args.port, args.token, limits)


def named_weights(text: str) -> tuple[str, Path, str]:
    """Paper, weights and config of ``PAPER=FILE[:CONFIG]``.

    Raises:
        ToolError, MissingFileError: another form, or something that is not there; the message says what.
    """
    paper, sign, rest = text.partition('=')
    if paper not in PAPERS or not sign or not rest:
        raise ToolError(f'--weights {text}: write PAPER=FILE or PAPER=FILE:CONFIG; PAPER is one of {", ".join(PAPERS)}.')
    file, config = Path(rest), None
    if not file.is_file() and ':' in rest:
        name, _, config = rest.rpartition(':')
        file = Path(name)
    if not file.is_file():
        raise MissingFileError(f'--weights {text}: there is no file {file}; `openmsra weights` says where to get some.')
    if config is not None and not Path(config).is_file() and config not in config_files():
        raise MissingFileError(f'--weights {text}: there is no config {config}; `openmsra list` shows ours.')
    return paper, file, str(config or config_beside(file) or DEFAULT_CONFIGS[paper])

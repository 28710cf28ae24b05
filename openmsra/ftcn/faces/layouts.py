"""The videos of the public forgery data sets, as their owners hand them out.

Each function returns rows ``{"video": path below the root, "label": 1, "method": "Deepfakes", "source": "000", "split": ...}``;
label 1 is fake everywhere, whatever the data set writes. A video is a file or a folder of frames.
"""

import csv
import json
import re
from pathlib import Path

from openmsra.common.annotations import inside, read_text
from openmsra.common.files import visible_folders
from openmsra.common.video import SUFFIXES
from openmsra.errors import ToolError

LINE = re.compile(r'(?P<name>.+)\s+(?P<label>[01])(?:\s+(?P<method>\S+)(?:\s+(?P<split>\S+))?)?')
FFPP_METHODS = ('Deepfakes', 'Face2Face', 'FaceSwap', 'NeuralTextures', 'FaceShifter', 'DeeperForensics')


def ffpp(root: Path, compression: str = 'c23') -> list[dict]:
    """FaceForensics++ with the official splits ``splits/{train,val,test}.json``, lists of pairs of ids.

    ``original_sequences/youtube/c23/videos/071.mp4`` and ``manipulated_sequences/METHOD/c23/videos/071_054.mp4``; in place of
    ``videos`` there may be ``frames`` with a folder for each video. DeeperForensics-1.0 belongs under
    ``manipulated_sequences/DeeperForensics/c23/videos``; its files ``071_W004.mp4`` start with the id of their FF++ video.
    Methods that are absent are left out.

    Raises:
        ToolError: a list of splits or the originals are missing, or an id is in two splits.
    """
    pairs = {split: _json(root / 'splits' / f'{split}.json') for split in ('train', 'val', 'test')}
    _refuse_shared_ids({split: {i for pair in rows for i in pair} for split, rows in pairs.items()}, root / 'splits')
    originals = _Folder(root, 'original_sequences/youtube', compression)
    fakes = [_Folder(root, f'manipulated_sequences/{method}', compression) for method in FFPP_METHODS]
    rows = []
    for split, couples in pairs.items():
        for a, b in couples:
            rows += [originals.row(i, i, 'real', split) for i in (a, b)]
            for method, folder in zip(FFPP_METHODS, fakes, strict=True):
                names = folder.starting_with((a, b)) if method == 'DeeperForensics' else (f'{a}_{b}', f'{b}_{a}')
                rows += [folder.row(name, name[:3], method, split) for name in names if folder.names]
    return rows


class _Folder:
    """The videos of one kind and compression by their names; a folder of frames goes before a file of the same name.

    Raises:
        ToolError: two files have one name, and nothing says which is meant.
    """

    def __init__(self, root: Path, folder: str, compression: str) -> None:
        self.root, self.folder = root, f'{folder}/{compression}'
        self.names: dict[str, Path] = {}
        for path in sorted((root / self.folder / 'videos').glob('[!.]*')):
            if path.suffix.lower() in SUFFIXES and self.names.setdefault(path.stem, path) != path:
                raise ToolError(f'{path} and {self.names[path.stem].name} are one video of the lists; keep one of them.')
        frames = root / self.folder / 'frames'
        self.names |= {path.name: path for path in (visible_folders(frames) if frames.is_dir() else [])}

    def row(self, name: str, source: str, method: str, split: str) -> dict:
        path = self.names.get(name, self.root / self.folder / 'videos' / f'{name}.mp4')
        return _row(path.relative_to(self.root), method != 'real', method, source, split)

    def starting_with(self, ids: tuple[str, ...]) -> list[str]:
        return sorted(name for name in self.names if name.partition('_')[0] in ids)


def celebdf(root: Path) -> list[dict]:
    """Celeb-DF v2: ``Celeb-real``, ``YouTube-real``, ``Celeb-synthesis`` and ``List_of_testing_videos.txt``.

    In that list 1 means real: it is turned round. All other videos are training videos.

    Raises:
        ToolError: the list is missing or has another form.
    """
    tests = {}
    for number, line in enumerate(_text(root / 'List_of_testing_videos.txt'), start=1):
        label, _, name = line.partition(' ')
        if label not in ('0', '1') or not name:
            raise ToolError(f'{root}/List_of_testing_videos.txt, line {number}: "{line}" is not "0|1 folder/video".')
        if tests.setdefault(name.strip(), int(label == '0')) != int(label == '0'):
            raise ToolError(f'{root}/List_of_testing_videos.txt, line {number}: {name} had the other label above.')
    rows = []
    for folder in ('Celeb-real', 'YouTube-real', 'Celeb-synthesis'):
        fake = folder == 'Celeb-synthesis'
        present = {f'{folder}/{path.name}' for path in (root / folder).glob('[!.]*') if path.suffix.lower() in SUFFIXES}
        for name in sorted(present | {name for name in tests if name.startswith(f'{folder}/')}):
            if tests.get(name, fake) != fake:
                raise ToolError(f'{root}/List_of_testing_videos.txt: {name} has the label of the other class.')
            method, source = folder if fake else 'real', Path(name).stem.partition('_')[0]
            rows.append(_row(name, fake, method, source, 'test' if name in tests else 'train'))
    return rows


def dfdc(root: Path) -> list[dict]:
    """The test set of DFDC: ``test_videos`` and ``labels.csv`` (``filename,label``) or ``metadata.json`` (``is_fake``).

    Raises:
        ToolError: both lists are missing, or one has another form.
    """
    table, metadata = root / 'labels.csv', root / 'metadata.json'
    try:
        if table.is_file():
            pairs = [(row['filename'], int(row['label'])) for row in csv.DictReader(_text(table))]
        else:
            pairs = [(name, int(facts['is_fake'])) for name, facts in _json(metadata).items()]
        labels = dict(pairs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToolError(f'{table if table.is_file() else metadata}: not the labels of DFDC ({error!r}).') from None
    if len(set(pairs)) > len(labels):
        twice = next(name for name, label in pairs if labels[name] != label)
        raise ToolError(f'{table}: {twice} is called real in one line and fake in another.')
    return [
        _row(f'test_videos/{name}', label, 'DFDC' if label else 'real', Path(name).stem, 'test')
        for name, label in sorted(labels.items())
    ]


def plain_list(root: Path, list_file: str = 'list.txt') -> list[dict]:
    """Any videos: ``list.txt`` with lines ``path 0|1 [method [split]]``, 1 is fake; without a split they are tests.

    Paths may hold blanks.

    Raises:
        ToolError: the list is missing, has another form or names a video twice.
        AnnotationError: a path leads out of ``root``.
    """
    rows, seen = [], set()
    for number, line in enumerate(_text(root / list_file), start=1):
        match = LINE.fullmatch(line)
        if match is None:
            raise ToolError(f'{root}/{list_file}, line {number}: "{line}" is not "path 0|1 [method [split]]".')
        path, label = inside(root, match['name'], root / list_file).relative_to(root), int(match['label'])
        if path in seen:  # ./clip.mp4 and clip.mp4 are one
            raise ToolError(f'{root}/{list_file}, line {number}: {path} stands in the list already.')
        seen.add(path)
        method = (match['method'] or 'fake') if label else 'real'
        rows.append(_row(path, label, method, path.stem, match['split'] or 'test'))
    return rows


LAYOUTS = {'ffpp': ffpp, 'celebdf': celebdf, 'dfdc': dfdc, 'list': plain_list}


def _row(video: Path | str, label: int, method: str, source: str, split: str) -> dict:
    return dict(video=str(video), label=int(label), method=method, source=source, split=split)


def _json(file: Path) -> list | dict:
    try:
        return json.loads('\n'.join(_text(file)))
    except json.JSONDecodeError as error:
        raise ToolError(f'{file}: not JSON ({error}).') from None


def _text(file: Path) -> list[str]:
    if not file.is_file():
        raise ToolError(f'{file}: this list of the data set is missing.')
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def _refuse_shared_ids(ids: dict[str, set[str]], folder: Path) -> None:
    names = sorted(ids)
    for k, a in enumerate(names):
        for b in names[k + 1 :]:
            if shared := sorted(ids[a] & ids[b]):
                raise ToolError(f'{folder}: {a} and {b} share the ids {", ".join(shared[:5])}: people would leak between them.')

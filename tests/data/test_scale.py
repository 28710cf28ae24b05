"""Lists of hundreds of thousands of files: read without an object for each, kept as bytes, shared with the data workers."""

import gc
import multiprocessing
import random
from pathlib import Path

import pytest

from openmsra.maskco.data.images import UnlabelledImages
from openmsra.mcn.data.videos import VideoClips

ROWS = 200_000


def _images(folder: Path):
    for number in range(20):
        (folder / f'images/{number:05d}').mkdir(parents=True)
        (folder / f'images/{number:05d}/a.jpg').touch()
    (folder / 'list.tsv').write_text(''.join(f'{n % 20:05d}/a.jpg\tcaption {n}\n' for n in range(ROWS - 1)) + 'gone/b.jpg\tx\n')
    return UnlabelledImages(data_root=str(folder / 'images'), ann_file=str(folder / 'list.tsv'), pipeline=[]), 'img_path'


def _videos(folder: Path):
    (folder / 'list.txt').write_text(''.join(f'class_{n % 400}/{n}.mp4 {n % 400}\n' for n in range(ROWS - 1)))
    return VideoClips(str(folder / 'list.txt'), str(folder), pipeline=[]), 'video'


def _private_bytes() -> int:
    rows = (line.split() for line in Path('/proc/self/smaps_rollup').read_text().splitlines()[1:])
    return sum(int(row[1]) * 1024 for row in rows if row[0] in ('Private_Dirty:', 'Private_Clean:'))


def _worker(dataset, answers) -> None:
    gc.disable()  # a collection writes to every object of the test's process, which says nothing about the list
    indices = random.Random(0).sample(range(len(dataset)), 50_000)
    dataset.get_data_info(0)
    before = _private_bytes()
    for index in indices:
        dataset.get_data_info(index)
    answers.put(_private_bytes() - before)


@pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='memory by process is read from Linux')
@pytest.mark.parametrize('make', [_images, _videos])
def test_long_lists_are_read_without_objects_for_files_and_shared_with_workers(tmp_path, make, monkeypatch):
    asked, is_file = [], Path.is_file
    monkeypatch.setattr(Path, 'is_file', lambda path: (asked.append(path), is_file(path))[1])
    dataset, key = make(tmp_path)
    assert len(dataset) == ROWS - 1 and len(asked) < 10, 'the files are not asked for one by one'
    assert dataset.data_list == [] and dataset.data_bytes.nbytes < 300 * ROWS
    first = '00000/a.jpg' if key == 'img_path' else 'class_0/0.mp4'
    assert dataset.get_data_info(0)[key].endswith(first)
    context = multiprocessing.get_context('fork')
    answers = context.Queue()
    process = context.Process(target=_worker, args=(dataset, answers))
    process.start()
    grown = answers.get(timeout=60)
    process.join()
    assert grown < 4 * 2**20, f'a worker has copied {grown / 2**20:.0f} MiB of {dataset.data_bytes.nbytes / 2**20:.0f}'

"""Start and memory of data sets whose lists have millions of rows:

    python benchmarks/lists.py [ckdn ftcn maskco mcn soft_teacher] [--rows N]

Each list is written to a temporary folder and read in a fresh process; then two data workers look up 300,000 random rows of it.
The files of the lists are a few thousand, named by many rows, so that no disk is measured but the page cache. On a busy machine
look at the processor's seconds. Memory is the proportional set size (PSS), in which pages that processes share count once in
all, and the private part of it (USS).
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

RESULT = Path(__file__).resolve().parent / 'results/lists.json'
FOLDERS, FILES = 300, 10  # that exist
BATCH, BATCHES, WORKERS = 1000, 300, 2


def _files(root: Path, suffix: str, content: bytes = b'') -> None:
    for folder in range(FOLDERS):
        (root / f'{folder:05d}').mkdir(parents=True)
        for number in range(FILES):
            (root / f'{folder:05d}/{number:04d}{suffix}').write_bytes(content)


def _name(row: int, suffix: str) -> str:
    return f'{row // FILES % FOLDERS:05d}/{row % FILES:04d}{suffix}'


def _jpeg(size: tuple[int, int]) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.effect_noise(size, 50).save(stream, 'JPEG')
    return stream.getvalue()


def maskco(root: Path, rows: int) -> Callable:
    """The table of Conceptual Captions, which has three million lines of a name and a caption."""
    from openmsra.maskco.data.images import UnlabelledImages

    _files(root / 'images', '.jpg')
    with (root / 'list.tsv').open('w') as stream:
        for row in range(rows):
            stream.write(f'{_name(row, ".jpg")}\ta photo of number {row} with a caption that is as long as those of the table\n')
    return lambda: UnlabelledImages(data_root=str(root / 'images'), ann_file=str(root / 'list.tsv'), pipeline=[])


def mcn(root: Path, rows: int) -> Callable:
    """A list of videos of 400 classes, as that of Kinetics."""
    from openmsra.mcn.data.videos import VideoClips

    with (root / 'list.txt').open('w') as stream:
        for row in range(rows):
            stream.write(f'class_{row % 400:03d}/video_of_kinetics_{row:08d}.mp4 {row % 400}\n')
    return lambda: VideoClips(str(root / 'list.txt'), str(root), pipeline=[])


def ftcn(root: Path, rows: int) -> Callable:
    """Faces of videos, each a folder of ten crops; ``clips_per_video`` 4 makes four rows of each."""
    from openmsra.ftcn.data.clips import FaceClips

    _files(root, '.png')
    with (root / 'clips.jsonl').open('w') as stream:
        for row in range(rows // 4):
            line = dict(
                video=f'video {row}',
                count=FILES,
                label=row % 2,
                method='Deepfakes',
                split='train',
                suffix='.png',
                runs=[[0, FILES]],
            )
            stream.write(json.dumps(dict(line, frames=f'{row % FOLDERS:05d}', track=0, first=0, side=100.0)) + '\n')
    return lambda: FaceClips('clips.jsonl', 'train', [], data_root=str(root))


def ckdn(root: Path, rows: int) -> Callable:
    """Scored images in the form of KADID-10k; each image has one score, so that all files exist."""
    from openmsra.ckdn.data.fr_datasets import FRLabelDataset

    (root / 'images').mkdir()
    names = [f'I{row % 10_000:05d}_{row // 10_000:03d}_01.png' for row in range(rows)]
    for number in range(10_000):
        (root / f'images/I{number:05d}.png').touch()
    for name in names:
        os.link(root / f'images/{name[:6]}.png', root / 'images' / name)
    lines = (f'{name},{name[:6]}.png,{1 + row % 401 / 100:.2f},0.5\n' for row, name in enumerate(names))
    (root / 'dmos.csv').write_text('dist_img,ref_img,dmos,var\n' + ''.join(lines))
    return lambda: FRLabelDataset(str(root), 'kadid10k', 'train', [])


def soft_teacher(root: Path, rows: int) -> Callable:
    """A folder of unlabelled images, given by a list that states their sizes."""
    from openmsra.soft_teacher.data.datasets import UnlabelledFolder

    _files(root, '.jpg', _jpeg((64, 48)))
    (root / 'list.txt').write_text(''.join(f'{_name(row, ".jpg")}\t64\t48\n' for row in range(rows)))
    return lambda: UnlabelledFolder(str(root), list_file='list.txt', pipeline=[])


LISTS = dict(
    ckdn=(ckdn, 10**6), ftcn=(ftcn, 10**6), maskco=(maskco, 3 * 10**6), mcn=(mcn, 3 * 10**6), soft_teacher=(soft_teacher, 10**6)
)


def measure(name: str, rows: int) -> dict[str, float]:
    """Seconds and MiB of one list, in this process."""
    import torch

    from openmsra import compat

    compat.bridge_torchvision()
    torch.set_num_threads(1)
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        make = LISTS[name][0](Path(folder), rows)
        before, start, cpu = process.memory_full_info().pss, time.perf_counter(), time.process_time()
        dataset = make()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        dataset.prepare_data = lambda index: dataset.get_data_info(index)['sample_idx']
        loader = torch.utils.data.DataLoader(
            dataset, BATCH, shuffle=True, num_workers=WORKERS, multiprocessing_context='fork', collate_fn=len
        )
        start, batches = time.perf_counter(), iter(loader)
        next(batches)
        first = time.perf_counter() - start
        for _ in range(min(BATCHES, len(loader) - 2 * WORKERS - 2)):  # the workers still live behind the last of these
            next(batches)
        workers = [child.memory_full_info() for child in process.children()]
        mib = 2**20
        return dict(
            rows=len(dataset),
            start_s=round(seconds, 1),
            start_cpu_s=round(cpu, 1),
            first_batch_s=round(first, 2),
            peak_mib=round(peak / mib),
            before_mib=round(before / mib),
            list_mib=round((dataset.data_bytes.nbytes + dataset.data_address.nbytes) / mib),
            pss_mib=round(process.memory_full_info().pss / mib),
            workers_pss_mib=[round(worker.pss / mib) for worker in workers],
            workers_uss_mib=[round(worker.uss / mib) for worker in workers],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'lists', nargs='*', default=sorted(LISTS), help=f'which lists, of {", ".join(sorted(LISTS))} (default: all)'
    )
    parser.add_argument(
        '--rows', type=int, help='rows of each list (default: 3,000,000 for maskco and mcn, 1,000,000 for the others)'
    )
    parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.lists) - set(LISTS):
        parser.error(f'no such list: {", ".join(sorted(unknown))}')
    if args.inside:
        (name,) = args.lists
        print(json.dumps(measure(name, args.rows or LISTS[name][1])))
        return
    results = json.loads(RESULT.read_text()) if RESULT.exists() and not args.rows else {}
    results['machine'] = f'{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}'
    for name in args.lists:
        command = [sys.executable, __file__, name, '--inside', *(['--rows', str(args.rows)] if args.rows else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, results[name], flush=True)
    if not args.rows:
        RESULT.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()

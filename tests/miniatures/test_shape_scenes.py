"""The scenes are drawn once, whoever comes first."""

import time
from pathlib import Path

import cv2
import torch.distributed as dist

from openmsra.miniatures import shape_scenes
from openmsra.registry import DATASETS
from tests.dist.gloo import run_on_processes


def _read(rank: int, world_size: int, root: Path) -> tuple[set[int], bool]:
    """The files that this process has seen under the name of the version, and whether it could read an image all the time."""
    shape_scenes.COUNTS = dict(labelled=6, unlabelled=6, val=6)
    draw = shape_scenes.draw_scene
    shape_scenes.draw_scene = lambda rng: time.sleep(0.05 * rank) or draw(rng)  # the second process is ready a second later
    dist.barrier()
    DATASETS.build(dict(type='ShapeScenes', data_root=str(root), ann_file='val.json', pipeline=[]))
    files, whole = set(), True
    end = time.monotonic() + 2
    while time.monotonic() < end:
        whole = whole and cv2.imread(str(root / 'val' / '0003.png')) is not None
        files |= {path.stat().st_ino for path in root.glob('version')}
    return files, whole


def test_processes_that_start_together_draw_the_scenes_once(tmp_path):
    answers = run_on_processes(_read, 2, tmp_path / 'data' / 'scenes')
    assert all(whole and files == answers[0][0] for files, whole in answers) and len(answers[0][0]) == 1, answers

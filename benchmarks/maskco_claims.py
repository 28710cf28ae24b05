"""MaskCo in miniature: where views of an image need not show one thing, is contrastive mask prediction better than MoCo v2?

Scenes of four digits on photographs, and of one digit as the control (DigitScenes; made by us, says nothing about ImageNet or
COCO). The arms of a seed are trained side by side on the same batches; their parameters are disjoint, so that each is
trained as if alone. Frozen features are then probed, and a small detector is trained from each. Plain region contrast is an
arm, since it tells what region matching alone gives.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import nn

import openmsra.maskco  # noqa: F401 - registers the parts
from benchmarks.maskco_report import ARMS, RANDOM, draw, table, verdicts  # noqa: F401 - draw and table are read by claims.py
from benchmarks.training import Training, seeded_model, train
from openmsra.engine.checkpoint.io import load_file, save_file
from openmsra.engine.config.files import load_config
from openmsra.maskco.data.geometry import area, intersect
from openmsra.miniatures.shape_scenes import FOLDS
from openmsra.registry import DATASETS, METRICS, MODELS, TRANSFORMS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'maskco'
DETECTOR = CONFIGS / 'detection' / 'soft-teacher-burnin_r18-tiny_1xb4-200i_shapes.py'
EPOCHS = {'multi': 72, 'single': 24}  # of 4096 scenes
CONTROL_ARMS = ('MoCo v2', 'MaskCo', 'region contrast')
PRETEXT_SCENES = 512


@MODELS.register_module()
class SideBySide(BaseModel):
    """Several models with parameters of their own on the same batches; the losses are added up."""

    def __init__(self, arms: dict[str, dict], seed: int, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor)
        self.arms = nn.ModuleDict()
        for name, config in arms.items():
            torch.manual_seed(seed)  # the same initial weights
            self.arms[name] = MODELS.build(config)
            self.arms[name].init_weights()

    def forward(self, inputs: list[torch.Tensor], regions: dict, mode: str) -> dict[str, torch.Tensor]:
        figures = {}
        for name, arm in self.arms.items():
            losses = arm.loss(inputs, regions)
            figures |= {f'{name}/loss': losses['loss'], f'{name}/choice': losses['choice_accuracy']}
        return figures


def run(seeds: list[int], processes: int, folder: Path) -> dict:
    """All runs; finished ones are read from ``folder``. Accuracies in percent."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = [(kind, seed, folder) for seed, kind in product(seeds, EPOCHS)]
    with ProcessPoolExecutor(processes, get_context('spawn')) as pool:
        for number, _ in enumerate(pool.map(group, *zip(*groups, strict=True)), start=1):
            print(f'{number}/{len(groups)} groups of arms', flush=True)
    rows = {kind: {arm: [_row(kind, arm, seed, folder) for seed in seeds] for arm in _arms(kind)} for kind in EPOCHS}
    settings = dict(seeds=seeds, epochs=EPOCHS, configs={arm: _config(arm).name for arm in ARMS}, detector=DETECTOR.name)
    return dict(settings=settings, rows=rows, verdicts=verdicts(rows))


def group(kind: str, seed: int, folder: Path) -> None:
    """Train and measure the arms of one kind of scenes and one seed."""
    torch.set_num_threads(1)
    if not all(_checkpoint(kind, arm, seed, folder).exists() for arm in _arms(kind) if arm != RANDOM):
        _pretrain(kind, seed, folder)
    for arm in _arms(kind):
        _row(kind, arm, seed, folder)


def _arms(kind: str) -> list[str]:
    return [RANDOM, *(ARMS if kind == 'multi' else CONTROL_ARMS)]


def _config(arm: str) -> Path:
    return CONFIGS / f'{ARMS.get(arm, "mocov2")}_r18-tiny_1xb64-24e_digits_mini.py'


def _checkpoint(kind: str, arm: str, seed: int, folder: Path) -> Path:
    return folder / f'{kind}_{ARMS[arm]}_seed{seed}.pth'


def _pretrain(kind: str, seed: int, folder: Path) -> None:
    cfg, epochs = load_config(_config('MaskCo')), EPOCHS[kind]
    arms = {ARMS[arm]: load_config(_config(arm)).model for arm in _arms(kind) if arm != RANDOM}
    cfg.model = dict(type='SideBySide', arms=arms, seed=seed, data_preprocessor=cfg.pop('data_preprocessor'))
    cfg.train_dataloader.dataset.update(kind=kind, seed=seed)
    cfg.train_cfg.max_epochs = cfg.param_scheduler[1].end = epochs
    cfg.param_scheduler[1].T_max = epochs - 2
    cfg.update(
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
        test_dataloader=None,
        test_cfg=None,
        test_evaluator=None,
        custom_hooks=[],
    )
    cfg.custom_imports.imports.append('benchmarks.maskco_claims')  # SideBySide
    weights = load_file(train(Training(cfg, folder / f'{kind}_seed{seed}', seed)))['state_dict']
    for arm in _arms(kind):
        if arm != RANDOM:
            prefix = f'arms.{ARMS[arm]}.'
            state = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
            save_file(dict(state_dict=state), _checkpoint(kind, arm, seed, folder))


def _row(kind: str, arm: str, seed: int, folder: Path) -> dict[str, float]:
    """What is measured of one arm, from a file where that was done before."""
    file = folder / f'{kind}_{ARMS.get(arm, "random")}_seed{seed}.json'
    if not file.exists():
        model = seeded_model(_config(arm), seed, None if arm == RANDOM else _checkpoint(kind, arm, seed, folder))
        row = dict(seed=seed, **_probe(model, kind))
        if kind == 'multi':
            row |= {'detector': _detect(arm, seed, folder)} | (_pretext(model) if arm not in (RANDOM, 'MoCo v2') else {})
        file.write_text(json.dumps(row))
    return json.loads(file.read_text())


@torch.inference_mode()
def _probe(model: nn.Module, kind: str) -> dict[str, float]:
    with DefaultScope.overwrite_default_scope('openmsra'):
        dataset = DATASETS.build(dict(model.cfg.val_dataloader.dataset, kind=kind))
        metric = METRICS.build(dict(type='FrozenProbe'))
    for start in range(0, len(dataset), 100):
        metric.process({}, model.val_step(default_collate([dataset[i] for i in range(start, start + 100)])))
    return metric.compute_metrics(metric.results)


@torch.inference_mode()
def _pretext(model: nn.Module) -> dict[str, float]:
    """Top-1 (%) of finding the hidden region among those of 512 new scenes, for holes that cut a digit and that miss them all.

    No hole covers a digit: holes are smaller.
    """
    dataset = model.cfg.train_dataloader.dataset.copy()
    views, pack = dataset.pop('pipeline')
    with DefaultScope.overwrite_default_scope('openmsra'):
        scenes = DATASETS.build(dict(dataset, pipeline=[views], count=PRETEXT_SCENES, seed=1000))
        pack = TRANSFORMS.build(pack)
    np.random.seed(0)
    rows = [scenes[i] for i in range(len(scenes))]
    batch = model.data_preprocessor(default_collate([pack(row) for row in rows]))
    queries = model.encode_queries(batch['inputs'][0], batch['regions']['query'])[:, 0]
    keys = model.encode_keys(batch['inputs'][1], batch['regions'])[0][:, 0]
    hits = ((queries @ keys.T).argmax(1) == torch.arange(len(rows))).numpy()
    shares = np.array(
        [area(intersect(row['boxes_original'][0], row['gt_boxes'])).sum() / area(row['boxes_original'][0]) for row in rows]
    )
    return {
        f'pretext_{name}': 100 * float(hits[chosen].mean())
        for name, chosen in (('cut', shares >= 0.25), ('missed', shares < 0.05))
    }


def _detect(arm: str, seed: int, folder: Path) -> float:
    """AP50 (%) of the detector of the Soft Teacher miniature that starts from an arm; mean over its sets of labelled images."""
    options = {}
    if arm != RANDOM:
        start = dict(type='Pretrained', checkpoint=str(_checkpoint('multi', arm, seed, folder)), prefix='backbone.')
        options = {f'model.detector.backbone.init_cfg.{key}': value for key, value in start.items()}
    precisions = []
    for fold in range(FOLDS):
        work_dir = folder / 'detectors' / f'{ARMS.get(arm, RANDOM)}_seed{seed}_fold{fold}'
        labelled = {'train_dataloader.dataset.ann_file': f'labelled.{fold}.json'}
        train(Training(DETECTOR, work_dir, seed, options | labelled))
        lines = max(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()
        figures = [json.loads(line) for line in lines if 'student/coco/bbox_mAP_50' in line]
        precisions.append(100 * figures[-1]['student/coco/bbox_mAP_50'])
    return float(np.mean(precisions))


if __name__ == '__main__':  # one group, so that several machines or cores can share the work: KIND SEED FOLDER
    group(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))

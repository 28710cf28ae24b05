"""The scoring split is decoded once, whatever its size, and gives the scores of a plain loop over its images."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader, Dataset

from openmsra.autoformer import AutoFormerSupernet
from openmsra.autoformer.search import scoring
from openmsra.autoformer.search.scoring import ScoringSet, inherited_accuracy
from openmsra.engine.data.loader import keyed
from openmsra.errors import BrokenDataError, ConfigError
from openmsra.registry import MODELS
from tests.dist.gloo import run_on_processes

SIZE, BATCH = 11, 4


class Counted(Dataset):
    """Random 8-bit images that count how often they are read."""

    def __init__(self):
        self.read = []
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (SIZE, 1, 8, 8), generator=generator, dtype=torch.uint8)
        self.labels = torch.randint(5, (SIZE,), generator=generator)

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        self.read.append(int(index))
        return dict(inputs=self.images[index], data_samples=DataSample().set_gt_label(int(self.labels[index])))


PREPROCESSOR = dict(type='mmpretrain.ClsDataPreprocessor', mean=[100.0], std=[50.0], num_classes=5)


def _split(folder, cache_gib, dataset, key='split'):
    def load(indices):
        return DataLoader(dataset, BATCH, sampler=indices, collate_fn=pseudo_collate)

    return ScoringSet(load, SIZE, MODELS.build(PREPROCESSOR), cache_gib, folder, key)


def _net():
    torch.manual_seed(0)
    space = dict(embed_dim=[16], depth=[2], num_heads=[2], mlp_ratio=[1.0], head_dim=8)
    geometry = dict(img_size=8, patch_size=2, in_channels=1, max_relative_position=3)
    return AutoFormerSupernet(space, num_classes=5, init_std=0.3, **geometry).eval()


@pytest.mark.parametrize(('cache_gib', 'form'), [(1.0, 'ready'), (0.0, 'one file')])
def test_scores_are_those_of_a_plain_loop_and_images_are_read_once(tmp_path, cache_gib, form):
    dataset, net = Counted(), _net()
    split = _split(tmp_path, cache_gib, dataset)
    assert split.form == form and len(split) == SIZE
    again = len(dataset.read)
    assert again <= SIZE + BATCH  # the first batch shows the size of an image
    with torch.no_grad():
        logits = net((dataset.images.float() - 100) / 50)
    expected = 100 * (logits.argmax(1) == dataset.labels).float().mean().item()
    arch = net.space.largest()
    assert [inherited_accuracy(net, arch, split) for _ in range(3)] == pytest.approx([expected] * 3)
    inputs, labels = (torch.cat(parts) for parts in zip(*split, strict=True))
    torch.testing.assert_close(inputs, (dataset.images.float() - 100) / 50)
    assert torch.equal(labels, dataset.labels)
    assert len(dataset.read) == again


def test_a_resumed_search_finds_the_file_and_another_split_does_not(tmp_path):
    _split(tmp_path, 0.0, Counted())
    dataset = Counted()
    assert torch.equal(torch.cat([labels for _, labels in _split(tmp_path, 0.0, dataset)]), dataset.labels)
    assert dataset.read == list(range(BATCH))
    split = _split(tmp_path, 0.0, dataset, key='other images')
    assert len(dataset.read) == 2 * BATCH + SIZE
    assert len(list(tmp_path.iterdir())) == 3
    split.delete_files()
    assert not list(tmp_path.iterdir())


def test_precision_of_the_products_is_that_of_amp_dtype(tmp_path):
    split, net, seen = _split(tmp_path, 1.0, Counted()), _net(), []
    net.head.register_forward_hook(lambda module, arguments, output: seen.append(output.dtype))
    inherited_accuracy(net, net.space.largest(), split)
    inherited_accuracy(net, net.space.largest(), split, torch.bfloat16)
    assert set(seen) == {torch.float32, torch.bfloat16} and seen[0] == torch.float32


def _read_by_rank(rank: int, world_size: int, folder) -> tuple[list[int], list[int]]:
    dataset = Counted()
    split = _split(folder, 0.0, dataset)
    return dataset.read[BATCH:], torch.cat([labels for _, labels in split]).tolist()


def test_processes_of_a_machine_decode_each_image_once(tmp_path):
    (first, labels), (second, same_labels) = run_on_processes(_read_by_rank, 2, tmp_path)
    assert sorted(first + second) == list(range(SIZE)) and abs(len(first) - len(second)) <= 1
    assert labels == same_labels == Counted().labels.tolist()


def test_a_full_disk_is_named_before_anything_is_written(tmp_path, monkeypatch):
    full = type('Usage', (), dict(free=2**20))
    monkeypatch.setattr(scoring.shutil, 'disk_usage', lambda folder: full)
    with pytest.raises(ConfigError, match=r'needs 0\.0 GiB in .* train_cfg\.cache_folder'):
        _split(tmp_path, 0.0, Counted())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('cache_gib', [0.0, 1.0])
def test_images_that_cannot_be_read_end_the_search(tmp_path, cache_gib):
    class Broken(Counted):
        def __getitem__(self, index):
            if index == 7:
                raise cv2.error('no image')
            return super().__getitem__(index)

    def load(indices):
        loader = DataLoader(Broken(), BATCH, sampler=indices, collate_fn=pseudo_collate)
        return keyed(loader, seed=0, journal=str(tmp_path / 'broken.jsonl'))

    with pytest.raises(BrokenDataError, match=r'1 image\(s\) of the scoring split.*sample 7 of Broken'):
        ScoringSet(load, SIZE, MODELS.build(PREPROCESSOR), cache_gib, tmp_path)
    assert np.array(list(tmp_path.glob('*.json'))).size == 0, 'the file counts as whole'

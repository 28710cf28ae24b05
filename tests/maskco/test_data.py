"""Unlabelled images, scenes of digits, probes, the watch over the queue, embeddings."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from PIL import Image

from openmsra.apis import init_model
from openmsra.engine.checkpoint.io import save_file
from openmsra.errors import DataError, ToolError
from openmsra.maskco import FrozenProbe, MaskCoInferencer, PretextWatch, UnlabelledImages
from openmsra.miniatures.digit_scenes import DigitScenes
from tools.analysis.maskco_predictions import main as draw_predictions
from tools.analysis.maskco_predictions import similarity_maps
from tools.analysis.maskco_views import main as draw_views
from tools.maskco_embed import main as embed_tool

INSTANT = 'maskco_r18-tiny_1xb32-2e_digits_instant'


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'deep').mkdir()
    for i, name in enumerate(('a.png', 'deep/b.png')):
        Image.fromarray(rng.integers(0, 255, (40, 50 + i, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    return tmp_path


def test_folder_is_searched_and_broken_images_are_named(folder):
    dataset = UnlabelledImages(data_root=str(folder), pipeline=[], min_side=10)
    assert len(dataset) == 3
    assert dataset.prepare_data(0)['img'].shape == (40, 50, 3)
    broken = next(i for i in range(3) if dataset.get_data_info(i)['img_path'].endswith('broken.jpg'))
    with pytest.raises(ValueError, match=r'broken\.jpg: not an image'):
        dataset[broken]
    small = UnlabelledImages(data_root=str(folder), pipeline=[], min_side=45)
    with pytest.raises(ValueError, match='50x40 pixels; at least 45'):
        small[0]


def test_exif_orientation(tmp_path):
    image = Image.fromarray(np.zeros((20, 30, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / 'a.jpg', exif=exif)
    assert UnlabelledImages(data_root=str(tmp_path), pipeline=[])[0]['img'].shape == (30, 20, 3)


def test_dead_links_of_a_list_are_left_out_and_counted(folder, monkeypatch):
    said = []
    monkeypatch.setattr('openmsra.maskco.data.images.print_log', lambda message, *args: said.append(message))
    (folder / 'list.tsv').write_text('a.png\tcaption\ngone.png\tcaption\n\ndeep/b.png\n')
    dataset = UnlabelledImages(data_root=str(folder), ann_file=str(folder / 'list.tsv'), pipeline=[])
    assert len(dataset) == 2
    assert '1 of 3 images are missing' in said[0]


def test_folder_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match='no images'):
        UnlabelledImages(data_root=str(tmp_path), pipeline=[])
    with pytest.raises(FileNotFoundError, match='no such folder'):
        UnlabelledImages(data_root=str(tmp_path / 'x'), pipeline=[])


def test_scenes_hold_their_rule_and_their_digits():
    train = DigitScenes(split='train', count=200, pipeline=[])
    rule = [(row['gt_box_labels'][i] + 1) % 10 == row['gt_box_labels'][i + 1] for row in train for i in (0, 2)]
    assert 0.7 < np.mean(rule) < 0.9
    probe = DigitScenes(split='probe', count=(60, 40), pipeline=[])
    assert sum(row['bank'] for row in probe) == 60
    free = [(row['gt_box_labels'][i] + 1) % 10 == row['gt_box_labels'][i + 1] for row in probe for i in (0, 2)]
    assert np.mean(free) < 0.25
    again = DigitScenes(split='train', count=3, pipeline=[])
    np.testing.assert_array_equal(again[2]['img'], train[2]['img'])
    for row in (train[0], probe[0]):
        assert len(set(row['gt_box_labels'])) == 4
        assert (row['gt_boxes'] >= 0).all() and (row['gt_boxes'] <= 64).all()
    assert DigitScenes(split='train', count=1, kind='single', pipeline=[])[0]['gt_boxes'].shape == (1, 4)
    with pytest.raises(ValueError, match="'multi', 'single'"):
        DigitScenes(split='train', count=1, kind='none', pipeline=[])


def test_probe_on_features_of_known_quality():
    rng = np.random.default_rng(0)
    metric = FrozenProbe()
    for i in range(200):
        label = i % 4
        good, useless = np.eye(4)[label] + 0.1 * rng.normal(size=4), rng.normal(size=(2, 4))
        metric.process(
            {},
            [
                {
                    name: torch.as_tensor(value)
                    for name, value in dict(
                        feature=good,
                        label=label,
                        bank=i < 120,
                        region_features=useless,
                        box_labels=rng.integers(4, size=2),
                        boxes=[[0, 0, 1 + i, 1], [0, 0, 400, 400]],
                    ).items()
                }
            ],
        )
    figures = metric.compute_metrics(metric.results)
    assert figures['knn'] == figures['linear'] == 100
    assert figures['region_linear'] < 45 and figures['region_knn'] < 45
    sizes = [figures[f'region_knn_{size}'] for size in ('small', 'medium', 'large')]
    assert np.dot(sizes, [54, 53, 53]) / 160 == pytest.approx(figures['region_knn'])
    assert set(FrozenProbe(['knn']).compute_metrics(metric.results)) == {name for name in figures if 'knn' in name}
    with pytest.raises(ValueError, match='both are needed'):
        metric.compute_metrics([row for row in metric.results if row['bank']])
    with pytest.raises(ValueError, match='neither gt_label nor'):
        metric.compute_metrics([dict(bank=row['bank']) for row in metric.results])
    with pytest.raises(ValueError, match="'knn' and 'linear'"):
        FrozenProbe(['svm'])


def test_image_map_tells_what_an_image_holds():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(300):
        labels = rng.permutation(5)[:2]
        feature = np.isin(range(5), labels) + 0.05 * rng.normal(size=5)
        rows.append(
            dict(
                feature=feature,
                box_labels=labels,
                region_features=rng.normal(size=(2, 5)),
                bank=i < 200,
                boxes=np.array([[0, 0, 1, 1]] * 2),
            )
        )
    assert FrozenProbe().compute_metrics(rows)['image_map'] == pytest.approx(100)
    for row in rows:
        row['feature'] = rng.normal(size=5)
    assert 30 < FrozenProbe().compute_metrics(rows)['image_map'] < 60  # two of five classes are there


def test_watch_warns_of_a_queue_larger_than_the_data_and_of_huge_batches():
    said = []

    class Runner:
        world_size, train_dataloader = 1, type('Loader', (), dict(dataset=range(400), batch_size=1024))
        model = torch.nn.Module()
        logger = type('Log', (), dict(warning=lambda self, text: said.append(text), info=lambda self, text: None))()

    Runner.model.queue = torch.zeros(4, 401)
    PretextWatch().before_train(Runner)
    assert 'at most 100' in said[0]
    Runner.model.queue = torch.zeros(4, 400)
    PretextWatch().before_train(Runner)
    assert len(said) == 1
    Runner.world_size = 2
    PretextWatch().before_train(Runner)
    assert 'a batch of 2048 images' in said[1]


def test_embeddings_equal_the_bare_network(folder):
    model = init_model(INSTANT)
    save_file(dict(state_dict=model.state_dict()), folder / 'net.pth')
    inferencer = MaskCoInferencer(INSTANT, folder / 'net.pth', size=32)
    with pytest.raises(DataError, match='none of the 1 inputs.*broken.jpg: not an image'):
        inferencer(folder / 'broken.jpg')
    by_name = {Path(row['image']).name: row for row in inferencer(folder, batch_size=2, out_dir=folder / 'out')}
    assert 'not an image' in by_name.pop('broken.jpg')['error']
    lines = [json.loads(line) for line in (folder / 'out/results.jsonl').read_text().splitlines()]
    assert [Path(line['image']).name for line in lines] == ['a.png', 'broken.jpg', 'b.png'] and 'error' in lines[1]
    np.testing.assert_allclose(lines[2]['feature'], by_name['b.png']['feature'])
    (folder / 'broken.jpg').unlink()
    rows = inferencer(folder, boxes=[np.array([[0, 0, 50, 40]]), np.array([[0, 0, 20, 20], [5, 5, 30, 30]])])
    assert [row['region_features'].shape for row in rows] == [(1, 64), (2, 64)]
    assert [row['image'] for row in rows] == [str(folder / 'a.png'), str(folder / 'deep' / 'b.png')]
    grey, boxes = np.full((9, 9), 7, np.uint8), [[[0, 0, 5, 5]], [[0, 0, 5, 5]], [[0, 0, np.nan, 5]]]
    rows_of_arrays = inferencer([grey, grey.astype(np.uint16), grey], boxes=boxes)
    assert 'error' not in rows_of_arrays[0] and 'uint16' in rows_of_arrays[1]['error']
    assert 'finite' in rows_of_arrays[2]['error']
    image = np.asarray(Image.open(folder / 'a.png').resize((32, 32), Image.Resampling.BILINEAR))
    batch = default_collate([dict(inputs=torch.from_numpy(image.transpose(2, 0, 1).copy()))])
    with torch.no_grad():
        expected = model(model.data_preprocessor(batch)['inputs'])[-1].mean((2, 3))[0]
    np.testing.assert_allclose(rows[0]['feature'], expected / expected.norm(), atol=1e-5)
    with pytest.raises(FileNotFoundError, match='no such file or folder of images'):
        inferencer(folder / 'nowhere.png')
    with pytest.raises(ValueError, match='1 arrays of boxes for 2'):
        inferencer(folder, boxes=[np.zeros((1, 4))])


def test_tool_writes_embeddings(folder):
    save_file(dict(state_dict=init_model(INSTANT).state_dict()), folder / 'net.pth')
    (folder / 'boxes.json').write_text('{"b.png": [[0, 0, 20, 20], [5, 5, 30, 30]]}')
    arguments = [INSTANT, str(folder / 'net.pth'), str(folder), str(folder / 'out.npz'), '--size', '32', '--boxes']
    with pytest.raises(DataError, match='1 of 3 images were left out, the others are in') as caught:
        embed_tool([*arguments, str(folder / 'boxes.json')])
    assert f'{folder / "broken.jpg"}: ' in str(caught.value)
    (folder / 'broken.jpg').unlink()
    with np.load(folder / 'out.npz') as arrays:
        assert arrays['images'].tolist() == [str(folder / 'a.png'), str(folder / 'deep' / 'b.png')]
        assert arrays['region_images'].tolist() == [str(folder / 'deep' / 'b.png')] * 2
        expected = MaskCoInferencer(INSTANT, folder / 'net.pth', size=32)(folder, boxes=[[], arrays['regions']])
        np.testing.assert_allclose(arrays['features'], [row['feature'] for row in expected], atol=1e-6)
        np.testing.assert_allclose(arrays['region_features'], expected[1]['region_features'], atol=1e-6)
    (folder / 'boxes.json').write_text('{"c.png": [[0, 0, 20, 20]]}')
    with pytest.raises(ToolError, match='boxes of c.png'):
        embed_tool([*arguments, str(folder / 'boxes.json')])


def test_views_are_drawn(tmp_path):
    draw_views([f'configs/maskco/{INSTANT}.py', str(tmp_path / 'views.png'), '--images', '3'])
    with Image.open(tmp_path / 'views.png') as picture:
        colours = {tuple(colour) for colour in np.asarray(picture.convert('RGB')).reshape(-1, 3)}
    assert {(0, 255, 0), (255, 0, 0)} <= colours


def test_predictions_are_drawn(tmp_path):
    model = init_model(INSTANT)
    save_file(dict(state_dict=model.state_dict()), tmp_path / 'net.pth')
    files = [f'configs/maskco/{INSTANT}.py', str(tmp_path / 'net.pth'), str(tmp_path / 'out.png')]
    draw_predictions([*files, '--rows', '2', '--pool', '4'])
    with Image.open(tmp_path / 'out.png') as picture:
        colours = {tuple(colour) for colour in np.asarray(picture.convert('RGB')).reshape(-1, 3)}
    assert (0, 255, 0) in colours
    views = torch.randn(2, 3, 24, 24)
    side = 24 / model.encoder_k[0](views)[-1].shape[-1]
    cell = torch.tensor([[[2 * side, side, 3 * side, 2 * side]]]).expand(2, -1, -1)
    with torch.no_grad():  # the map holds at a cell what a box of that cell is compared with
        queries = torch.nn.functional.normalize(torch.randn(2, 64), dim=-1)
        maps = similarity_maps(model, views, queries)
        pooled = model.pool.__class__(samples=1)(model.encoder_k[0](views)[-1], cell, 24)
        vectors = torch.nn.functional.normalize(model.encoder_k[1]((pooled[:, 0],))[0], dim=-1)
    torch.testing.assert_close(maps[:, 1, 2], (queries * vectors).sum(1))
    with pytest.raises(ToolError, match="region='view'"):
        mode = 'configs/maskco/mocov2_r18-tiny_1xb64-24e_digits_mini.py'
        save_file(dict(state_dict=init_model(mode).state_dict()), tmp_path / 'moco.pth')
        draw_predictions([mode, str(tmp_path / 'moco.pth'), str(tmp_path / 'out.png')])

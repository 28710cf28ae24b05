"""Export to mmaction2, the inferencer, the tools that draw; all on small real videos."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import openmsra.mcn  # noqa: F401 - registers everything
from openmsra.engine.checkpoint.io import save_file
from openmsra.errors import CheckpointError, DataError, ToolError
from openmsra.mcn.evaluation.pictures import activation, class_table
from openmsra.mcn.export import encoder_weights, recognizer_config, recognizer_weights
from openmsra.mcn.inferencer import MCNInferencer, embeddings, neighbours
from openmsra.registry import MODELS
from tests.mcn.tools import call

PREPROCESSOR = dict(type='ClipDataPreprocessor', mean=(110.2, 100.7, 95.9), std=(58.1, 56.4, 55.3))
TINY = dict(type='VideoResNet', kind='r3d', blocks=(1, 1, 1, 1))
BACKBONES = {'r3d': TINY, 'r2plus1d': dict(TINY, kind='r2plus1d'), 's3d': dict(type='S3D')}


@pytest.mark.full
@pytest.mark.parametrize('name', BACKBONES)
def test_mmaction2_predicts_the_same(name):
    from mmaction.registry import MODELS as THEIRS
    from mmaction.structures import ActionDataSample

    torch.manual_seed(0)
    backbone = BACKBONES[name]
    options = dict(backbone=copy.deepcopy(backbone), num_classes=5, data_preprocessor=PREPROCESSOR)
    ours = MODELS.build(dict(type='VideoClassifier', **options))
    for module in ours.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.nn.init.normal_(ours.cls_head.fc_cls.weight)
    config = recognizer_config(backbone, PREPROCESSOR, 5)
    with DefaultScope.overwrite_default_scope('mmaction'):
        theirs = THEIRS.build(config)
    theirs.load_state_dict(recognizer_weights(encoder_weights(ours.state_dict()), backbone), strict=True)
    clips = torch.randint(0, 256, (2, 3, 3, 8, 64, 64), dtype=torch.uint8)
    samples = [ActionDataSample().set_gt_label(0) for _ in clips]
    known = ours.eval().test_step(dict(inputs=clips, data_samples=[sample.clone() for sample in samples]))
    found = theirs.eval().test_step(dict(inputs=list(clips), data_samples=samples))
    for one, other in zip(known, found, strict=True):
        torch.testing.assert_close(one.pred_score, other.pred_score, atol=1e-6, rtol=1e-5)


def test_export_refuses_what_it_cannot_do():
    with pytest.raises(CheckpointError, match='not one of MCN'):
        encoder_weights(dict(projection=torch.zeros(1)))
    with pytest.raises(ValueError, match='residual'):
        recognizer_config(TINY, dict(PREPROCESSOR, residual=True), 5)


@pytest.fixture(scope='module')
def setting(tmp_path_factory):
    """A config file, a pre-training checkpoint and videos of three colours, two of each; one file is broken."""
    folder = tmp_path_factory.mktemp('use')
    (folder / 'videos').mkdir()
    for number, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)] * 2):
        writer = cv2.VideoWriter(str(folder / f'videos/{number}.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 32))
        for frame in range(8):
            image = np.zeros((32, 64, 3), np.uint8)
            cv2.circle(image, (18 + 4 * frame, 16), 8 - number // 3, colour, -1)
            writer.write(image)
        writer.release()
    (folder / 'videos/broken.avi').write_bytes(b'nothing')
    pipeline = [dict(type='mmaction.Resize', scale=(-1, 32)), dict(type='mmaction.CenterCrop', crop_size=32)]
    clips = dict(
        type='VideoClips',
        ann_file='list.txt',
        data_root='.',
        role='query',
        sampling='uniform',
        clips=2,
        clip_len=4,
        interval=1,
        pipeline=pipeline,
    )
    config = Config(
        dict(
            default_scope='openmsra',
            custom_imports=dict(imports=['openmsra.mcn'], allow_failed_imports=False),
            model=dict(type='VideoEncoder', backbone=TINY, data_preprocessor=PREPROCESSOR),
            test_dataloader=dict(batch_size=1, num_workers=0, dataset=clips, sampler=dict(type='DefaultSampler', shuffle=False)),
            test_cfg=dict(),
            test_evaluator=dict(type='VideoRetrieval'),
        )
    )
    config.dump(folder / 'config.py')
    torch.manual_seed(0)
    trained = MODELS.build(dict(type='MCN', backbone=TINY, meta_head={}))
    trained.init_weights()
    save_file(dict(state_dict=trained.state_dict()), folder / 'trained.pth')
    return folder


def test_inferencer(setting):
    embed = MCNInferencer(setting / 'config.py', setting / 'trained.pth')
    rows = embed(setting / 'videos', batch_size=4)
    found = embeddings(rows)
    assert [name[-5:] for name in found['video']] == [f'{k}.avi' for k in range(6)]
    np.testing.assert_allclose(np.linalg.norm(found['feature'], axis=1), 1)
    assert [row['video'] for row in rows if 'error' in row] == [str(setting / 'videos/broken.avi')]
    alone = embeddings(embed(setting / 'videos/3.avi'))
    np.testing.assert_allclose(alone['feature'][0], found['feature'][3], atol=1e-6)
    near = neighbours(found, found, 5)
    nearest = [row['neighbours'][0]['video'][-5:] for row in near]
    assert nearest == [f'{(k + 3) % 6}.avi' for k in range(6)]  # of the same colour
    similar = [other['similarity'] for other in near[0]['neighbours']]
    assert similar == sorted(similar, reverse=True)
    assert near[0]['video'] not in {other['video'] for other in near[0]['neighbours']}


def test_inferencer_with_bad_input(setting):
    embed = MCNInferencer(setting / 'config.py', setting / 'trained.pth')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        embed(setting / 'nowhere.avi')
    with pytest.raises(DataError, match='none of the 1 inputs.*broken.avi'):
        embed(setting / 'videos/broken.avi')
    with pytest.raises(CheckpointError, match='give a checkpoint'):
        MCNInferencer(setting / 'config.py', '')
    found = embeddings(embed(setting / 'videos/0.avi'))
    with pytest.raises(ValueError, match='the gallery has 0 other videos'):
        neighbours(found, found, 1)


def test_tools(setting, capsys):
    with pytest.raises(DataError, match='1 of 7 videos were left out, the others are in .*\n.*broken.avi'):
        call(
            'tools/mcn_embed.py',
            setting / 'config.py',
            setting / 'trained.pth',
            setting / 'videos',
            '--out',
            setting / 'e.npz',
            '--neighbours',
            '2',
        )
    assert np.load(setting / 'e.npz')['feature'].shape == (6, 512)
    assert len(json.loads((setting / 'e.json').read_text())[0]['neighbours']) == 2
    videos = [setting / f'videos/{name}.avi' for name in ('0', 'broken', '1')]
    with pytest.raises(DataError, match='1 of 3 videos were left out, the others are in .*activation.png:\n.*broken.avi'):
        call(
            'tools/analysis/mcn_activation.py',
            setting / 'config.py',
            setting / 'trained.pth',
            *videos,
            '--out',
            setting / 'activation.png',
        )
    assert cv2.imread(str(setting / 'activation.png')).shape == (8 + 2 * 118, 8 + 8 * 104, 3)
    rng, names = np.random.default_rng(0), np.array([f'{k}.avi' for k in range(3)])
    sides = dict(query=names, gallery=np.array(['3.avi', '4.avi', '5.avi']))
    columns = {f'{role}_video': videos for role, videos in sides.items()}
    columns |= {f'{role}_label': np.arange(3) for role in sides}
    columns |= {f'{role}_feature': rng.normal(size=(3, 4)) for role in sides}
    np.savez(setting / 'f.npz', **columns)
    pictures = ('--videos', setting / 'videos', '--out', setting / 'out')
    call('tools/analysis/mcn_retrieval.py', setting / 'f.npz', *pictures)
    assert 'R@1' in capsys.readouterr().out and (setting / 'out/neighbours.png').is_file()
    assert (setting / 'out/classes.md').read_text().count('\n') == 5
    export = ('tools/model_converters/mcn_export.py', setting / 'config.py', setting / 'trained.pth', setting / 'x.pth')
    call(*export, '--mmaction2')
    assert '"type": "ResNet3d"' in capsys.readouterr().out
    assert 'backbone.conv1.conv.weight' in torch.load(setting / 'x.pth')['state_dict']
    call(*export)
    assert all(name.startswith('backbone.') for name in torch.load(setting / 'x.pth')['state_dict'])
    with pytest.raises(CheckpointError, match='none.pth'):
        call('tools/mcn_embed.py', setting / 'config.py', setting / 'none.pth', setting / 'videos')
    with pytest.raises(ToolError, match='must end in .npz'):
        call('tools/mcn_embed.py', setting / 'config.py', setting / 'trained.pth', setting / 'videos', '--out', 'x.json')


def test_class_table_is_sorted():
    table = class_table({0: {'R@1': 10.0}, 1: {'R@1': 30.0}}, {0: 5, 1: 7}, ['a', 'b'])
    assert table.splitlines()[2:] == ['| b | 7 | 30.0 |', '| a | 5 | 10.0 |']


def test_activation_is_where_the_map_is_long():
    class Still(torch.nn.Module):
        def forward(self, clip):
            return torch.cat([clip[:, :1, :2, :2, :2], clip[:, 1:2, :2, :2, :2]], 1)

    clip = torch.zeros(1, 3, 4, 4, 4)
    clip[0, :2, 1, 0, 1] = torch.tensor([3.0, 4.0])
    heat = activation(Still(), clip, 2, (2, 2))
    assert heat.shape == (2, 2, 2) and heat.max() == 1 and heat[1, 0, 1] == 1 and heat.sum() == 1

"""Tools of tools/analysis that work for every config and run."""

import inspect
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from openmsra.engine.checkpoint.io import load_file
from openmsra.engine.runs import read_run
from openmsra.errors import MissingFileError, ToolError
from tools.analysis import analyze_logs, browse_dataset, compare_runs, get_flops, print_config, publish_model

INSTANT = 'ckdn_r18_1xb8-2e_photos_instant'


@pytest.fixture
def runs(tmp_path):
    """Work dirs of two runs, the second resumed once and killed while it wrote its last line."""
    for name, rate in (('first', 0.1), ('second', 0.2)):
        for start in (1, 2) if name == 'second' else (1,):
            folder = tmp_path / name / f'2026010{start}_000000' / 'vis_data'
            folder.mkdir(parents=True)
            rows = [dict(loss=1 / step, lr=rate, time=0.5, data_time=0.1, step=step) for step in range(start, start + 3)]
            rows.append(dict(step=start, time=1.0) | {'iqa/SRCC': rate + start})
            (folder / 'scalars.json').write_text(''.join(f'{json.dumps(row)}\n' for row in rows) + '{"loss": 0.')
        (tmp_path / name / 'c.py').write_text(f'optim_wrapper = dict(optimizer=dict(lr={rate}))\nwork_dir = {name!r}\n')
    return tmp_path / 'first', tmp_path / 'second'


def test_a_resumed_run_is_read_as_one(runs):
    run = read_run(runs[1])
    assert [row['step'] for row in run.train] == [1, 2, 3, 4]
    assert run.last() == {'iqa/SRCC': 2.2} and run.curve('loss') == ([1, 2, 3, 4], [1, 1 / 2, 1 / 3, 1 / 4])
    with pytest.raises(MissingFileError, match='not the work dir of a run'):
        read_run(runs[0].parent)


def test_compare_runs_shows_what_differs_and_what_was_reached(runs, tmp_path):
    rows = compare_runs.table([read_run(run) for run in runs])
    assert rows == [
        ['', 'first', 'second'],
        ['optim_wrapper.optimizer.lr', '0.1', '0.2'],
        ['iterations', '3', '4'],
        ['loss', '0.33333', '0.25'],
        ['iqa/SRCC', '1.1', '2.2'],
    ]


def test_analyze_logs_draws_curves_and_says_how_fast(runs, tmp_path, capsys):
    analyze_logs.main([*map(str, runs), '--keys', 'loss', 'iqa/SRCC', '--out', str(tmp_path / 'curves.png')])
    assert '0.500 s an iteration, 0.100 s of them waiting for data, up to iteration 4' in capsys.readouterr().out
    assert Image.open(tmp_path / 'curves.png').size[0] > 1000
    assert analyze_logs.smoothed([1, 2, 6], 2) == [1, 1.5, 4]
    with pytest.raises(ToolError, match='Did you mean loss'):
        analyze_logs.main([str(runs[0]), '--keys', 'los'])


def test_print_config_names_the_file_and_line_of_each_component(capsys):
    from openmsra.ckdn import CKDN
    from openmsra.engine.checkpoint.hook import DurableCheckpointHook

    print_config.main([INSTANT, '--only', 'components'])
    rows = {line.split()[1]: line.split()[2:] for line in capsys.readouterr().out.splitlines() if len(line.split()) == 4}
    for place, cls in (('model', CKDN), ('default_hooks.checkpoint', DurableCheckpointHook)):
        assert rows[place] == [cls.__name__, f'{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}']
    assert rows['optim_wrapper.optimizer'][0] == 'SGD' and 'torch/optim/sgd.py' in rows['optim_wrapper.optimizer'][1]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Linear(8, 5)

    def forward(self, inputs, mode):
        return self.head(self.conv(inputs).mean((2, 3)))


def test_multiply_accumulates_are_those_of_the_formula():
    macs = get_flops.count(Net(), (3, 16, 20))
    assert macs == {'': 8 * 3 * 9 * 8 * 10 + 8 * 5, 'conv': 8 * 3 * 9 * 8 * 10, 'head': 8 * 5}


def test_a_browsed_sample_shows_images_clips_and_boxes():
    sample = dict(inputs=dict(sup=torch.zeros(3, 100, 120, dtype=torch.uint8), clip=torch.rand(3, 20, 100, 30)))
    assert browse_dataset.sheet(sample).shape == (2 * 18 + 2 * 100, 8 * 30, 3)
    assert browse_dataset.describe(sample) == 'sup 3 x 100 x 120, clip 3 x 20 x 100 x 30'
    with pytest.raises(ToolError, match='no images'):
        browse_dataset.sheet(dict(inputs=torch.zeros(5)))


def test_published_weights_are_weights_alone_with_their_hash_and_a_card(runs, tmp_path):
    from openmsra.common.provenance import sha256_of

    state = dict(weight=torch.arange(1000.0))
    meta = dict(iter=4, epoch=2, dataset_meta=dict(classes=('a', 'b')), cfg='text')
    torch.save(dict(state_dict=state, optimizer=dict(state=torch.zeros(9000)), meta=meta), runs[0] / 'epoch_2.pth')
    publish_model.main([str(runs[0] / 'epoch_2.pth'), '--out', str(tmp_path / 'out'), '--licence', 'CC0'])
    (file,) = (tmp_path / 'out').glob('*.pth')
    assert file.stem == f'c-{sha256_of(file)[:8]}' and file.stat().st_size < (runs[0] / 'epoch_2.pth').stat().st_size / 2
    content = load_file(file)
    assert set(content) == {'state_dict', 'meta'} and torch.equal(content['state_dict']['weight'], state['weight'])
    assert content['meta'] == dict(dataset_meta=dict(classes=('a', 'b')))
    card = (tmp_path / 'out' / 'c.md').read_text()
    assert sha256_of(file) in card and 'iqa/SRCC: 1.1' in card and 'licence: CC0' in card and 'epochs: 2' in card
    assert Path(tmp_path / 'out' / 'c.py').is_file()

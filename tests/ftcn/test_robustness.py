"""The tool of the perturbations, on the instant config with fewer clips."""

import json
import runpy

import pytest
import torch

from openmsra.apis import init_model
from openmsra.errors import ToolError

CONFIG = 'configs/ftcn/ftcn-tt_tiny_1xb16-4e_flicker_instant.py'


def test_robustness_table(tmp_path, capsys):
    tool = runpy.run_path('tools/analysis/ftcn_robustness.py')['main']
    torch.manual_seed(0)
    torch.save(dict(state_dict=init_model(CONFIG).state_dict()), tmp_path / 'tiny.pth')
    arguments = [CONFIG, str(tmp_path / 'tiny.pth'), '--out', str(tmp_path / 'out'), '--levels', '1', '5', '--kinds']
    tool([*arguments, 'contrast', 'noise'])
    result = json.loads((tmp_path / 'out/robustness.json').read_text())
    assert set(result['AUC']) == {'contrast', 'noise'} and all(len(values) == 2 for values in result['AUC'].values())
    assert len({result['clean'], *result['AUC']['noise'], *result['AUC']['contrast']}) > 2
    assert (tmp_path / 'out/robustness.png').stat().st_size > 5000
    assert f'clean        {result["clean"]:.1f}' in capsys.readouterr().out
    with pytest.raises(ToolError, match='takes saturation'):
        tool([*arguments, 'fog'])

"""The GPU check on a CPU: every stage runs, and its file says what it should."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.gpu_check import _trees_of
from openmsra.needs import NEEDS
from tests.trees import TREES


@pytest.mark.parametrize('paper', NEEDS)
def test_trees_of_all_data_that_the_recipes_of_a_paper_name_are_planted(paper):
    texts = [file.read_text(encoding='utf-8') for file in Path('configs', paper).glob('*.py')]
    named = {name for text in texts for name in re.findall(r'data/(\w+)', text)}
    assert _trees_of(paper) == named & set(TREES)


@pytest.mark.reliability
@pytest.mark.timeout(900)
def test_every_stage_runs_on_a_cpu(run_tool, tmp_path):
    file = tmp_path / 'check.json'
    arguments = ('--device', 'cpu', '--quick', '--papers', 'ckdn', '--stages', 'instant', 'outputs', 'memory', '--out', file)
    run_tool('benchmarks/gpu_check.py', *arguments, '--budget-seconds', '800', timeout=880)
    found = json.loads(file.read_text())
    instant, outputs = found['instant']['ckdn'], found['outputs']['ckdn']
    assert instant['deterministic'] == 'ok' and instant['resume'] == 'equal to the bit' and instant['bfloat16'] == 'ok'
    assert instant['scores']['cpu']['iqa/SRCC'] is not None
    assert outputs['float32']['apart'] == dict(loss=0.0, gradient_norm=0.0)
    (row,) = found['memory']['ckdn'].values()
    assert row['batch'] == 2 and row['losses']['loss'] > 0


@pytest.mark.reliability
def test_time_that_is_used_up_is_said(run_tool, tmp_path):
    file = tmp_path / 'check.json'
    run_tool('benchmarks/gpu_check.py', '--device', 'cpu', '--quick', '--papers', 'mcn', '--budget-seconds', '0', '--out', file)
    found = json.loads(file.read_text())
    assert 'the time is used up' in found['instant']['mcn']['deterministic'] and 'failed' in found['memory']['mcn']

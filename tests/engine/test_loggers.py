"""Weights & Biases and MLflow by the lines of docs/configs.md, without a network."""

import re
import sqlite3
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / 'docs/configs.md').read_text(encoding='utf-8')
LINES = dict(re.findall(r"^visualizer = (dict\(.*?type='(Wandb|MLflow)VisBackend'.*)$", PAGE, re.MULTILINE))


@pytest.mark.parametrize(('line', 'name'), LINES.items(), ids=LINES.values())
def test_scalars_arrive_in_files_of_this_machine(line, name, tmp_path, monkeypatch):
    pytest.importorskip(name.lower(), reason=f'pip install {name.lower()}')
    from mmengine.config import Config
    from mmengine.visualization import Visualizer

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    settings = eval(line, dict(dict=dict))
    visualizer = Visualizer(name=name, save_dir=str(tmp_path / 'run'), **settings)
    visualizer.add_config(Config(dict(model=dict(type='MaskCo'), work_dir=str(tmp_path / 'run'))))
    for step in range(3):
        visualizer.add_scalars(dict(loss=0.125 * step), step=step)
    visualizer.close()
    if name == 'MLflow':
        rows = sqlite3.connect(tmp_path / 'mlflow.db').execute('select value, step from metrics where key = "loss" order by step')
        assert rows.fetchall() == [(0.0, 0), (0.125, 1), (0.25, 2)]
    else:
        import wandb

        wandb.finish()  # what leaves a process does at its end
        [file] = tmp_path.glob('run/vis_data/wandb/offline-run-*/run-*.wandb')
        assert file.stat().st_size > 100  # more than a head; the rest is W&B's own format


def test_the_page_has_both():
    assert sorted(LINES.values()) == ['MLflow', 'Wandb']

"""MLflow by the line of docs/configs.md, without a server or a network."""

import re
import sqlite3
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / 'docs/configs.md').read_text(encoding='utf-8')


def test_scalars_arrive_in_a_file_of_this_machine(tmp_path, monkeypatch):
    pytest.importorskip('mlflow', reason='pip install mlflow')
    from mmengine.config import Config
    from mmengine.visualization import Visualizer

    monkeypatch.chdir(tmp_path)
    [line] = re.findall(r"^visualizer = (dict\(.*?type='MLflowVisBackend'.*)$", PAGE, re.MULTILINE)
    visualizer = Visualizer(name='mlflow', save_dir=str(tmp_path / 'run'), **eval(line, dict(dict=dict)))
    visualizer.add_config(Config(dict(model=dict(type='MaskCo'), work_dir=str(tmp_path / 'run'))))
    for step in range(3):
        visualizer.add_scalars(dict(loss=0.125 * step), step=step)
    visualizer.close()
    rows = sqlite3.connect(tmp_path / 'mlflow.db').execute('select value, step from metrics where key = "loss" order by step')
    assert rows.fetchall() == [(0.0, 0), (0.125, 1), (0.25, 2)]

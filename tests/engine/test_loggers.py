"""W&B and MLflow by the lines of docs/configs.md, without a server or a network: figures are read back from their files."""

import json
import re
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / 'docs/configs.md').read_text(encoding='utf-8')


def _log_three_losses(backend: str, folder: Path) -> None:
    """Through mmengine's visualizer, as a training does, configured by the page's line."""
    from mmengine.config import Config
    from mmengine.visualization import Visualizer

    [line] = re.findall(rf"^visualizer = (dict\(.*?type='{backend}'.*)$", PAGE, re.MULTILINE)
    visualizer = Visualizer(name=backend, save_dir=str(folder / 'run'), **eval(line, dict(dict=dict)))
    visualizer.add_config(Config(dict(model=dict(type='MaskCo'), work_dir=str(folder / 'run'))))
    for step in range(3):
        visualizer.add_scalars(dict(loss=0.125 * step), step=step)
    visualizer.close()


def test_mlflow_writes_into_a_file_of_this_machine(tmp_path, monkeypatch):
    pytest.importorskip('mlflow', reason='pip install mlflow')
    monkeypatch.chdir(tmp_path)
    _log_three_losses('MLflowVisBackend', tmp_path)
    rows = sqlite3.connect(tmp_path / 'mlflow.db').execute('select value, step from metrics where key = "loss" order by step')
    assert rows.fetchall() == [(0.0, 0), (0.125, 1), (0.25, 2)]


def test_wandb_offline_writes_into_a_file_of_this_machine(tmp_path, monkeypatch):
    wandb = pytest.importorskip('wandb', reason='pip install wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    _log_three_losses('WandbVisBackend', tmp_path)
    wandb.finish()
    [file] = (tmp_path / 'run').rglob('run-*.wandb')
    figures = [_figures(record.history) for record in _records(file) if record.WhichOneof('record_type') == 'history']
    assert [row['loss'] for row in figures] == [0.0, 0.125, 0.25]


def _figures(history) -> dict:
    return {item.key or '.'.join(item.nested_key): json.loads(item.value_json) for item in history.item}


def _records(file: Path) -> Iterator:
    """The records of a W&B file, which is a LevelDB log: blocks of 32 KiB, in them parts with checksum, length and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = file.read_bytes(), 7, b''  # behind W&B's own header
    while place + 7 <= len(data):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        length, kind = struct.unpack('<HB', data[place + 4 : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            record = Record()
            record.ParseFromString(parts)
            parts = b''
            yield record

"""The worked example of docs/seventh_paper.md, executed as it stands on the page."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = (Path(__file__).resolve().parents[1] / 'docs/seventh_paper.md').read_text(encoding='utf-8')


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A folder with the files of the page, on Python's path."""
    for name, text in re.findall(r'```python\n# (\S+\.py)\n(.*?)```', PAGE, re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding='utf-8')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition('.')[0] == 'rotnet']:
        del sys.modules[name]


def test_the_example_trains_better_than_chance_and_infers(written):
    from openmsra.apis import init_inferencer
    from openmsra.engine.config.files import load_config
    from openmsra.engine.launch import build_runner
    from openmsra.errors import ConfigError

    assert sorted(path.name for path in written.rglob('*.py')) == sorted(
        ['__init__.py', 'data.py', 'inferencer.py', 'model.py', 'rotnet_instant.py']
    )
    with pytest.raises(ConfigError, match='width'):
        load_config('rotnet_instant.py', {'model.widht': 8})
    cfg = load_config('rotnet_instant.py')
    cfg.launcher, cfg.work_dir = 'none', 'work_dirs/rotnet_instant'
    runner = build_runner(cfg)
    runner.train()
    assert runner.message_hub.get_scalar('val/rotnet/accuracy').current() > 50
    assert Path('work_dirs/rotnet_instant/epoch_3.pth').is_file()

    from sklearn.datasets import load_digits

    for number, image in enumerate(load_digits().images[1400:1440]):
        Image.fromarray((image * 15.9).astype(np.uint8)).save(f'{number:02d}.png')
    Path('broken.png').write_text('no image', encoding='utf-8')
    [code] = re.findall(r'```python\n(from openmsra\.apis import init_inferencer.*?)```', PAGE, re.DOTALL)
    exec(code, names := {})
    rows = names['infer']('.')
    assert sum(row.get('turn') == 0 for row in rows) > 20 and 'error' in rows[-1]
    assert init_inferencer is names['init_inferencer']

"""A tool of this project on the stand-in accelerator:  python tests/standin/drive.py TOOL.py ARGUMENTS...

Prints the synchronisations as JSON in its last line.
"""

import json
import runpy
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.standin import device  # noqa: E402


def main() -> None:
    tool, *arguments = sys.argv[1:]
    sys.argv = [tool, *arguments]
    device.use_everywhere()
    steps = count_steps()
    with device.Accelerator():
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    print('STANDIN' + json.dumps(dict(steps=steps, synchronisations=device.synchronisations.most_common())))


def count_steps() -> dict:
    """Training steps and the synchronisations inside of them, also by place, counted from now on."""
    from mmengine.model import BaseModel

    seen = dict(steps=0, inside=0, places=Counter(), uploads=Counter())
    original = BaseModel.train_step

    def train_step(self, *args, **kwargs):
        before, uploads_before = device.synchronisations.copy(), device.uploads.copy()
        out = original(self, *args, **kwargs)
        waits = device.synchronisations - before
        seen['steps'] += 1
        seen['inside'] += waits.total()
        seen['places'].update(waits)
        seen['uploads'].update(device.uploads - uploads_before)
        return out

    BaseModel.train_step = train_step
    return seen


if __name__ == '__main__':
    main()

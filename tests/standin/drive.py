"""A tool of this project on the stand-in accelerator:  python tests/standin/drive.py TOOL.py ARGUMENTS...

Prints the synchronisations as JSON in its last line.
"""

import json
import runpy
import sys
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


def count_steps() -> dict[str, int]:
    """Training steps and the synchronisations inside of them, counted from now on."""
    from mmengine.model import BaseModel

    seen, original = dict(steps=0, inside=0), BaseModel.train_step

    def train_step(self, *args, **kwargs):
        before = device.synchronisations.total()
        out = original(self, *args, **kwargs)
        seen['steps'] += 1
        seen['inside'] += device.synchronisations.total() - before
        return out

    BaseModel.train_step = train_step
    return seen


if __name__ == '__main__':
    main()

"""CKDN: scoring of a pair against the forward of the training network and against pyiqa's implementation.

    four_branch  a pair of 288 x 288 pixels: lean network with folded batch norms, against all four outputs in eval mode
    init_model   the same without folding, as ``init_model`` gives it
    pyiqa        lean network with folded batch norms against pyiqa's CKDN, same weights and inputs; scores agree
    official     with --official: that of a pair against the official network, which computes four outputs; scores agree
    folder       scoring of a folder of photographs with decoding beside the network, against the sum of both

The peer: ``pip install --no-deps -r requirements/benchmarks-nodeps.txt``. Only the file of its network is imported: the
package itself needs dozens of others.
"""

import copy
import importlib
import sys
import tempfile
import time
import types
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from PIL import Image

from benchmarks import official
from benchmarks.timing import draw_weights, interleaved, ratio
from openmsra.ckdn import CKDN
from openmsra.ckdn.inferencer import CKDNInferencer, PairTiles
from openmsra.miniatures.photographs import load_photo

CONFIG = Path(__file__).resolve().parents[1] / 'configs/ckdn/ckdn_r50_8xb8-30e_pipal.py'
FOLDER_PAIRS = 32


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """All rows; times in milliseconds."""
    torch.manual_seed(0)
    full = CKDN(imagenet_weights=None).to(device)
    draw_weights(full)
    lean = copy.deepcopy(full).eval()
    full.eval()
    lean.prepare_inference()
    folded = copy.deepcopy(lean)
    folded.fold_batch_norms()
    batch = 2 if device.type == 'cpu' else 32
    restored, degraded, other, pristine = (torch.randn(batch, 3, 288, 288, device=device) for _ in range(4))
    pair = dict(restored=restored, degraded=degraded)
    sides = dict(
        four=lambda: full.four_outputs(restored, degraded, other, pristine), lean=lambda: lean(pair), folded=lambda: folded(pair)
    )
    network = pyiqa_network(lean)
    if network is not None:
        network = network.to(device)
        sides['pyiqa'] = lambda: network(restored, degraded)
    with torch.inference_mode():
        times = interleaved(sides, repeats, device)
        rows = dict(
            four_branch=dict(ratio(times, 'folded', 'four'), target=0.45),
            init_model=dict(ratio(times, 'lean', 'four'), target=0.45),
        )
        if network is not None:
            apart = float((network(restored, degraded).flatten() - folded(pair)).abs().max())
            if apart > 1e-5:
                raise RuntimeError(f'scores differ from those of pyiqa by up to {apart}')
            rows['pyiqa'] = dict(ratio(times, 'folded', 'pyiqa'), target=1.0, largest_difference=apart)
    return dict(rows, folder=_folder(full, repeats, device))


def against_official(folder: Path, repeats: int, device: torch.device) -> dict[str, dict]:
    """A pair of 288 x 288 pixels."""
    torch.manual_seed(0)
    ours = CKDN(imagenet_weights=None).to(device)
    draw_weights(ours)
    peer = official.ckdn(folder).to(device).eval()
    peer.load_state_dict(ours.state_dict())
    ours.eval().prepare_inference()
    ours.fold_batch_norms()
    batch = 2 if device.type == 'cpu' else 32
    restored, degraded, other, pristine = (torch.randn(batch, 3, 288, 288, device=device) for _ in range(4))
    pair, four = dict(restored=restored, degraded=degraded), torch.cat((restored, degraded, other, pristine), dim=1)
    with torch.inference_mode():
        apart = official.same(ours(pair), peer(four)[:, 0])
        times = interleaved(dict(ours=lambda: ours(pair), official=lambda: peer(four)), repeats, device)
    return dict(official=dict(ratio(times, 'ours', 'official'), largest_difference=apart))


def pyiqa_network(model: CKDN) -> torch.nn.Module | None:
    """pyiqa's lean network with the weights of ``model``, in eval mode; ``None`` if pyiqa is not installed."""
    try:
        root = Path(distribution('pyiqa').locate_file('pyiqa'))
    except PackageNotFoundError:
        print('pyiqa is not installed (pip install --no-deps -r requirements/benchmarks-nodeps.txt): no comparison with it')
        return None
    for name in ('pyiqa', 'pyiqa.archs', 'pyiqa.utils'):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split('.')[1:]))]
        sys.modules[name] = package
    helpers = types.ModuleType('pyiqa.archs.arch_util')  # downloads of weights, which are not wanted here
    helpers.load_pretrained_network = helpers.get_url_from_name = lambda *_: None
    sys.modules['pyiqa.archs.arch_util'] = helpers
    arch = importlib.import_module('pyiqa.archs.ckdn_arch')
    arch.load_state_dict_from_url = lambda *_, **__: {}  # ImageNet weights, which would be overwritten anyway
    network = arch.CKDN(pretrained=False, use_default_preprocess=False).net
    missing, _ = network.load_state_dict(model.state_dict(), strict=False)
    unused = [key for key in missing if not key.startswith(('aux_csp', 'fc1_'))]
    if unused:
        raise RuntimeError(f'the weights do not fit pyiqa: {unused[:5]}')
    return network.eval()


def _folder(model: CKDN, repeats: int, device: torch.device) -> dict:
    """Wall time of a folder with two decoding processes, against decoding and scoring one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / 'weights.pth'
        torch.save(dict(state_dict=model.state_dict()), checkpoint)
        pairs = _write_pairs(Path(folder))
        inferencer = CKDNInferencer(CONFIG, checkpoint, device)
        decode, workers = [], {0: [], 2: []}
        for _ in range(min(repeats, 3) + 1):
            for count, seconds in workers.items():
                start = time.perf_counter()
                inferencer(pairs, workers=count, batch_size=4)
                seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            for index in range(len(pairs)):
                PairTiles(pairs, 'center', 'nearest')[index]
            decode.append(time.perf_counter() - start)
    return dict(
        ratio=min(workers[2][1:]) / min(workers[0][1:]),
        sequential_ms=min(workers[0][1:]) * 1e3,
        beside_ms=min(workers[2][1:]) * 1e3,
        decode_ms=min(decode[1:]) * 1e3,
    )


def _write_pairs(folder: Path) -> list[tuple[Path, Path]]:
    photo = Image.fromarray(load_photo('astronaut')).resize((1536, 1536), Image.Resampling.BICUBIC)
    pairs = []
    for index in range(FOLDER_PAIRS):
        names = folder / f'restored{index}.png', folder / f'degraded{index}.png'
        window = photo.crop((index, index, index + 1500, index + 1500))
        window.save(names[0], compress_level=1)
        window.resize((750, 750)).save(names[1], compress_level=1)
        pairs.append(names)
    return pairs

"""FTCN: the rewritten network against its plain conv3d form, and whole videos against clip by clip.

    clip           inference of one clip (3, 32, 224, 224): time and peak of the memory beside weights and input
    training_step  forward and backward of a smaller clip, convolutions as products of channels-last maps
    stride_1       a video of 40 frames with given faces, every window, batched: cropping, alignment and rewritten network
                   against the plain network clip by clip, each cropped and aligned anew
    stride_8       the same, every eighth window, against stride 1 clip by clip
    official_*     with --official: a clip, and a training step of one, against the official network with the same weights
    strips, amp, channels_last   on a GPU, where the plain form runs: the rewritten form, and the plain one in these ways, against
                   plain float32

Memory on a CPU is the growth of the peak resident set (VmHWM) of a fresh process, so that this needs Linux.
"""

import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks import official
from benchmarks.memory import kept_mib
from benchmarks.timing import draw_weights, interleaved, ratio
from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.config.files import load_config
from openmsra.ftcn import FTCN, FTCNInferencer, fast
from openmsra.ftcn.faces.align import landmarks_of_box
from openmsra.ftcn.faces.detectors import Face

FRAMES, CLIP = 40, (1, 3, 32, 224, 224)
CONFIG = Path(__file__).resolve().parents[1] / 'configs/ftcn/ftcn-tt_r50_8xb2-100e_ffpp-c23.py'


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """All rows; times in milliseconds, memory in MiB."""
    net, clip = network().to(device), torch.randn(CLIP, device=device)
    sides = {'ours': inference(net, clip, rewrite=True), 'plain': inference(net, clip)}
    logits = {name: call() for name, call in sides.items()}
    torch.testing.assert_close(logits['ours'], logits['plain'], rtol=1e-4, atol=1e-5)
    memory = {name: gpu_memory(call) if device.type == 'cuda' else peak_memory(name == 'ours') for name, call in sides.items()}
    row = ratio(interleaved(sides, repeats, device), 'ours', 'plain')
    row |= dict(memory_ratio=memory['ours'] / memory['plain'], ours_mib=memory['ours'], plain_mib=memory['plain'])
    step = training_step(net, repeats, device)
    if device.type == 'cpu':
        return {'clip': {**row, 'target': 0.65, 'memory_target': 0.5}, 'training_step': {**step, 'target': 0.65}, **video()}
    return {'strips': row, 'training_step': step, **gpu_variants(net, clip, repeats)}


def against_official(folder: Path, repeats: int, device: torch.device) -> dict[str, dict]:
    """Inference of a clip (3, 32, 224, 224), and forward and backward of one."""
    net, clip = network().to(device), torch.randn(CLIP, device=device)
    peer = official.ftcn(folder).to(device).eval()
    peer.load_state_dict(net.state_dict())
    sides = {'ours': inference(net, clip, rewrite=True), 'official': torch.inference_mode()(lambda: peer(clip)['final_output'])}
    apart = official.same(sides['ours']().sigmoid(), sides['official']().flatten())
    rows = {'official_clip': ratio(interleaved(sides, repeats, device), 'ours', 'official')}
    net.resnet.rewrite = True
    net.train()
    peer.train()
    steps = {'ours': lambda: net(clip).sum().backward(), 'official': lambda: peer(clip)['final_output'].sum().backward()}
    rows['official_step'] = ratio(interleaved(steps, repeats, device), 'ours', 'official')
    return {name: dict(row, largest_difference=apart) for name, row in rows.items()}


def network() -> FTCN:
    """The paper's network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    net = FTCN()
    draw_weights(net)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):  # a zero scale would switch the blocks off
            torch.nn.init.constant_(module.weight, 0.5)
    return net.eval()


def inference(net: FTCN, clip: torch.Tensor, rewrite: bool = False, **amp) -> Callable[[], torch.Tensor]:
    """A call that returns the logit of a clip."""

    @torch.inference_mode()
    def call() -> torch.Tensor:
        net.resnet.rewrite = False
        with torch.autocast(clip.device.type, enabled=bool(amp), **amp):
            return net.resnet.head(fast.features(net.resnet, clip) if rewrite else net.resnet.features(clip))

    return call


def training_step(net: FTCN, repeats: int, device: torch.device) -> dict:
    """The network as configured (``rewrite`` on) against the plain one."""
    net, clip = FTCN(clip_len=16, size=112).to(device).train(), torch.randn(1, 3, 16, 112, 112, device=device)

    def step(rewrite: bool) -> Callable[[], None]:
        def call() -> None:
            net.resnet.rewrite = rewrite
            net(clip).sum().backward()

        return call

    times = interleaved({'ours': step(True), 'plain': step(False)}, repeats, device)
    kept = {name: kept_memory(net, clip, rewrite) for name, rewrite in (('ours', True), ('plain', False))}
    memory = dict(memory_ratio=kept['ours'] / kept['plain'], ours_mib=kept['ours'], plain_mib=kept['plain'])
    return ratio(times, 'ours', 'plain') | memory


def kept_memory(net: FTCN, clip: torch.Tensor, rewrite: bool) -> float:
    """MiB that a forward pass keeps for the backward pass beside weights and input."""
    net.resnet.rewrite = rewrite
    return kept_mib([*net.parameters(), *net.buffers(), clip], lambda: net(clip))


def peak_memory(rewrite: bool) -> float:
    """MiB that one inference adds to the peak resident set, in a process of its own."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_peak, (rewrite, torch.get_num_threads()))


def _peak(rewrite: bool, threads: int) -> float:
    torch.set_num_threads(threads)
    net, clip = network(), torch.randn(CLIP)
    inference(net, clip[:, :, :, :32, :32], rewrite)()  # libraries are loaded before the count starts
    before = _high_water()
    inference(net, clip, rewrite)()
    return _high_water() - before


def _high_water() -> float:
    """MiB; unlike ``ru_maxrss`` it does not inherit the peak of the parent process."""
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1]) / 1024


def gpu_memory(call: Callable[[], torch.Tensor]) -> float:
    """MiB that one inference adds to the peak of allocated memory."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def gpu_variants(net: FTCN, clip: torch.Tensor, repeats: int) -> dict[str, dict]:
    """Mixed precision and channels-last of the plain form."""
    sides = {'plain': inference(net, clip), 'amp': inference(net, clip, dtype=torch.float16)}
    rows = {'amp': ratio(interleaved(sides, repeats, clip.device), 'amp', 'plain')}
    last = network().to(clip.device)
    for parameter in last.resnet.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
    sides['channels_last'] = inference(last, clip.to(memory_format=torch.channels_last_3d))
    rows['channels_last'] = ratio(interleaved(sides, repeats, clip.device), 'channels_last', 'plain')
    return rows


def video() -> dict[str, dict]:
    """Whole videos through the inferencer."""
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 360, 480, 3), np.uint8)
    frames = [(cv2.GaussianBlur(image, (0, 0), 3), k / 25) for k, image in enumerate(noise)]
    box = np.array([160, 100, 310, 250], float)
    faces = [[Face(box + k % 3, landmarks_of_box(box + k % 3), 1.0)] for k in range(FRAMES)]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / 'random.pth'
        save_file(dict(state_dict=network().state_dict()), checkpoint)
        ours = {f'stride_{stride}': FTCNInferencer(CONFIG, checkpoint, faces, stride=stride, batch_size=4) for stride in (1, 8)}
        plain_config = load_config(CONFIG, {'model.backbone': dict(rewrite=False)})
        plain = FTCNInferencer(plain_config, checkpoint, faces[:32], batch_size=1)
    sides = {name: lambda one=one: one(frames) for name, one in ours.items()}
    sides['clip by clip'] = lambda: clip_by_clip(plain, frames, faces)
    times = {name: [seconds(call)] for name, call in sides.items()}  # once: the network is warm
    return {
        name: {**ratio(times, name, 'clip by clip'), 'target': target} for name, target in (('stride_1', 0.7), ('stride_8', 0.25))
    }


def seconds(call: Callable[[], object]) -> float:
    """Duration of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def clip_by_clip(plain: FTCNInferencer, frames: list, faces: list) -> list[float]:
    """Every window of 32 frames as a video of its own."""
    scores = []
    for start in range(FRAMES - 31):
        plain.detector = faces[start : start + 32]
        scores.append(plain(frames[start : start + 32]).score)
    return scores

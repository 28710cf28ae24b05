"""FTCN: the rewritten network against its plain conv3d form, and a video of overlapping clips.

    clip      inference of one clip (3, 32, 224, 224): time and peak of the memory beside weights and input
    stride_1  40 frames, every window: rewritten network against the plain one clip by clip
    stride_8  the same video, every eighth window, against the plain network at stride 1

Memory is the growth of the peak resident set (VmHWM) of a fresh process, so that this needs Linux.
"""

import multiprocessing
import re
from pathlib import Path

import torch

from benchmarks.timing import interleaved, ratio
from openmsra.ftcn import FTCN
from openmsra.ftcn.clips import clip_starts

FRAMES = 40


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """All rows; times in milliseconds, memory in MiB."""
    if device.type != 'cpu':
        raise SystemExit('the rewritten form of FTCN is for CPUs; on a GPU the plain form runs.')
    nets = {name: network(name == 'ours') for name in ('ours', 'plain')}
    clip = torch.randn(1, 3, 32, 224, 224)
    sides = {name: forward(net, clip) for name, net in nets.items()}
    logits = {name: call() for name, call in sides.items()}
    torch.testing.assert_close(logits['ours'], logits['plain'], rtol=1e-4, atol=1e-5)
    memory = {name: peak_memory(name == 'ours') for name in nets}
    row = ratio(interleaved(sides, repeats, device), 'ours', 'plain')
    row |= dict(memory_ratio=memory['ours'] / memory['plain'], ours_mib=memory['ours'], plain_mib=memory['plain'])
    return {'clip': {**row, 'target': 0.65, 'memory_target': 0.5}, **video(nets, device)}


def network(rewrite: bool) -> FTCN:
    """The paper's network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    net = FTCN(dict(rewrite=rewrite))
    net.init_weights()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):  # a zero scale would switch the blocks off
            torch.nn.init.constant_(module.weight, 0.5)
    return net.eval()


def forward(net: FTCN, clips: torch.Tensor, starts: tuple[int, ...] = (0,), batch: int = 1):
    """A call that returns the logits of the windows of one video (1, 3, T, H, W)."""

    @torch.inference_mode()
    def call() -> torch.Tensor:
        groups = [starts[i : i + batch] for i in range(0, len(starts), batch)]
        return torch.cat([net(torch.cat([clips[:, :, k : k + 32] for k in group])) for group in groups])

    return call


def peak_memory(rewrite: bool) -> float:
    """MiB that one inference adds to the peak resident set, in a process of its own."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_peak, (rewrite, torch.get_num_threads()))


def _peak(rewrite: bool, threads: int) -> float:
    torch.set_num_threads(threads)
    net, clip = network(rewrite), torch.randn(1, 3, 32, 224, 224)
    with torch.inference_mode():
        net(clip[:, :, :, :32, :32])  # libraries are loaded before the count starts
    before = _high_water()
    forward(net, clip)()
    return _high_water() - before


def _high_water() -> float:
    """MiB; unlike ``ru_maxrss`` it does not inherit the peak of the parent process."""
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1]) / 1024


def video(nets: dict[str, FTCN], device: torch.device) -> dict[str, dict]:
    """Windows of a video of 40 frames."""
    clips, rows = torch.randn(1, 3, FRAMES, 224, 224), {}
    every, eighth = (tuple(clip_starts(FRAMES, 32, stride).tolist()) for stride in (1, 8))
    sides = {
        'stride_1': forward(nets['ours'], clips, every, batch=4),
        'stride_8': forward(nets['ours'], clips, eighth, batch=4),
        'plain': forward(nets['plain'], clips, every),
    }
    times = interleaved(sides, 1, device)
    for name, target in (('stride_1', 0.7), ('stride_8', 0.25)):
        rows[name] = {**ratio(times, name, 'plain'), 'target': target}
    return rows

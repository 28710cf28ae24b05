"""AutoFormer: the supernet against the naive relative-position table and against timm's static ViT.

naive    one training step (forward and backward) of the tiny supernet at its largest, against the same supernet
         with N x N x 64 tables of relative vectors (tests/references)
static   the same step against timm's VisionTransformer of the same widths, fused attention, no relative positions
budget   architectures a second drawn and checked against a parameter budget
switch   changing the active sub-network
official with --official: that step, and inference, against the official supernet with the same weights
search_* a real search: time per candidate against bare forward passes, one process against two (CPU only)
"""

import random
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import autoformer_search_timing, official
from benchmarks.memory import kept_mib
from benchmarks.timing import interleaved, ratio
from openmsra.autoformer import AutoFormerSupernet, arch_rng
from openmsra.autoformer.elastic import ElasticAttention
from openmsra.autoformer.relative_position import RelativePositionIndex
from openmsra.autoformer.search.complexity import Geometry, params_of
from tests.references.autoformer_attention import naive_attention, table_index
from tools.model_converters.autoformer_from_cream import rename


def run(repeats: int, device: torch.device) -> dict[str, dict]:
    """All rows; times in milliseconds."""
    batch = 4 if device.type == 'cpu' else 128
    images = torch.randn(batch, 3, 224, 224, device=device)
    labels = torch.randint(1000, (batch,), device=device)
    nets = _networks(device)
    sides = {name: _step(net, images, labels) for name, net in nets.items()}
    times = interleaved(sides, repeats, device)
    kept = {
        name: kept_mib([*net.parameters(), *net.buffers(), images], lambda net=net: net(images)) for name, net in nets.items()
    }
    rows = {
        peer: dict(ratio(times, 'ours', peer), target=target, memory_ratio=kept['ours'] / kept[peer], peer_mib=kept[peer])
        for peer, target in (('naive', 0.60), ('static', 1.10))
        if peer in nets
    }
    return {
        **rows,
        'budget': _budget(),
        'switch': _switch(nets['ours']),
        **(autoformer_search_timing.measure(repeats=3) if device.type == 'cpu' else {}),
    }


def against_official(folder: Path, repeats: int, device: torch.device) -> dict[str, dict]:
    """A step and inference of the largest network of the space "tiny"."""
    torch.manual_seed(0)
    batch = 4 if device.type == 'cpu' else 128
    images, labels = torch.randn(batch, 3, 224, 224, device=device), torch.randint(1000, (batch,), device=device)
    ours = AutoFormerSupernet(space='tiny', drop_path_rate=0.0).to(device)
    peer = official.autoformer(folder, ours.get_subnet()).to(device)
    ours.load_state_dict({rename(key): value for key, value in peer.state_dict().items()})
    nets = dict(ours=ours.eval(), official=peer.eval())
    with torch.no_grad():
        apart = official.same(ours(images), peer(images))
    rows = {}
    for name, side, mode in (('official_step', _step, True), ('official_inference', _inference, False)):
        times = interleaved({key: side(net.train(mode), images, labels) for key, net in nets.items()}, repeats, device)
        rows[name] = dict(ratio(times, 'ours', 'official'), largest_difference=apart)
    return rows


def _networks(device: torch.device) -> dict[str, torch.nn.Module]:
    nets = []
    for attention in (ElasticAttention, NaiveAttention):
        torch.manual_seed(0)
        net = AutoFormerSupernet(space='tiny', drop_path_rate=0.0)
        for block in net.blocks:
            block.attn.__class__ = attention
        nets.append(net.to(device).train())
    with torch.no_grad():
        images = torch.randn(1, 3, 224, 224, device=device)
        torch.testing.assert_close(nets[0](images), nets[1](images), atol=1e-4, rtol=1e-4)
    static = _timm_network(nets[0].get_subnet())
    named = dict(ours=nets[0], naive=nets[1])
    return named if static is None else dict(named, static=static.to(device).train())


def _timm_network(arch: dict) -> torch.nn.Module | None:
    """timm's network of the same widths; ``None`` where timm is not installed."""
    try:
        import timm  # imports torchvision, which openmsra has made importable by now
    except ImportError:
        print('timm is not installed (pip install -r requirements/benchmarks.txt): no comparison with it')
        return None
    static = timm.models.VisionTransformer(
        embed_dim=arch['embed_dim'],
        depth=arch['depth'],
        num_heads=arch['num_heads'][0],
        global_pool='avg',
        mlp_ratio=arch['mlp_ratio'][0],
    )
    # timm ties the attention width to the embedding; AutoFormer's is 64 per head
    for block in static.blocks:
        width = 64 * arch['num_heads'][0]
        block.attn.qkv = torch.nn.Linear(arch['embed_dim'], 3 * width)
        block.attn.proj = torch.nn.Linear(width, arch['embed_dim'])
        block.attn.head_dim, block.attn.scale, block.attn.attn_dim = 64, 64**-0.5, width
    assert static.blocks[0].attn.fused_attn
    return static


class NaiveAttention(ElasticAttention):
    """The official formulation."""

    index: tuple | None = None

    def attend(self, query, key, value, index: RelativePositionIndex):
        if NaiveAttention.index is None or NaiveAttention.index[0].device != query.device:
            NaiveAttention.index = tuple(i.to(query.device) for i in table_index(index.grid, index.max_distance))
        out = naive_attention(query, key, value, NaiveAttention.index, self.rel_pos_k(), self.rel_pos_v(), self.head_dim**-0.5)
        return out.transpose(1, 2).flatten(2)


def _step(net: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor):
    def step() -> None:
        net.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(images), labels).backward()

    return step


def _inference(net: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor):
    @torch.inference_mode()
    def inference() -> None:
        net(images)

    return inference


def _budget(count: int = 400_000) -> dict[str, float]:
    space = AutoFormerSupernet(space='tiny').space
    start = time.perf_counter()
    params = params_of(space.sample_many(count, np.random.default_rng(0)), Geometry())
    inside = int(((params > 5.5e6) & (params < 6.5e6)).sum())
    return dict(candidates_per_second=count / (time.perf_counter() - start), inside=float(inside), target=1e5)


def _switch(net: AutoFormerSupernet, count: int = 500) -> dict[str, float]:
    archs = [net.space.sample(arch_rng(0, i)) for i in range(count)]
    random.Random(0).shuffle(archs)
    start = time.perf_counter()
    for arch in archs:
        net.set_subnet(arch)
    return dict(milliseconds=(time.perf_counter() - start) / count * 1e3, target=1.0)

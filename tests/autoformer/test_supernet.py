"""The supernet gives the logits of the official code and keeps the promises of weight entanglement."""

import copy
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from openmsra.autoformer import AutoFormerSupernet, arch_rng, count_flops, count_params, extract_subnet
from openmsra.autoformer.vit import resize_pos_embed
from openmsra.engine.checkpoint.io import load_weights, save_file
from openmsra.errors import CheckpointError
from tests.references.oracle_fill import fill, oracle_input

DATA = Path(__file__).resolve().parents[1] / 'data' / 'autoformer'
CONVERTER = Path(__file__).resolve().parents[2] / 'tools' / 'model_converters' / 'autoformer_from_cream.py'
ORACLES = json.loads((DATA / 'oracles.json').read_text())['sizes']
TINY_SPACE = dict(embed_dim=[16, 24, 32], depth=[2, 3], num_heads=[2, 3], mlp_ratio=[1.0, 2.0], head_dim=8)
SMALL = dict(embed_dim=16, depth=2, num_heads=[2, 2], mlp_ratio=[1.0, 1.0])
LARGE = dict(embed_dim=32, depth=3, num_heads=[3, 3, 3], mlp_ratio=[2.0, 2.0, 2.0])
MIXED = dict(embed_dim=24, depth=3, num_heads=[3, 2, 3], mlp_ratio=[1.0, 2.0, 1.5])


SETTINGS = dict(
    space=TINY_SPACE,
    num_classes=5,
    img_size=8,
    patch_size=2,
    in_channels=1,
    max_relative_position=3,
    init_std=0.2,
    drop_path_rate=0.0,
    qkv_bias_layout='interleaved',
)


def _net(**changes) -> AutoFormerSupernet:
    torch.manual_seed(0)
    net = AutoFormerSupernet(**{**SETTINGS, **changes})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith('bias'):
                parameter.normal_(std=0.2)
    return net.eval()


IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope='module', params=list(ORACLES))
def official(request):
    """A supernet with the normal and with the strong oracle weights, through the converter's names."""
    rename, oracle = runpy.run_path(str(CONVERTER))['rename'], ORACLES[request.param]
    nets = {}
    for strong in (False, True):
        net = AutoFormerSupernet(space=request.param).eval()
        state = {rename(key): torch.from_numpy(fill(key, shape, strong)) for key, shape in oracle['keys']}
        load_weights(net, state, 'oracle')
        nets['strong' if strong else 'normal'] = net
    return nets, oracle


@torch.no_grad()
def test_logits_of_the_official_code(official):
    nets, oracle = official
    expected = np.load(DATA / 'logits.npz')
    for case in oracle['cases']:
        net = nets[case['fill']]
        net.set_subnet(case['arch'])
        logits = net(torch.from_numpy(oracle_input((1, 3, 224, 224), case['input_seed'])), mode='tensor')[0].numpy()
        error = np.abs(logits - expected[case['key']]).max() / np.abs(expected[case['key']]).max()
        assert error < 1e-5, f'{case["key"]}: relative error {error:.1e}'


def test_parameter_counts_and_complexity_of_the_official_code(official):
    nets, oracle = official
    assert sum(parameter.numel() for parameter in nets['normal'].parameters()) == oracle['params']
    assert len(nets['normal'].state_dict()) == len(oracle['keys'])
    for case in oracle['cases']:
        if case['params'] is not None:
            assert count_params(case['arch']) == case['params']
            assert count_flops(case['arch'], official=True) == case['official_flops']


def test_gradient_support_of_the_official_code():
    """How many entries of each tensor get gradient from one candidate: exactly its slices."""
    oracle, rename = ORACLES['tiny'], runpy.run_path(str(CONVERTER))['rename']
    net = AutoFormerSupernet(space='tiny').eval()
    load_weights(net, {rename(k): torch.from_numpy(fill(k, s)) for k, s in oracle['keys']}, 'oracle')
    net.set_subnet(oracle['cases'][0]['arch'])
    net(torch.from_numpy(oracle_input((1, 3, 224, 224), 0)), mode='tensor')[0, 0].backward()
    for key, count in oracle['gradient_counts'].items():
        gradient = net.get_parameter(rename(key)).grad
        own = 0 if gradient is None else int((gradient != 0).sum())
        # biases of the keys have no effect: their gradient is rounding noise, zero or not by chance
        slack = 192 if key.endswith('qkv.bias') else 0
        assert abs(own - count) <= slack, f'{key}: {own} entries, official {count}'


@torch.no_grad()
@pytest.mark.parametrize(
    'changes',
    [
        {},
        dict(qkv_bias_layout='prefix'),
        dict(sharing='classical'),
        dict(scale_output=True),
        dict(global_pool=False, abs_pos=False),
        dict(relative_position='k'),
        dict(relative_position=''),
    ],
    ids=str,
)
def test_extracted_network_has_the_same_logits_and_the_counted_parameters(changes):
    net = _net(**changes)
    for arch in (SMALL, {**MIXED, 'mlp_ratio': [1.0, 2.0, 1.0]}, LARGE):
        plain = extract_subnet(net, arch)
        net.set_subnet(arch)
        torch.testing.assert_close(plain(IMAGES), net(IMAGES), atol=2e-6, rtol=1e-5)
        assert sum(parameter.numel() for parameter in plain.parameters()) == net.count_params(arch)
        assert type(plain.blocks[0]).__module__ == 'openmsra.autoformer.vit'


@pytest.mark.parametrize('sharing', ['entangled', 'classical'])
def test_extracted_network_shares_nothing_with_the_supernet(sharing):
    """Either may move to another device (the latency table measures on the CPU) or train on."""
    preprocessor = dict(type='mmpretrain.ClsDataPreprocessor', mean=[0.5], std=[2.0], num_classes=5)
    loss = dict(type='mmpretrain.CrossEntropyLoss', class_weight=[1.0, 2.0, 1.0, 1.0, 1.0])
    net = _net(sharing=sharing, data_preprocessor=preprocessor, loss=loss)
    network = extract_subnet(net, SMALL)
    modules = {id(module) for module in net.modules()}
    assert not [name for name, module in network.named_modules() if id(module) in modules]
    tensors = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    theirs = (*network.named_parameters(), *network.named_buffers())
    assert not [name for name, tensor in theirs if tensor.untyped_storage().data_ptr() in tensors]
    network.to('meta')
    assert net.data_preprocessor.mean.device.type == 'cpu'
    assert net.test_step(dict(inputs=list(IMAGES), data_samples=None))[0].pred_score.isfinite().all()


def test_extracted_network_keeps_the_dropout_of_its_slice():
    network = extract_subnet(_net(drop_rate=0.4, attn_drop_rate=0.1), SMALL)
    assert network.blocks[0].mlp.drop.p == pytest.approx(0.4 * 16 / 32)
    assert network.blocks[0].attn.dropout == 0.1


def test_gradient_stays_inside_the_slices():
    net = _net()
    net.set_subnet(SMALL)
    net(IMAGES).square().sum().backward()
    assert all(parameter.grad is None for parameter in net.blocks[2].parameters())
    weight = net.blocks[0].attn.qkv.weight.grad
    assert (weight[: 3 * 16, :16] != 0).all()
    assert (weight[3 * 16 :] == 0).all() and (weight[:, 16:] == 0).all()
    assert (net.blocks[0].mlp.fc1.weight.grad[16:] == 0).all()
    assert (net.head.weight.grad[:, 16:] == 0).all()


@torch.no_grad()
def test_no_stale_slices():
    net = _net()
    outputs = []
    for arch in (SMALL, LARGE, SMALL):
        net.set_subnet(arch)
        outputs.append(net(IMAGES))
    assert torch.equal(outputs[0], outputs[2]) and not torch.equal(outputs[0], outputs[1])
    other = copy.deepcopy(net)
    net.load_state_dict({key: value * 1.5 for key, value in net.state_dict().items()})
    assert not torch.equal(net(IMAGES), outputs[2])
    assert torch.equal(other(IMAGES), outputs[2])


def _step(net, arch) -> None:
    net.set_subnet(arch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(IMAGES).square().sum().backward()
    optimizer.step()


@torch.no_grad()
def _outputs(net, *archs):
    result = []
    for arch in archs:
        net.set_subnet(arch)
        result.append(net(IMAGES))
    return result


def test_entangled_step_moves_the_larger_network_and_classical_does_not():
    for sharing, moves in (('entangled', True), ('classical', False)):
        net = _net(sharing=sharing)
        (before,) = _outputs(net, LARGE)
        with torch.enable_grad():
            _step(net, SMALL)
        (after,) = _outputs(net, LARGE)
        assert torch.equal(before, after) != moves


def test_smaller_qkv_is_a_sub_matrix_of_the_larger_head_by_head():
    attention = _net().blocks[0].attn
    large = attention.role_weights(3, 32)[0]
    small = attention.role_weights(2, 16)[0]
    storage = attention.qkv.weight.untyped_storage().data_ptr()
    for narrow, wide in zip(small, large, strict=True):
        assert torch.equal(narrow, wide[:16, :16])
        assert narrow.untyped_storage().data_ptr() == storage, 'a copy on the forward path'


@torch.no_grad()
def test_key_bias_has_no_effect():
    net = _net()
    (before,) = _outputs(net, LARGE)
    for block in net.blocks:
        block.attn.qkv.bias.view(-1, 3)[:, 1] += torch.randn(24)
    torch.testing.assert_close(_outputs(net, LARGE)[0], before, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_without_positions_patches_may_be_permuted():
    net = _net(abs_pos=False, relative_position='')
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    patches = IMAGES.unflatten(2, (4, 2)).unflatten(4, (4, 2)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)[:, order]
    permuted = patches.unflatten(1, (4, 4)).permute(0, 3, 1, 4, 2, 5).reshape(IMAGES.shape)
    torch.testing.assert_close(net(permuted), net(IMAGES), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(_net()(permuted), _net()(IMAGES), atol=1e-3)


def test_training_draw_is_the_stream_and_sandwich_names_its_losses():
    from mmpretrain.structures import DataSample

    net = _net().train()
    net.sample_subnets(seed=3, iteration=7)
    assert net.get_subnet() == net.space.sample(arch_rng(3, 7))
    samples = [DataSample().set_gt_label(label) for label in (0, 1, 2)]
    assert list(net(IMAGES, samples, mode='loss')) == ['loss']
    net = _net(sandwich=dict(num_random=1)).train()
    net.sample_subnets(seed=3, iteration=7)
    losses = net(IMAGES, samples, mode='loss')
    assert list(losses) == ['loss_largest', 'loss_smallest', 'loss_random0']
    target = _outputs(net, LARGE)[0].softmax(-1)
    expected = -(target * _outputs(net, SMALL)[0].log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(losses['loss_smallest'].detach(), expected)


@torch.no_grad()
def test_prediction_is_the_softmax():
    net = _net()
    samples = net(IMAGES, mode='predict')
    expected = net(IMAGES).softmax(-1)
    torch.testing.assert_close(torch.stack([sample.pred_score for sample in samples]), expected)
    assert [int(sample.pred_label) for sample in samples] == expected.argmax(-1).tolist()


def test_positions_resize_keeps_class_token_and_constants():
    positions = torch.cat([torch.full((1, 1, 4), 9.0), torch.ones(1, 16, 4)], 1)
    resized = resize_pos_embed(positions, (4, 4), (6, 3))
    assert resized.shape == (1, 19, 4)
    torch.testing.assert_close(resized[:, 1:], torch.ones(1, 18, 4))
    assert (resized[:, 0] == 9).all()


def test_bad_input_is_named():
    net = _net()
    with pytest.raises(ValueError, match=r'images of shape \(1, 9, 8\)'):
        net(torch.zeros(1, 1, 9, 8))
    with pytest.raises(ValueError, match=r'img_size=\(9, 9\) is not divisible by patch_size=2'):
        _net(img_size=9)
    with pytest.raises(ValueError, match="sharing='shared'"):
        _net(sharing='shared')
    with pytest.raises(ValueError, match='only the choices of the space own weights'):
        _net(sharing='classical').set_subnet(MIXED)
    with pytest.raises(CheckpointError, match='supernet of embed_dim 256, depth 14, Q-K-V width 256, max_relative_position 14'):
        load_weights(net, AutoFormerSupernet(space='tiny').state_dict(), 'tiny.pth')


@pytest.fixture(scope='module')
def cream_file(tmp_path_factory):
    state = {key: torch.from_numpy(fill(key, shape)) for key, shape in ORACLES['tiny']['keys']}
    path = tmp_path_factory.mktemp('cream') / 'supernet-tiny.pth'
    torch.save(dict(model=state), path)
    return path


def test_converter_writes_a_checkpoint_that_init_model_loads(cream_file, run_tool, tmp_path):
    from openmsra.apis import init_model

    done = run_tool(CONVERTER, cream_file, tmp_path / 'out.pth', '--space', 'tiny')
    assert '232 entries, 11,669,224 parameters' in done.stdout
    model = init_model('configs/autoformer/autoformer-tiny_supernet_8xb128-500e_in1k.py', tmp_path / 'out.pth')
    case = ORACLES['tiny']['cases'][0]
    model.set_subnet(case['arch'])
    with torch.no_grad():
        logits = model(torch.from_numpy(oracle_input((1, 3, 224, 224), case['input_seed'])), mode='tensor')[0].numpy()
    np.testing.assert_allclose(logits, np.load(DATA / 'logits.npz')[case['key']], atol=2e-5)


def test_converter_refuses_other_keys_and_writes_nothing(cream_file, run_tool, tmp_path):
    state = torch.load(cream_file, weights_only=True)['model']
    state['extra'] = state.pop('norm.bias')
    torch.save(dict(model=state), tmp_path / 'bad.pth')
    done = run_tool(CONVERTER, tmp_path / 'bad.pth', tmp_path / 'out.pth', '--space', 'tiny', check=False)
    assert done.returncode == 2
    assert 'missing in the file: norm.bias' in done.stderr and 'unknown to the model: extra' in done.stderr
    done = run_tool(CONVERTER, cream_file, tmp_path / 'out.pth', '--space', 'small', check=False)
    assert done.returncode == 2 and 'The file holds a supernet of embed_dim 256' in done.stderr
    assert not list(tmp_path.glob('*out.pth*'))


def test_teacher_adds_half_of_the_cross_entropy_with_its_most_likely_class(tmp_path):
    from mmpretrain.structures import DataSample

    teacher = _net()
    save_file(dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
    with torch.no_grad():
        labels = teacher(IMAGES).argmax(-1)
    wrong = (labels + 1) % 5
    samples = [DataSample().set_gt_label(int(label)) for label in wrong]
    net = _net(teacher=dict(model=dict(type='AutoFormerSupernet', **SETTINGS), checkpoint=str(tmp_path / 'teacher.pth')))
    assert not any('teacher' in key for key in net.state_dict())
    with torch.no_grad():
        net.head.weight.neg_()
    logits = net(IMAGES)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = 0.5 * cross_entropy(logits, wrong) + 0.5 * cross_entropy(logits, labels)
    torch.testing.assert_close(net(IMAGES, samples, mode='loss')['loss'], expected)


def test_base_supernet_is_safe_in_bfloat16():
    """The precision of its config: logits near those of float32, finite gradients where one belongs."""
    torch.manual_seed(0)
    net, images = AutoFormerSupernet(space='base', img_size=64, drop_path_rate=0.0), torch.randn(2, 3, 64, 64)
    expected = net(images)
    with torch.autocast('cpu', torch.bfloat16):
        logits = net(images)
        torch.nn.functional.cross_entropy(logits, torch.tensor([1, 2])).backward()
    assert (logits - expected).abs().max() < 0.02 * expected.abs().max()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert len(gradients) > 200
    assert all(gradient.isfinite().all() for gradient in gradients)

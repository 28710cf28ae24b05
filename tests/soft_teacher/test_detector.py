"""The whole step: equal to mmdet's SoftTeacher where the two agree, and the invariants of the method."""

import copy

import pytest
import torch
from mmdet.models.detectors import SoftTeacher as MMDetSoftTeacher
from mmengine.logging import MessageHub

from openmsra.errors import ConfigError
from openmsra.soft_teacher.detector import strong_order
from openmsra.soft_teacher.mean_teacher import MeanTeacher, WeightSchedule
from openmsra.soft_teacher.settings import read_settings


def _numbers(losses: dict) -> dict[str, float]:
    return {name: float(sum(value) if isinstance(value, list) else value.sum()) for name, value in losses.items()}


def _total(losses: dict) -> torch.Tensor:
    return sum(sum(value) if isinstance(value, list) else value.sum() for name, value in losses.items() if 'loss' in name)


def _pseudo_labels(model, batch: tuple):
    """Of the weak views of a batch."""
    return model.unsup_branch.generate_pseudo_labels(batch[0]['unsup_teacher'], copy.deepcopy(batch[1]['unsup_teacher']))


@pytest.fixture
def peer(tiny_cfg):
    """mmdet's SoftTeacher with the weights and the thresholds of one of ours."""

    def make(model):
        settings = dict(
            tiny_cfg.semi_train_cfg,
            freeze_teacher=True,
            sup_weight=1.0,
            unsup_weight=2.0,
            jitter_times=10,
            jitter_scale=0.06,
            min_pseudo_bbox_wh=(1e-2, 1e-2),
        )
        from mmengine.config import ConfigDict

        other = MMDetSoftTeacher(copy.deepcopy(tiny_cfg.detector), ConfigDict(settings), ConfigDict(predict_on='teacher'))
        other.load_state_dict(model.state_dict())
        other.train()
        other.teacher.eval()
        return other

    return make


def test_losses_equal_those_of_mmdet(build, batch, peer):
    """Deviations off: proposals of the teacher from the test settings. The views differ by scale and flip alone, because mmdet
    cuts and widens boxes by way of the original image."""
    model = build(teacher_proposal_cfg='test')
    other = peer(model)
    torch.manual_seed(5)
    ours = model.loss(*copy.deepcopy(batch))
    torch.manual_seed(5)
    theirs = other.loss(*copy.deepcopy(batch))
    assert ours['unsup_boxes_cls'] >= 1 and ours['unsup_boxes_reg'] >= 1, 'nothing was taught: the test would be empty'
    mine, expected = _numbers(ours), _numbers(theirs)
    assert set(expected) <= set(mine)
    for name, value in expected.items():
        assert mine[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name
    _total(ours).backward()
    _total(theirs).backward()
    gradients = dict(other.student.named_parameters())
    for name, parameter in model.student.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, atol=2e-6, rtol=2e-4, msg=name)


def test_without_alpha_the_step_is_supervised(build, batch):
    model = build(unsup_weight=0.0)
    inputs, samples = batch
    torch.manual_seed(1)
    total = _total(model.loss(inputs, copy.deepcopy(samples)))
    total.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.student.named_parameters()}
    model.zero_grad()
    torch.manual_seed(1)
    alone = _total(model.loss(dict(sup=inputs['sup']), dict(sup=copy.deepcopy(samples['sup']))))
    alone.backward()
    assert total.item() == alone.item()
    assert all(torch.equal(parameter.grad, gradients[name]) for name, parameter in model.student.named_parameters())


def test_alpha_scales_the_unsupervised_terms(build, batch):
    found = {}
    for alpha in (1.0, 3.0):
        torch.manual_seed(2)
        found[alpha] = _numbers(build(unsup_weight=alpha).loss(*copy.deepcopy(batch)))
    terms = [name for name in found[1.0] if name.startswith('unsup_') and 'loss' in name]
    assert sorted(terms) == ['unsup_loss_bbox', 'unsup_loss_cls', 'unsup_loss_rpn_bbox', 'unsup_loss_rpn_cls']
    for name in terms:
        assert found[3.0][name] == pytest.approx(3 * found[1.0][name], rel=1e-5)
    assert {name.replace('unsup_', 'sup_') for name in terms} <= set(found[1.0])


def test_teacher_stays_in_evaluation_and_without_gradient(build, batch):
    model = build()
    model.train()
    assert model.student.training and not any(module.training for module in model.teacher.modules())
    _total(model.loss(*copy.deepcopy(batch))).backward()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.teacher.parameters())
    assert all(parameter.grad is not None for parameter in model.student.parameters())


def test_no_pseudo_box_is_background_and_a_connected_zero(build, batch):
    losses = build(rpn_pseudo_thr=1.0, cls_pseudo_thr=1.0, reg_pseudo_thr=0.0).loss(*copy.deepcopy(batch))
    assert losses['unsup_loss_bbox'].item() == 0 and losses['unsup_loss_bbox'].requires_grad
    assert losses['unsup_loss_cls'].item() > 0
    model = build(rpn_pseudo_thr=1.0, cls_pseudo_thr=1.0, skip_unsup_if_empty=True)
    losses = model.loss(*copy.deepcopy(batch))
    assert losses['unsup_loss_cls'].item() == 0
    _total(losses).backward()
    assert all(parameter.grad is not None for parameter in model.student.parameters())


def test_the_two_sets_of_boxes_teach_different_losses(build, batch):
    def losses(**settings) -> dict[str, float]:
        model = build(**settings)
        pseudo_labels = _pseudo_labels(model, batch)
        torch.manual_seed(4)
        samples = copy.deepcopy(batch[1]['unsup_student'])
        return _numbers(model.unsup_branch.loss(batch[0]['unsup_student'], samples, pseudo_labels))

    base, other_reg = losses(), losses(reg_pseudo_thr=0.0)
    assert base['loss_cls'] == other_reg['loss_cls'] and base['loss_bbox'] != other_reg['loss_bbox']


def test_positives_alone_give_the_loss_of_all_regions(build, batch):
    """The shortcut of the box loss against mmdet's loss over every sampled region."""
    model = build()
    pseudo_labels = _pseudo_labels(model, batch)
    branch, metas = model.unsup_branch, [sample.metainfo for sample in batch[1]['unsup_student']]
    branch.project_to_strong_views(pseudo_labels, metas, torch.device('cpu'))
    features = model.student.extract_feat(batch[0]['unsup_student'])
    corners = [torch.rand(40, 4).mul(60).cumsum(1)[:, :2].fmod(60) for _ in metas]
    proposals = [torch.cat([corner, corner + 20], 1) for corner in corners]
    for_cls, for_reg = branch.select_for_cls(pseudo_labels), branch.select_for_reg(pseudo_labels)
    sampled = branch.stages.sample(0, features, proposals, for_reg)
    assert sum(len(result.pos_priors) for result in sampled) > 0
    sampled_for_cls = branch.stages.sample(0, features, proposals, for_cls)
    outputs = branch._cls_loss(0, features, sampled_for_cls, metas, for_cls, {}, pseudo_labels)[1]
    expected = model.student.roi_head.bbox_loss(features, sampled)['loss_bbox']['loss_bbox']
    nothing = {name: value[:0] for name, value in outputs.items() if isinstance(value, torch.Tensor)}
    for known in (outputs, nothing):
        assert branch._reg_loss(0, features, sampled, {}, known).item() == pytest.approx(expected.item(), rel=1e-5)


def test_slim_jitter_decodes_what_the_full_head_decodes(build, batch):
    """Refinement for the predicted class alone, against all classes decoded by mmdet's head."""
    model = build()
    inputs, samples = batch[0]['unsup_teacher'], batch[1]['unsup_teacher']
    metas, teacher = [one.metainfo for one in samples], model.teacher
    with torch.no_grad():
        features = teacher.extract_feat(inputs)
        boxes = [torch.tensor([[5.0, 5, 40, 60], [30, 20, 80, 95]]), torch.tensor([[10.0, 50, 30, 70]])]
        labels = [torch.tensor([0, 2]), torch.tensor([1])]
        slim = model.unsup_branch.teacher_stages.refine(features, boxes, labels, metas, {})
        from mmengine.structures import InstanceData

        full = teacher.roi_head.predict_bbox(features, metas, [InstanceData(bboxes=own) for own in boxes], None, rescale=False)
    for own, everything, classes in zip(slim, full, labels):
        expected = everything.bboxes.view(len(classes), -1, 4)[torch.arange(len(classes)), classes]
        torch.testing.assert_close(own, expected, atol=1e-5, rtol=0)


def test_teacher_that_knows_the_truth_teaches_the_supervised_loss(build, batch):
    """Truth as pseudo boxes, sure of the background, same view: the unsupervised loss is the supervised one."""
    model = build(bg_weight='none')
    inputs, samples = batch[0]['sup'], batch[1]['sup']
    pseudo_labels = model.unsup_branch.generate_pseudo_labels(inputs, copy.deepcopy(samples))
    for own, one in zip(pseudo_labels.candidates, samples, strict=True):
        for key in list(own.keys()):
            own.pop(key)
        truth, count = one.gt_instances, len(one.gt_instances)
        own.set_data(dict(bboxes=truth.bboxes, labels=truth.labels, scores=torch.ones(count), reg_uncs=torch.zeros(count)))
    torch.manual_seed(7)
    unsup = _numbers(model.unsup_branch.loss(inputs, copy.deepcopy(samples), pseudo_labels))
    torch.manual_seed(7)
    sup = _numbers(model.student.loss(inputs, copy.deepcopy(samples)))
    assert unsup['loss_rpn_cls'] == pytest.approx(sup['loss_rpn_cls'], rel=1e-5)
    assert unsup['loss_rpn_bbox'] == pytest.approx(sup['loss_rpn_bbox'], rel=1e-5)
    assert unsup['loss_cls'] == pytest.approx(sup['loss_cls'], rel=1e-5)


def test_projected_truth_hits_the_warped_truth(build, batch):
    model = build()
    pseudo_labels = _pseudo_labels(model, batch)
    metas = [sample.metainfo for sample in batch[1]['unsup_student']]
    model.unsup_branch.project_to_strong_views(pseudo_labels, metas, torch.device('cpu'))
    weak, strong = pseudo_labels.candidates[1].bboxes, pseudo_labels.instances[1].bboxes  # flipped weak view, scaled strong view
    expected = torch.stack([96 - weak[:, 2], weak[:, 1], 96 - weak[:, 0], weak[:, 3]], 1) * 4 / 3
    assert len(strong) == len(weak) > 0
    torch.testing.assert_close(strong, expected, atol=1e-3, rtol=1e-5)


def test_burn_in_is_supervised(build, batch):
    model = build(burn_in_iters=5)
    model.iteration = 4
    assert not any('unsup' in name for name in model.loss(*copy.deepcopy(batch)))
    model.iteration = 5
    assert any('unsup' in name for name in model.loss(*copy.deepcopy(batch)))


def test_ramp_starts_again_after_the_burn_in():
    ramp = MeanTeacher(momentum=0.9)
    assert [ramp.momentum_at(t, burn_in=3) for t in range(6)] == pytest.approx([0, 1 / 2, 2 / 3, 0, 1 / 2, 2 / 3])
    assert MeanTeacher(momentum=0.9, restart=False).momentum_at(3, burn_in=3) == pytest.approx(3 / 4)
    assert MeanTeacher(momentum=0.9, keep_loaded_teacher=True).momentum_at(0) == pytest.approx(0.9)
    decayed = MeanTeacher(momentum=0.99, decay_steps=[2000], decay_factor=0.1)
    assert [decayed.momentum_at(t) for t in (1999, 2000, 2500)] == pytest.approx([0.99, 0.999, 0.999], abs=6e-4)


@pytest.mark.parametrize('wrong', [dict(momentum=1.5), dict(interval=0), dict(buffers='cpoy')])
def test_wrong_settings_of_the_teacher_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MeanTeacher(**wrong)


def test_the_loss_moves_the_teacher_as_its_schedule_says(build, batch):
    """t <- m t + (1 - m) s before the losses, by hand for three students; evaluation moves nothing."""
    model = build()
    model.mean_teacher = MeanTeacher(momentum=0.6)
    name = 'roi_head.bbox_head.fc_cls.weight'
    expected = torch.zeros_like(model.teacher.get_parameter(name))
    for model.iteration, momentum in enumerate((0.0, 0.5, 0.6)):  # min(m, t / (t + 1))
        with torch.no_grad():
            model.student.get_parameter(name).normal_(0, 0.3)
        expected = momentum * expected + (1 - momentum) * model.student.get_parameter(name)
        assert model.loss(*copy.deepcopy(batch))['ema_momentum'].item() == pytest.approx(momentum)
        torch.testing.assert_close(model.teacher.get_parameter(name), expected, atol=1e-6, rtol=0)
    before = copy.deepcopy(model.teacher.state_dict())
    model.eval().predict(batch[0]['sup'], copy.deepcopy(batch[1]['sup']))
    assert all(torch.equal(value, before[key]) for key, value in model.teacher.state_dict().items())


def test_without_a_count_of_iterations_training_is_refused(build, batch):
    model = build()
    model.iteration = None
    MessageHub.get_instance('a run that counts nothing')
    with pytest.raises(ConfigError, match='which iteration'):
        model.loss(*copy.deepcopy(batch))


def test_without_unlabelled_images_training_is_refused_unless_alpha_is_0(build, batch):
    labelled = ({'sup': batch[0]['sup']}, {'sup': batch[1]['sup']})
    with pytest.raises(ConfigError, match='unsup_weight=0'):
        build().loss(*copy.deepcopy(labelled))
    losses = build(unsup_weight=0.0).loss(*copy.deepcopy(labelled))
    assert losses['sup_loss_cls'] > 0 and not any('unsup' in name for name in losses)


def test_scheduled_alpha_scales_the_unsupervised_terms(build, batch):
    losses = {}
    for alpha in (2.0, dict(steps=[0, 5], values=[1.0, 3.0])):
        model = build(unsup_weight=alpha)
        model.iteration = 7
        MessageHub.get_instance('schedule').update_info('max_iters', 10)
        torch.manual_seed(2)
        losses[str(alpha)] = _numbers(model.loss(*copy.deepcopy(batch)))
    fixed, scheduled = losses.values()
    assert scheduled['unsup_weight'] == 3.0 and 'unsup_weight' not in fixed
    assert scheduled['unsup_loss_cls'] == pytest.approx(1.5 * fixed['unsup_loss_cls'], rel=1e-5)


def test_weight_schedule():
    steps = WeightSchedule([0, 10, -20], [0.0, 1.0, 4.0])
    assert [steps.value_at(t, 100) for t in (0, 9, 10, 79, 80)] == [0, 0, 1, 1, 4]
    ramp = WeightSchedule([10, 20], [0.0, 4.0], linear=True)
    assert [ramp.value_at(t, 100) for t in (0, 15, 99)] == [0, 2, 4]
    with pytest.raises(ConfigError, match='one value for each step'):
        WeightSchedule([1], [])
    with pytest.raises(ConfigError, match='negative'):
        WeightSchedule([1], [-1.0])


def test_pairs_are_matched_by_image(batch):
    weak, strong = batch[1]['unsup_teacher'], batch[1]['unsup_student']
    assert strong_order(weak, strong[::-1]) == [1, 0]
    with pytest.raises(ValueError, match='different|strong views'):
        strong_order(weak, batch[1]['sup'])


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(cls_pseudo_thresh=0.9), 'cls_pseudo_thr'),
        (dict(jitter_times=1), 'at least 2'),
        (dict(bg_weight='techer'), "'teacher'"),
        (dict(cls_pseudo_thr=0.3), 'must not be lower'),
        (dict(cls_pseudo_thr=1.2), r'\[0, 1\]'),
        (dict(unsup_weight=-1.0), 'must not be negative'),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        read_settings(settings)

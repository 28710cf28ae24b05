"""The settings of ``semi_train_cfg``: mmdet's names where it has them, checked when the model is built."""

from dataclasses import dataclass, fields

from openmsra.soft_teacher.losses import BG_WEIGHTS, CLS_NORMS, JITTER_DISTS, JITTER_NORMS
from openmsra.soft_teacher.mean_teacher import WeightSchedule
from openmsra.suggest import did_you_mean

CHOICES = dict(
    jitter_dist=JITTER_DISTS,
    jitter_norm=JITTER_NORMS,
    cls_norm=CLS_NORMS,
    reg_norm=('sampled', 'foreground'),
    reg_select=('jitter', 'score'),
    bg_weight=BG_WEIGHTS,
    teacher_proposal_cfg=('train', 'test'),
    jitter_stages=('first', 'all'),
    class_thresholds=('fixed', 'prior'),
)


@dataclass(frozen=True)
class Settings:
    """Where paper and official code differ, the default is the code and the paper's value is named.

    Args:
        pseudo_label_initial_score_thr: teacher detections below it are forgotten.
        rpn_pseudo_thr, cls_pseudo_thr: scores from which boxes supervise the RPN and the classification.
        class_thresholds: 'prior' (ours) lowers these two class by class, not below ``pseudo_label_initial_score_thr``, until the
            teacher has ``prior_share`` times as many boxes per image as labelled images have objects: a class that never
            reaches the fixed score is then taught all the same.
        prior_share: of the expected objects, above 0.
        reg_pseudo_thr: uncertainty below which boxes supervise the regression.
        reg_select: 'jitter' is that rule; 'score' takes the boxes of the classification (ablation).
        min_pseudo_bbox_wh: pixels that a pseudo box must exceed.
        jitter_times, jitter_scale: N repeats, offsets as a share of the side.
        jitter_dist: 'normal' or 'uniform' (paper).
        jitter_norm: 'axis' or 'mean_side' (paper), see :func:`box_uncertainty`.
        jitter_stages: of a cascade, 'first' refines by its first stage, 'all' by all.
        cls_norm: 'joint' or 'separate' (paper), see :func:`soft_cls_loss`.
        reg_norm: 'sampled' divides the box loss by all sampled regions, 'foreground' by the positive ones (paper).
        bg_weight: see :func:`background_weights`; 'none' leaves out the soft teacher.
        use_teacher_proposal: the student's R-CNN learns from the projected proposals of the teacher.
        teacher_proposal_cfg: post-processing of the teacher's RPN, 'train' (official) or 'test' (mmdet).
        sup_weight, unsup_weight: lambda and alpha of the two losses; alpha may be the arguments of :class:`WeightSchedule`, and 0
            trains a supervised baseline.
        burn_in_iters: iterations with labelled images alone.
        skip_unsup_if_empty: no unsupervised loss where a batch has no pseudo box for the classification: an untrained teacher
            then does not push everything to background.
        mask_margin: teacher mask probabilities closer than this to 0.5 are ignored.

    Raises:
        ValueError: a value out of range; the message names it.
    """

    pseudo_label_initial_score_thr: float = 0.5
    rpn_pseudo_thr: float = 0.9
    cls_pseudo_thr: float = 0.9
    class_thresholds: str = 'fixed'
    prior_share: float = 0.5
    reg_pseudo_thr: float = 0.02
    reg_select: str = 'jitter'
    min_pseudo_bbox_wh: tuple[float, float] = (0.01, 0.01)
    jitter_times: int = 10
    jitter_scale: float = 0.06
    jitter_dist: str = 'normal'
    jitter_norm: str = 'axis'
    jitter_stages: str = 'first'
    cls_norm: str = 'joint'
    reg_norm: str = 'sampled'
    bg_weight: str = 'teacher'
    use_teacher_proposal: bool = False
    teacher_proposal_cfg: str = 'train'
    sup_weight: float = 1.0
    unsup_weight: float | WeightSchedule = 4.0
    burn_in_iters: int = 0
    skip_unsup_if_empty: bool = False
    mask_margin: float = 0.0

    def __post_init__(self) -> None:
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise ValueError(f'semi_train_cfg.{name}={getattr(self, name)!r}; valid are {", ".join(map(repr, valid))}.')
        if not isinstance(self.unsup_weight, WeightSchedule) and not self.unsup_weight >= 0:
            raise ValueError(f'semi_train_cfg.unsup_weight={self.unsup_weight} must not be negative.')
        if self.jitter_times < 2:
            raise ValueError(f'semi_train_cfg.jitter_times={self.jitter_times}: a spread needs at least 2.')
        for name in ('pseudo_label_initial_score_thr', 'rpn_pseudo_thr', 'cls_pseudo_thr'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'semi_train_cfg.{name}={getattr(self, name)}: scores are in [0, 1].')
        if min(self.rpn_pseudo_thr, self.cls_pseudo_thr) < self.pseudo_label_initial_score_thr:
            raise ValueError(
                f'semi_train_cfg: pseudo_label_initial_score_thr={self.pseudo_label_initial_score_thr} forgets all boxes below, '
                f'so rpn_pseudo_thr={self.rpn_pseudo_thr} and cls_pseudo_thr={self.cls_pseudo_thr} must not be lower.'
            )
        if not self.prior_share > 0:
            raise ValueError(f'semi_train_cfg.prior_share={self.prior_share} must be above 0.')
        if not 0 <= self.mask_margin < 0.5:
            raise ValueError(f'semi_train_cfg.mask_margin={self.mask_margin} must be in [0, 0.5).')


# what mmdet's two- and one-stage heads read; they take dictionaries with any keys and ask only for these
HEAD_SETTINGS = {
    'rpn', 'rpn_proposal', 'rcnn', 'assigner', 'sampler', 'allowed_border', 'pos_weight', 'debug', 'mask_size',
    'nms_pre', 'nms', 'max_per_img', 'min_bbox_size', 'score_thr', 'mask_thr_binary',
}  # fmt: skip
NMS_SETTINGS = {
    'type',
    'iou_threshold',
    'class_agnostic',
    'split_thr',
    'score_threshold',
    'max_num',
    'sigma',
    'min_score',
    'method',
}


def check_head_settings(cfg: dict | list | None, path: str) -> None:
    """Refuse keys of a detector's ``train_cfg`` or ``test_cfg`` that nothing in mmdet reads; mmdet passes over them.

    Raises:
        ValueError: such a key; the message names its path and the nearest valid one.
    """
    for index, stage in enumerate(cfg if isinstance(cfg, list | tuple) else []):
        check_head_settings(stage, f'{path}.{index}')
    for key, value in cfg.items() if isinstance(cfg, dict) else []:
        valid = NMS_SETTINGS if path.endswith('.nms') else HEAD_SETTINGS
        if key not in valid:
            raise ValueError(f"{path}: nothing reads the key '{key}'. {did_you_mean(key, valid)}")
        if key not in ('assigner', 'sampler'):  # these are built, and judge their keys themselves
            check_head_settings(value, f'{path}.{key}')


def read_settings(cfg: dict | None) -> Settings:
    """Build :class:`Settings`; a key that nothing reads is an error that names the nearest valid one."""
    valid = {field.name for field in fields(Settings)}
    for key in sorted(set(cfg or {}) - valid):
        raise ValueError(f"semi_train_cfg: nothing reads the key '{key}'. {did_you_mean(key, valid)}")
    values = dict(cfg or {})
    if 'min_pseudo_bbox_wh' in values:
        values['min_pseudo_bbox_wh'] = tuple(values['min_pseudo_bbox_wh'])
    if isinstance(values.get('unsup_weight'), dict):
        values['unsup_weight'] = WeightSchedule(**values['unsup_weight'])
    return Settings(**values)

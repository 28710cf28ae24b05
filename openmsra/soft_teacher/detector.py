"""The detector: a student that learns by gradient and a teacher that follows it."""

import torch
from mmdet.models.data_preprocessors import MultiBranchDataPreprocessor
from mmdet.models.detectors import SemiBaseDetector, SingleStageDetector
from mmdet.models.utils import rename_loss_dict, reweight_loss_dict
from mmdet.structures import DetDataSample
from mmengine.model import initialize
from torch import Tensor, nn

from openmsra.errors import ConfigError, DataError
from openmsra.registry import MODELS
from openmsra.soft_teacher.extensions.class_thresholds import ClassThresholds
from openmsra.soft_teacher.extensions.one_stage import OneStageBranch
from openmsra.soft_teacher.frozen_norms import fold_frozen_norms
from openmsra.soft_teacher.hooks import num_classes
from openmsra.soft_teacher.mean_teacher import MeanTeacher, WeightSchedule, progress_of_run
from openmsra.soft_teacher.precision import keep_coordinates_in_float32
from openmsra.soft_teacher.pseudo_labels import PseudoLabels
from openmsra.soft_teacher.roi_align import use_products
from openmsra.soft_teacher.settings import check_head_settings, read_settings
from openmsra.soft_teacher.two_stage import TwoStageBranch
from openmsra.suggest import did_you_mean

TEST_KEYS = ('predict_on', 'forward_on', 'extract_feat_on')
BRANCHES = ('sup', 'unsup_teacher', 'unsup_student')


@MODELS.register_module()
class SoftTeacher(SemiBaseDetector):
    """End-to-end semi-supervised detection with a soft teacher (ICCV 2021, arXiv 2106.09018).

    A batch has labelled images (branch ``sup``) and two views of unlabelled ones (``unsup_teacher``, ``unsup_student``);
    during the burn-in and with ``unsup_weight=0`` (a supervised baseline) only the supervised loss is taken. The detector
    moves its teacher itself, before each loss of a training.

    Args:
        detector: config of an mmdet detector; student and teacher are built from it.
        mean_teacher: arguments of :class:`MeanTeacher`; by default the teacher of the paper.
        semi_train_cfg: see :class:`Settings`; unknown keys are errors.
        semi_test_cfg: ``predict_on``, ``forward_on``, ``extract_feat_on``: 'teacher' or 'student' ('teacher' by default).

    Attributes:
        iteration: of the training, from 0; ``None`` (the default) asks the runner.
        pseudo_labels: of the last iteration, for monitors; ``None`` during the burn-in.

    Raises:
        ValueError: a setting out of range or unknown (``mean_teacher``: a ConfigError).
        TypeError: a detector of an unsupported kind, or an unknown argument of ``mean_teacher``.
    """

    changes_its_graph = True  # which parameters have a gradient: no static_graph
    not_compiled_because = (
        "the number of boxes changes in each image: its graph breaks in 80 places, most of them in mmdet's "
        'assigners, samplers and losses'
    )

    def __init__(
        self,
        detector: dict,
        semi_train_cfg: dict | None = None,
        semi_test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        mean_teacher: dict | None = None,
    ) -> None:
        self.settings = read_settings(semi_train_cfg)
        for name in ('train_cfg', 'test_cfg'):
            check_head_settings(detector.get(name), f'model.detector.{name}')
        for key, value in (semi_test_cfg or {}).items():
            if key not in TEST_KEYS or value not in ('teacher', 'student'):
                hint = did_you_mean(key, TEST_KEYS)
                raise ValueError(f"semi_test_cfg: {key}={value!r}; values are 'teacher' and 'student'. {hint}")
        super().__init__(detector, semi_train_cfg or {}, dict(semi_test_cfg or {}), data_preprocessor, init_cfg)
        self.freeze(self.teacher)
        keep_coordinates_in_float32(self)
        use_products(self)
        fold_frozen_norms(self)
        self.data_preprocessor.num_classes = num_classes(self.student)
        self.mean_teacher = MeanTeacher(**(mean_teacher or {}))
        self.iteration: int | None = None
        self.pseudo_labels: PseudoLabels | None = None
        branch = OneStageBranch if isinstance(self.student, SingleStageDetector) else TwoStageBranch
        self.class_thresholds = None
        if self.settings.class_thresholds == 'prior':
            self.class_thresholds = ClassThresholds(num_classes(self.student), self.settings.prior_share)
        self.unsup_branch = branch(self.student, self.teacher, self.settings, self.class_thresholds)

    def train(self, mode: bool = True) -> nn.Module:
        """The teacher stays in evaluation mode: its BatchNorm and dropout must not depend on the batch."""
        super().train(mode)
        self.teacher.eval()
        return self

    def init_weights(self) -> None:
        """Initialise the student; the teacher starts as its copy. What ``init_cfg`` says of both comes last."""
        self.student.init_weights()
        self.teacher.load_state_dict(self.student.state_dict())
        if self.init_cfg:
            initialize(self, self.init_cfg)

    def complete_checkpoint(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a plain detector become those of student and teacher; weights of both stay as they are.

        Thresholds by class that the file does not have start anew.
        """
        new = {key: value for key, value in self.state_dict().items() if key.startswith('class_thresholds.')}
        if any(key.startswith(('student.', 'teacher.')) for key in state):
            return new | state
        return new | {f'{network}.{key}': value for network in ('student', 'teacher') for key, value in state.items()}

    def loss(self, multi_batch_inputs: dict[str, Tensor], multi_batch_data_samples: dict[str, list]) -> dict[str, Tensor]:
        """Losses ``sup_*`` and ``unsup_*`` and, for the log, the average number of boxes of an image in each of their parts.

        Args:
            multi_batch_inputs: per branch (B, 3, H, W).
            multi_batch_data_samples: per branch the samples; views carry ``homography_matrix`` and ``img_id``.

        Raises:
            ValueError: an unknown branch, or the two views do not show the same images.
        ConfigError: there are no unlabelled images though ``unsup_weight`` is not 0, or nothing counts the iterations.
        """
        inputs, samples, settings = multi_batch_inputs, multi_batch_data_samples, self.settings
        if unknown := set(inputs) - set(BRANCHES):
            raise ValueError(f'SoftTeacher: unknown branches {sorted(unknown)}; valid are {", ".join(BRANCHES)}.')
        if 'unsup_teacher' not in inputs and settings.unsup_weight:
            raise ConfigError(
                'SoftTeacher: the batch has no unlabelled images (branch unsup_teacher), so this would be supervised training. '
                'Add an unlabelled data set whose ViewBranches make unsup_teacher and unsup_student, '
                'or set model.semi_train_cfg.unsup_weight=0 for a supervised baseline.'
            )
        iteration = progress_of_run('iter') if self.iteration is None else self.iteration
        momentum = self.mean_teacher.update(self.teacher, self.student, iteration, settings.burn_in_iters)
        losses = rename_loss_dict(
            'sup_', reweight_loss_dict(self.student.loss(inputs['sup'], samples['sup']), settings.sup_weight)
        )
        losses['sup_boxes'] = inputs['sup'].new_tensor(_mean_count([s.gt_instances for s in samples['sup']]))
        if self.class_thresholds is not None:
            self.class_thresholds.see_labels([sample.gt_instances for sample in samples['sup']])
        if momentum is not None:
            losses['ema_momentum'] = torch.tensor(momentum, dtype=torch.float64)
        self.pseudo_labels = None
        if 'unsup_teacher' not in inputs or iteration < settings.burn_in_iters:
            return losses
        order = strong_order(samples['unsup_teacher'], samples['unsup_student'])
        strong, views = inputs['unsup_student'][order], [samples['unsup_student'][i] for i in order]
        pseudo_labels = self.unsup_branch.generate_pseudo_labels(inputs['unsup_teacher'], samples['unsup_teacher'])
        self.pseudo_labels = pseudo_labels
        if self.class_thresholds is not None:
            self.class_thresholds.see_candidates(pseudo_labels.candidates)
        unsup = self.unsup_branch.loss(strong, views, pseudo_labels)
        pseudo_labels.features, pseudo_labels.head_inputs = (), {}  # monitors keep the labels until the next iteration
        counts = {name: _mean_count(select(pseudo_labels)) for name, select in self.unsup_branch.selections().items()}
        empty = settings.skip_unsup_if_empty and not counts['cls']
        weight = self._unsup_weight(iteration)
        if isinstance(settings.unsup_weight, WeightSchedule):
            losses['unsup_weight'] = torch.tensor(weight, dtype=torch.float64)
        losses |= rename_loss_dict('unsup_', reweight_loss_dict(unsup, 0.0 if empty else weight))
        return losses | {f'unsup_boxes_{name}': strong.new_tensor(count) for name, count in counts.items()}

    def _unsup_weight(self, iteration: int) -> float:
        """alpha of an iteration."""
        weight = self.settings.unsup_weight
        return weight.value_at(iteration, progress_of_run('max_iters')) if isinstance(weight, WeightSchedule) else weight


def strong_order(weak: list[DetDataSample], strong: list[DetDataSample]) -> list[int]:
    """Indices of the strong views in the order of the weak views of the same images.

    Raises:
        ValueError: the views show different images; both lists of ids are named.
    """
    ids = [sample.metainfo.get('img_id') for sample in strong]
    weak_ids = [sample.metainfo.get('img_id') for sample in weak]
    if sorted(map(str, ids)) != sorted(map(str, weak_ids)):
        raise ValueError(f'SoftTeacher: weak views show the images {weak_ids}, strong views {ids}; pack both with img_id.')
    if len(set(ids)) < len(ids):  # an image may be drawn twice; its views have been made in the same order
        return list(range(len(ids)))
    return [ids.index(name) for name in weak_ids]


def _mean_count(instances: list) -> float:
    return sum(map(len, instances)) / max(len(instances), 1)


@MODELS.register_module()
class BranchDataPreprocessor(MultiBranchDataPreprocessor):
    """mmdet's preprocessor of several branches; a batch need not have all of them, and plain batches pass as one.

    Args:
        data_preprocessor: config of the preprocessor of each branch.

    Attributes:
        num_classes: C of the detector, set by it; labels of a training must be below.
    """

    num_classes: int | None = None

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise and pad each branch; branches without an image are left out.

        Raises:
            DataError: a label of a training that the heads do not have; they would learn it as background.
        """
        if not training or not isinstance(data['inputs'], dict):
            return self.data_preprocessor(data, training)
        self._check_labels([item for items in data['data_samples'].values() for item in items if item is not None])
        kept = {branch: [i for i, item in enumerate(items) if item is not None] for branch, items in data['inputs'].items()}
        batches = {
            branch: self.data_preprocessor({key: [data[key][branch][i] for i in indices] for key in data}, True)
            for branch, indices in kept.items()
            if indices
        }
        return {key: {branch: batch[key] for branch, batch in batches.items()} for key in data}

    def _check_labels(self, samples: list[DetDataSample]) -> None:
        """Before they are moved to the device, where a look at them would wait for it."""
        highest = max((int(sample.gt_instances.labels.max()) for sample in samples if len(sample.gt_instances)), default=-1)
        if self.num_classes is not None and highest >= self.num_classes:
            raise DataError(
                f'an image has an object of class number {highest} (from 0), but the heads of model.detector have '
                f'num_classes={self.num_classes}; they would learn it as background. Set num_classes to that of the data.'
            )

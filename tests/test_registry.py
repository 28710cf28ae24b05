"""Names that do not resolve: the message says what is near and what to import."""

import subprocess
import sys

import pytest

from openmsra import compat
from openmsra.registry import HOOKS, MODELS
from openmsra.suggest import did_you_mean, nearest


def test_parents_are_found_without_prefix():
    from mmengine.hooks import CheckpointHook

    assert HOOKS.get('CheckpointHook') is CheckpointHook
    assert 'CheckpointHook' in HOOKS
    assert 'CheckpiontHook' not in HOOKS


def test_misspelt_name_gets_the_nearest():
    with pytest.raises(KeyError, match='Did you mean CheckpointHook'):
        HOOKS.get('CheckpiontHook')


def test_class_of_a_paper_that_is_not_imported_names_the_import():
    code = "from openmsra.registry import MODELS; MODELS.build(dict(type='AutoFormerSupernet'))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert "custom_imports = dict(imports=['openmsra.autoformer'])" in done.stderr


def test_sibling_without_prefix_gets_its_prefix():
    compat.bridge_torchvision()
    import mmpretrain.models  # noqa: F401

    with pytest.raises(KeyError, match=r'mmpretrain\.VisionTransformer'):
        MODELS.get('VisionTransformer')


def test_unknown_library_is_named():
    with pytest.raises(KeyError, match="registered in 'mmnowhere'"):
        MODELS.get('mmnowhere.Net')


def test_nearest_ignores_case_and_far_names():
    assert nearest('AUTOFORMER', ['AutoFormer', 'ResNet']) == ['AutoFormer']
    assert did_you_mean('zzz', ['b', 'a']) == 'Valid names: a, b.'

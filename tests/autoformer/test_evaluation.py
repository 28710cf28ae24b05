"""Which sub-networks a config asks for."""

import json

import pytest

from openmsra.autoformer.evaluation import resolve_subnets
from openmsra.autoformer.space import SearchSpace

SPACE = SearchSpace.from_config(dict(embed_dim=[16, 24, 32], depth=[2, 3], num_heads=[2, 3], mlp_ratio=[1, 2], head_dim=8))
ARCH = dict(embed_dim=24, depth=2, num_heads=[2, 3], mlp_ratio=[1.0, 2.0])


def test_names_draws_files_and_architectures(tmp_path):
    (tmp_path / 'mine.json').write_text(json.dumps(ARCH))
    found = resolve_subnets(SPACE, ['smallest', 'random:3', str(tmp_path / 'mine.json'), dict(name='given', arch=ARCH), ARCH])
    assert list(found) == ['smallest', 'random_000', 'random_001', 'random_002', 'mine', 'given', 'd2_e24']
    assert found['smallest'] == dict(embed_dim=16, depth=2, num_heads=[2, 2], mlp_ratio=[1.0, 1.0])
    assert found['mine'] == found['given'] == found['d2_e24'] == ARCH
    assert all(SPACE.contains(arch) for arch in found.values())


def test_draws_are_always_the_same():
    assert resolve_subnets(SPACE, ['random:4']) == resolve_subnets(SPACE, ['random:4'])


@pytest.mark.parametrize('word', ['biggest', 'random:x', 'arch.yaml'])
def test_other_words_are_refused(word):
    with pytest.raises(ValueError, match=f'{word}.*smallest, middle, largest'):
        resolve_subnets(SPACE, [word])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no\.json'):
        resolve_subnets(SPACE, [str(tmp_path / 'no.json')])


def test_architecture_outside_the_supernet_is_refused():
    with pytest.raises(ValueError, match='embed_dim'):
        resolve_subnets(SPACE, [{**ARCH, 'embed_dim': 40}])

"""The search as a user runs it: the same result after a kill and on two processes; ready-made configs that run."""

import json
import statistics

import pytest

from openmsra.apis import init_model
from openmsra.autoformer.search import latency
from openmsra.autoformer.search import loop as search
from openmsra.autoformer.space import SearchSpace
from openmsra.engine.checkpoint.io import save_file
from openmsra.engine.config.files import load_config
from openmsra.engine.launch import build_runner
from openmsra.errors import BrokenDataError, ConfigError, EmptyBudgetError

SEARCH = 'configs/autoformer/autoformer_search_1xb500-8gen_digits_mini.py'
SMALL = dict(generations=3, population=6, parents=3, mutations=2, crossovers=2)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A supernet that has learnt nothing: its candidates differ all the same."""
    path = tmp_path_factory.mktemp('supernet') / 'supernet.pth'
    save_file(dict(state_dict=init_model(SEARCH, cfg_options={'train_cfg.evolution': SMALL}).state_dict()), path)
    return path


def _run(folder, checkpoint, resume=False, **options):
    cfg = load_config(SEARCH, {'train_cfg.evolution': SMALL, 'train_cfg.checkpoint': str(checkpoint), **options})
    cfg.work_dir, cfg.launcher, cfg.resume = str(folder), 'none', resume
    build_runner(cfg).train()
    return json.loads((folder / 'search.json').read_text())


def test_killed_in_the_middle_of_a_generation_and_resumed_equals_uninterrupted(tmp_path, checkpoint, monkeypatch):
    whole = _run(tmp_path / 'whole', checkpoint)
    assert len(whole['history']) == 18
    scored = []

    def killed_after_nine(*arguments):
        if len(scored) == 9:
            raise KeyboardInterrupt
        scored.append(accuracy(*arguments))
        return scored[-1]

    accuracy = search.inherited_accuracy
    monkeypatch.setattr(search, 'inherited_accuracy', killed_after_nine)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / 'killed', checkpoint)
    monkeypatch.setattr(search, 'inherited_accuracy', lambda *arguments: (scored.append(1), accuracy(*arguments))[1])
    resumed = _run(tmp_path / 'killed', checkpoint, resume=True)
    assert resumed['history'] == whole['history']
    assert len(scored) == 18, 'a candidate was scored twice'


def test_split_in_one_file_gives_the_same_search_and_is_deleted(tmp_path, checkpoint):
    held, mapped = (_run(tmp_path / str(gib), checkpoint, **{'train_cfg.cache_gib': gib}) for gib in (1.0, 0.0))
    assert mapped['history'] == held['history']
    assert not list((tmp_path / '0.0').glob('scoring_*'))


def test_two_processes_find_the_same(tmp_path, checkpoint, run_tool):
    whole = _run(tmp_path / 'one', checkpoint)
    options = [f'train_cfg.evolution.{key}={value}' for key, value in SMALL.items()]
    run_tool(
        'tools/dist_train.sh',
        SEARCH,
        '2',
        '--work-dir',
        tmp_path / 'two',
        '--cfg-options',
        *options,
        f'train_cfg.checkpoint={checkpoint}',
        'randomness.diff_rank_seed=True',  # the processes must walk the same path all the same
    )
    both = json.loads((tmp_path / 'two' / 'search.json').read_text())
    assert both['history'] == whole['history']
    assert len(list((tmp_path / 'two' / 'journal').iterdir())) == 2


def test_candidates_meet_the_budgets_and_written_configs_build(tmp_path, checkpoint):
    free = _run(tmp_path / 'free', checkpoint, **{'train_cfg.budgets.flops': [None, None]})['history']
    most = statistics.median_low(row['flops'] for row in free)
    assert max(row['flops'] for row in free) > most, 'the budget limits nothing'
    report = _run(tmp_path, checkpoint, **{'train_cfg.budgets.flops': [None, most]})
    assert all(8_000 <= row['params'] <= 12_000 and row['flops'] <= most for row in report['history'])
    scores = [row['score'] for row in report['history']]
    assert report['best'][0]['score'] == max(scores)
    assert json.loads((tmp_path / 'best.json').read_text()) == report['best'][0]['arch']
    assert (tmp_path / 'pareto.png').stat().st_size > 10_000
    for name in ('finetune', 'scratch'):
        model = init_model(tmp_path / f'{name}.py')
        assert model.arch == report['best'][0]['arch']
    assert load_config(tmp_path / 'inherited.py').test_cfg.subnets == [str(tmp_path / 'best.json')]


def test_latency_is_measured_and_limits(tmp_path, checkpoint, monkeypatch):
    settings = dict(rounds=1, checks=2, seconds=0.001)
    report = _run(tmp_path / 'measured', checkpoint, **{'train_cfg.latency': settings, 'train_cfg.budgets': {}})
    assert all(0 < row['latency'] < 1000 for row in report['history'])
    space = SearchSpace.from_config(load_config(SEARCH).model.space.to_dict())
    block = {(e, h, r): 1.0 + h for e in space.embed_dim for h in space.num_heads for r in space.mlp_ratio}
    table = latency.LatencyTable(dict.fromkeys(space.embed_dim, 0.5), block)
    monkeypatch.setattr(search, 'cached_latency', lambda *arguments: table)
    limit = {'train_cfg.budgets': dict(latency=[9.0, 11.0])}
    limited = _run(tmp_path / 'limited', checkpoint, **limit)['history']
    free = _run(tmp_path / 'free', checkpoint, **{'train_cfg.latency': settings, 'train_cfg.budgets': {}})['history']
    for row in limited + free:
        assert row['latency'] == 0.5 + sum(1 + heads for heads in row['arch']['num_heads'])
    assert all(9 <= row['latency'] <= 11 for row in limited) and not all(9 <= row['latency'] <= 11 for row in free)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'train_cfg.budgets.params': [1, 2]}, EmptyBudgetError, r'params in \[1, 2\]; the space has 4602 to 36586 parameters'),
        ({'train_cfg.budgets.watts': [1, 2]}, ConfigError, "there is no cost 'watts'"),
        ({'train_cfg.evolution.generation': 2}, ConfigError, "nothing reads the key 'generation'. Did you mean generations"),
    ],
)
def test_bad_settings_are_named(tmp_path, checkpoint, options, error, message):
    with pytest.raises(error, match=message):
        _run(tmp_path, checkpoint, **options)


def test_random_weights_are_refused(tmp_path):
    cfg = load_config(SEARCH)
    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    with pytest.raises(ConfigError, match='needs the checkpoint of a trained supernet'):
        build_runner(cfg).train()


def test_second_search_and_orphaned_journals_are_refused(tmp_path, checkpoint):
    _run(tmp_path, checkpoint)
    with pytest.raises(ConfigError, match='already holds a search: add --resume'):
        _run(tmp_path, checkpoint)
    with pytest.raises(ConfigError, match='--resume with other settings'):
        _run(tmp_path, checkpoint, resume=True, **{'train_cfg.seed': 7})
    (tmp_path / 'search_state.json').unlink()
    with pytest.raises(ConfigError, match='is gone: delete its journal folder'):
        _run(tmp_path, checkpoint)


def test_scoring_split_with_an_unreadable_image_is_refused(tmp_path, checkpoint, monkeypatch):
    from openmsra.miniatures.digits import Digits

    whole = Digits.prepare_data

    def broken(self, index):
        if index == 7:
            raise OSError('image 7 is truncated')
        return whole(self, index)

    monkeypatch.setattr(Digits, 'prepare_data', broken)
    with pytest.raises(BrokenDataError, match='of the scoring split cannot be read.*image 7 is truncated'):
        _run(tmp_path, checkpoint)
    assert not (tmp_path / 'search.json').exists()

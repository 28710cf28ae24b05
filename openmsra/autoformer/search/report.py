"""What a search hands over: the history, the best architectures, a Pareto plot and configs that are ready to run."""

from pathlib import Path

from mmengine.config import Config

from openmsra.autoformer.search.evolution import Evolution, Scored
from openmsra.autoformer.search.journal import write_json
from openmsra.autoformer.supernet import AutoFormerSupernet, extract_subnet
from openmsra.engine.checkpoint.io import save_file
from openmsra.errors import ConfigError

FINETUNE_EPOCHS = 40  # AutoFormer, table 5
# settings of the supernet that a network of its own keeps
_NETWORK_KEYS = ('num_classes', 'img_size', 'patch_size', 'in_channels', 'max_relative_position', 'relative_position',
                 'abs_pos', 'global_pool', 'init_std', 'drop_path_rate', 'loss', 'data_preprocessor')  # fmt: skip
TOP = 10  # architectures listed as the best
AXES = dict(params='parameters', flops='multiply-accumulates', latency='latency (ms)')


def pareto_front(points: list[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, score) points that no other point beats: not dearer and better, or cheaper and as good.

    Sorted by cost; of equal points the first one is kept.
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def write_report(evolution: Evolution, settings: dict, folder: Path, checkpoint: str | None) -> None:
    """Write ``search.json``, ``best.json`` and ``pareto.png`` into ``folder``.

    Args:
        evolution: the finished search.
        settings: what the search depended on.
        folder: the work directory.
        checkpoint: of the supernet.
    """
    history = [_row(scored, evolution) for scored in evolution.history]
    best = [_row(scored, evolution) for scored in evolution.best(TOP)]
    fronts = {name: pareto_front([(row[name], row['score']) for row in history]) for name in evolution.budgets.costs}
    report = dict(
        settings=settings,
        checkpoint=checkpoint,
        evaluations=len(history),
        best=best,
        pareto={name: [history[i] for i in front] for name, front in fronts.items()},
        history=history,
    )
    write_json(folder / 'search.json', report)
    write_json(folder / 'best.json', best[0]['arch'])
    draw_pareto(history, fronts, folder / 'pareto.png')


def _row(scored: Scored, evolution: Evolution) -> dict:
    return {**vars(scored), **evolution.budgets.measure(scored.arch)}


def draw_pareto(history: list[dict], fronts: dict[str, list[int]], file: Path) -> None:
    """One panel for each cost: every candidate, coloured by generation, the Pareto front as a line, the best as a star."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(6.4 * len(fronts), 4.8), layout='constrained')
    FigureCanvasAgg(figure)
    best = max(history, key=lambda row: row['score'])
    for axis, (name, front) in zip(figure.subplots(1, len(fronts), squeeze=False)[0], fronts.items(), strict=True):
        points = axis.scatter(
            [row[name] for row in history],
            [row['score'] for row in history],
            c=[row['generation'] for row in history],
            cmap='viridis',
            s=14,
            alpha=0.8,
        )
        axis.step(
            [history[i][name] for i in front], [history[i]['score'] for i in front], 'C3', where='post', label='Pareto front'
        )
        axis.plot(best[name], best['score'], '*', color='C3', markersize=14, label='best')
        axis.xaxis.set_major_formatter(EngFormatter(sep=''))
        axis.set(xlabel=AXES[name], ylabel='top-1 with inherited weights (%)')
        axis.legend(loc='lower right')
    figure.colorbar(points, ax=axis, label='generation')
    figure.savefig(file, dpi=150)


def recipe_of(cfg: Config, recipe: str | None) -> Path:
    """The training config that the written ones inherit from: ``recipe``, or the first base of the search's config.

    Raises:
        ConfigError: there is none.
    """
    if recipe is None and cfg.filename is not None:
        bases = Config._get_base_files(cfg.filename)
        recipe = str(Path(cfg.filename).parent / bases[0]) if bases else None
    if recipe is None or not Path(recipe).is_file():
        raise ConfigError(f'EvolutionLoop: train_cfg.recipe={recipe!r} must name the training config of the supernet.')
    return Path(recipe).resolve()


def write_configs(cfg: Config, supernet: AutoFormerSupernet, arch: dict, folder: Path, recipe: Path) -> None:
    """Write ``best.pth`` (the best architecture as an ordinary network) and three configs that are ready to run.

    ``inherited.py`` tests the architecture inside the supernet; ``finetune.py`` trains ``best.pth`` for 40 more epochs
    at a tenth of the learning rate; ``scratch.py`` trains the architecture alone with the recipe of the supernet.
    """
    network = extract_subnet(supernet, arch)
    save_file(dict(state_dict=network.state_dict(), meta=dict(arch=arch, grid=list(network.grid))), folder / 'best.pth')
    given = cfg.model.to_dict()
    kept = {key: given[key] for key in _NETWORK_KEYS if key in given}
    model = dict(_delete_=True, type='AutoFormerViT', arch=arch, head_dim=supernet.head_dim, **kept)
    alone = dict(val_cfg=dict(_delete_=True), test_cfg=dict(_delete_=True), find_unused_parameters=False)
    subnets = [str((folder / 'best.json').resolve())]
    base_lr = cfg.optim_wrapper.optimizer.lr
    tuned = dict(
        model={**model, 'pretrained': str((folder / 'best.pth').resolve())},
        optim_wrapper=dict(optimizer=dict(lr=base_lr / 10)),
        train_cfg=dict(max_epochs=FINETUNE_EPOCHS),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=FINETUNE_EPOCHS, by_epoch=True, end=FINETUNE_EPOCHS)],
        **alone,
    )
    inherited = dict(val_cfg=dict(subnets=subnets), test_cfg=dict(subnets=subnets))
    for name, content in dict(inherited=inherited, finetune=tuned, scratch=dict(model=model, **alone)).items():
        text = Config(dict(_base_=str(recipe), **content)).pretty_text
        (folder / f'{name}.py').write_text(text, encoding='utf-8')

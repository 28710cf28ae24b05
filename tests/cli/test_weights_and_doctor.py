"""``openmsra weights`` knows the official files by their entries; ``openmsra doctor`` says what is missing and what helps."""

import subprocess

import pytest
import torch

from openmsra import needs
from openmsra.cli import doctor, weights
from openmsra.cli.main import main
from openmsra.errors import ToolError
from openmsra.resources import PAPERS


@pytest.mark.parametrize(
    ('keys', 'expected'),
    [
        ({'patch_embed_super.proj.weight': (448, 3, 16, 16)}, ('autoformer_from_cream', ['--space', 'small'])),
        ({'qse_1.weight': (64, 3, 7, 7), 'csp.0.weight': (1,)}, ('ckdn_from_official', [])),
        ({'resnet.s1.pathway0_stem.conv.weight': (64, 3, 5, 1, 1)}, ('ftcn_from_official', [])),
        ({'teacher.backbone.conv1.weight': (1,), 'student.backbone.conv1.weight': (1,)}, ('soft_teacher_from_official', [])),
        ({'encoder_k.module.0.conv1.weight': (1,)}, ('maskco_from_mmpretrain', [])),
    ],
)
def test_official_files_are_recognised_by_their_entries(keys, expected):
    assert weights.recognise(keys) == expected


def test_deep_soft_teacher_gets_its_config():
    keys = dict.fromkeys(('teacher.backbone.layer3.22.conv1.weight', 'student.x'), (1,))
    tool, (_, config) = weights.recognise(keys)
    assert tool == 'soft_teacher_from_official' and 'r101' in config


def test_a_file_of_parallel_processes_is_recognised_without_their_prefix(tmp_path, capsys):
    state = {'module.qse_1.weight': torch.zeros(64, 3, 7, 7), 'module.csp.0.weight': torch.zeros(1)}
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    with pytest.raises(SystemExit, match='2'):
        main(['weights', 'convert', str(tmp_path / 'x.pth')])
    said = capsys.readouterr().err
    assert 'recognised, tools/model_converters/ckdn_from_official.py' in said and 'does not fit CKDN' in said


def test_an_unknown_file_is_described(tmp_path, capsys):
    torch.save({'state_dict': {'fc.weight': torch.zeros(2)}}, tmp_path / 'x.pth')
    with pytest.raises(SystemExit) as exit_:
        main(['weights', 'convert', str(tmp_path / 'x.pth')])
    assert exit_.value.code == 2
    assert 'x.pth: none of the official checkpoints: its entries begin with fc.weight' in capsys.readouterr().err
    with pytest.raises(ToolError, match='width 100'):
        weights.recognise({'patch_embed_super.proj.weight': (100, 3, 16, 16)})


def test_table_names_address_licence_and_what_is_not_known():
    text = weights.table(None)
    assert all(row.address in text and row.licence in text for row in weights.KNOWN)
    assert {row.paper for row in weights.KNOWN} | set(weights.WITHOUT) == set(PAPERS)
    assert weights.UNKNOWN in text and 'train your own' in weights.table('mcn')
    assert 'ckdn (ckdn)' not in weights.table('ftcn')


def test_doctor_names_the_command_that_would_help():
    said = doctor.papers(operators=False, find=lambda name: None if name == 'mmaction' else object())
    by_paper = {line.split()[0]: line for line in said}
    assert "pip install 'openmsra[ftcn]'" in by_paper['ftcn'] and 'mmaction missing' in by_paper['mcn']
    assert 'operators are missing' in by_paper['soft_teacher'] and 'trains and infers' in by_paper['ckdn']


@pytest.mark.parametrize(('there', 'says'), [(True, 'by MTCNN'), (False, 'facenet-pytorch==2.6.0 brings MTCNN')])
def test_doctor_says_how_faces_are_found(there, says):
    lines = doctor.papers(operators=True, find=lambda name: object() if there or name != 'facenet_pytorch' else None)
    assert next(line for line in lines if line.startswith('  ftcn')).endswith(says)


def test_doctor_describes_the_machine():
    text = '\n'.join(doctor.machine())
    assert 'CPU cores' in text and ('GPU 0' in text or 'no GPU for torch' in text)


def test_doctor_of_a_paper_fails_where_it_cannot_run(monkeypatch, tmp_path, capsys):
    doctor.main(['ckdn'])
    with pytest.raises(SystemExit, match='2'):
        doctor.main(['cdkn'])
    (tmp_path / 'cv2.py').write_text("raise ImportError('a cv2 that is too old')")
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    with pytest.raises(SystemExit, match='ckdn does not import: ImportError: a cv2 that is too old'):
        doctor.main(['ckdn'])


def test_doctor_of_a_paper_fails_where_torch_cannot_use_the_gpu(monkeypatch):
    monkeypatch.setattr(doctor.shutil, 'which', lambda name: '/usr/bin/nvidia-smi')
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    [reason] = doctor.faults(['ckdn'], operators=True)
    assert 'torch cannot use the GPU: there is a driver' in reason


def test_a_busy_machine_does_not_end_the_doctor(monkeypatch):
    def run(command: list[str], timeout: float, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(needs.subprocess, 'run', run)
    assert 'takes more than 300 s' in needs.operators_fault()

"""Names from strangers' lists, checked by the million as they are one by one."""

import os

import pytest

from openmsra.common.annotations import inside, require_inside
from openmsra.common.files import existing_files
from openmsra.errors import AnnotationError

GOOD = [
    'a.jpg',
    'a/b c.jpg',
    'a/.hidden/ü.png',
    '..a/b',
    'a/b..',
    './a',
    'a//b',
    'a/./b',
    'x' * 300,
    '/'.join('abcdefghijklmnopqrs'),
]
BAD = ['../a', 'a/../../b', 'a/..', '..', '/etc/passwd', 'a\0b', 'x' * 5000, '/'.join(['..'] * 20)]


@pytest.mark.parametrize('name', GOOD)
def test_names_that_stay_inside(name, tmp_path):
    inside(tmp_path, name, 'list')
    require_inside(tmp_path, [name], 'list')


@pytest.mark.parametrize('name', BAD)
def test_names_that_lead_out(name, tmp_path):
    for check in (lambda: inside(tmp_path, name, 'list'), lambda: require_inside(tmp_path, ['fine', name], 'list')):
        with pytest.raises(AnnotationError, match='list: '):
            check()


def test_existing_files_are_those_that_is_file_accepts(tmp_path):
    (tmp_path / 'a/b').mkdir(parents=True)
    (tmp_path / 'a/b/1.jpg').touch()
    (tmp_path / '2.jpg').touch()
    (tmp_path / 'a/link.jpg').symlink_to(tmp_path / '2.jpg')
    (tmp_path / 'a/dangling.jpg').symlink_to(tmp_path / 'nowhere')
    names = [
        'a/link.jpg',
        'a/b',
        'a/b/1.jpg',
        '2.jpg',
        'a/dangling.jpg',
        'c/3.jpg',
        '2.jpg/x',
        'a/b/1.jpg',
        './2.jpg',
        'a//b/1.jpg',
    ]
    expected = [str(tmp_path / name) for name in names if (tmp_path / name).is_file()]
    assert [os.path.normpath(path) for path in existing_files(tmp_path, names)] == expected

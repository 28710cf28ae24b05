"""Sphinx: ``make docs``. The sources are the repository's own pages, so that a page reads well on both sides.

``sphinx-build -c docs . work_dirs/docs``: the source folder is the root, this folder only holds the settings.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

from api import write_pages  # noqa: E402

from openmsra import __version__  # noqa: E402

project, author, copyright = 'openmsra', 'the authors of openmsra', 'the authors of openmsra'  # noqa: A001
version = release = __version__
extensions = ['myst_parser']
root_doc = 'docs/index'
include_patterns = [
    'docs/**', 'configs/*/README.md', 'README.md', 'ARCHITECTURE.md', 'SECURITY.md', 'CHANGELOG.md', 'docker/README.md',
    'requirements/README.md',
]  # fmt: skip
exclude_patterns = ['.*', 'work_dirs', 'data', 'tests', 'openmsra', 'tools', 'benchmarks', 'build', '**/.*']
suppress_warnings = ['ref.python']  # a type hint whose name two modules have
myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence']
nitpicky = False
html_theme = 'furo'
html_title = f'openmsra {release}'
html_static_path = []
html_copy_source = html_show_sourcelink = False
pygments_style = 'friendly'

write_pages(DOCS.parent / 'openmsra', DOCS / 'api')

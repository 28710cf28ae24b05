"""Installation of openmsra; `requirements/install.sh` installs a tested set of everything around it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r"__version__ = '([^']+)'", (ROOT / 'openmsra' / '__init__.py').read_text(encoding='utf-8'))[1]

ENGINE = ['onedl-mmengine>=0.10.12,<0.11', 'onedl-mmcv>=2.3.6,<2.4', 'yapf', 'matplotlib', 'tqdm']
PHOTOS = ['scikit-image', 'scikit-learn']  # metrics and probes, and the pictures of the miniatures
IMAGES = [*ENGINE, 'onedl-mmpretrain>=1.3.6,<1.4']
VIDEOS = [*ENGINE, 'mmaction2>=1.2.0,<1.3', 'decord', 'av', 'einops']
EXTRAS = {
    'autoformer': [*IMAGES, 'scikit-learn'],
    'soft_teacher': [*ENGINE, *PHOTOS, 'onedl-mmdetection>=3.5.1,<3.6', 'pycocotools', 'imaug'],
    'ftcn': [*VIDEOS, *PHOTOS],
    'ckdn': [*ENGINE, *PHOTOS],
    'mcn': [*VIDEOS, *PHOTOS],
    'maskco': [*IMAGES, *PHOTOS],
    'export': ['onnx', 'onnxruntime', 'onnxscript'],
    'tests': ['pytest', 'pytest-timeout', 'pytest-xdist', 'ruff'],
    'benchmarks': ['timm', 'scikit-video'],
}

setup(
    name='openmsra',
    version=VERSION,
    description='Six ICCV 2021 methods of Microsoft Research Asia in one registry codebase',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['openmsra', 'openmsra.*']),
    python_requires='>=3.10,<3.13',
    install_requires=['torch>=2.6', 'torchvision', 'numpy>=1.26,<2.3', 'opencv-python-headless<5', 'scipy', 'tensorboard'],
    extras_require=EXTRAS,
)

"""Installation of openmsra; `requirements/install.sh` installs a tested set of everything around it."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r"__version__ = '([^']+)'", (ROOT / 'openmsra' / '__init__.py').read_text(encoding='utf-8'))[1]

ENGINE = ['onedl-mmengine>=0.10.12,<0.11', 'onedl-mmcv>=2.3.6,<2.4', 'yapf', 'matplotlib', 'tqdm']
PHOTOS = ['scikit-image', 'scikit-learn']  # metrics and probes, and the pictures of the miniatures
IMAGES = [*ENGINE, 'onedl-mmpretrain>=1.3.6,<1.4']
VIDEOS = [*ENGINE, 'mmaction2>=1.2.0,<1.3', 'decord', 'av', 'einops']
RESOURCES = ('configs', 'tools', 'model-index.yml')
EXTRAS = {
    'autoformer': [*IMAGES, 'scikit-learn'],
    'soft_teacher': [*ENGINE, *PHOTOS, 'onedl-mmdetection>=3.5.1,<3.6', 'pycocotools', 'pyyaml', 'imaug'],
    'ftcn': [*VIDEOS, *PHOTOS],
    'ckdn': [*ENGINE, *PHOTOS],
    'mcn': [*VIDEOS, *PHOTOS],
    'maskco': [*IMAGES, *PHOTOS],
    'app': ['gradio>=6.20,<7'],
    'docs': ['sphinx>=8', 'myst-parser>=4', 'furo'],
    'export': ['onnx', 'onnxruntime', 'onnxscript'],
    'tests': ['pytest', 'pytest-timeout', 'pytest-xdist', 'ruff'],
    'benchmarks': ['timm', 'scikit-video'],
}


class BuildWithResources(build_py):
    """Puts the configs and the tools into ``openmsra/.mim``, where OpenMMLab keeps them; nothing is made in the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / 'openmsra' / '.mim'
            for source in RESOURCES:
                if (ROOT / source).is_dir():
                    ignored = shutil.ignore_patterns('__pycache__', '*.pyc', '.*')
                    shutil.copytree(ROOT / source, target / source, ignore=ignored, dirs_exist_ok=True)
                else:
                    shutil.copy2(ROOT / source, target / source)


setup(
    name='openmsra',
    version=VERSION,
    description='Six ICCV 2021 methods of Microsoft Research Asia in one registry codebase',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    keywords='AutoFormer, Soft Teacher, FTCN, CKDN, MCN, MaskCo, OpenMMLab, PyTorch',
    packages=find_packages(include=['openmsra', 'openmsra.*']),
    package_data={'openmsra': ['py.typed', 'demo/style.css']},
    cmdclass={'build_py': BuildWithResources},
    entry_points={'console_scripts': ['openmsra = openmsra.cli.main:main']},
    python_requires='>=3.10,<3.14',
    install_requires=['torch>=2.6', 'torchvision', 'numpy>=1.26,<2.3', 'opencv-python-headless<5', 'scipy', 'tensorboard'],
    extras_require=EXTRAS,
)

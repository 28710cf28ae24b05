"""openmsra: six ICCV 2021 methods of Microsoft Research Asia in one registry codebase.

Importing this package imports neither torch nor any mm* library; each paper is a sub-package of its own.
"""

import logging
import os

# OpenCV reads it when it is imported: an image header may claim any size, and memory is reserved for it
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(2**28))

# a CUDA build of torch says so on every machine with nvcc and without a GPU, before anything of ours; `openmsra doctor` tells
logging.getLogger('torch.utils.cpp_extension').addFilter(lambda record: 'No CUDA runtime is found' not in str(record.msg))

__version__ = '0.1.0'

"""openmsra: six ICCV 2021 methods of Microsoft Research Asia in one registry codebase.

Importing this package imports neither torch nor any mm* library; each paper is a sub-package of its own.
"""

import os

# OpenCV reads it when it is imported: an image header may claim any size, and memory is reserved for it
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(2**28))

__version__ = '0.1.0'

"""What at least two papers use. The core imports no paper."""

import os

# OpenCV reads it when it is imported: an image header may claim any size, and memory is reserved for it
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(2**28))

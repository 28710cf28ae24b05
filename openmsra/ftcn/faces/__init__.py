"""From videos to aligned faces: detectors, tracks, alignment, prepared crops, layouts of public data sets."""

"""Scored pairs of images: data sets, transforms, preprocessing."""

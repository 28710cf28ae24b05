"""Clips of listed videos, official splits, augmentation."""

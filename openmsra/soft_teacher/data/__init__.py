"""Labelled and unlabelled images, splits, mixed batches, two views."""

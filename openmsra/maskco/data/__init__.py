"""Unlabelled and labelled images, two views with corresponding regions."""

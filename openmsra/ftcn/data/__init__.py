"""Clips of faces and their augmentation and perturbation."""

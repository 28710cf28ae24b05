"""Checkpoints: written durably, read without executing them, gone on from exactly."""

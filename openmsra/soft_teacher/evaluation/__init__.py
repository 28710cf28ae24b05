"""Evaluation of teacher and student."""

"""Slow, obvious versions of the maths, written from the formulas."""

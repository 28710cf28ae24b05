"""Soft Teacher."""

"""Configs that are checked before the work starts."""

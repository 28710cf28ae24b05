"""Samples, loaders and samplers that a run can take up again at any place."""

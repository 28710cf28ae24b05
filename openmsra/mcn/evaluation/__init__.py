"""Retrieval, linear probe and fine-tuning of a pre-trained encoder."""

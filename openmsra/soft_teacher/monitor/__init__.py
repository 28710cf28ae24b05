"""Pseudo labels under watch: figures, pictures, warnings."""

"""Which weights, config and version made a result: what a file of scores must name to be believed later."""

import hashlib
from pathlib import Path

from mmengine.config import Config

from openmsra import __version__


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as hexadecimal text; large files are read in parts."""
    digest = hashlib.sha256()
    with Path(path).open('rb') as stream:
        while part := stream.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def provenance(config: Config, checkpoint: str | Path) -> dict[str, str]:
    """Names of the checkpoint and the config, SHA-256 of the checkpoint, version of openmsra."""
    return dict(
        checkpoint=Path(checkpoint).name,
        sha256=sha256_of(checkpoint),
        config=Path(config.filename).name if config.filename else 'a config in memory',
        version=__version__,
    )

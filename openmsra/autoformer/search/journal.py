"""What a search leaves on disk while it runs, so that it can go on after a kill: a state file and journals of scores.

The state (random stream, history, candidates of the generation) is written anew when a generation begins. Each score is
appended to a journal when it is known, one file for each process, so that no process waits for another.
"""

import json
import os
import time
from pathlib import Path

from openmsra.engine.checkpoint.files import write_durably

FSYNC_SECONDS = 1.0  # a killed process loses nothing; a machine that loses power loses at most this much


def write_json(path: Path, content: dict | list) -> None:
    """Write JSON so that ``path`` holds the old or the complete new content at any time."""
    write_durably(path, lambda stream: stream.write(json.dumps(content).encode()))


class ScoreJournal:
    """Append-only scores of candidates, one JSON line each, on disk at the latest a second after they are known.

    Args:
        folder: holds the journals of all processes.
        rank: of this process; names its file.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / f'rank{rank}.jsonl'
        _cut_torn_line(self.path)
        self.file = self.path.open('a', encoding='utf-8')
        self.synced = time.monotonic()

    def append(self, generation: int, arch: dict, score: float) -> None:
        """Add one score."""
        self.file.write(json.dumps(dict(generation=generation, arch=arch, score=score)) + '\n')
        self.file.flush()
        if time.monotonic() - self.synced > FSYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Wait until the disk has everything."""
        os.fsync(self.file.fileno())
        self.synced = time.monotonic()

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        self.file.close()

    def read(self) -> list[dict]:
        """Complete lines of all journals in the folder, whatever number of processes has written them."""
        lines = [
            line for path in sorted(self.folder.glob('rank*.jsonl')) for line in path.read_text(encoding='utf-8').split('\n')[:-1]
        ]
        return [json.loads(line) for line in lines]


def _cut_torn_line(path: Path) -> None:
    """A process killed while writing leaves half a line; what is appended next must not be glued to it."""
    if path.exists():
        content = path.read_bytes()
        if content and not content.endswith(b'\n'):
            path.write_bytes(content[: content.rfind(b'\n') + 1])

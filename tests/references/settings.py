"""Tables of official settings against those of a config: every row is a value read off official code, defaults included."""

from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One setting: where it stands in the official code, its value, ours; ``why`` if they differ on purpose."""

    source: str
    key: str
    official: Any
    ours: Any
    why: str = ''

    def line(self) -> str:
        """The row of the table on the paper's page."""
        return f'| {self.source} | `{self.key}` | {self.official} | {self.ours}{f": {self.why}" if self.why else ""} |'


def check(rows: list[Row], page: Path) -> None:
    """Ours are the official values, or the difference has a reason; and the page holds each row."""
    silent = [row for row in rows if row.official != row.ours and not row.why]
    assert not silent, silent
    text = page.read_text(encoding='utf-8')
    absent = [row.line() for row in rows if row.line() not in text]
    assert not absent, f'{page} lacks these rows:\n' + '\n'.join(absent)

"""The config that is written: short, with a reason for each choice, inheriting from ours."""

import pprint
from datetime import date
from pathlib import Path
from typing import Any

from openmsra import __version__

WIDTH = 118
MOST_LINES = 60  # what a reader takes in at once


class ConfigText:
    """Lines of a config, each setting with the reason for it.

    Args:
        title: what the config is for, one sentence.
        bases: names below ``configs/``.
    """

    def __init__(self, title: str, *bases: str) -> None:
        names = [f'openmsra::{base}' for base in bases]
        self.lines = [
            f'# {title}',
            f'# Written by `openmsra new` of openmsra {__version__} on {date.today()}; change it freely, the rest is inherited.',
            f'_base_ = {names[0]!r}' if len(names) == 1 else f'_base_ = {names!r}',
            '',
        ]

    def add(self, setting: str, why: str = '') -> None:
        """A line of Python, with its reason behind it or, where that is too long, above it."""
        if why and len(setting) + len(why) + 4 <= WIDTH:
            self.lines.append(f'{setting}  # {why}')
        else:
            self.lines += [f'# {why}'] * bool(why) + [setting]

    def block(self, opening: str, parts: list[tuple[str, str]], closing: str = ')') -> None:
        """``name = dict(`` with a line and a reason for each part."""
        self.add(opening)
        for setting, why in parts:
            self.add(f'    {setting},', why) if len(setting) + len(why) + 9 <= WIDTH else self._above(setting, why)
        self.add(closing)

    def _above(self, setting: str, why: str) -> None:
        self.lines += [f'    # {why}'] * bool(why) + [f'    {setting},']

    def write(self, file: Path) -> None:
        """Write the file.

        Raises:
            AssertionError: it became longer than a reader can take in.
        """
        assert len(self.lines) <= MOST_LINES, f'{len(self.lines)} lines'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('\n'.join(self.lines) + '\n', encoding='utf-8')


def literal(value: Any) -> str:
    """Python for a plain value on one line."""
    return pprint.pformat(value, width=10_000, compact=True, sort_dicts=False)

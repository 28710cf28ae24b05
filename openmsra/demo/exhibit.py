"""What the page says about a paper before anything has run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Exhibit:
    """A paper for readers who do not know it.

    Attributes:
        name: of the method.
        title: of the paper.
        url: of the paper.
        sentences: two, what it does and how.
        toy: what stands in for its data here.
        full: what the published size takes, in sentences.
        full_command: trains it at the published size.
        needs_operators: it needs mmcv's compiled operators.
    """

    name: str
    title: str
    url: str
    sentences: str
    toy: str
    full: str
    full_command: str
    needs_operators: bool = False

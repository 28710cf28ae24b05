"""Tables on the papers' pages are those that their commands write."""

import json

import pytest

from benchmarks.memory_tables import RESULT, START, page_of, with_table


@pytest.mark.parametrize('paper', sorted(json.loads(RESULT.read_text(encoding='utf-8'))['memory']))
def test_page_shows_the_measured_memory(paper):
    page = page_of(paper).read_text(encoding='utf-8')
    assert START in page
    assert with_table(page, paper) == page, 'python benchmarks/memory_tables.py'

"""The page of the demonstration: complete, self-contained, readable by machines; and in a browser where there is one."""

import importlib.util
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from openmsra.demo.charts import Curve, line_chart
from openmsra.demo.page import Section, render
from openmsra.demo.papers import autoformer, ckdn, soft_teacher
from openmsra.demo.pictures import encoded
from openmsra.demo.stage import Findings

VOID = {'img', 'meta', 'br', 'use', 'path'}


class Elements(HTMLParser):
    """All elements with their attributes, and whether they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def findings(alt: str = 'a grey square') -> Findings:
    curves = [Curve('first', [0, 1, 2], [1.0, 2.0, 4.0]), Curve('second', [0, 1, 2], [1.0, 1.0, 1.5])]
    return Findings(
        figure='73 %',
        meaning='of <pairs> are right',
        compared='Guessing: 50 %.',
        chart=line_chart('Pairs & order', curves, 'epoch', 'right, %', ('guessing', 0.5), band=(1, 2)),
        chart_caption='From random weights on.',
        pictures=[encoded(np.full((8, 8, 3), 90, np.uint8), alt, 'A square.')],
        remark='A toy.',
    )


@pytest.fixture(scope='module')
def page() -> str:
    sections = [
        Section('autoformer', autoformer.EXHIBIT, findings(), commands=('openmsra train <this>',), seconds=61.0),
        Section('soft_teacher', soft_teacher.EXHIBIT, problem='Not run: no operators.', skipped=True),
        Section('ckdn', ckdn.EXHIBIT, problem='`openmsra test` ended with exit code 1. It said last:\nKeyError: <a>'),
    ]
    return render(sections, 125.0, 'Python 3, torch 2')


def test_every_paper_has_its_section_and_says_what_became_of_it(page):
    elements = Elements(page)
    assert not elements.open, 'elements that are not closed'
    assert [row['id'] for row in elements.of('article')] == ['autoformer', 'soft_teacher', 'ckdn']
    assert {'#autoformer', '#soft_teacher', '#ckdn'} <= {row['href'] for row in elements.of('a')}
    assert '<strong>73 %</strong><span>of &lt;pairs&gt; are right</span>' in page
    assert 'openmsra train &lt;this&gt;' in page and 'in 1 min 1 s' in page and 'in 2 min 5 s' in page
    assert 'state skipped">skipped</span> Not run: no operators.' in page
    assert 'state failed">failed</span>' in page and 'KeyError: &lt;a&gt;' in page
    assert 'One of them failed' in page and 'One method, trained just now' in page
    for exhibit in (autoformer.EXHIBIT, soft_teacher.EXHIBIT, ckdn.EXHIBIT):
        assert exhibit.full_command in page


def test_nothing_is_asked_from_anywhere(page):
    elements = Elements(page)
    assert not {'script', 'link', 'iframe', 'object', 'embed'} & {tag for tag, _ in elements.elements}
    assert 'url(http' not in page and '@import' not in page
    for tag, attributes in elements.elements:
        for name in ('src', 'srcset', 'data', 'poster', 'href', 'xlink:href'):
            value = attributes.get(name, '#')
            assert value.startswith(('data:', '#')) or tag == 'a', f'<{tag} {name}={value[:60]}>'


def test_pictures_and_charts_are_described_and_names_are_unique(page):
    elements = Elements(page)
    assert all(row.get('alt') for row in elements.of('img'))
    (chart,) = (row for row in elements.of('svg'))
    assert chart['role'] == 'img' and chart['aria-label'] == 'Pairs & order. first: from 1.0 to 4.0; second: from 1.0 to 1.5.'
    ids = [attributes['id'] for _, attributes in elements.elements if 'id' in attributes]
    assert len(ids) == len(set(ids))
    assert {'lang': 'en'} in elements.of('html') and any(row.get('name') == 'viewport' for row in elements.of('meta'))


def test_charts_take_their_colours_from_the_page(page):
    for colour in ('currentColor', 'var(--grid)', 'var(--series-1)', 'var(--series-2)'):
        assert colour in page
    assert '#0103' not in page and '#010101' not in page
    assert len(page) < 120_000


def test_page_in_a_browser(page, tmp_path):
    """No message on the console, nothing wider than a telephone, no finding of axe, in light and dark."""
    chromium = shutil.which('chromium') or shutil.which('google-chrome')
    absent = [name for name in ('playwright', 'axe_playwright_python') if importlib.util.find_spec(name) is None]
    if absent or not chromium:
        pytest.skip(
            f'needs Chromium and {", ".join(absent) or "nothing else"}: apt install chromium; pip install {" ".join(absent)}'
        )
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    (tmp_path / 'report.html').write_text(page, encoding='utf-8')
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        for scheme in ('light', 'dark'):
            tab, said = browser.new_page(viewport=dict(width=390, height=800), color_scheme=scheme), []
            tab.on('console', lambda message: said.append(message.text))  # noqa: B023 - read in this round
            tab.on('request', lambda request: said.append(request.url))  # noqa: B023
            tab.goto((tmp_path / 'report.html').as_uri())
            assert [line for line in said if not line.startswith(('file:', 'data:'))] == []
            assert tab.evaluate('document.documentElement.scrollWidth') <= 390
            assert Axe().run(tab).response['violations'] == []
        browser.close()

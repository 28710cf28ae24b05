"""The page: one file, without requests to anywhere, light and dark, for wide and narrow screens."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path

from openmsra import __version__
from openmsra.demo.exhibit import Exhibit
from openmsra.demo.stage import Findings, Picture

STYLE = Path(__file__).with_name('style.css')


@dataclass
class Section:
    """A paper on the page.

    Attributes:
        paper: its package.
        findings: what was shown; ``None`` where it did not run to its end.
        problem: why not.
        skipped: it was not tried.
        commands: what was run.
        seconds: that it took.
    """

    paper: str
    exhibit: Exhibit
    findings: Findings | None = None
    problem: str = ''
    skipped: bool = False
    commands: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.findings is None and not self.skipped


def render(sections: list[Section], seconds: float, machine: str) -> str:
    """The whole page."""
    shown = [section for section in sections if section.findings]
    failed = [section for section in sections if section.failed]
    count = 'One method' if len(shown) == 1 else f'{_word(len(shown)).capitalize()} methods'
    trouble = f' {_word(len(failed)).capitalize()} of them failed; their sections say why.' if failed else ''
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>openmsra: the demonstration</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body>
<header><h1>{count}, trained just now on this machine</h1>
<p class="lead">Everything below was trained, tested and used in {_duration(seconds)} by the commands that you would type
yourself, on data that installed packages bring along. Small data, small networks: the numbers are true, and far from those of the
papers.{trouble}</p>
<nav aria-label="Methods"><ul class="cards">{''.join(map(_card, sections))}</ul></nav></header>
<main>{''.join(map(_article, sections))}</main>
<footer><p>openmsra {html.escape(__version__)}, {html.escape(machine)}. Your own data: <code>openmsra new PAPER --help</code>.
All configs: <code>openmsra list --long</code>.</p></footer></body></html>
"""


def _card(section: Section) -> str:
    if section.findings:
        number, what = section.findings.figure, section.findings.meaning
    else:
        number, what = ('–', 'did not run here') if section.skipped else ('failed', 'its section says why')
    return (
        f'<li><a href="#{section.paper}"><span class="name">{html.escape(section.exhibit.name)}</span>'
        f'<span class="number">{html.escape(number)}</span><span class="what">{html.escape(what)}</span></a></li>'
    )


def _article(section: Section) -> str:
    exhibit, paper = section.exhibit, section.paper
    took = f'<h3>What was run, in {_duration(section.seconds)}</h3>' if section.findings else '<h3>What was run</h3>'
    commands = f'{took}<pre><code>{html.escape(chr(10).join(section.commands))}</code></pre>' if section.commands else ''
    return f"""
<article id="{paper}" aria-labelledby="{paper}-name"><h2 id="{paper}-name">{html.escape(exhibit.name)}</h2>
<p class="paper"><a href="{html.escape(exhibit.url)}">{html.escape(exhibit.title)}</a>, ICCV 2021</p>
<p class="text">{html.escape(exhibit.sentences)}</p>
<p class="text"><b>Here:</b> {html.escape(exhibit.toy)}</p>
{_findings(section.findings) if section.findings else _problem(section)}{commands}
<details><summary>At full size</summary><p>{html.escape(exhibit.full)}</p>
<pre><code>{html.escape(exhibit.full_command)}</code></pre></details></article>"""


def _findings(findings: Findings) -> str:
    pictures = ''.join(map(_picture, findings.pictures))
    return f"""<p class="result"><strong>{html.escape(findings.figure)}</strong><span>{html.escape(findings.meaning)}</span></p>
<p class="compared">{html.escape(findings.compared)}</p>
<div class="shown"><figure>{findings.chart}<figcaption>{html.escape(findings.chart_caption)}</figcaption></figure>{pictures}</div>
<p class="text"><b>Mind:</b> {html.escape(findings.remark)}</p>"""


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    return (
        f'<figure><img alt="{html.escape(picture.alt)}" src="data:{picture.kind};base64,{data}">'
        f'<figcaption>{html.escape(picture.caption)}</figcaption></figure>'
    )


def _problem(section: Section) -> str:
    state = 'skipped' if section.skipped else 'failed'
    first, _, rest = section.problem.partition('\n')
    more = f'<pre><code>{html.escape(rest)}</code></pre>' if rest else ''
    return f'<p class="text"><span class="state {state}">{state}</span> {html.escape(first)}</p>{more}'


def _word(number: int) -> str:
    return ('none', 'one', 'two', 'three', 'four', 'five', 'six')[number]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'

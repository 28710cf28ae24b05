"""Results as HTML: one player for scored videos, and sentences. No script is loaded from anywhere."""

import base64
import html
import io
import json
from collections.abc import Mapping

import numpy as np

from openmsra.cli.app.tasks import ShownFrame, VideoResult

WIDTH, HEIGHT, LEFT, BOTTOM = 520, 220, 40, 28  # of the timeline, in its own units
COLOURS = ('#4f46e5', '#0891b2', '#b45309', '#be185d', '#15803d')

# of the page that shows it. om_show moves the player to a frame
HEAD = """<script>
function om_show(player, index) {
  const frames = player.querySelectorAll('.om-frame');
  index = Math.max(0, Math.min(frames.length - 1, Number(index)));
  frames.forEach((frame, i) => frame.hidden = i !== index);
  const x = frames[index].dataset.x, cursor = player.querySelector('.om-cursor');
  cursor.setAttribute('x1', x); cursor.setAttribute('x2', x);
  const slider = player.querySelector('input');
  slider.value = index; slider.setAttribute('aria-valuetext', frames[index].dataset.says);
  player.querySelector('.om-says').textContent = frames[index].dataset.says;
}
function om_click(svg, event) {
  const player = svg.closest('.om-player'), box = svg.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
  let best = 0, gap = Infinity;
  player.querySelectorAll('.om-frame').forEach((frame, i) => {
    if (Math.abs(frame.dataset.x - x) < gap) { gap = Math.abs(frame.dataset.x - x); best = i; }
  });
  om_show(player, best);
}
</script>"""

CSS = """
.gradio-container { width: 100% !important; min-width: 0 !important; max-width: 1180px !important; margin: 0 auto !important; }
.om-title h1 { font-size: 1.7rem; margin: .2rem 0 0; } .om-title p { margin: .1rem 0 .6rem; opacity: .8; }
.om-card { border: 1px solid var(--border-color-primary); border-radius: 12px; padding: 14px 18px; margin-bottom: 12px;
  background: var(--background-fill-primary); }
.om-verdict { display: flex; gap: 18px; align-items: center; flex-wrap: wrap; }
.om-number { font-size: 2.4rem; font-weight: 700; font-variant-numeric: tabular-nums; line-height: 1.1; }
.om-verdict p, .om-note p { margin: 2px 0; } .om-note { font-size: .92rem; opacity: .85; }
.om-all .grid-wrap { min-height: 0 !important; max-height: none !important; overflow: visible; }
.om-all .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(260px, 44%), 1fr)) !important; }
.om-small .grid-container { grid-template-columns: repeat(auto-fill, minmax(105px, 1fr)) !important; }
.om-fault { border-left: 4px solid #b45309; padding: 4px 12px; margin: 8px 0; }
.om-player { display: grid; grid-template-columns: minmax(220px, 5fr) 7fr; gap: 16px; align-items: start; }
.om-frame { position: relative; margin: 0; } .om-frame[hidden] { display: none; }
.om-frame img { width: 100%; display: block; border-radius: 8px; image-rendering: auto; background: #0002; }
.om-box { position: absolute; border: 3px solid; border-radius: 3px; box-sizing: border-box; }
.om-box span { position: absolute; left: -3px; top: -1.55em; font: 600 13px/1.5 system-ui, sans-serif; color: #fff;
  padding: 0 5px; border-radius: 3px 3px 0 0; white-space: nowrap; } .om-box.om-top span { top: auto; bottom: -1.55em; }
.om-time svg { width: 100%; height: auto; cursor: crosshair; display: block; } .om-time input { width: 100%; margin: 6px 0; }
.om-time text { font: 13px system-ui, sans-serif; fill: var(--body-text-color); }
.om-says { font-variant-numeric: tabular-nums; min-height: 1.5em; }
@media (max-width: 700px) { .om-player { grid-template-columns: 1fr; padding: 10px; } .om-time text { font-size: 17px; } }
"""


def note(text: str) -> str:
    """A sentence in plain letters."""
    return f'<div class="om-note"><p>{html.escape(text)}</p></div>'


def faults(reasons: Mapping[str, str]) -> str:
    """What was left out, and why; nothing where nothing was."""
    if not reasons:
        return ''
    lines = [reason if name in reason else f'{name}: {reason}' for name, reason in list(reasons.items())[:12]]
    more = f'<p>and {len(reasons) - len(lines)} more</p>' if len(reasons) > len(lines) else ''
    return f'<div class="om-fault">{"".join(f"<p>{html.escape(line)}</p>" for line in lines)}{more}</div>'


def video(result: VideoResult, threshold: float) -> str:
    """The verdict on a video, its frames with boxes, and the scores over time with a cursor."""
    score = result.score
    if score.score is None:
        verdict = '<div class="om-number">no score</div><div><p>No face could be scored.</p></div>'
    else:
        fake = score.score >= threshold
        word = 'At or above the threshold: looks forged' if fake else 'Below the threshold: nothing found'
        share = f'{threshold:.2f}, with {len(score.tracks)} face{"s" * (len(score.tracks) > 1)} over {len(score.times)} frames'
        verdict = (
            f'<div class="om-number" style="color:{"#dc2626" if fake else "#15803d"}">{score.score:.3f}</div>'
            f'<div><p><b>{word}</b></p><p>threshold {share}</p></div>'
        )
    warnings = list(score.warnings)
    if result.cut:
        warnings.append(f'only the first {len(score.times)} frames were looked at (--max-frames)')
    warnings.append('on material unlike the training data scores are badly calibrated: choose a threshold on videos like yours')
    notes = ''.join(f'<p>{html.escape(text[0].upper() + text[1:])}.</p>' for text in warnings)
    card = f'<div class="om-card"><div class="om-verdict">{verdict}</div><div class="om-note">{notes}</div></div>'
    return card + (_player(result, threshold) if result.frames else '')


def _player(result: VideoResult, threshold: float) -> str:
    start = _most_suspicious(result)
    frames = ''.join(_frame(frame, result, threshold, index != start) for index, frame in enumerate(result.frames))
    says = html.escape(_says(result.frames[start], result))
    return (
        f'<div class="om-card om-player"><div>{frames}</div><div class="om-time">{_timeline(result, threshold, start)}'
        f'<input type="range" min="0" max="{len(result.frames) - 1}" value="{start}" aria-label="frame" aria-valuetext="{says}" '
        f'oninput="om_show(this.closest(\'.om-player\'), this.value)">'
        f'<p class="om-says" aria-live="polite">{says}</p></div></div>'
    )


def _most_suspicious(result: VideoResult) -> int:
    highest = [max((score for _, score, _ in _faces(frame, result)), default=-1.0) for frame in result.frames]
    return int(np.argmax(highest))


def _faces(frame: ShownFrame, result: VideoResult) -> list[tuple[int, float, np.ndarray]]:
    """(number, score, box) of the faces in a frame."""
    faces = []
    for number, track in enumerate(result.score.tracks):
        place = frame.number - track.track.start
        if 0 <= place < len(track.frame_scores) and np.isfinite(track.frame_scores[place]):  # a long stride leaves gaps
            faces.append((number, float(track.frame_scores[place]), track.track.boxes[place]))
    return faces


def _says(frame: ShownFrame, result: VideoResult) -> str:
    faces = [f'face {number}: {score:.3f}' for number, score, _ in _faces(frame, result)]
    return f'{frame.time:.2f} s, frame {frame.number}: {"; ".join(faces) or "no face"}'


def _frame(frame: ShownFrame, result: VideoResult, threshold: float, hidden: bool) -> str:
    stream, (width, height) = io.BytesIO(), frame.size
    frame.picture.save(stream, 'JPEG', quality=82)
    boxes = []
    for number, score, (x1, y1, x2, y2) in _faces(frame, result):
        colour = '#dc2626' if score >= threshold else '#15803d'
        x1, x2, y1, y2 = (float(np.clip(100 * value, 0, 100)) for value in (x1 / width, x2 / width, y1 / height, y2 / height))
        place = f'left:{x1:.2f}%;top:{y1:.2f}%;width:{x2 - x1:.2f}%;height:{y2 - y1:.2f}%;border-color:{colour}'
        kind = 'om-box om-top' if y1 < 8 else 'om-box'
        boxes.append(f'<div class="{kind}" style="{place}"><span style="background:{colour}">{number}: {score:.2f}</span></div>')
    says = html.escape(_says(frame, result))
    return (
        f'<figure class="om-frame" data-x="{_x(frame.time, result):.1f}" data-says="{says}"{" hidden" * hidden}>'
        f'<img alt="{says}" src="data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}">{"".join(boxes)}</figure>'
    )


def _x(time: float, result: VideoResult) -> float:
    last = max(float(result.score.times[-1]), 1e-6)
    return LEFT + (WIDTH - LEFT - 10) * time / last


def _y(score: float) -> float:
    return 12 + (HEIGHT - BOTTOM - 12) * (1 - score)


def _timeline(result: VideoResult, threshold: float, start: int) -> str:
    score, parts = result.score, []
    for value in (0, 0.5, 1):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{_y(value):.1f}" y2="{_y(value):.1f}" stroke="#8884"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{_y(value) + 5:.1f}" text-anchor="end">{value:g}</text>')
    for share in (0, 0.5, 1):
        time, anchor = share * float(score.times[-1]), ('start', 'middle', 'end')[round(2 * share)]
        parts.append(f'<text x="{_x(time, result):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{time:.1f} s</text>')
    parts.append(
        f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{_y(threshold):.1f}" y2="{_y(threshold):.1f}" stroke="#dc2626" '
        'stroke-dasharray="6 5"/>'
    )
    for number, track in enumerate(score.tracks):
        numbers = track.track.start + np.arange(len(track.frame_scores))
        step = -(-len(numbers) // 400)
        points = ' '.join(
            f'{_x(float(score.times[n]), result):.1f},{_y(float(value)):.1f}'
            for n, value in list(zip(numbers, track.frame_scores, strict=True))[::step]
            if np.isfinite(value)
        )
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
    x = _x(result.frames[start].time, result)
    cursor = f'x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{HEIGHT - BOTTOM}"'
    parts.append(f'<line class="om-cursor" {cursor} stroke="currentColor" stroke-width="2"/>')
    label = 'probability of a forgery over time; the dashed line is the threshold'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" onclick="om_click(this, event)">'
        f'<title>{label}</title>{"".join(parts)}</svg>'
    )


def rows_as_json(rows: list[dict]) -> str:
    """Rows for a file."""
    return json.dumps(rows, indent=1, ensure_ascii=False) + '\n'

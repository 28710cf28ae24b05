"""The page: a tab for each network that has weights. The only module that needs Gradio."""

import csv
import errno
import shutil
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from openmsra.cli.app import tasks, views
from openmsra.cli.app.jobs import Job, Sessions, StoppedError
from openmsra.cli.app.uploads import Limits, take
from openmsra.common.images import SUFFIXES as IMAGES
from openmsra.common.video import SUFFIXES as VIDEOS
from openmsra.errors import UserError
from openmsra.ftcn.faces.detectors import face_source

TITLES = {
    'ftcn': 'Forged video?',
    'ckdn': 'Quality of restoration',
    'soft_teacher': 'Detect objects',
    'autoformer': 'Classify',
    'maskco': 'Similar images',
    'mcn': 'Similar videos',
}
SHOWN_ROWS = 1000
RESULTS = 'results'  # of the private folder
PROGRESS = gr.Progress()  # Gradio fills in whose
KEEP = 1800  # seconds that results of a search stay in memory where a page is left open


class Workshop:
    """What the tabs share: limits, the private folder, who is running what.

    Args:
        inferencers: by paper.
        weights: what each tab says about its network, by paper.
        limits: of a visitor.
        folder: private; each visit has a folder in it, which goes with the visit.
    """

    def __init__(self, inferencers: dict[str, Any], weights: dict[str, str], limits: Limits, folder: Path) -> None:
        self.inferencers, self.weights, self.limits, self.folder = inferencers, weights, limits, folder
        self.sessions, self.uploads, self.results = Sessions(), defaultdict(set), defaultdict(list)

    def work(self, files: list[Path], request: gr.Request, progress: gr.Progress, task: Callable[[Job, Path], Any]) -> Any:
        """Run a task for a visitor; whatever goes wrong is a message on the page, and the server goes on.

        Args:
            files: of the visitor, that are removed when the page is closed.
            task: takes the job and a new folder for its results.
        """
        session = request.session_hash or ''
        job = Job(self.limits.seconds, lambda share, text: progress(share, desc=text))
        self.uploads[session].update(files)
        try:
            folder = Path(tempfile.mkdtemp(prefix='results-', dir=self.folder / RESULTS))
            self.results[session].append(folder)
            with self.sessions.running(session, job):
                return task(job, folder)
        except (UserError, StoppedError) as error:
            raise gr.Error(str(error), title='Not done', duration=None, print_exception=False) from None
        except OSError as error:
            traceback.print_exc()
            full = error.errno == errno.ENOSPC
            text = 'The disk of this server is full; try again later.' if full else f'The server cannot: {error.strerror}.'
            raise gr.Error(text, title='Not done', duration=None, print_exception=False) from None
        except Exception:  # noqa: BLE001 - one visitor's file must not end the others' server
            traceback.print_exc()
            raise gr.Error(
                'A fault of the program, not of yours; the log of the server has it.', title='Not done', print_exception=False
            ) from None

    def stop(self, request: gr.Request) -> None:
        """Stop what runs for a visitor."""
        self.sessions.stop(request.session_hash or '')

    def leave(self, request: gr.Request) -> None:
        """The page was closed: stop its work, remove its files."""
        session = request.session_hash or ''
        self.sessions.stop(session)
        mine = self.uploads.pop(session, set())
        for file in mine - set().union(*self.uploads.values()):  # Gradio keeps files of one content once
            if self.folder in file.parents:
                shutil.rmtree(file.parent, ignore_errors=True)
        for folder in self.results.pop(session, ()):
            shutil.rmtree(folder, ignore_errors=True)


def build(workshop: Workshop, about: str) -> gr.Blocks:
    """The page of a workshop.

    Args:
        about: a line below the title.
    """
    with gr.Blocks(title='openmsra', analytics_enabled=False) as page:
        gr.HTML(f'<div class="om-title"><h1>openmsra</h1>{views.note(about)}</div>')
        with gr.Tabs():
            for paper, title in TITLES.items():
                if paper in workshop.inferencers:
                    with gr.Tab(title, id=paper):
                        TABS[paper](workshop, paper)
                        gr.HTML(views.note(f'{paper}: {workshop.weights[paper]}'))
        page.unload(workshop.leave)
    page.queue(max_size=24, default_concurrency_limit=1)
    return page


def theme() -> gr.themes.Base:
    """Fonts of the visitor's own machine: nothing is asked of any other."""
    sans = ['system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif']
    return gr.themes.Soft(primary_hue='indigo', font=sans, font_mono=['ui-monospace', 'monospace'])


def _files(paper: str, label: str, suffixes: tuple[str, ...], several: bool = True) -> gr.File:
    """A box for files, with a button for a whole folder."""
    count, name = 'multiple' if several else 'single', f'{paper}-{label.lower()}'
    box = gr.File(label=label, file_count=count, file_types=list(suffixes), height=170, elem_id=name)
    if several:
        folder = gr.UploadButton('or take a whole folder', file_count='directory', size='sm', variant='secondary')
        chosen = tuple(suffixes)
        folder.upload(lambda files: [f for f in files or () if f.lower().endswith(chosen)], folder, box, queue=False)
    return box


def _run(workshop: Workshop, paper: str, label: str, function: Callable, inputs: list, outputs: list) -> None:
    """Buttons that start and stop a tab's work, which waits for its turn at the tab's network."""
    with gr.Row():
        start = gr.Button(label, variant='primary', scale=3, min_width=120)
        stop = gr.Button('Stop', variant='stop', scale=1, min_width=80)
    event = start.click(
        function, inputs, outputs, concurrency_id=paper, concurrency_limit=1, show_progress='full',
        show_progress_on=outputs[:1], api_visibility='private',
    )  # fmt: skip
    stop.click(workshop.stop, cancels=[event], queue=False, api_visibility='private')


def _csv(rows: list[dict], folder: Path) -> str:
    file = folder / 'results.csv'
    with file.open('w', newline='', encoding='utf-8', errors='backslashreplace') as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return str(file)


def _json(rows: Any, folder: Path) -> str:
    file = folder / 'results.json'
    file.write_text(views.rows_as_json(rows), encoding='utf-8')
    return str(file)


def _table(rows: list[dict]) -> Any:
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ['nothing found']
    values = [[row.get(column, '') for column in columns] for row in rows[:SHOWN_ROWS]]
    return gr.update(value=dict(headers=columns, data=values), visible=True)


def _download() -> gr.DownloadButton:
    return gr.DownloadButton('Results as a file', size='sm', visible=False)


def _ready(file: str) -> Any:
    return gr.update(value=file, visible=True)


def _pictures(result: tasks.Pictures, folder: Path) -> tuple:
    """Values for the outputs of a tab of images."""
    gallery = [(str(file), caption) for file, caption in result.pictures]
    return gallery, views.faults(result.faults), _table(result.rows), _ready(_csv(result.rows, folder))


def _picture_outputs(label: str) -> list:
    gr.HTML(views.note(label))
    left_out = gr.HTML()
    gallery = gr.Gallery(
        show_label=False,
        columns=2,
        object_fit='contain',
        height='auto',
        preview=False,
        buttons=['fullscreen'],
        elem_classes='om-all',
    )
    table = gr.Dataframe(label='In numbers', interactive=False, wrap=True, max_height=420, visible=False)
    return [gallery, left_out, table, _download()]


def _ftcn(workshop: Workshop, paper: str) -> None:
    inferencer = workshop.inferencers[paper]

    def run(file, faces, stride, threshold, request: gr.Request, progress=PROGRESS):
        def task(job: Job, folder: Path) -> tuple:
            from openmsra.ftcn.report import as_dict

            [path] = take(file, workshop.limits, 'video')
            detector = face_source('none' if faces == 'the frames are faces' else FACES, inferencer.min_face)
            result = tasks.score_video(inferencer, path, detector, job, workshop.limits, int(stride))
            return views.video(result, threshold), _ready(_json(as_dict(result.score, threshold), folder))

        return workshop.work(_paths(file), request, progress, task)

    gr.HTML(views.note('Drop a video. Faces are found and followed; each stretch of a face gets a probability of a forgery.'))
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = _files(paper, 'Video', VIDEOS, several=False)
            faces = gr.Radio(['find the faces', 'the frames are faces'], value='find the faces', label='Faces')
            with gr.Accordion('More', open=False):
                stride = gr.Slider(1, 32, 8, step=1, label='Frames between clips (1 is the official setting, and slow)')
                threshold = gr.Slider(0, 1, 0.5, step=0.01, label='Threshold')
            buttons = gr.Column()
        with gr.Column(scale=3, min_width=300):
            shown, download = (
                gr.HTML(views.note('The score over time appears here, beside the frames.'), min_height=160),
                _download(),
            )
    with buttons:
        _run(workshop, paper, 'Score the video', run, [file, faces, stride, threshold], [shown, download])


def _ckdn(workshop: Workshop, paper: str) -> None:
    inferencer = workshop.inferencers[paper]

    def run(restored, degraded, crop, maps, request: gr.Request, progress=PROGRESS):
        def task(job: Job, folder: Path) -> tuple:
            first, second = (take(files, workshop.limits, kind) for files, kind in ((restored, RESTORED), (degraded, DEGRADED)))
            return _pictures(tasks.score_pairs(inferencer, first, second, job, folder, crop, maps), folder)

        return workshop.work(_paths(restored) + _paths(degraded), request, progress, task)

    gr.HTML(
        views.note(
            'Restored images on one side, what they were made from on the other. One degraded image goes with all restored ones; '
            'several go together by name. Scores rank versions of one scene; across scenes they mix in content.'
        )
    )
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            restored, degraded = _files(paper, 'Restored', IMAGES), _files(paper, 'Degraded', IMAGES)
            maps = gr.Checkbox(True, label='Maps of quality (red: worst of this image)')
            crop = gr.Radio(['center', 'grid', 'whole'], value='center', label='What is scored (center: as published)')
            buttons = gr.Column()
        with gr.Column(scale=3, min_width=300):
            outputs = _picture_outputs('Score and name of each, best first.')
    with buttons:
        _run(workshop, paper, 'Score the pairs', run, [restored, degraded, crop, maps], outputs)


def _soft_teacher(workshop: Workshop, paper: str) -> None:
    gr.HTML(views.note('Drop images. Boxes from the chosen score on are drawn; the file of results has them in pixels.'))
    least = gr.Slider(0, 1, 0.3, step=0.01, label='Least score of a box', render=False)
    _images(workshop, paper, tasks.detect, least, 'Detect', 'Detections appear here.')


def _autoformer(workshop: Workshop, paper: str) -> None:
    def classify(*arguments) -> tasks.Pictures:
        *rest, topk = arguments
        return tasks.classify(*rest, int(topk))

    gr.HTML(views.note('Drop images; each gets its most probable classes.'))
    topk = gr.Slider(1, 10, 5, step=1, label='Classes of each image', render=False)
    _images(workshop, paper, classify, topk, 'Classify', 'The most probable class of each appears here.')


def _images(workshop: Workshop, paper: str, work: Callable, setting: gr.Slider, label: str, empty: str) -> None:
    """Images on one side, pictures of what the network makes of them on the other; ``work`` gets the setting last."""
    inferencer = workshop.inferencers[paper]

    def run(files, value, request: gr.Request, progress=PROGRESS):
        def task(job: Job, folder: Path) -> tuple:
            paths = take(files, workshop.limits, 'images')
            return _pictures(work(inferencer, paths, job, folder, workshop.limits, value), folder)

        return workshop.work(_paths(files), request, progress, task)

    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            files = _files(paper, 'Images', IMAGES)
            setting.render()
            buttons = gr.Column()
        with gr.Column(scale=3, min_width=300):
            outputs = _picture_outputs(empty)
    with buttons:
        _run(workshop, paper, label, run, [files, setting], outputs)


def _search(workshop: Workshop, paper: str) -> None:
    """Search by example, for MaskCo and MCN."""
    inferencer = workshop.inferencers[paper]
    kind, suffixes = ('videos', VIDEOS) if inferencer.key == 'video' else ('images', IMAGES)

    def run(files, request: gr.Request, progress=PROGRESS):
        def task(job: Job, folder: Path) -> tuple:
            examples = tasks.embed(inferencer, take(files, workshop.limits, kind), job, folder, workshop.limits)
            gallery = [(str(file), name) for file, name in zip(examples.pictures, examples.names, strict=True)]
            return gallery, views.faults(examples.faults), examples, []

        return workshop.work(_paths(files), request, progress, task)

    def nearest(examples: tasks.Examples | None, count: float, chosen: gr.SelectData):
        if examples is None:
            return views.note('First press Embed.'), []
        near = examples.nearest(chosen.index, int(count))
        pictures = [(str(examples.pictures[number]), f'{value:.3f}  {examples.names[number]}') for number, value in near]
        return views.note(f'Nearest to {examples.names[chosen.index]}, with cosine similarities.'), pictures

    gr.HTML(
        views.note(
            f'Drop {kind}, or a folder of them; then click one to see the others that are most like it. No labels are used.'
        )
    )
    examples = gr.State(None, time_to_live=KEEP)
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            files = _files(paper, kind.capitalize(), suffixes)
            count = gr.Slider(1, 20, 8, step=1, label='Neighbours')
            buttons = gr.Column()
        with gr.Column(scale=3, min_width=300):
            gr.HTML(views.note(f'Your {kind}: click one.'))
            gallery = gr.Gallery(
                show_label=False,
                columns=6,
                height='auto',
                allow_preview=False,
                object_fit='cover',
                buttons=[],
                elem_classes=['om-all', 'om-small'],
                elem_id=f'{paper}-all',
            )
            left_out, says = gr.HTML(), gr.HTML(views.note('Its neighbours appear here.'))
            near = gr.Gallery(
                show_label=False,
                columns=4,
                height='auto',
                allow_preview=False,
                buttons=[],
                elem_classes=['om-all', 'om-small'],
                elem_id=f'{paper}-near',
            )
    with buttons:
        _run(workshop, paper, 'Embed', run, [files], [gallery, left_out, examples, near])
    gallery.select(nearest, [examples, count], [says, near], queue=False, api_visibility='private')


def _paths(files: list[str] | str | None) -> list[Path]:
    return [Path(file) for file in ([files] if isinstance(files, str) else files or ())]


RESTORED, DEGRADED = 'restored images', 'degraded images'
FACES = 'auto'
TABS = dict(ftcn=_ftcn, ckdn=_ckdn, soft_teacher=_soft_teacher, autoformer=_autoformer, maskco=_search, mcn=_search)

"""The functions behind the page of ``openmsra app``; tests/cli/test_app_browser.py opens the page itself."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmsra.cli.app import guard, server, tasks, uploads, views
from openmsra.cli.app.jobs import Job, Sessions, StoppedError
from openmsra.cli.app.main import main, named_weights
from openmsra.errors import CheckpointError, DataError, MissingFileError, ToolError, VideoError

LIMITS = uploads.Limits(file_mb=1, files=3, total_mb=2, seconds=5, frames=40, pixels=10_000)


# --- what comes in over the network


def ask(method='GET', path='/', headers=None, body=(), query='', limits=LIMITS, folder='/tmp', **kwargs):
    """Status, headers, body of an answer, and what the application behind the guard has read."""
    sent, got = [], []
    messages = iter([dict(type='http.request', body=part, more_body=number < len(body) - 1) for number, part in enumerate(body)])

    async def app(scope, receive, send):
        while (message := await receive())['type'] == 'http.request':
            got.append(message.get('body', b''))
            if not message.get('more_body'):
                break
        else:
            got.append(None)
        await send(dict(type='http.response.start', status=200, headers=[]))
        await send(dict(type='http.response.body', body=b'page'))

    async def receive():
        return next(messages, dict(type='http.request', body=b''))

    async def send(message):
        sent.append(message)

    fields = {'host': '127.0.0.1:7860', **(headers or {})}
    scope = dict(type='http', method=method, path=path, query_string=query.encode())
    scope['headers'] = [(name.encode(), value.encode()) for name, value in fields.items()]
    asyncio.run(guard.Guard(app, limits, Path(folder), **kwargs)(scope, receive, send))
    answer = {name.decode(): value.decode() for name, value in sent[0]['headers']}
    return sent[0]['status'], answer, sent[1]['body'].decode(), got


HERE = frozenset({'127.0.0.1', 'localhost'})


def test_answers_forbid_the_browser_to_ask_anybody_else():
    status, headers, body, _ = ask(hosts=HERE)
    assert (status, body) == (200, 'page')
    policy = dict(part.strip().split(' ', 1) for part in headers['content-security-policy'].split(';'))
    assert policy['default-src'] == policy['connect-src'] == "'self'"
    assert not any('http' in value or '*' in value for value in policy.values())


def test_other_names_and_other_sites_are_refused():
    assert ask(headers={'host': 'evil.example'}, hosts=HERE)[0] == 421
    assert ask(headers={'host': 'localhost:7860'}, hosts=HERE)[0] == 200
    post = dict(method='POST', path='/gradio_api/queue/join', hosts=HERE)
    assert ask(**post, headers={'origin': 'http://evil.example'})[0] == 403
    assert ask(**post, headers={'origin': 'http://127.0.0.1:7860'})[0] == 200
    assert ask(path='/gradio_api/proxy=https://evil.example/')[0] == 404


def test_token_is_asked_once_and_kept_in_a_cookie():
    status, headers, body, _ = ask(token='right')
    assert status == 401 and 'right' not in body and '<input' in body
    assert ask(token='right', query='token=wrong')[0] == 401
    status, headers, _, _ = ask(token='right', query='token=right', path='/')
    assert status == 303 and headers['location'] == '/' and 'HttpOnly; SameSite=Strict' in headers['set-cookie']
    cookie = headers['set-cookie'].partition(';')[0]
    assert ask(token='right', headers={'cookie': cookie})[0] == 200
    for bad in (f'{guard.COOKIE}=wrong', 'a=b', 'x\x01;;=', f'{guard.COOKIE}=é'):
        assert ask(token='right', headers={'cookie': bad})[0] == 401


def test_large_uploads_are_refused_by_their_announcement_and_by_their_bytes(tmp_path):
    upload = dict(method='POST', path='/gradio_api/upload', folder=tmp_path)
    status, _, body, got = ask(**upload, headers={'content-length': str(4 * 2**30)})
    assert status == 413 and '2 MB' in body and not got  # 4 GB: not a byte is read
    assert ask(**upload, headers={'content-length': '-1'})[0] == 413
    parts = [b'x' * 2**19] * 6  # 3 MB that announce nothing
    assert ask(**upload, body=parts)[3][-1] is None and len(ask(**upload, body=parts)[3]) == 5
    assert ask(**upload, body=parts[:4])[3] == parts[:4]
    assert ask(method='POST', path='/gradio_api/run/x', body=[b'x' * 2**22] * 3)[3][-1] is None


def test_full_disk_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, 'SPARE_MB', 2**40)
    status, _, body, _ = ask('POST', '/gradio_api/upload', folder=tmp_path)
    assert status == 507 and 'disk' in body


def test_slow_upload_is_ended(tmp_path):
    async def run():
        async def never():
            await asyncio.sleep(60)

        return await guard._Bounded(never, 100, 0.05)()

    assert asyncio.run(run()) == {'type': 'http.disconnect'}


# --- what was uploaded


def picture(file: Path, size=(20, 10), colour=(200, 30, 30)) -> Path:
    Image.new('RGB', size, colour).save(file)
    return file


def test_number_and_sizes_of_uploads(tmp_path):
    files = [picture(tmp_path / f'{number}.png') for number in range(4)]
    assert uploads.take(files[:3], LIMITS, 'images') == files[:3]
    assert uploads.take(str(files[0]), LIMITS, 'images') == files[:1]
    with pytest.raises(ToolError, match='No images yet'):
        uploads.take(None, LIMITS, 'images')
    with pytest.raises(ToolError, match='takes 3 '):
        uploads.take(files, LIMITS, 'images')
    with pytest.raises(ToolError, match='send it again'):
        uploads.take(tmp_path / 'gone.png', LIMITS, 'images')
    for name in 'abc':
        (tmp_path / name).write_bytes(bytes(900_000))
    with pytest.raises(ToolError, match='3 MB in all; this server takes 2 MB'):
        uploads.take([tmp_path / name for name in 'abc'], LIMITS, 'images')
    (tmp_path / 'a').write_bytes(bytes(2**21))
    with pytest.raises(ToolError, match='at most 1 MB a file'):
        uploads.take(tmp_path / 'a', LIMITS, 'images')


def test_content_counts_and_not_the_name(tmp_path):
    good, huge = picture(tmp_path / 'picture.png').rename(tmp_path / 'picture.mp4'), picture(tmp_path / 'huge.png', (200, 200))
    (tmp_path / 'text.png').write_text('hello', encoding='utf-8')
    (tmp_path / 'drawing.png').write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n', encoding='utf-8')
    files = [good, huge, tmp_path / 'text.png', tmp_path / 'drawing.png']
    readable, faults = uploads.readable_images(files, LIMITS)
    assert readable == [good] and set(faults) == {'huge.png', 'text.png', 'drawing.png'}
    assert (
        'at most 10000' in faults['huge.png']
        and 'not an image' in faults['drawing.png']
        and str(tmp_path) not in ''.join(faults.values())
    )
    with pytest.raises(DataError, match='None of these files is an image: text.png'):
        uploads.readable_images(files[2:3], LIMITS)


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'', 'empty'),
        (b'#EXTM3U\nfile:///etc/passwd', 'no video'),
        (b'ffconcat version 1.0', 'no video'),
        (b'\x89PNG\r\n', 'no video'),
    ],
)
def test_play_lists_and_other_texts_reach_no_decoder(tmp_path, content, reason):
    (tmp_path / 'a.mp4').write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        uploads.require_video(tmp_path / 'a.mp4')


# --- work


def test_jobs_stop_end_and_report():
    told, sessions, job = [], Sessions(), Job(report=lambda *what: told.append(what))
    with sessions.running('a', job):
        job.step(0.5, 'half')
        job.step(2.0)
        job.step(0.2, 'no way back')
        assert sessions.stop('b') == 0
        threading.Thread(target=sessions.stop, args=('a',)).start()
        with pytest.raises(StoppedError, match='Stopped'):
            for _ in range(10_000_000):
                job.step(2.0)
    assert told[:3] == [(0.5, 'half'), (1.0, ''), (1.0, 'no way back')] and sessions.stop('a') == 0
    with pytest.raises(StoppedError, match='after 0 seconds'):
        Job(seconds=0).step()


class Network(torch.nn.Module):
    def forward(self, inputs):
        return inputs.float().mean()


class Forger:
    """In the place of FTCN's inferencer: one face in the middle of all frames, its brightness for a score."""

    def __init__(self):
        self.model = Network()

    def __call__(self, frames, name):
        from openmsra.ftcn.faces.tracking import Track
        from openmsra.ftcn.inferencer import TrackScore, VideoScore

        images, times = zip(*frames, strict=True)  # once
        scores, times = np.array([float(self.model(torch.from_numpy(image))) / 255 for image in images]), np.array(times)
        box = np.tile([16.0, 8.0, 48.0, 40.0], (len(times), 1))
        track = Track(0, box, np.zeros((len(times), 5, 2)))
        return VideoScore(name, times, [TrackScore(track, np.array([0]), scores[:1], scores)], float(scores.max()))


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    import cv2

    file = tmp_path_factory.mktemp('video') / 'bright <b>er.mp4'
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'mp4v'), 25, (64, 48))
    for number in range(60):
        writer.write(np.full((48, 64, 3), 4 * number, np.uint8))
    writer.release()
    return file


def test_video_is_scored_over_time_beside_its_frames(video):
    told = []
    result = tasks.score_video(Forger(), video, None, Job(report=lambda *what: told.append(what)), LIMITS)
    assert result.cut and len(result.score.times) == LIMITS.frames  # 40 of 60
    numbers = [frame.number for frame in result.frames]
    assert numbers == list(range(40)) and result.frames[10].size == (64, 48)
    assert np.asarray(result.frames[10].picture).mean() == pytest.approx(40, abs=6)
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == 0.95
    page = views.video(result, threshold=0.5)
    assert page.count('<figure') == 40 and page.count(' hidden>') == 39
    assert 'looks forged' in page and 'only the first 40 frames' in page.lower()
    says = re.search(r'frame 39: face 0: ([0-9.]+)', page)
    assert float(says[1]) == pytest.approx(4 * 39 / 255, abs=0.03)
    assert 'left:25.00%;top:16.67%;width:50.00%;height:66.67%' in page
    assert 'nothing found' in views.video(result, threshold=0.9)
    result.score.tracks[0].frame_scores[38:] = np.nan  # a stride above the length of a clip leaves gaps
    page = views.video(result, threshold=0.5)
    assert 'frame 39: no face' in page and 'frame 37: face 0' in page and 'nan' not in page


def test_long_videos_keep_few_small_frames():
    watched = tasks._Watched(Path('x'), 1500, Job())
    for number in range(1500):
        watched._keep(number, np.zeros((1080, 1920, 3), np.uint8) if number < 2 else np.zeros((9, 16, 3), np.uint8), number / 25)
    numbers = [frame.number for frame in watched.shown()]
    assert len(numbers) == tasks.SHOWN and numbers[0] == 0 and numbers[-1] > 1450 and max(np.diff(numbers)) < 70
    assert watched.kept[0].picture.size == (640, 360) and watched.cut


def test_video_without_a_face_and_a_job_that_is_stopped(video):
    class Blind(Forger):
        def __call__(self, frames, name):
            score = super().__call__(frames, name)
            score.tracks, score.score, score.warnings = [], None, ['no face was found']
            return score

    page = views.video(tasks.score_video(Blind(), video, None, Job(), LIMITS), 0.5)
    assert 'no score' in page and 'No face was found.' in page and 'frame 0: no face' in page
    job, forger = Job(), Forger()
    job.stop()
    with pytest.raises(StoppedError):
        tasks.score_video(forger, video, None, job, LIMITS)
    job = Job(report=lambda share, text: job.stop() if text == 'frame 40 of 40' else None)
    with pytest.raises(StoppedError):  # inside the network
        tasks.score_video(forger, video, None, job, LIMITS)
    assert not forger.model._forward_pre_hooks


class Colours:
    """In the place of an inferencer of images: the mean colour is the feature."""

    key, batch_size = 'image', 2

    def __call__(self, files, batch_size, **options):
        pixels = [np.asarray(Image.open(file).convert('RGB'), float) for file in files]
        rows = [dict(image=str(file), feature=values.mean((0, 1))) for file, values in zip(files, pixels, strict=True)]
        for row in rows:
            row |= dict(classes=['red', 'blue'], scores=[0.75, 0.25], boxes=np.array([[1, 2, 3, 4.04]] * 2))
            row |= dict(names=['cup', 'cat']) | (dict(scores=np.array([0.9, 0.1])) if not options else {})
        for row in rows:
            if 'odd' in row['image']:
                row.clear()
                row |= dict(image='odd', error='too odd')
        return rows

    def draw(self, file, row, score_thr):
        return np.asarray(Image.open(file).convert('RGB'))


@pytest.fixture
def colours(tmp_path):
    kinds = dict(red=(250, 9, 9), pink=(250, 90, 90), blue=(9, 9, 250), odd=(0, 0, 0))
    files = [picture(tmp_path / f'{name}.png', colour=colour) for name, colour in kinds.items()]
    (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8\xff nothing')
    (tmp_path / 'out').mkdir()
    return [*files, tmp_path / 'broken.jpg'], tmp_path / 'out'


def test_search_by_example_leaves_out_what_cannot_be_used(colours):
    files, out = colours
    found = tasks.embed(Colours(), files, Job(), out, LIMITS)
    assert found.names == ['red.png', 'pink.png', 'blue.png'] and set(found.faults) == {'odd.png', 'broken.jpg'}
    assert [found.names[number] for number, _ in found.nearest(0, 5)] == ['pink.png', 'blue.png']
    assert found.nearest(0, 1)[0][1] == pytest.approx(float(found.features[0] @ found.features[1]))
    assert [Image.open(file).size for file in found.pictures] == [(240, 120)] * 3
    with pytest.raises(DataError, match='at least two'):
        tasks.embed(Colours(), files[:1], Job(), out, LIMITS)
    with pytest.raises(DataError, match='None of these files'):
        tasks.embed(Colours(), files[4:], Job(), out, LIMITS)


def test_classes_and_boxes_in_rows_and_pictures(colours):
    files, out = colours
    result = tasks.classify(Colours(), files[:2], Job(), out, LIMITS, topk=2)
    assert result.rows[1] == {'image': 'red.png', 'rank': 2, 'class': 'blue', 'probability': 0.25}
    assert [caption for _, caption in result.pictures] == ['red  75 %'] * 2
    result = tasks.detect(Colours(), files, Job(), out, LIMITS, score_thr=0.5)
    assert result.rows[0] == dict(image='red.png', name='cup', score=0.9, x1=1.0, y1=2.0, x2=3.0, y2=4.0)
    assert len(result.rows) == 3 and result.pictures[0][1] == 'red.png: 1 box'
    page = views.faults({**result.faults, '<script>': 'bad'})
    assert 'odd.png: too odd' in page and '<script>' not in page


def test_restored_images_go_with_their_degraded_ones(colours, monkeypatch):
    from openmsra.ckdn.report import maps

    class Scorer:
        model = None

        def __call__(self, pairs, crop):
            [(restored, degraded)] = pairs
            if 'odd' in restored.name:
                return [dict(error=f'{restored}: odd')]
            brightness = np.asarray(Image.open(restored)).mean() / 255
            return [dict(restored=str(restored), degraded=str(degraded), score=brightness, logit=0.0)]

    monkeypatch.setattr(maps, 'quality_map', lambda model, *pair: np.array([[0.0, 1.0]]))
    files, out = colours
    result = tasks.score_pairs(Scorer(), files[:4], files[2:3], Job(), out)
    assert [row['restored'] for row in result.rows] == ['pink.png', 'red.png', 'blue.png']
    assert {row['degraded'] for row in result.rows} == {'blue.png'} and result.faults == {'odd.png': 'odd.png: odd'}
    result = tasks.score_pairs(Scorer(), files[:3], files[:2], Job(), out)
    assert [(row['restored'], row['degraded']) for row in result.rows] == [('pink.png',) * 2, ('red.png',) * 2]
    assert list(result.faults) == ['1 restored image(s)']
    with pytest.raises(DataError, match='No pair'):
        tasks.score_pairs(Scorer(), files[3:4], files[:1], Job(), out)


# --- the server


def test_private_folder_goes_and_takes_those_of_killed_servers_along(tmp_path, monkeypatch):
    monkeypatch.setattr(server.tempfile, 'tempdir', str(tmp_path))
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    (tmp_path / f'{server.PREFIX}{dead.pid}-x').mkdir()
    (tmp_path / f'{server.PREFIX}{os.getppid()}-x').mkdir()
    with server.private_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, f'{server.PREFIX}{os.getppid()}-x'])
        for part in ('gradio', 'results'):
            (folder / part / 'a').mkdir(parents=True)
        (folder / 'gradio/a/old').touch()
        os.utime(folder / 'gradio/a/old', (0, 0))
        (folder / 'results/a/new').touch()
        server.sweep(folder, age=60)
        assert not (folder / 'gradio/a/old').exists() and (folder / 'results/a/new').exists()
    assert not folder.exists()


def test_ports_and_addresses():
    with server.listen('127.0.0.1', 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ToolError, match=f'--port {port}: another program has it'):
            server.listen('127.0.0.1', port)
    for host, port in (('127.0.0.1', 70_000), ('203.0.113.1', 0)):
        with pytest.raises(ToolError, match=f'--host {host} --port {port}'):
            server.listen(host, port)
    assert server.is_local('127.0.0.1') and server.is_local('::1') and server.is_local('localhost')
    assert not server.is_local('0.0.0.0') and not server.is_local('myhost')


def test_the_process_connects_to_nobody():
    code = (
        'import socket\nfrom openmsra.cli.app.server import stay_here\nstay_here()\n'
        "for ask in (lambda: socket.socket().connect(('127.0.0.1', 9)), lambda: socket.gethostbyname('localhost.invalid'),\n"
        "            lambda: socket.getaddrinfo('other.invalid', 80)):\n"
        '    try:\n        ask()\n    except PermissionError as error:\n        print(error)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    asked = re.findall('connects to nobody, (.*) was asked for', done.stdout)
    assert asked == ['127.0.0.1', 'localhost.invalid', 'other.invalid'], done.stderr


def test_weights_are_named_with_their_paper(tmp_path):
    (tmp_path / 'a.pth').touch()
    assert named_weights(f'ckdn={tmp_path}/a.pth') == ('ckdn', tmp_path / 'a.pth', 'ckdn_r50_8xb8-30e_pipal')
    named = named_weights(f'mcn={tmp_path}/a.pth:mcn_tiny_1xb16-2e_motions_instant')
    assert named == ('mcn', tmp_path / 'a.pth', 'mcn_tiny_1xb16-2e_motions_instant')
    (tmp_path / 'config.py').touch()
    assert named_weights(f'ckdn={tmp_path}/a.pth')[2] == str(tmp_path / 'config.py')
    for text in ('a.pth', 'cdkn=a.pth', 'ckdn='):
        with pytest.raises(ToolError, match='write PAPER=FILE'):
            named_weights(text)
    with pytest.raises(MissingFileError, match='there is no file'):
        named_weights('ckdn=none.pth')
    with pytest.raises(MissingFileError, match='there is no config nowhere'):
        named_weights(f'ckdn={tmp_path}/a.pth:nowhere')


def test_commands_that_cannot_be_meant(tmp_path, monkeypatch):
    (tmp_path / 'a.pth').touch()
    with pytest.raises(ToolError, match='no weights'):
        main([])
    with pytest.raises(ToolError, match='a paper has one tab'):
        main([*(f'--weights=ckdn={tmp_path}/a.pth',) * 2])
    with pytest.raises(ToolError, match='at least 1'):
        main(['--max-files', '0', '--weights', f'ckdn={tmp_path}/a.pth'])
    monkeypatch.setattr(server.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ToolError, match=r'openmsra\[app\]'):
        main(['--weights', f'ckdn={tmp_path}/a.pth'])


def test_weights_of_another_paper_are_named(tmp_path):
    torch.save(dict(state_dict={'some.other': torch.zeros(1)}), tmp_path / 'a.pth')
    chosen = server.Chosen('maskco', tmp_path / 'a.pth', 'maskco_r18-tiny_1xb32-2e_digits_instant')
    with pytest.raises(CheckpointError, match=r'(?s)--weights maskco: .*a\.pth does not fit MaskCo.*some\.other'):
        server.load([chosen], 'cpu')


def test_address_is_free_again(tmp_path):
    with server.listen('127.0.0.1', 0) as first:
        port = first.getsockname()[1]
    with server.listen('127.0.0.1', port) as again, socket.create_connection(again.getsockname()):
        pass

"""The page of ``openmsra app`` in a real browser: needs Gradio, Playwright and Chromium."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.reliability
pytest.importorskip('gradio', reason="pip install 'openmsra[app]'")
playwright = pytest.importorskip('playwright.sync_api', reason='pip install playwright')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
if CHROMIUM is None:
    pytest.skip('no Chromium: apt-get install chromium', allow_module_level=True)
CONFIG = 'maskco_r18-tiny_1xb32-2e_digits_instant'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    import torch

    from openmsra.apis import init_model

    file = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=init_model(CONFIG).state_dict()), file)
    return file


def start(weights: Path, folder: Path, *options: str) -> tuple[subprocess.Popen, str]:
    """A server and its address."""
    command = [sys.executable, '-m', 'openmsra', 'app', '--port', '0', '--weights', f'maskco={weights}:{CONFIG}', *options]
    env = {**os.environ, 'TMPDIR': str(folder)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if address := re.match(r'open (http://\S+)', line):
            return process, address[1]
    raise AssertionError(''.join(lines))


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f'{number}.png')
    (folder / 'broken.jpg').write_text('no image', encoding='utf-8')
    return sorted(folder.iterdir())


def test_a_visit(weights, pictures, tmp_path):
    """Embed, click, see neighbours; on a phone nothing sticks out; nobody else is asked; files go with page and server."""
    process, address = start(weights, tmp_path)
    try:
        with playwright.sync_playwright() as engine:
            browser = engine.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
            page = browser.new_page(viewport=dict(width=390, height=844))
            page.set_default_timeout(120_000)
            asked, errors = [], []
            page.on('request', lambda request: asked.append(request.url))
            page.on('pageerror', lambda error: errors.append(str(error)))
            page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
            page.goto(address)
            page.locator('#maskco-images input[type=file]').set_input_files([str(file) for file in pictures])
            page.locator('#maskco-images >> text=broken').wait_for()
            page.get_by_role('button', name='Embed', exact=True).click()
            page.locator('.om-fault').wait_for()
            assert 'broken.jpg: not an image' in page.locator('.om-fault').inner_text()
            assert page.locator('#maskco-all img').count() == 3
            page.locator('#maskco-all .thumbnail-item').first.click()
            page.locator('#maskco-near img').first.wait_for()
            assert page.locator('#maskco-near img').count() == 2 and page.locator('text=Nearest to 0.png').is_visible()
            assert page.evaluate('document.documentElement.scrollWidth') == 390
            assert asked and not errors
            assert not [url for url in asked if not url.startswith((address, 'data:', 'blob:'))]
            [folder] = tmp_path.glob('openmsra-app-*')
            assert list(folder.glob('results/*/*.jpg')) and list(folder.glob('gradio/*/*.png'))
            page.close()
            _wait(lambda: not list(folder.glob('results/*')) and not list(folder.glob('gradio/*/*')))
            browser.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert not list(tmp_path.glob('openmsra-app-*'))


def test_others_need_the_token(weights, tmp_path):
    process, address = start(weights, tmp_path, '--host', '0.0.0.0', '--token', 'open-sesame')
    try:
        base = f'http://127.0.0.1:{re.search(r":([0-9]+)/", address)[1]}/'
        assert address.endswith('?token=open-sesame')
        with pytest.raises(urllib.error.HTTPError, match='401'):
            urllib.request.urlopen(base)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert opener.open(f'{base}?token=open-sesame').status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(condition) -> None:
    for _ in range(60):
        if condition():
            return
        time.sleep(1)
    raise AssertionError('not within a minute')

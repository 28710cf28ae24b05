"""From weights to a page: inferencers, the port, the private folder, and an end in order."""

import errno
import importlib.util
import ipaddress
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmsra.cli.app.guard import Guard
from openmsra.cli.app.uploads import Limits
from openmsra.errors import ToolError, UserError

ABOUT = 'Networks that run here. What you upload stays on this machine and is removed when you close the page.'
KEEP = 1800  # seconds that uploads and results stay where a page is left open
PREFIX = 'openmsra-app-'  # of private folders: this, the process, a random rest


@dataclass(frozen=True)
class Chosen:
    """Weights for a tab: a checkpoint and its config."""

    paper: str
    weights: Path
    config: str


def require_gradio() -> None:
    """See that the extra is installed.

    Raises:
        ToolError: it is not.
    """
    if importlib.util.find_spec('gradio') is None:
        raise ToolError("openmsra app needs Gradio: pip install 'openmsra[app]'")


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def listen(host: str, port: int) -> socket.socket:
    """An open port; 0 takes a free one.

    Raises:
        ToolError: it is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
        server.listen(128)
    except (OSError, OverflowError) as error:
        server.close()
        if getattr(error, 'errno', None) == errno.EADDRINUSE:
            raise ToolError(f'--port {port}: another program has it; choose another, or --port 0 for a free one.') from None
        raise ToolError(f'--host {host} --port {port}: {getattr(error, "strerror", None) or error}.') from None
    return server


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that nobody else on this machine can read, removed at the end; those of killed servers are removed first."""
    parent = Path(tempfile.gettempdir())
    for folder in parent.glob(f'{PREFIX}*'):
        process = folder.name.removeprefix(PREFIX).partition('-')[0]
        if process.isdecimal() and folder.stat().st_uid == os.getuid() and not Path('/proc', process).exists():
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f'{PREFIX}{os.getpid()}-', dir=parent))  # mode 0700
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, age: float) -> None:
    """Remove what visitors have left: files below ``gradio`` and ``results`` that nobody has written for ``age`` seconds."""
    for part in ('gradio', 'results'):
        for path in sorted((folder / part).rglob('*'), reverse=True):  # files before their folders
            try:
                if time.time() - path.stat().st_mtime > age:
                    path.rmdir() if path.is_dir() else path.unlink()
            except OSError:  # a folder that is not empty, or another has removed it
                continue


def _sweep_always(folder: Path) -> None:
    while folder.is_dir():
        sweep(folder, KEEP)
        time.sleep(60)


def load(chosen: list[Chosen], device: str) -> dict[str, Any]:
    """The inferencers, by paper.

    Raises:
        UserError: weights that cannot be read, or are not those of the config; the message names the paper.
    """
    from openmsra.apis import init_inferencer
    from openmsra.cli.inference import classifier_options

    inferencers = {}
    for item in chosen:
        print(f'{item.paper}: loading {item.weights} with {Path(item.config).stem}', file=sys.stderr)
        try:
            options = classifier_options(item.config) if item.paper == 'autoformer' else {}
            inferencers[item.paper] = init_inferencer(item.config, item.weights, device, **options)
        except UserError as error:
            raise type(error)(f'--weights {item.paper}: {error}') from None
    return inferencers


def stay_here() -> None:
    """Refuse every connection that this process would make from now on: a page of one's own files asks nobody anything.

    Answers go out on connections that came in, so these are not concerned. It cannot be undone.
    """

    lookups, here = ('socket.getaddrinfo', 'socket.gethostbyname'), (None, 'localhost')

    def refuse(event: str, arguments: tuple) -> None:
        if event == 'socket.connect' and isinstance(arguments[1], tuple):
            host = arguments[1][0]
        elif event in lookups and arguments[0] not in here:  # a question for a name leaves too
            host = arguments[0]
        else:
            return
        raise PermissionError(errno.EPERM, f'openmsra app connects to nobody, {host} was asked for')

    sys.addaudithook(refuse)


def serve(chosen: list[Chosen], device: str, host: str, port: int, token: str | None, limits: Limits) -> None:
    """Load the weights and answer until Ctrl-C.

    Args:
        token: that a browser must give; where others can reach the address and there is none, one is made.
    """
    require_gradio()
    if token is None and not is_local(host):
        token = secrets.token_urlsafe(18)
    with listen(host, port) as server, private_folder() as folder:
        os.environ |= {'GRADIO_TEMP_DIR': str(folder / 'gradio'), 'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_OFFLINE': '1'}
        for part in ('gradio', 'results', 'other'):
            (folder / part).mkdir()
        tempfile.tempdir = str(folder / 'other')
        threading.Thread(target=_sweep_always, args=(folder,), daemon=True).start()
        inferencers = load(chosen, device)
        stay_here()
        weights = {item.paper: f'{item.weights.name} with {Path(item.config).stem}, on {device}' for item in chosen}
        app = application(inferencers, weights, limits, folder, host, token)
        _answer(app, server, host, token)


def application(
    inferencers: dict[str, Any],
    weights: dict[str, str],
    limits: Limits,
    folder: Path,
    host: str = '127.0.0.1',
    token: str | None = None,
) -> Guard:
    """The page behind its guard, as an ASGI application.

    Args:
        inferencers, weights: and what the page says about them, by paper.
        folder: private, for uploads and results.
        host, token: whom to answer.
    """
    import gradio as gr
    from fastapi import FastAPI

    from openmsra.cli.app import page, views

    gr.set_static_paths([folder / page.RESULTS])  # shown from there, without a copy that would stay
    built = page.build(page.Workshop(inferencers, weights, limits, folder), ABOUT)
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None), built, path='/', max_file_size=f'{limits.file_mb}mb', allowed_paths=[str(folder)],
        ssr_mode=False, run_history=False, footer_links=[], theme=page.theme(), css=views.CSS, head=views.HEAD, show_error=True,
    )  # fmt: skip
    hosts = frozenset({'localhost', '127.0.0.1', '::1', host}) if is_local(host) else None
    return Guard(app, limits, folder, hosts, token)


def _answer(app: Guard, server: socket.socket, host: str, token: str | None) -> None:
    import uvicorn

    shown = '127.0.0.1' if is_local(host) else socket.gethostname() if host in ('0.0.0.0', '::') else host
    address = f'http://{f"[{shown}]" if ":" in shown else shown}:{server.getsockname()[1]}/'
    print(f'open {address}{f"?token={token}" if token else ""}    (Ctrl-C ends it)', flush=True)
    settings = uvicorn.Config(app, log_level='warning', access_log=False, timeout_graceful_shutdown=3, server_header=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again at its end: the folder is still to be removed
    with suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[server])

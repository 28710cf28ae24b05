"""What comes in over the network, before the page sees it: hosts, token, sizes, time; and headers of what goes out.

Plain ASGI, so that it needs nothing but the standard library and is tested without a server.
"""

import asyncio
import hmac
import html
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from openmsra.cli.app.uploads import MB, Limits

COOKIE = 'openmsra_token'
SMALL_MB = 8  # of requests that are no uploads
SPARE_MB = 500  # of disk that uploads leave free
HEADERS = {
    'content-security-policy': (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'permissions-policy': 'camera=(), microphone=(), geolocation=()',
}
ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>openmsra</title><body style="font:17px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:26rem;padding:0 1rem">
<h1 style="font-size:1.4rem">openmsra</h1><p>{text}</p><form><label>Token<br>
<input name="token" type="password" autocomplete="off" style="font:inherit;width:100%"></label>
<p><button style="font:inherit">Open the page</button></p></form>"""


class Guard:
    """The outermost layer of the server.

    Args:
        app: what answers to whoever may ask.
        limits: of uploads.
        folder: where uploads are kept.
        hosts: names under which a browser may ask; ``None`` for any. A page elsewhere whose name is made to point to this
            machine asks under its own.
        token: without which nobody gets in; ``None`` for none.
    """

    def __init__(
        self, app: Callable, limits: Limits, folder: Path, hosts: frozenset[str] | None = None, token: str | None = None
    ) -> None:
        self.app, self.limits, self.folder, self.hosts, self.token = app, limits, folder, hosts, token

    async def __call__(self, scope: Mapping, receive: Callable, send: Callable) -> None:
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':
            await send({'type': 'websocket.close', 'code': 1008})
            return
        headers = {name.decode('latin-1').lower(): value.decode('latin-1') for name, value in scope['headers']}

        async def send_with_headers(message: dict) -> None:
            if message['type'] == 'http.response.start':
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, 'headers': [*message.get('headers', ()), *extra]}
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send_with_headers, *refusal)
            return
        upload = _is_upload(scope)
        bound = (self.limits.total_mb if upload else SMALL_MB) * MB
        await self.app(scope, _Bounded(receive, bound, self.limits.seconds if upload else None), send_with_headers)

    def _refusal(self, scope: Mapping, headers: dict[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """Status, text and headers of an answer to whoever may not ask this; ``None`` goes on."""
        host = urlsplit(f'//{headers.get("host", "")}').hostname or ''
        if self.hosts is not None and host not in self.hosts:
            return 421, f'This server does not answer to the name {host!r}.', {}
        origin = headers.get('origin')
        if origin and scope['method'] not in ('GET', 'HEAD') and urlsplit(origin).netloc != headers.get('host'):
            return 403, 'Another site has asked.', {}
        if self.token is not None and (refusal := self._without_token(scope, headers)) is not None:
            return refusal
        if '/proxy=' in scope['path']:
            return 404, 'Not here.', {}
        length = headers.get('content-length', '0')
        bound = self.limits.total_mb if _is_upload(scope) else SMALL_MB
        if not length.isdecimal() or int(length) > bound * MB:
            return 413, f'More than {bound} MB at once; this server takes no more.', {}
        if _is_upload(scope) and shutil.disk_usage(self.folder).free < int(length) + SPARE_MB * MB:
            return 507, 'The disk of this server is full; try again later.', {}
        return None

    def _without_token(self, scope: Mapping, headers: dict[str, str]) -> tuple[int, str, dict[str, str]] | None:
        given = parse_qs(scope['query_string'].decode('latin-1')).get('token')
        if given and _equal(given[0], self.token):
            cookie = f'{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/'
            return 303, '', {'location': scope['path'], 'set-cookie': cookie}
        try:
            cookies = SimpleCookie(headers.get('cookie', ''))
        except CookieError:
            cookies = {}
        if COOKIE in cookies and _equal(cookies[COOKIE].value, self.token):
            return None
        text = 'This is not the token of this server.' if given else 'Whoever has started this server knows its token.'
        return 401, ASK.format(text=html.escape(text)), {'content-type': 'text/html; charset=utf-8'}


class _Bounded:
    """``receive`` that ends a request that is larger or slower than it may be."""

    def __init__(self, receive: Callable[[], Awaitable[dict]], size: int, seconds: float | None) -> None:
        self.receive, self.left, self.body = receive, size, True
        self.end = None if seconds is None else asyncio.get_running_loop().time() + seconds

    async def __call__(self) -> dict:
        if self.end is None or not self.body:
            message = await self.receive()
        else:
            try:
                message = await asyncio.wait_for(self.receive(), self.end - asyncio.get_running_loop().time())
            except asyncio.TimeoutError:
                return {'type': 'http.disconnect'}
        if message['type'] == 'http.request':
            self.left -= len(message.get('body', b''))
            self.body = message.get('more_body', False)
            if self.left < 0:
                return {'type': 'http.disconnect'}
        return message


def _is_upload(scope: Mapping) -> bool:
    return scope['method'] == 'POST' and scope['path'].rstrip('/').endswith('/upload')


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


async def _answer(send: Callable, status: int, text: str, headers: dict[str, str]) -> None:
    """A page, or JSON as the scripts of the page expect it."""
    if 'content-type' not in headers:
        headers = {'content-type': 'application/json', **headers}
        text = json.dumps(dict(detail=text, error=text))
    start = [(name.encode(), value.encode('latin-1')) for name, value in headers.items()]
    await send({'type': 'http.response.start', 'status': status, 'headers': start})
    await send({'type': 'http.response.body', 'body': text.encode()})

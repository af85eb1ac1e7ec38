"""Who may talk to the server: pages that it has served itself, and nobody else.

The server listens on the loopback, but every page that is open in the browser can send requests there. So:

* the name in ``Host`` must be the loopback's: a name of the internet that was pointed here (DNS rebinding) is refused;
* ``Origin`` and ``Sec-Fetch-Site``, where a browser sends them, must be the page's own;
* what reads recordings or writes needs the token, which is made anew at every start and stands in the address that is
  opened and in the page that comes back.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

from kws.support.errors import KwsError

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
HEADER = "X-Kws-Token"
LARGEST = 4 * 1024**2
"""Bytes of a request: a minute of 16-bit samples at 32 kHz."""
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def new_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(24)


def guard(token: str, port: Callable[[], int]) -> Handler:
    """The middleware that refuses.

    Args:
        token: what ``?token=`` of the page and the header of every other request must say.
        port: gives the port that is listened on.
    """

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = {f"{name}:{port()}" for name in NAMES}
        if request.headers.get("Host", "") not in hosts:
            raise web.HTTPForbidden(text="This server answers to 127.0.0.1 and localhost alone.", headers=HEADERS)
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{request.headers['Host']}":
            raise web.HTTPForbidden(text="Pages of other origins are refused.", headers=HEADERS)
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise web.HTTPForbidden(text="Requests of other sites are refused.", headers=HEADERS)
        if needs_token(request) and not hmac.compare_digest(given_token(request), token.encode()):
            raise web.HTTPForbidden(
                text="The address lacks its token; open the one that python -m kws.view printed.", headers=HEADERS
            )
        try:
            response = await handler(request)
        except KwsError as error:
            raise web.HTTPBadRequest(text=str(error), headers=HEADERS) from None
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    return refuse


def needs_token(request: web.Request) -> bool:
    """All but the files of the page, which say nothing of this machine."""
    return request.path == "/" or request.path.startswith("/api/") or request.method not in ("GET", "HEAD")


def given_token(request: web.Request) -> bytes:
    """What the request brought: in its address for the page itself, else in a header that only our page sends."""
    given = request.query.get("token", "") if request.path == "/" else request.headers.get(HEADER, "")
    return given.encode(errors="surrogateescape")

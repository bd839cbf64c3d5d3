"""The page: its files, and what a browser may do with them."""

from html import escape
from pathlib import Path

from chalicelib import inbox
from chalicelib.errors import PageNotFound
from chalicelib.settings import Settings

FOLDER = Path(__file__).parent / "static"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The media types of its files."""


def render(settings: Settings, base: str) -> str:
    """The page itself.

    Args:
        settings: where people sign in, and where pictures are.
        base: the path that all others are relative to.
    """
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    values = {
        "base": f"{base.rstrip('/')}/",
        "sign_in_domain": settings.user_pool_domain or "",
        "client_id": settings.user_pool_client_id or "",
        "picture_origin": inbox.origin(settings.inbox_bucket),
    }
    for name, value in values.items():
        html = html.replace(f"{{{{{name}}}}}", escape(value))
    return html


def asset(name: str) -> tuple[str, str]:
    """One of its files.

    Args:
        name: like "main.js".

    Returns:
        Its text and its media type.

    Raises:
        PageNotFound: there is none of this name.
    """
    path = next((path for path in FOLDER.iterdir() if path.name == name and path.suffix in TYPES), None)
    if path is None:
        raise PageNotFound("The page has no such file.")
    return path.read_text(encoding="utf-8"), TYPES[path.suffix]


def policy(settings: Settings) -> str:
    """What the page may load and call: itself, the bucket, and where people sign in.

    https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Content-Security-Policy
    """
    pictures = inbox.origin(settings.inbox_bucket)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' blob: {pictures}",
            " ".join(("connect-src 'self'", pictures, settings.user_pool_domain or "")).strip(),
            "base-uri 'self'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )

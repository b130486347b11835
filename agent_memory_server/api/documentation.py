"""``/docs`` and ``/redoc``, whose scripts come from this server: they work offline, and no other host learns of a visit."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

ASSETS_URL = "/docs-assets"
OPENAPI_URL = "/openapi.json"


_PAGES = ("/docs", "/redoc", OPENAPI_URL, ASSETS_URL)


def is_documentation(path: str) -> bool:
    """Whether the path leads to one of these pages, or to what they load."""
    return any(path == page or path.startswith(f"{page}/") for page in _PAGES)


def add_documentation_pages(api: FastAPI, *, title: str) -> None:
    """Serve both pages with the assets that the package ``fastapi-offline`` carries."""
    api.mount(ASSETS_URL, StaticFiles(directory=_assets()), name="docs-assets")
    icon = f"{ASSETS_URL}/favicon.png"

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=OPENAPI_URL,
            title=title,
            swagger_js_url=f"{ASSETS_URL}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS_URL}/swagger-ui.css",
            swagger_favicon_url=icon,
        )

    @api.get("/redoc", include_in_schema=False)
    async def redoc() -> HTMLResponse:
        return get_redoc_html(
            openapi_url=OPENAPI_URL,
            title=title,
            redoc_js_url=f"{ASSETS_URL}/redoc.standalone.js",
            redoc_favicon_url=icon,
            with_google_fonts=False,
        )

    del docs, redoc


def _assets() -> Path:
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"

"""`fishline app`: a page that says what is on photographs dropped on it. Streamlit serves it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from fishline.core.errors import UserError
from fishline.serving.http_server import is_loopback, not_had, url

SCRIPT = Path(__file__).parent / "script/page.py"

# Streamlit's settings where the environment has no others. Nothing of it goes out on the network:
# no usage statistics, and no welcome message, for which it asks a server for this one's address.
SETTINGS = {
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "STREAMLIT_SERVER_SHOW_EMAIL_PROMPT": "false",
    "STREAMLIT_LOGGER_LEVEL": "warning",
    "STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE": "true",
    "STREAMLIT_CLIENT_TOOLBAR_MODE": "minimal",
    "STREAMLIT_CLIENT_SHOW_ERROR_DETAILS": "none",
    "STREAMLIT_CLIENT_DISABLE_DATA_EXPORT": "true",  # the table as shown; the page has the CSV
    "STREAMLIT_CLIENT_SHOW_ERROR_LINKS": "false",
    "STREAMLIT_SERVER_FILE_WATCHER_TYPE": "none",
}
# Else a web site whose name is suddenly that of this machine could use the page (DNS rebinding).
LOCAL = {"STREAMLIT_SERVER_ALLOWED_HOSTS": "localhost 127.0.0.1 ::1"}


def app(host: str, port: int, max_upload_mb: int) -> None:
    """Serve the page until Ctrl-C.

    Args:
        host: an address of this machine; others than itself can reach all but the loopback ones.
        max_upload_mb: the largest file that is taken, in MiB.

    Raises:
        UserError: Streamlit is not installed, or the address cannot be had.
    """
    try:
        from streamlit.web.cli import main
    except ModuleNotFoundError as error:
        raise UserError(
            f"`fishline app` needs Streamlit ({error}). In a checkout, `pip install -e '.[app]'` "
            "installs it."
        ) from None
    _require_free(host, port)
    local = is_loopback(host)
    for name, value in (SETTINGS | (LOCAL if local else {})).items():
        os.environ.setdefault(name, value)
    from fishline.serving.app import models, review_sources  # noqa: F401  # seconds that no visitor waits

    if not local:
        click.echo(
            f"Warning: whoever can reach {host} port {port} can use this page: it has no log-in "
            "and no encryption. docs/app.md says how to put it behind a server that has both.",
            err=True,
        )
    click.echo(f"The page is at {url(host, port)}; Ctrl-C ends it.")
    options = {"address": host, "port": port, "maxUploadSize": max_upload_mb}
    words = [f"--server.{name}={value}" for name, value in options.items()]
    main(["run", str(SCRIPT), *words], standalone_mode=False)


def _require_free(host: str, port: int) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if os.name != "nt":  # there it would find a port free that is not
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise not_had(host, port, error) from None

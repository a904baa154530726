"""`fishline serve`: a model in an ONNX file asked over HTTP, as `mlflow models serve` lets it be.

The standard library's server, with a thread for each client: HTTP is the least of the work, which
the network and the decoder have, and the light installation stays so.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import click

from fishline.core.errors import UserError
from fishline.core.parallel import usable_cores
from fishline.serving.predictor import BATCH, Predictor

KIND = "application/json"
SILENCE = 60.0  # seconds after which a client that sends nothing is given up


def serve(model: Path, host: str, port: int, max_body_mb: int) -> None:
    """Answer requests until Ctrl-C.

    Args:
        model: an ONNX file, or a folder, which needs torch.
        host: an address of this machine; others than itself can reach all but the loopback ones.
        max_body_mb: the largest request that is taken, in MiB.

    Raises:
        UserError: there is no such model, or the address cannot be had.
    """
    if not model.exists():
        raise UserError(f"there is no {model}; `fishline export` makes a file of a model")
    predictor = Predictor(model, paths=False)
    predictor.record("serve")
    try:
        server = Server((host, port), predictor, max_body_mb * 2**20)
    except OSError as error:
        raise not_had(host, port, error) from None
    if not is_loopback(host):
        click.echo(
            f"Warning: whoever can reach {host} port {port} can ask this model: there is no log-in "
            "and no encryption",
            err=True,
        )
    known = ", ".join(predictor.species)
    where = url(host, server.server_port)
    click.echo(f"{where}/invocations: {model}, which knows {known}; Ctrl-C ends it", err=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


class Server(ThreadingHTTPServer):
    """`predictor` at `address`, for bodies of at most `limit` bytes."""

    daemon_threads = True  # Ctrl-C waits for no client

    def __init__(self, address: tuple[str, int], predictor: Predictor, limit: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.predictor, self.limit = predictor, limit
        # A batch of photographs takes all cores: more at once take memory and are no quicker. They
        # take turns, so that one photograph need not wait until thousands of another are answered.
        self.turns = ThreadPoolExecutor(usable_cores())
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong in a thread, but for a client that is gone."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Refused(Exception):
    """A request that is not answered: the status of HTTP, and why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"  # a client may ask again over the same connection
    timeout = SILENCE
    disable_nagle_algorithm = True  # else the body waits 40 ms for the head to be acknowledged
    server_version, sys_version = "fishline", ""

    def do_GET(self) -> None:
        """`/ping` and `/health`: the server is there, and has its model."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body, unread: else it would be the next request
        if self.path in ("/ping", "/health"):
            self._send(HTTPStatus.OK, {"status": "ok"})
        else:
            self._refuse(_Refused(HTTPStatus.NOT_FOUND, "there are /ping, /health, /invocations"))

    do_HEAD = do_GET  # load balancers ask so

    def do_POST(self) -> None:
        """`/invocations`: an answer for each photograph."""
        try:
            answers = self._answer(self._body())
        except _Refused as refused:
            self._refuse(refused)
        else:
            self._send(HTTPStatus.OK, {"predictions": answers})

    def _body(self) -> bytes:
        """What was posted."""
        closes = self.close_connection  # as HTTP/1.0 does
        self.close_connection = True  # until it is read: else it would be the next request
        if self.path != "/invocations":
            raise _Refused(HTTPStatus.NOT_FOUND, "photographs are posted to /invocations")
        if self.headers.get_content_type() != KIND:  # a web page may send others unasked
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {KIND}")
        length = self.headers.get("Content-Length", "")
        known = length.isdecimal() and len(length) < 20 and "Transfer-Encoding" not in self.headers
        if not known:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length says no number of bytes")
        if int(length) > self.server.limit:
            too_large = f"{length} bytes; the limit is {self.server.limit}"
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
        body = self.rfile.read(int(length))
        self.close_connection = closes
        return body

    def _answer(self, body: bytes) -> list[dict[str, object]]:
        photographs, only, place = _asked(body)
        try:
            predictor = self.server.predictor.among(only)
        except UserError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, error.message) from None
        if place:
            predictor = predictor.at(place)
        answers, found = predictor.predict(photographs), list[dict[str, object]]()
        while batch := self.server.turns.submit(lambda: list(islice(answers, BATCH))).result():
            found += [answer.as_dict() for answer in batch]
        return found

    def _refuse(self, refused: _Refused) -> None:
        code = "NOT_FOUND" if refused.status == HTTPStatus.NOT_FOUND else "BAD_REQUEST"
        self._send(refused.status, {"error_code": code, "message": str(refused)})

    def _send(self, status: HTTPStatus, value: object) -> None:
        body = json.dumps(value).encode()  # ASCII: half a surrogate pair has no UTF-8
        self.send_response(status)
        self.send_header("Content-Type", KIND)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _asked(body: bytes) -> tuple[list[Any], list[str], str]:
    """The photographs of a request, the species that its answers are among, and the place."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list):
        wanted = '{"inputs": [a photograph in base64, …], "params": {"only": [a species, …]}}'
        raise _Refused(HTTPStatus.BAD_REQUEST, f"the body must be {wanted}; params may be missing")
    params = asked.get("params") or {}
    if not isinstance(params, dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, "params must be an object")
    only, place = params.get("only", []), params.get("place", "")
    if not isinstance(only, list) or not all(isinstance(name, str) for name in only):
        raise _Refused(HTTPStatus.BAD_REQUEST, "params.only must be a list of species")
    if not isinstance(place, str):
        raise _Refused(HTTPStatus.BAD_REQUEST, "params.place must be a text")
    return asked["inputs"], only, place


def is_loopback(host: str) -> bool:
    """Whether this machine alone can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def url(host: str, port: int) -> str:
    """Where a browser of this machine finds what listens there."""
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def not_had(host: str, port: int, error: OSError) -> UserError:
    """What to say where nothing can listen at an address."""
    return UserError(
        f"{host} port {port} cannot be had: {error.strerror}. `--port {port + 1}` tries another "
        "port, `--host` another address of this machine."
    )

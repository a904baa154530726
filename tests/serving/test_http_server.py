"""`fishline serve`: a model in a file, asked over HTTP."""

import base64
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fishline.cli.main import main
from fishline.models.onnx_export import export
from fishline.models.trained_model import TrainedModel
from fishline.serving.answer import Answer
from fishline.serving.http_server import Server
from fishline.serving.predictor import BATCH, Predictor

LIMIT = 100_000  # bytes of a request
JSON = {"Content-Type": "application/json"}


def photograph(number: int) -> str:
    pixels, file = np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8), BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def file(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export(TrainedModel.load(make_model(folder / "model")), folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def connection(file: Path) -> Iterator[http.client.HTTPConnection]:
    """To a server in this process; opened again where the server closed it."""
    with Server(("127.0.0.1", 0), Predictor(file, paths=False), LIMIT) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = connect(server)
        yield connection
        connection.close()
        server.shutdown()
        thread.join()


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)


def post(
    connection: http.client.HTTPConnection,
    body: object,
    path: str = "/invocations",
    headers: dict[str, str] = JSON,
) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, content, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_answers_are_the_predictors(connection: http.client.HTTPConnection, file: Path) -> None:
    asked = [photograph(number) for number in range(3)]
    for some in (asked, asked[:1]):  # over one connection
        status, answer = post(connection, {"inputs": [*some, "nothing!", None, str(file)]})
        *good, nonsense, nothing, path = answer["predictions"]
        assert status == 200
        assert good == [answer.as_dict() for answer in Predictor(file).predict(some)]
        assert nonsense["species"] is None and nonsense["error"].startswith("not base64")
        assert nothing["error"].startswith("no bytes or base64")
        assert path["error"].startswith("not base64")  # what files there are is nobody's business
    status, answer = post(connection, {"inputs": asked, "params": {"only": ["Trout"]}})
    assert [row["species"] for row in answer["predictions"]] == ["Trout"] * 3


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "the body is no JSON"),
        (b"\xff", 400, "the body is no JSON"),
        (b"[" * 50_000, 400, "the body is no JSON"),
        ([], 400, "the body must be"),
        ({"inputs": "abc"}, 400, "the body must be"),
        ({"inputs": [], "params": ["only"]}, 400, "params must be an object"),
        ({"inputs": [], "params": {"only": "Trout"}}, 400, "params.only must be a list"),
        ({"inputs": [], "params": {"only": ["Cod"]}}, 400, "does not know 'Cod'; it knows Bream"),
        ({"inputs": [], "params": {"only": ["\ud800"]}}, 400, "does not know '\ud800'"),
        (b" " * (LIMIT + 1), 413, f"{LIMIT + 1} bytes; the limit is {LIMIT}"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_request_is_refused(
    connection: http.client.HTTPConnection, body: object, status: int, said: str
) -> None:
    found, answer = post(connection, body)
    assert (found, answer["error_code"]) == (status, "BAD_REQUEST")
    assert said in answer["message"]


class Turns(ThreadPoolExecutor):
    """One at a time; counts who waits for a turn."""

    def __init__(self) -> None:
        super().__init__(1)
        self.waiting = threading.Semaphore(0)

    def submit(self, *asked: Any) -> Future[Any]:
        future = super().submit(*asked)
        self.waiting.release()
        return future


def test_one_photograph_does_not_wait_for_all_of_another_request(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, turns, started = [], Turns(), threading.Event()

    def predict(predictor: Predictor, photographs: list[str]) -> Iterator[Answer]:
        if len(photographs) > 1:
            started.set()
            assert all(turns.waiting.acquire(timeout=60) for _ in ("this", "the other request"))
        for name in photographs:
            order.append(name)
            yield Answer(name, 1.0, {name: 1.0})

    monkeypatch.setattr(Predictor, "predict", predict)
    with Server(("127.0.0.1", 0), Predictor(file, paths=False), LIMIT) as server, turns:
        server.turns = turns
        threading.Thread(target=server.serve_forever).start()
        with ThreadPoolExecutor(1) as client, closing(connect(server)) as first:
            many = client.submit(post, first, {"inputs": ["many"] * 3 * BATCH})
            started.wait()
            with closing(connect(server)) as second:
                assert len(post(second, {"inputs": ["one"]})[1]["predictions"]) == 1
            assert len(many.result()[1]["predictions"]) == 3 * BATCH
        server.shutdown()
    assert order.index("one") == BATCH


def test_what_is_asked_otherwise_is_refused(connection: http.client.HTTPConnection) -> None:
    body = {"inputs": [photograph(0)]}
    assert post(connection, body, "/elsewhere")[0] == 404
    assert post(connection, body, headers={"Content-Type": "text/plain"})[0] == 415
    assert post(connection, body, headers={**JSON, "Content-Length": "-1"})[0] == 411
    for path, status in {"/health": 200, "/ping": 200, "/": 404}.items():
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, bool(json.loads(answer.read()))) == (status, True)
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, b"")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /invocations HTTP/1.0\r\nContent-Length: 14\r\n", 200),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: 14\r\nConnection: close\r\n", 200),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n", 411),
        (
            b"POST /invocations HTTP/1.1\r\nContent-Length: 14\r\nTransfer-Encoding: chunked\r\n",
            411,
        ),
        (b"GET /ping HTTP/1.1\r\nContent-Length: 14\r\n", 200),
    ],
    ids=["HTTP/1.0", "close", "long", "chunked", "GET"],
)
def test_a_connection_ends_where_no_other_request_can_follow(
    connection: http.client.HTTPConnection, head: bytes, status: int
) -> None:
    with socket.create_connection((connection.host, connection.port), timeout=10) as client:
        client.sendall(head + b"Content-Type: application/json\r\n\r\n" + b'{"inputs": []}')
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert (answer.status, bool(json.loads(answer.read()))) == (status, True)
        with suppress(ConnectionError):  # of a body that nobody read
            assert client.recv(1) == b""


def test_an_address_that_is_taken_is_a_message(
    connection: http.client.HTTPConnection, file: Path
) -> None:
    done = CliRunner().invoke(main, ["serve", str(file), "--port", str(connection.port)])
    assert (done.exit_code, "cannot be had: Address already in use" in done.output) == (1, True)


def test_what_is_no_file_is_said_before_anything_is_loaded() -> None:
    done = CliRunner().invoke(main, ["serve", "fish-base@champion"])
    assert (done.exit_code, "there is no fish-base@champion" in done.output) == (1, True)

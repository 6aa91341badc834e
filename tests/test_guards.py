"""What the guards keep from an application, spoken to in ASGI."""

import asyncio
import json
import logging

import pytest

pytest.importorskip("starlette", reason='the guards need starlette: pip install "docarray[serve]"')

from starlette.exceptions import HTTPException

from docarray.errors import BadValue, FieldTypeError, MissingDocument
from docarray.web import guards
from docarray.web.problems import NotAllowed

# --- speaking ASGI ----------------------------------------------------------------------------------------------------


class Talk:
    """One request and what was answered."""

    def __init__(
        self, method="GET", path="/", headers=(), parts=(b"",), stays=True, kind="http", root_path=""
    ):
        self.scope = {
            "type": kind,
            "method": method,
            "path": path,
            "root_path": root_path,
            "query_string": b"",
            "client": ("10.0.0.7", 1234),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        }
        if kind != "http":
            del self.scope["method"]
        self.parts = list(parts)
        self.gone = asyncio.Event()
        if not stays:
            self.gone.set()
        self.sent = []

    async def receive(self):
        if self.scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        if self.parts:
            part = self.parts.pop(0)
            if part is None:  # a client that says nothing for a long time
                await asyncio.sleep(60)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self):
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def problem(self):
        assert "application/problem+json" == self.headers["content-type"]
        found = json.loads(self.body)
        assert self.status == found["status"]
        return found


def talk(app, *args, **kwargs):
    async def run():
        one = Talk(*args, **kwargs)
        await app(one.scope, one.receive, one.send)
        return one

    return asyncio.run(run())


async def fine(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"fine"})


def raising(error):
    async def app(scope, receive, send):
        raise error

    return app


def answering(kind):
    async def app(scope, receive, send):
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]}
        )
        await send({"type": "http.response.body", "body": b""})

    return app


async def reading(scope, receive, send):
    """Answers with how many bytes came."""
    count = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        count += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % count})


# --- envelope ---------------------------------------------------------------------------------------------------------


def test_each_answer_has_the_id_of_its_request():
    first, second = talk(guards.Envelope(fine)), talk(guards.Envelope(fine))

    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert guards.request_id(first.scope) == first.headers["x-request-id"]


def test_an_id_that_was_given_is_kept():
    one = talk(guards.Envelope(fine), headers=[("X-Request-ID", "trace:1/a.b")])

    assert "trace:1/a.b" == one.headers["x-request-id"]


@pytest.mark.parametrize("given", ["", "a b", 'x"y', "a" * 129, "a\r\nset-cookie: b", "\x1b[31m", "ä"])
def test_an_id_that_could_harm_a_log_is_replaced(given):
    one = talk(guards.Envelope(fine), headers=[("X-Request-ID", given)])

    assert given != one.headers["x-request-id"]
    assert one.headers["x-request-id"].isalnum()


def test_answers_are_not_guessed_at_and_pages_not_framed():
    plain, page = talk(guards.Envelope(fine)), talk(guards.Envelope(answering("text/html; charset=utf-8")))

    assert "nosniff" == plain.headers["x-content-type-options"]
    assert "no-referrer" == plain.headers["referrer-policy"]
    assert "content-security-policy" not in plain.headers
    assert "frame-ancestors 'none'" == page.headers["content-security-policy"]


def test_what_nobody_foresaw_is_logged_and_not_told(caplog):
    with caplog.at_level(logging.ERROR, "docarray.web"):
        one = talk(guards.Envelope(raising(ZeroDivisionError("the password is x"))))

    assert 500 == one.status
    assert "password" not in json.dumps(one.problem)
    assert one.problem["instance"] == one.headers["x-request-id"]
    assert one.headers["x-request-id"] in caplog.records[0].getMessage()
    assert "the password is x" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MissingDocument("no 'x'"), 404),
        (HTTPException(405, "GET alone", {"Allow": "GET"}), 405),
        (NotAllowed("no"), 403),
    ],
    ids=["ours", "starlette", "rights"],
)
def test_what_was_foreseen_keeps_its_status(error, status):
    one = talk(guards.Envelope(raising(error)))

    assert status == one.status == one.problem["status"]
    assert (status != 405) or "GET" == one.headers["allow"]


def test_an_answer_that_was_begun_is_not_answered_twice(caplog):
    async def halfway(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError("in the middle")

    with caplog.at_level(logging.ERROR, "docarray.web"):
        one = talk(guards.Envelope(halfway))

    assert ["http.response.start"] == [message["type"] for message in one.sent]
    assert "in the middle" in caplog.text


def test_the_log_has_a_line_of_json_for_each_request(caplog):
    app = guards.Envelope(fine, access_log=True)
    with caplog.at_level(logging.INFO, guards.ACCESS.name):
        one = talk(app, path="/documents\n/x")

    line = json.loads(caplog.records[0].getMessage())
    assert ("GET", "/documents\n/x", 200, "10.0.0.7") == (
        line["method"],
        line["path"],
        line["status"],
        line["client"],
    )
    assert line["id"] == one.headers["x-request-id"]
    assert line["ms"] >= 0
    assert "\n" not in caplog.records[0].getMessage()


def test_there_is_no_log_unless_asked_for(caplog):
    with caplog.at_level(logging.INFO, guards.ACCESS.name):
        talk(guards.Envelope(fine))

    assert not caplog.records


def test_a_server_that_stops_closes_connections_and_ends_streams_of_events():
    async def events(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asyncio.sleep(60)

    async def run():
        app = guards.Envelope(events)
        one = Talk()
        work = asyncio.create_task(app(one.scope, one.receive, one.send))
        while len(one.sent) < 2:
            await asyncio.sleep(0.005)
        app.stop()
        await work
        late = Talk()
        await app(late.scope, late.receive, late.send)
        return one, late

    one, late = asyncio.run(run())
    assert {"type": "http.response.body", "body": b""} == one.sent[-1]
    assert "close" == late.headers["connection"]
    assert {"type": "http.response.body", "body": b""} == late.sent[-1]


def test_what_is_cancelled_while_the_server_stops_is_told_to_come_back():
    async def run():
        app = guards.Envelope(lambda scope, receive, send: asyncio.sleep(60))
        one = Talk()
        work = asyncio.create_task(app(one.scope, one.receive, one.send))
        await asyncio.sleep(0.01)
        app.stop()
        work.cancel()
        await work
        return one

    one = asyncio.run(run())
    assert (503, "1") == (one.status, one.headers["retry-after"])


# --- time -------------------------------------------------------------------------------------------------------------


def test_an_answer_that_does_not_begin_is_given_up():
    cancelled = []

    async def slow(scope, receive, send):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    one = talk(guards.Deadline(slow, 0.05))

    assert (504, [True]) == (one.problem["status"], cancelled)


def test_a_body_that_does_not_come_is_the_clients_fault():
    one = talk(
        guards.Deadline(reading, 0.05),
        "POST",
        headers=[("Content-Length", "9")],
        parts=[b"abc", None, b"def"],
    )

    assert 408 == one.problem["status"]


def test_a_stream_that_has_begun_may_go_on():
    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", b"b"):
            await asyncio.sleep(0.06)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    assert b"ab" == talk(guards.Deadline(stream, 0.05)).body


def test_a_quick_request_gets_its_own_answer():
    one = talk(guards.Deadline(reading, 5), "POST", headers=[("Content-Length", "6")], parts=[b"abc", b"def"])

    assert (200, b"6") == (one.status, one.body)


@pytest.mark.parametrize("has_body", [False, True])
def test_work_stops_when_its_client_goes(has_body):
    seen = []

    async def slow(scope, receive, send):
        if has_body:
            await receive()
        try:
            seen.append("began")
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("stopped")
            raise

    async def run():
        headers = [("Content-Length", "1")] if has_body else []
        one = Talk("POST", headers=headers, parts=[b"x"])
        work = asyncio.create_task(guards.Deadline(slow, 30)(one.scope, one.receive, one.send))
        while not seen:
            await asyncio.sleep(0.005)
        one.gone.set()
        await asyncio.wait_for(work, 10)
        return one

    one = asyncio.run(run())
    assert ["began", "stopped"] == seen
    assert [] == one.sent


def test_a_handler_that_waits_for_its_client_to_go_is_told():
    """As streams do: the guard reads what the client says, and must pass it on."""

    async def patient(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.append("told")

    async def run():
        one = Talk()
        work = asyncio.create_task(guards.Deadline(patient, 30)(one.scope, one.receive, one.send))
        await asyncio.sleep(0.05)
        one.gone.set()
        await asyncio.wait_for(work, 10)

    seen = []
    asyncio.run(run())
    assert ["told"] == seen


def test_who_stops_the_server_is_not_mistaken_for_a_client_that_goes():
    async def run():
        one = Talk()
        work = asyncio.create_task(
            guards.Deadline(lambda *_: asyncio.sleep(60), 30)(one.scope, one.receive, one.send)
        )
        await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(run())


# --- bodies -----------------------------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_large_is_not_read():
    one = talk(guards.BodyLimit(reading, 10), "POST", headers=[("Content-Length", "11")], parts=[None])

    assert 413 == one.problem["status"]


def test_a_body_that_turns_out_too_large_is_read_no_further():
    async def run():
        one = Talk(
            "POST", headers=[("Transfer-Encoding", "chunked")], parts=[b"12345678", b"9ab", b"never read"]
        )
        await guards.BodyLimit(reading, 10)(one.scope, one.receive, one.send)
        return one

    one = asyncio.run(run())
    assert 413 == one.problem["status"]
    assert [b"never read"] == one.parts


def test_a_body_of_the_most_bytes_is_taken():
    one = talk(
        guards.BodyLimit(reading, 10),
        "POST",
        headers=[("Transfer-Encoding", "chunked")],
        parts=[b"12345", b"67890"],
    )

    assert (200, b"10") == (one.status, one.body)


def test_what_a_handler_makes_of_a_body_that_is_too_large_is_not_told():
    seen = []

    async def forgiving(scope, receive, send):
        try:
            await receive()
        except Exception as error:
            seen.append(type(error).status)
        await fine(scope, receive, send)

    one = talk(
        guards.BodyLimit(forgiving, 10), "POST", headers=[("Transfer-Encoding", "chunked")], parts=[b"1" * 11]
    )

    assert 413 == one.problem["status"]
    assert [413] == seen


# --- who may ----------------------------------------------------------------------------------------------------------

KEYED = guards.Keys(fine, ["first", "second"])


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer first")],
        [("authorization", "bearer  second ")],
        [("X-API-Key", "second")],
    ],
)
def test_who_has_a_key_gets_in(headers):
    assert 200 == talk(KEYED, headers=headers).status


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Basic first")],
        [("Authorization", "Bearer third")],
        [("Authorization", "Bearer ")],
        [("X-API-Key", "")],
        [("X-API-Key", "firs")],
        [("X-API-Key", "FIRST")],
        [("Cookie", "X-API-Key=first")],
    ],
)
def test_who_has_none_does_not(headers):
    one = talk(KEYED, headers=headers)

    assert 401 == one.problem["status"]
    assert one.headers["www-authenticate"].startswith("Bearer")


def test_a_socket_without_a_key_is_not_opened():
    async def run():
        one = Talk(kind="websocket")
        await KEYED(one.scope, one.receive, one.send)
        return one.sent

    assert [{"type": "websocket.close", "code": 1008}] == asyncio.run(run())


def test_some_paths_are_open():
    app = guards.Keys(fine, "a", open_paths=["/healthz", "/", "/assets/*"])

    for path, root in (("/healthz", ""), ("/", ""), ("/assets/a.js", ""), ("/shelf/healthz", "/shelf")):
        assert 200 == talk(app, path=path, root_path=root).status, path
    for path in ("/healthz/", "/assets", "/documents", "//", "/assetsx", "/documents/healthz"):
        assert 401 == talk(app, path=path).status, path


@pytest.mark.parametrize("key", ["", " ", " a", "a "])
def test_a_key_is_a_word(key):
    with pytest.raises(BadValue):
        guards.Keys(fine, key)


def test_a_list_of_keys_has_one():
    with pytest.raises(BadValue, match="at least one"):
        guards.Keys(fine, [])
    with pytest.raises(FieldTypeError):
        guards.Keys(fine, [b"x"])


async def later(connection):
    return connection.headers.get("x-user") == "ann"


@pytest.mark.parametrize("hook", [lambda connection: connection.headers.get("x-user") == "ann", later])
def test_a_hook_decides(hook):
    app = guards.Keys(fine, auth=hook)

    assert 200 == talk(app, headers=[("X-User", "ann")]).status
    assert 401 == talk(app, headers=[("X-User", "bob")]).status


def test_what_a_hook_raises_is_told_as_other_errors_are(caplog):
    def refusing(connection):
        raise NotAllowed("ann may not")

    def broken(connection):
        raise KeyError("the secret table")

    def confused(connection):
        return "yes"

    assert 403 == talk(guards.Keys(fine, auth=refusing)).problem["status"]
    with caplog.at_level(logging.CRITICAL, "docarray.web"):
        for hook in (broken, confused):
            one = talk(guards.Envelope(guards.Keys(fine, auth=hook)))
            assert 500 == one.status
            assert "secret" not in one.problem["detail"]
            assert "yes" not in one.problem["detail"]


def test_a_key_and_a_hook_must_both_say_yes():
    app = guards.Keys(fine, "a", auth=lambda connection: connection.headers.get("x-user") == "ann")

    assert 401 == talk(app, headers=[("X-User", "ann")]).status
    assert 401 == talk(app, headers=[("X-API-Key", "a")]).status
    assert 200 == talk(app, headers=[("X-API-Key", "a"), ("X-User", "ann")]).status


# --- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [
        ("POST", "https://evil.example", 403),
        ("POST", "null", 403),
        ("POST", "http://[broken", 403),
        ("DELETE", "http://shelf.example.evil.example", 403),
        ("POST", "http://shelf.example:8000", 200),
        ("POST", "http://shelf.example", 403),  # another port is another site
        ("POST", "HTTPS://Friend.Example", 200),
        ("GET", "https://evil.example", 200),  # which its browser does not let it read
        ("POST", None, 200),
    ],
)
def test_pages_of_other_sites_do_not_write(method, origin, status):
    app = guards.Origins(fine, ["https://friend.example"])
    headers = [("Host", "shelf.example:8000"), *([("Origin", origin)] if origin else [])]

    assert status == talk(app, method, headers=headers).status


def test_pages_of_other_sites_open_no_socket():
    async def run(origin):
        one = Talk(kind="websocket", headers=[("Host", "shelf.example"), ("Origin", origin)])
        await guards.Origins(fine)(one.scope, one.receive, one.send)
        return one.sent[0]["type"]

    assert "websocket.close" == asyncio.run(run("https://evil.example"))
    assert "http.response.start" == asyncio.run(run("https://shelf.example"))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
def test_a_server_of_this_machine_is_asked_by_its_own_name(host, status):
    app = guards.Origins(fine, hosts=["localhost", "127.0.0.1", "[::1]"])

    assert status == talk(app, headers=[("Host", host)]).status


def test_pages_of_named_origins_may_read():
    app = guards.cors(fine, ["https://Friend.example"])
    asked = [("Origin", "https://friend.example"), ("Access-Control-Request-Method", "POST")]

    assert "https://friend.example" == talk(app, headers=asked[:1]).headers["access-control-allow-origin"]
    assert (
        "access-control-allow-origin" not in talk(app, headers=[("Origin", "https://evil.example")]).headers
    )
    before = talk(app, "OPTIONS", headers=[*asked, ("Access-Control-Request-Headers", "X-API-Key")])
    assert 200 == before.status
    assert "access-control-allow-credentials" not in before.headers


@pytest.mark.parametrize(
    "origin", ["friend.example", "https://", "https://friend.example/", "https://a.example/x", ""]
)
def test_an_origin_is_one(origin):
    with pytest.raises(BadValue, match="no origin"):
        guards.cors(fine, [origin])

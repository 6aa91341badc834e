"""The search over stickers of examples/multimodal_search, end to end: each protocol, a browser, workers that die."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from browser import chromium, tab

from docarray import Document, DocumentArray
from docarray.flow import Client

FOLDER = Path(__file__).parents[1] / "examples" / "multimodal_search"
EXTRAS = 'pip install "docarray[demo,grpc,media]"'
MODULES = (
    "PIL cloudpickle fastapi grpc prometheus_client sqlalchemy usearch uvicorn websockets wordllama yaml"
)


@pytest.fixture(scope="module")
def stickers():
    """The module that draws them, and the dataclass."""
    for module in MODULES.split():
        pytest.importorskip(module, reason=EXTRAS)
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("stickers")
    finally:
        sys.path.remove(str(FOLDER))
        for module in ("stickers", "executors"):
            sys.modules.pop(module, None)


@contextlib.contextmanager
def serving(workspace):
    """The urls of the program, until the block ends: then it is told to stop, and does without a word."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            FOLDER / "app.py",
            "--port=0",
            "--grpc-port=0",
            "--workspace",
            workspace,
        ],
        cwd=workspace.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        grpc, http = re.findall(r"\w+://[\d.:]+", line)
        yield http, grpc, process
        process.terminate()
        _, process.said = process.communicate(timeout=20)
        assert 0 == process.returncode
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def service(stickers, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("stickers") / "data") as (http, grpc, process):
        yield http, grpc
    assert "" == process.said


def asked(url, endpoint, data=(), **parameters):
    """Status and answer of a request over HTTP."""
    body = json.dumps({"data": list(data), "parameters": parameters}).encode()
    try:
        with urlopen(
            Request(url + endpoint, body, {"Content-Type": "application/json"}), timeout=20
        ) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def best(url, question, **parameters):
    """The ids that a question finds over HTTP, the best first."""
    status, answer = asked(url, "/search", [question], **parameters)
    assert 200 == status, answer
    return [match["id"] for match in answer["data"][0]["matches"]]


def workers(url):
    """What is to be seen of the processes, by deployment."""
    with urlopen(url + "/status", timeout=20) as answer:
        deployments = json.load(answer)["deployments"]
    return {name: said["replicas"] for name, said in deployments.items()}


# --- asking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fruit", {"plum", "orange"}),
        ("at the sea", {"window", "starfish", "sail"}),
        ("music", {"record"}),
        ("what bees make", {"honey"}),
        ("outer space", {"planet"}),
    ],
)
def test_words_are_found_by_what_they_mean(service, text, expected):
    assert expected <= set(best(service[0], {"text": text}, limit=3))


@pytest.mark.parametrize("shape", ["circle", "star"])
def test_a_picture_finds_what_looks_like_it(service, stickers, shape):
    """One that was scaled and packed anew, as another file of the same thing."""
    from PIL import Image

    url, file = service[0], io.BytesIO()
    Image.open(io.BytesIO(stickers.drawn(shape, "orange"))).resize((150, 150)).save(file, "JPEG")
    question = json.loads(Document(blob=file.getvalue()).to_json())

    status, answer = asked(url, "/search", [{"blob": question["blob"]}], limit=3)

    found = [match["tags"] for match in answer["data"][0]["matches"]]
    assert (200, "orange", shape) == (status, found[0]["colour"], found[0]["shape"])
    assert {shape} == {tags["shape"] for tags in found}


def test_words_and_a_picture_together_find_what_is_both(service, stickers):
    """A fruit that looks like the sun."""
    url, words = service[0], {"text": "fruit"}
    picture = {"blob": json.loads(Document(blob=stickers.drawn("circle", "yellow")).to_json())["blob"]}

    assert "plum" == best(url, words)[0]
    assert "sun" == best(url, picture)[0]
    assert "orange" == best(url, {"chunks": [words, picture]})[0]


def test_a_filter_comes_first(service, stickers):
    url = service[0]
    blob = json.loads(Document(blob=stickers.drawn("heart", "red")).to_json())["blob"]
    cheap = {"tags__price": {"$lte": 1}, "tags__shape": {"$ne": "heart"}}

    for question in ({"text": "love"}, {"blob": blob}):
        status, answer = asked(url, "/search", [question], limit=5, filter=cheap)
        tags = [match["tags"] for match in answer["data"][0]["matches"]]
        assert (200, 5) == (status, len(tags))
        assert all(one["price"] <= 1 and one["shape"] != "heart" for one in tags)
    _, listed = asked(url, "/search", limit=100, filter=cheap)
    assert {"apple", "plum", "brick", "note", "crate", "rain", "blood"} == {
        doc["id"] for doc in listed["data"]
    }


def test_answers_are_stickers_again(service, stickers):
    """Over each protocol the same, and without the vectors that searches need."""
    http, grpc = service
    answers = []
    for url in (http, http.replace("http", "ws", 1), grpc):
        with Client(url) as client:
            found = client.post(
                "/search", [Document(text="fruit"), Document(text="sport")], parameters={"limit": 4}
            )
            answers.append([[(m.id, m.scores["cosine"].value) for m in doc.matches] for doc in found])
    whole = {one.name: one for one in stickers.stickers()}
    fruit = found[0].matches

    assert answers[0] == answers[1] == answers[2]
    assert "ball" == answers[0][1][0][0]
    assert [whole[hit.id] for hit in fruit] == [stickers.Sticker(hit) for hit in fruit]
    assert all(hit.embedding is None and hit.chunks[1].embedding is None for hit in fruit)


@pytest.mark.parametrize(
    ("question", "parameters", "expected"),
    [
        ({"text": " "}, {}, "neither a text"),
        ({"text": "x" * 1001}, {}, "neither a text"),
        ({"blob": "AAAA"}, {}, "cannot be read"),
        ({"uri": "/etc/passwd"}, {}, "neither a text"),
        ({"chunks": [{"text": "x"}] * 101}, {}, "100 questions at most"),
        ({"text": "x"}, {"limit": 101}, "less than or equal to 100"),
        ({"text": "x"}, {"limt": 3}, "limt"),
        ({"text": "x"}, {"filter": {"tags__name": {"$regex": "(a+)+$"}}}, "switched off"),
        ({"text": "x"}, {"filter": {"colour": "red"}}, "there is no field 'colour'"),
    ],
)
def test_what_is_wrong_with_a_question_is_told(service, question, parameters, expected):
    status, problem = asked(service[0], "/search", [question], **parameters)

    assert 422 == status
    assert expected in problem["detail"]


def test_what_is_no_sticker_is_not_indexed(service):
    url = service[0]
    _, before = asked(url, "/status")

    status, problem = asked(url, "/index", [{"id": "x", "text": "no sticker"}])

    assert 422 == status, problem
    assert before["parameters"] == asked(url, "/status")[1]["parameters"]


def test_pages_of_other_sites_cannot_ask(service):
    request = Request(service[0] + "/search", b"{}", {"Origin": "https://example.com"})
    with pytest.raises(HTTPError) as caught:
        urlopen(request, timeout=20)
    caught.value.close()

    assert 403 == caught.value.code


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_searches_by_words_pictures_and_filters(service, stickers, tmp_path):
    url = service[0]
    (tmp_path / "photo.png").write_bytes(stickers.drawn("triangle", "green"))
    with chromium() as browser, tab(browser, url) as one:
        page = one.page
        captions = page.locator("#found .caption")
        page.goto(url)
        page.get_by_text("33 stickers", exact=True).wait_for()
        page.locator("#text").fill("fruit")
        page.keyboard.press("Enter")
        page.get_by_text("for “fruit”").wait_for()
        fruit = captions.all_inner_texts()[:3]
        page.locator("#price").select_option("up to 1.00")
        page.get_by_text("A plum, a fruit of late summer").wait_for()
        page.get_by_text("A sweet orange full of juice").wait_for(state="detached")
        page.locator("#price").select_option("any")
        page.locator("#text").fill("")
        page.locator("#file").set_input_files(tmp_path / "photo.png")
        page.get_by_text("stickers like this picture").wait_for()
        green = captions.all_inner_texts()[0]
        drawn = page.locator("#found img").first.evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        page.locator("#forget").click()
        page.get_by_text("33 stickers", exact=True).wait_for()
        page.locator("#text").fill("<img src=x onerror=alert(1)>" + "x" * 10)
        page.keyboard.press("Enter")
        page.get_by_text("for “<img src=x").wait_for()
        problems = one.problems

    assert "A sweet orange full of juice" in fruit
    assert "A fir tree in the forest" == green
    assert stickers.SIDE == drawn
    assert [] == problems


def test_what_was_indexed_is_shown_as_text(service, stickers):
    """A caption of HTML is a caption; the next question finds it, whichever searcher answers."""
    http, grpc = service
    evil = "<b>bold</b><script>alert(1)</script> kangaroo"
    one = stickers.Sticker("evil", evil, stickers.drawn("star", "blue"), "star", "blue", 99.0)
    with Client(grpc) as client:
        assert ["evil"] == client.post("/index", Document(one))[:, "id"]
        assert ["evil"] * 4 == [best(http, {"text": "kangaroo"}, limit=1)[0] for _ in range(4)]
    # Again under the same name, by JSON: it takes its place.
    again = json.loads(Document(one).to_json())
    assert 200 == asked(http, "/index", [again])[0]
    with chromium() as browser, tab(browser, http) as seen:
        seen.page.goto(http)
        seen.page.get_by_text(evil).wait_for()
        count = seen.page.get_by_text(evil).count()
        problems = seen.problems
    assert 200 == asked(http, "/delete", [{"id": "evil"}, {"id": "nobody"}])[0]

    assert 1 == count
    assert [] == problems
    assert 33 == asked(http, "/status")[1]["parameters"]["__results__"]["indexer"]["stickers"]
    assert "evil" not in best(http, {"text": "kangaroo"}, limit=100)


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_loses_no_question_and_the_index_stays(stickers, tmp_path):
    """One replica of each kind that has two dies while eight ask; and all is there after a restart."""
    workspace = tmp_path / "data"
    with serving(workspace) as (url, grpc, _):
        stop, answers = threading.Event(), []

        def ask():
            while not stop.is_set():
                answers.append(asked(url, "/search", [{"text": "fruit"}], limit=1)[0])

        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        try:
            until(lambda: len(answers) > 100)
            for name in ("encoder", "searcher"):
                os.kill(workers(url)[name][0]["pid"], signal.SIGKILL)
            until(lambda: all(workers(url)[name][0]["restarts"] == 1 for name in ("encoder", "searcher")))
            reached = len(answers)
            until(lambda: len(answers) > reached + 100)
        finally:
            stop.set()
            for asker in askers:
                asker.join()
        with Client(grpc) as client:
            shown = client.post("/search", DocumentArray(), parameters={"limit": 100})

    with serving(workspace) as (url, _, _):
        _, again = asked(url, "/search", limit=100)

    assert {200} == set(answers)
    assert 33 == len(shown)
    assert shown[:, "id"] == [doc["id"] for doc in again["data"]]


def until(condition):
    """Waits for what has to come."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)

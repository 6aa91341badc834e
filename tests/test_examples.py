"""The programs of examples/ that need nothing but the library run, and do what they say."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from browser import chromium, tab

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, folder, *words):
    """The lines that a program prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *words],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert "" == done.stderr
    return done.stdout.splitlines()


def test_the_shop_keeps_what_was_bought(tmp_path):
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    visits = [("cold lemons", "4"), ("cold lemons", "4"), ("anything", "0.5")]

    first, second, third = (run("shop.py", tmp_path, *words) for words in visits)

    assert "lemonade was bought 1 times" == first[-1]
    assert "lemonade was bought 2 times" == second[-1]
    assert [] == third


def test_the_catalogue_is_searched_by_its_words_and_its_pictures(tmp_path):
    pytest.importorskip("sqlalchemy", reason='pip install "docarray[sql]"')
    pytest.importorskip("PIL", reason='pip install "docarray[media]"')

    warm = run("catalogue.py", tmp_path, "something warm to wear")
    tea = run("catalogue.py", tmp_path, "tea without cold")

    assert warm[0].split()[:2] == ["scarf", "25.00"]
    assert {"mug", "kettle"} == {line.split()[0] for line in tea[:2]}
    assert "as red as this: scarf, kettle" == tea[-1] == warm[-1]


@contextlib.contextmanager
def serving(name, folder, *words, **environment):
    """The url of a program that serves, until the block ends: then it is told to stop, and does without a word."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().split()[-1]
        process.terminate()
        _, said = process.communicate(timeout=20)
        assert (0, "") == (process.returncode, said)
    finally:
        process.kill()
        process.communicate()


def asked(url, body=None, key=None, method=None):
    """The status and the answer of a request."""
    headers = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, headers, method=method), timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


NEEDS = ("sqlalchemy", "usearch", "uvicorn", "fastapi", "strawberry", "prometheus_client")


def test_the_service_is_searched_by_rest_and_graphql(tmp_path):
    for module in NEEDS:
        pytest.importorskip(module, reason='pip install "docarray[serve,usearch]"')
    query = """{
        search(text: "warm in winter", limit: 2) { document { id fields { name { text } price } } }
        documents(filter: "{\\"tags__price\\": {\\"$lt\\": 20}}", sort: "tags__price") { totalCount nodes { id } }
    }"""

    with serving("search_service.py", tmp_path, "--port", "0") as url:
        _, warm = asked(f"{url}/search?text=warm+in+winter&limit=2&fields=text")
        _, like = asked(f"{url}/search", {"like": "kettle", "limit": 1, "fields": ["text"]})
        status, answer = asked(f"{url}/graphql", {"query": query})
        refused, _ = asked(f"{url}/documents/kettle", method="DELETE")
    with serving("search_service.py", tmp_path, "--port", "0") as url:
        _, kept = asked(f"{url}/info")

    assert {"scarf", "gloves"} == {doc["id"] for doc in warm}
    assert ["watering-can"] == [doc["id"] for doc in like]
    assert 200 == status
    hits = [hit["document"] for hit in answer["data"]["search"]]
    assert {("scarf", 25.0), ("gloves", 18.0)} == {
        (h["fields"]["name"]["text"], h["fields"]["price"]) for h in hits
    }
    assert {"totalCount": 2, "nodes": [{"id": "mug"}, {"id": "gloves"}]} == answer["data"]["documents"]
    assert 405 == refused
    assert 8 == kept["documents"]


def test_the_service_is_looked_through_in_a_browser(tmp_path):
    for module in NEEDS:
        pytest.importorskip(module, reason='pip install "docarray[serve,usearch]"')

    with (
        serving("search_service.py", tmp_path, "--port", "0") as url,
        chromium() as browser,
        tab(browser, url) as one,
    ):
        one.page.goto(url)
        one.page.get_by_text("8 documents", exact=True).wait_for()
        one.page.locator("#text").fill("warm in winter")
        one.page.keyboard.press("Enter")
        one.page.get_by_text("for “warm in winter”").wait_for()
        found = one.page.locator("#rows .id").all_inner_texts()
        one.page.locator("#rows button").first.click()
        one.page.locator("#one").get_by_text("Warm wool to wear in winter.").first.wait_for()
        problems = one.problems

    assert {"scarf", "gloves"} == set(found[:2])
    assert [] == problems


def test_the_service_is_written_to_with_its_key(tmp_path):
    for module in NEEDS:
        pytest.importorskip(module, reason='pip install "docarray[serve,usearch]"')
    new = {"id": "rake", "text": "rake: Gathers leaves.", "tags": {"kind": "garden", "price": 19.0}}

    with serving("search_service.py", tmp_path, "--port", "0", "--write", CATALOGUE_KEY="secret") as url:
        stranger, _ = asked(f"{url}/documents/rake", new, method="PUT")
        status, _ = asked(f"{url}/documents/rake", new, key="secret", method="PUT")
        _, found = asked(f"{url}/search?text=leaves&limit=1", key="secret")
    with serving("search_service.py", tmp_path, "--port", "0") as url:
        _, kept = asked(f"{url}/documents/rake")

    assert 401 == stranger
    assert status in (200, 201)
    assert "rake" == found[0]["id"]
    assert "rake: Gathers leaves." == kept["text"]

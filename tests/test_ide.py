"""GraphiQL and Swagger, in a real browser, without the internet."""

from __future__ import annotations

import importlib.util

import pytest
from browser import chromium, tab

from docarray import Document, DocumentArray

for _module in ("uvicorn", "httptools", "strawberry", "fastapi", "prometheus_client", "httpx2"):
    pytest.importorskip(_module, reason='pip install "docarray[serve]" httpx2')
from starlette.testclient import TestClient  # noqa: E402

from docarray.web import Server, app, ide  # noqa: E402

pytestmark = pytest.mark.timeout(120)
INSTALL = 'pip install "docarray[ide]"'
needs_files = pytest.mark.skipif(
    not all(
        importlib.util.find_spec(name) for name in ("fastapi_offline", "graphene_django_graphiql_static")
    ),
    reason=INSTALL,
)


def shelf():
    return DocumentArray([Document(id="a", text="green tea"), Document(id="b", text="coffee")])


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@needs_files
def test_graphiql_asks_and_listens(browser):
    with Server(shelf(), writable=True) as server, tab(browser, server.url) as one:
        one.page.goto(server.url + "/graphiql")
        one.page.locator(".graphiql-execute-button").click()
        answer = one.page.locator(".result-window")
        answer.get_by_text('"green tea"').wait_for()
        one.page.locator(".graphiql-query-editor .CodeMirror").click()
        one.page.keyboard.press("Control+A")
        one.page.keyboard.insert_text("subscription { changes { written } }")
        # It reads its editor some time later; by then it has stored what it read, too.
        while "subscription" not in (one.page.evaluate("localStorage.getItem('graphiql:query')") or ""):
            one.page.wait_for_timeout(50)
        one.page.locator(".graphiql-execute-button").click()
        request = one.page.request
        while not answer.get_by_text('"later"').count():  # until the server, too, has begun to listen
            assert request.post(server.url + "/documents", data=[{"id": "later"}]).ok
            one.page.wait_for_timeout(100)
        one.page.get_by_label("Show Documentation Explorer").click()
        one.page.locator(".graphiql-doc-explorer").get_by_role("link", name="Query").click()
        one.page.locator(".graphiql-doc-explorer").get_by_role("link", name="documents").wait_for()
        assert [] == one.problems


@needs_files
def test_swagger_lists_operations_and_carries_one_out(browser):
    with Server(shelf()) as server, tab(browser, server.url) as one:
        one.page.goto(server.url + "/docs")
        one.page.locator(".opblock").first.wait_for()
        paths = {
            text.replace("\u200b", "") for text in one.page.locator(".opblock-summary-path").all_inner_texts()
        }
        assert {"/search", "/documents", "/documents/{id}", "/info"} <= paths
        block = one.page.locator(".opblock", has_text="How many documents there are")
        block.locator(".opblock-summary").click()
        block.get_by_text("Execute").click()
        answer = block.locator(".live-responses-table .highlight-code").first
        answer.wait_for()
        assert '{"count":' in "".join(answer.inner_text().split())
        assert "200" == block.locator(".live-responses-table .response-col_status").last.inner_text().strip()
        assert [] == one.problems


@needs_files
@pytest.mark.parametrize(
    ("path", "wanted"), [("/graphiql", ".graphiql-query-editor .cm-property"), ("/docs", ".opblock")]
)
def test_a_key_is_asked_for_where_one_is_wanted(browser, path, wanted):
    keys = iter(["wrong", "secret"])
    with Server(shelf(), api_key="secret") as server:
        context = browser.new_context()
        try:
            page = context.new_page()
            page.on("dialog", lambda dialog: dialog.accept(next(keys)))
            page.goto(server.url + path)
            page.locator(wanted).first.wait_for()
            assert [] == list(keys)
            if path == "/graphiql":
                page.locator(".graphiql-execute-button").click()
                page.locator(".result-window").get_by_text('"green tea"').wait_for()
        finally:
            context.close()


@needs_files
def test_only_files_of_the_list_are_given():
    with TestClient(app(shelf(), api_key="secret")) as client:
        for name in ide._ASSETS:
            found = client.get(f"/assets/{name}")
            assert (200, True) == (found.status_code, len(found.content) > 5_000)
            assert "css" in found.headers["content-type"] or "javascript" in found.headers["content-type"]
        for name in ("nothing.js", "..%2f..%2fetc%2fpasswd", "../ide.py", "%2e%2e"):
            assert client.get(f"/assets/{name}").status_code in (401, 404)
        assert client.post("/assets/react.js").status_code == 405
        assert client.head("/graphiql").content == b""
        for path in ("/graphiql", "/docs"):
            said = client.get(path).headers["content-security-policy"]
            assert "default-src 'none'" in said
            assert "http" not in said


def test_without_its_files_a_page_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if "offline" in name or "graphiql" in name else find(name),
    )
    with TestClient(app(shelf())) as client:
        for path in ("/graphiql", "/docs", "/assets/react.js"):
            found = client.get(path)
            assert 501 == found.status_code
            assert INSTALL in found.json()["detail"]

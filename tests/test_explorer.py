"""The page to look through documents, in a real browser against a real server."""

from __future__ import annotations

import io
import re

import pytest
from browser import chromium, tab

from docarray import Document, DocumentArray

for _module in ("uvicorn", "httptools", "strawberry", "fastapi", "prometheus_client"):
    pytest.importorskip(_module, reason='pip install "docarray[serve]"')
from docarray.web import Limits, Server  # noqa: E402
from docarray.web.explorer import page, policy  # noqa: E402

pytestmark = pytest.mark.timeout(120)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def picture():
    image = pytest.importorskip("PIL.Image", reason='pip install "docarray[media]"')
    file = io.BytesIO()
    image.new("RGB", (40, 30), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


def shelf():
    docs = DocumentArray(
        Document(id=f"d{at:02}", text=f"number {at}", tags={"price": at}, embedding=[at, 1.0])
        for at in range(60)
    )
    docs[0] = Document(id="a/b ?#%", text="green tea", embedding=[0.0, 1.0])
    docs[1] = Document(
        id=HOSTILE,
        text=HOSTILE,
        uri="javascript:alert(3)",
        tags={HOSTILE: HOSTILE, "nested": {"deep": [HOSTILE]}},
        chunks=[Document(id="c1", text="a chunk", chunks=[Document(id="c2", text="deeper " + HOSTILE)])],
        matches=[Document(id="m1", text="a match", scores={"cosine": 0.25})],
        embedding=[1.0, 1.0],
    )
    docs[2] = Document(id="picture", blob=picture(), mime_type="image/png")
    docs[3] = Document(id="drawing", blob=b"<svg onload=alert(4)/>", mime_type="image/svg+xml")
    docs[4] = Document(id="away", uri="http://192.0.2.1/x.png", mime_type="image/png")
    docs[5] = Document(id="count", text="called as a path is")
    return docs


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server():
    with Server(shelf(), name="Shelf " + HOSTILE) as found:
        yield found


def rows(one):
    return one.page.locator("#rows .id").all_inner_texts()


def look(one, number):
    one.page.locator("#rows button").nth(number).click()
    one.page.locator("#one h2").wait_for()


def test_documents_are_paged_through(browser, server):
    with tab(browser, server.url) as one:
        one.page.goto(server.url)
        one.page.get_by_text("60 documents", exact=True).wait_for()
        first = rows(one)
        one.page.locator("#next").click()
        one.page.get_by_text("26–50 of 60").wait_for()
        second = rows(one)
        one.page.locator("#next").click()
        one.page.get_by_text("51–60 of 60").wait_for()
        third = rows(one)
        assert one.page.locator("#next").is_disabled()
        one.page.locator("#previous").click()
        one.page.get_by_text("26–50 of 60").wait_for()
        assert second == rows(one)
        assert (25, 25, 10) == (len(first), len(second), len(third))
        assert 60 == len({*first, *second, *third})
        assert [] == one.problems


def test_words_filters_and_orders_are_asked_for_and_remembered(browser, server):
    with tab(browser, server.url) as one:
        one.page.goto(server.url)
        one.page.locator("#rows li").first.wait_for()
        one.page.keyboard.press("/")
        one.page.keyboard.type("tea")
        one.page.keyboard.press("Enter")
        one.page.get_by_text("for “tea”").wait_for()
        assert ["a/b ?#%"] == rows(one)
        one.page.locator("#text").fill("")
        one.page.get_by_text("Filter").click()
        one.page.locator("#filter").fill('{"tags__price": {"$gt": 56}}')
        one.page.locator("#sort").fill("-tags__price")
        one.page.keyboard.press("Enter")
        one.page.get_by_text("3 of 60 documents", exact=True).wait_for()
        assert ["d59", "d58", "d57"] == rows(one)
        url = one.page.url
        one.page.goto("about:blank")
        one.page.goto(url)
        one.page.get_by_text("3 of 60 documents", exact=True).wait_for()
        assert ["d59", "d58", "d57"] == rows(one)
        one.page.locator("#filter").fill("{")
        one.page.keyboard.press("Enter")
        one.page.locator("#status.wrong").wait_for()
        assert "filter" in one.page.locator("#status").inner_text()
        one.problems = [
            said
            for said in one.problems
            if "422" not in said and "400" not in said and "about:blank" not in said
        ]
        assert [] == one.problems


def test_a_document_is_looked_at_down_to_what_is_in_it(browser, server):
    """And nothing of it is markup, or runs."""
    with tab(browser, server.url) as one:
        one.page.goto(server.url)
        one.page.locator("#rows li").first.wait_for()
        look(one, 1)
        panel = one.page.locator("#one")
        assert HOSTILE == panel.locator("h2").inner_text()
        assert HOSTILE == panel.locator(".body").inner_text()
        for said in ("javascript:alert(3)", "a chunk", "a match", "cosine 0.250"):
            panel.get_by_text(said).wait_for()
        assert 0 == panel.locator("img").count() + panel.locator("a").count()
        panel.get_by_text("a chunk").click()
        panel.get_by_text("deeper").click()
        assert "c2" == panel.locator("h2").inner_text()
        panel.get_by_text("Back").click()
        panel.get_by_text("Back").click()
        assert HOSTILE == panel.locator("h2").inner_text()
        one.page.keyboard.press("Escape")
        panel.wait_for(state="hidden")
        one.page.keyboard.press("ArrowUp")
        one.page.keyboard.press("Enter")
        panel.locator("h2").wait_for()
        assert "a/b ?#%" == panel.locator("h2").inner_text()
        panel.get_by_text("Similar").click()
        one.page.get_by_text("like a/b").wait_for()
        assert HOSTILE == rows(one)[0]
        assert [] == one.problems


def test_pictures_of_the_document_are_shown_and_no_others(browser, server):
    with tab(browser, server.url) as one:
        one.page.goto(server.url)
        one.page.locator("#rows li").first.wait_for()
        look(one, 2)
        image = one.page.locator("#one img")
        assert 1 == one.page.locator("#rows img").count()
        image.wait_for()
        assert {"width": 40, "height": 30} == {
            name: round(image.bounding_box()[name]) for name in ("width", "height")
        }
        for number, key in ((3, "drawing"), (4, "away"), (5, "count")):
            look(one, number)
            one.page.locator("#one h2", has_text=key).wait_for()
            assert 0 == image.count()
        assert [] == one.problems


def test_a_key_is_asked_for_where_one_is_wanted(browser):
    with Server(shelf(), api_key="secret") as server, tab(browser, server.url) as one:
        one.page.goto(server.url)
        one.page.locator("#door").wait_for()
        one.page.locator("#key").fill("wrong")
        one.page.keyboard.press("Enter")
        one.page.get_by_text("This key is not taken.").wait_for()
        one.page.locator("#key").fill("secret")
        one.page.keyboard.press("Enter")
        one.page.get_by_text("60 documents", exact=True).wait_for()


ODD = ["", ".", "..", "delete", "count", "%2F", "half \ud800", "\u202eright", "a\nb", "\x00"]


def test_every_id_is_found(browser):
    docs = DocumentArray(Document(id=key, text=f"number {at}") for at, key in enumerate(ODD))
    with Server(docs, writable=True) as server, tab(browser, server.url) as one:
        one.page.goto(server.url)
        for at in range(len(ODD)):
            one.page.locator("#rows button").nth(at).click()
            one.page.locator("#one .body", has_text=f"number {at}").wait_for()
            one.page.keyboard.press("Escape")
            one.page.locator("#one").wait_for(state="hidden")
        assert [] == one.problems


def test_no_more_is_asked_for_than_is_given(browser):
    with Server(shelf(), limits=Limits(page=7)) as server, tab(browser, server.url) as one:
        one.page.goto(server.url)
        one.page.get_by_text("1–7 of 60").wait_for()
        one.page.locator("#next").click()
        one.page.get_by_text("8–14 of 60").wait_for()
        one.page.locator("#text").fill("number")
        one.page.keyboard.press("Enter")
        one.page.get_by_text("The best 7 documents for “number”").wait_for()
        assert [] == one.problems


def test_the_browser_goes_back_and_forth(browser, server):
    with tab(browser, server.url) as one:
        one.page.goto(server.url)
        one.page.locator("#text").fill("tea")
        one.page.keyboard.press("Enter")
        one.page.get_by_text("1 document for “tea”").wait_for()
        look(one, 0)
        one.page.go_back()
        one.page.locator("#one").wait_for(state="hidden")
        one.page.go_back()
        one.page.get_by_text("60 documents", exact=True).wait_for()
        assert "" == one.page.locator("#text").input_value()
        one.page.go_forward()
        one.page.get_by_text("1 document for “tea”").wait_for()
        one.page.go_forward()
        one.page.locator("#one h2", has_text="a/b").wait_for()
        assert [] == one.problems


def test_a_tag_becomes_a_filter(browser, server):
    with tab(browser, server.url) as one:
        one.page.goto(server.url)
        look(one, 8)
        one.page.get_by_label("Only documents with price 8").click()
        one.page.get_by_text("1 of 60 documents").wait_for()
        assert ["d08"] == rows(one)
        assert '{"tags__price":{"$eq":8}}' == one.page.locator("#filter").input_value()
        assert "tags__price number" in one.page.locator("#fields").inner_text()
        assert [] == one.problems


def test_all_that_can_be_done_has_a_name(browser, server):
    with tab(browser, server.url) as one:
        one.page.goto(server.url)
        look(one, 1)
        one.page.get_by_text("Filter", exact=True).click()
        for role in ("button", "searchbox", "textbox", "combobox", "link", "region", "navigation"):
            found = one.page.get_by_role(role)
            named = one.page.get_by_role(role, name=re.compile(r"\S"))
            assert found.count() == named.count(), role
        assert one.page.get_by_role("searchbox", name="Search").count() == 1
        assert one.page.locator("html").get_attribute("lang") == "en"
        assert [] == one.problems


def test_only_pages_that_are_there_are_linked():
    assert 'data-links="docs"' in page("n", links=["docs"])
    assert 'data-links=""' in page("n")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_is_enough(browser, server, scheme, tmp_path):
    options = {"viewport": {"width": 380, "height": 700}, "color_scheme": scheme}
    with tab(browser, server.url, **options) as one:
        one.page.goto(server.url)
        one.page.locator("#rows li").first.wait_for()
        for element in one.page.locator("#rows li, header, nav").all():
            box = element.bounding_box()
            assert box is None or box["x"] + box["width"] <= 380
        back = one.page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")
        look(one, 1)
        one.page.locator("#list").wait_for(state="hidden")
        assert one.page.locator("#one").bounding_box()["width"] <= 380
        assert [] == one.problems
    light = sum(map(int, back[4:-1].split(","))) > 380
    assert light == (scheme == "light")


def test_it_finds_its_way_where_it_is_mounted(browser):
    fastapi = pytest.importorskip("fastapi", reason='pip install "docarray[serve]"')
    from docarray.web import app

    outer = fastapi.FastAPI()
    outer.mount("/shelf", app(shelf()))
    with Server(outer) as server, tab(browser, server.url) as one:
        one.page.goto(server.url + "/shelf/")
        one.page.get_by_text("60 documents", exact=True).wait_for()
        assert [] == one.problems


def test_the_page_says_what_it_may_do():
    text, said = page("n0nce"), policy("n0nce")
    assert 2 == text.count('nonce="n0nce"')
    assert "{" + "nonce}" not in text
    assert "'unsafe" not in said
    assert "default-src 'none'" in said
    assert "http" not in text.replace("http-equiv", "")

"""Executor, its handlers, and what is made of what they return; without a Flow."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Literal

import pytest

from docarray import Document, DocumentArray, dataclass
from docarray.errors import BadValue, FieldTypeError
from docarray.flow import Executor, dynamic_batching, requests
from docarray.flow.executor import construct
from docarray.flow.faults import BadRequest, NoEndpoint
from docarray.typing import Text


@dataclass
class Page:
    title: Text
    stars: int = 0


@dataclasses.dataclass
class Options:
    times: int
    mark: str = "!"
    way: Literal["up", "down"] = "up"


def words(*texts):
    return DocumentArray(Document(text=text) for text in texts)


# ---------------------------------------------------------------------------------------------- which handler


def test_a_class_with_two_handlers_for_an_endpoint_is_an_error():
    with pytest.raises(BadValue, match=r"bare\(\) and called\(\) both answer '/default'"):

        class Twice(Executor):
            @requests
            def bare(self, docs): ...

            @requests()
            def called(self, docs): ...


class Forms(Executor):
    @requests
    def bare(self, docs, **kwargs):
        return words("bare")

    @requests(on="/one")
    def one(self, **kwargs):
        return words("one")

    @requests(on=["/two", "/three"])
    def several(self, docs):
        return words("several")


@pytest.mark.parametrize(
    ("on", "said"),
    [("/one", "one"), ("/two", "several"), ("/three", "several"), ("/else", "bare"), ("/", "bare")],
)
def test_each_endpoint_has_its_handler(on, said):
    assert [said] == Forms()(on, docs=words("a")).texts


def test_an_endpoint_that_nobody_answers_is_an_error_that_names_the_nearest():
    class One(Executor):
        @requests(on="/search")
        def search(self, docs): ...

    with pytest.raises(NoEndpoint, match="Did you mean '/search'"):
        One()("/serach", docs=words("a"))


def test_what_inherits_answers_with_its_own_method_decorated_or_not():
    class Plain(Forms):
        def one(self, **kwargs):
            return words("plain")

    class Again(Forms):
        @requests(on="/uno")
        def one(self, **kwargs):
            return words("again")

    class Late(Plain):
        @requests(on="/two")
        def other(self, docs):
            return words("other")

    assert ["plain"] == Plain()("/one").texts
    assert ["again"] == Again()("/uno").texts
    assert ["bare"] == Again()("/one").texts  # it answers under its new name alone
    assert ["other"] == Late()("/two").texts
    assert ["several"] == Late()("/three").texts


def test_endpoints_are_given_to_other_methods():
    routed = Forms(requests={"/new": "one"})
    assert ["one"] == routed("/new").texts
    assert ["bare"] == routed("/one").texts
    with pytest.raises(BadValue, match="onee"):
        Forms(requests={"/new": "onee"})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: requests(on=3), "endpoint is text"),
        (lambda: requests(on=[]), "at least one"),
        (lambda: requests("/search"), "given its endpoint by name"),
        (lambda: dynamic_batching(preferred_batch_size=0), "from 1"),
        (lambda: dynamic_batching(preferred_batch_size=2, timeout=-1), "milliseconds"),
        (lambda: dynamic_batching(print), "by name"),
    ],
)
def test_decorators_say_what_they_want(make, said):
    with pytest.raises((BadValue, FieldTypeError), match=said):
        make()


def wanting(body):
    """A class with a handler of these arguments."""
    scope = {"requests": requests, "Executor": Executor, "Page": Page, "dynamic_batching": dynamic_batching}
    exec(body, scope)
    return scope["A"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("class A(Executor):\n  @requests\n  def f(self, dosc): ...", "dosc"),
        ("class A(Executor):\n  @requests\n  def f(self, doc, docs): ...", "doc and docs"),
        ("class A(Executor):\n  @requests\n  @staticmethod\n  def f(docs): ...", "goes before a method"),
        ("class A(Executor):\n  @requests\n  def f(self, docs, parameters: int): ...", "parameters are"),
        ("class A(Executor):\n  def __init__(self, a): ...", "kwargs"),
        (
            "class A(Executor):\n  @dynamic_batching(preferred_batch_size=2)\n  @requests\n"
            "  def f(self, docs):\n    yield docs",
            "generator",
        ),
    ],
)
def test_what_a_signature_cannot_mean_is_an_error_of_its_class(body, said):
    with pytest.raises((BadValue, FieldTypeError), match=said):
        wanting(body)


# ---------------------------------------------------------------------------------------------- what it gets and gives


def test_a_handler_is_called_with_what_it_names():
    seen = []

    class All(Executor):
        @requests(on="/all")
        def all(self, docs, parameters, docs_matrix, docs_map, tracing_context):
            seen.append((docs.texts, parameters, docs_matrix, docs_map, tracing_context))

        @requests(on="/none")
        def none(self):
            seen.append(())

        @requests(on="/rest")
        def rest(self, **kwargs):
            seen.append(set(kwargs))

    matrix = [words("a"), words("b")]
    All()("/all", words("x"), {"k": 1}, docs_matrix=matrix, docs_map={"m": matrix[0]})
    All()("/none", words("x"))
    All()("/rest", words("x"))

    assert (["x"], {"k": 1}, matrix, {"m": matrix[0]}, None) == seen[0]
    assert () == seen[1]
    assert {"docs", "parameters", "docs_matrix", "docs_map", "tracing_context"} == seen[2]


class Outcomes(Executor):
    @requests(on="/none")
    def none(self, docs):
        docs[0].text = "changed"

    @requests(on="/array")
    def array(self, docs):
        return docs[:1]

    @requests(on="/list")
    def listed(self, docs):
        return [Document(text="new"), Page(title="page")]

    @requests(on="/document")
    def document(self, docs):
        return Document(text="alone")

    @requests(on="/dict")
    def dict(self, docs):
        return {"count": len(docs)}

    @requests(on="/wrong")
    def wrong(self, docs):
        return 3

    @requests(on="/parts")
    def parts(self, docs):
        yield from docs
        yield words("end", "of it")


def test_what_a_handler_returns_becomes_the_answer():
    run = Outcomes()
    assert ["changed", "b"] == run("/none", words("a", "b")).texts
    assert ["a"] == run("/array", words("a", "b")).texts
    listed = run("/list", words("a"))
    assert "new" == listed[0].text
    assert "page" == listed[1].title.text
    assert ["alone"] == run("/document", words("a")).texts
    assert {"count": 2} == run("/dict", words("a", "b"))
    assert [["a"], ["b"], ["end", "of it"]] == [part.texts for part in run("/parts", words("a", "b"))]
    with pytest.raises(FieldTypeError, match=r"wrong\(\) returned a int"):
        run("/wrong", words("a"))


class Singles(Executor):
    @requests(on="/upper")
    def upper(self, doc, parameters):
        doc.text = doc.text.upper() + parameters.get("mark", "")

    @requests(on="/async")
    async def waiting(self, doc):
        await asyncio.sleep(0.02)
        return Document(id=doc.id, text=doc.text * 2)

    @requests(on="/page")
    def page(self, doc: Page) -> Page:
        return Page(title=doc.title.upper(), stars=doc.stars + 1)

    @requests(on="/wrong")
    def wrong(self, doc):
        return [doc]


def test_a_handler_of_single_documents_is_called_for_each():
    run = Singles()
    assert ["A!", "B!"] == run("/upper", words("a", "b"), {"mark": "!"}).texts
    many = words(*"abcdefghij")
    assert [letter * 2 for letter in "abcdefghij"] == run("/async", many).texts
    assert ["x"] == [doc.id for doc in run("/async", Document(id="x", text="x"))]
    with pytest.raises(FieldTypeError, match="a document or None"):
        run("/wrong", words("a"))


def test_documents_come_as_objects_of_the_dataclass_that_is_annotated():
    found = Singles()("/page", DocumentArray([Document(Page(title="tea", stars=3))]))
    assert Page(title="TEA", stars=4) == Page(found[0])
    with pytest.raises(BadRequest, match="document 'plain' is no Page"):
        Singles()("/page", Document(id="plain", text="x"))


class Typed(Executor):
    @requests(on="/typed")
    def typed(self, docs, parameters: Options):
        docs.texts = [text * parameters.times + parameters.mark for text in docs.texts]


def test_parameters_come_as_the_dataclass_that_is_annotated():
    assert ["aaa!"] == Typed()("/typed", words("a"), {"times": 3}).texts
    assert ["a?"] == Typed()("/typed", words("a"), {"times": 1, "mark": "?", "way": "down"}).texts


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "lacks 'times'"),
        ({"times": "3"}, r"parameters\.times is a int; got '3'"),
        ({"times": True}, "times"),
        ({"times": 1, "marc": "?"}, "Did you mean 'mark'"),
        ({"times": 1, "way": "left"}, "way"),
    ],
)
def test_parameters_that_are_none_are_refused(parameters, said):
    with pytest.raises(BadRequest, match=said):
        Typed()("/typed", words("a"), parameters)


def test_parameters_come_as_a_model_of_pydantic():
    pydantic = pytest.importorskip("pydantic", reason='pip install "docarray[web]"')

    class Model(pydantic.BaseModel):
        times: int = 2

    class Modelled(Executor):
        @requests(on="/m")
        def m(self, docs, parameters: Model):
            docs.texts = [text * parameters.times for text in docs.texts]

    assert ["aa"] == Modelled()("/m", words("a")).texts
    with pytest.raises(BadRequest, match="times"):
        Modelled()("/m", words("a"), {"times": "x"})


def test_the_parameters_of_the_caller_stay_as_they_are():
    class Greedy(Executor):
        @requests
        def take(self, docs, parameters):
            parameters["list"].append(1)
            parameters.clear()

    given = {"list": []}
    Greedy()("/x", words("a"), given)
    assert {"list": []} == given


def test_coroutines_are_called_with_and_without_a_running_loop():
    class Waits(Executor):
        @requests
        async def wait(self, docs):
            await asyncio.sleep(0)
            docs.texts = [text.upper() for text in docs.texts]

        @requests(on="/parts")
        async def parts(self, docs):
            for doc in docs:
                await asyncio.sleep(0)
                yield doc

    async def inside():
        return Waits()("/x", words("a")).texts, (await Waits().acall("/x", words("b"))).texts

    assert ["A"] == Waits()("/x", words("a")).texts
    assert (["A"], ["B"]) == asyncio.run(inside())
    assert [["a"], ["b"]] == [part.texts for part in Waits()("/parts", words("a", "b"))]


# ---------------------------------------------------------------------------------------------- made


class Kept(Executor):
    def __init__(self, times: int = 2, mark: str = "!", **kwargs):
        super().__init__(**kwargs)
        self.times = times
        self.mark = mark


def test_an_executor_is_made_plainly():
    made = Kept(3, mark="?")
    assert (3, "?", "Kept") == (made.times, made.mark, made.metas.name)
    with pytest.raises(FieldTypeError, match=r"takes no argument 'tiems'\. Did you mean 'times'"):
        Kept(tiems=3)


def test_an_executor_that_never_calls_ours_works_too():
    class Bare(Executor):
        def __init__(self, **kwargs):
            self.seen = []

        @requests
        def see(self, docs):
            self.seen.append(len(docs))

    bare = Bare()
    bare("/x", words("a"))
    assert [1] == bare.seen
    assert "Bare" == bare.metas.name


def test_a_dataclass_can_be_an_executor():
    @dataclasses.dataclass
    class Data(Executor):
        times: int = 2

        @requests
        def repeat(self, docs):
            docs.texts = [text * self.times for text in docs.texts]

    assert ["aaa"] == construct(Data, {"times": 3}, metas={"name": "data"})("/x", words("a")).texts


def test_a_flow_passes_on_what_belongs_to_it():
    made = construct(
        Kept, {"times": 5}, metas={"name": "own"}, runtime_args={"name": "own/rep-0", "shard_id": 1}
    )
    assert (5, "own", "own/rep-0", 1) == (
        made.times, made.metas.name, made.runtime_args.name, made.runtime_args.shard_id,
    )  # fmt: skip
    with pytest.raises(FieldTypeError, match="Kept takes no argument 'time'"):
        construct(Kept, {"time": 5})
    with pytest.raises(FieldTypeError, match="metas has no 'nmae'"):
        construct(Kept, {}, metas={"nmae": "x"})


def test_the_workspace_is_a_folder_of_its_own(tmp_path, monkeypatch):
    assert str(tmp_path / "Kept") == Kept(workspace=str(tmp_path)).workspace
    sharded = construct(
        Kept, {}, metas={"name": "k"}, runtime_args={"workspace": str(tmp_path), "shard_id": 1, "shards": 3}
    )
    assert str(tmp_path / "k" / "1") == sharded.workspace
    assert (tmp_path / "k" / "1").is_dir()
    monkeypatch.setenv("JINA_DEFAULT_WORKSPACE_BASE", str(tmp_path / "env"))
    assert str(tmp_path / "env" / "Kept") == Kept().workspace


def test_an_executor_is_closed_at_the_end_of_its_block():
    closed = []

    class Plain(Executor):
        def close(self):
            closed.append("plain")

    class Waits(Executor):
        async def close(self):
            closed.append("waits")

    with Plain(), Waits():
        pass
    assert ["waits", "plain"] == closed

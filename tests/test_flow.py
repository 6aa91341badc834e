"""Flow in this process: wiring, joins, filters, shards, order, errors, time, streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import numpy as np
import pytest

from docarray import Document, DocumentArray, tensors
from docarray.errors import BadValue, FieldTypeError, UnknownOption
from docarray.flow import Deployment, Executor, Flow, dynamic_batching, requests
from docarray.flow.faults import (
    BadRequest,
    BadTopology,
    CallbackError,
    DeadlineExceeded,
    ExecutorError,
    FlowStartError,
    NoEndpoint,
    NotRunning,
    Overloaded,
)


def words(*texts):
    return DocumentArray(Document(id=text, text=text) for text in texts)


class Say(Executor):
    def __init__(self, word: str = "said", **kwargs):
        super().__init__(**kwargs)
        self.word = word

    @requests
    def say(self, docs):
        docs.texts = [f"{text} {self.word}" for text in docs.texts]


class Tag(Executor):
    def __init__(self, key: str = "k", wait: float = 0, **kwargs):
        super().__init__(**kwargs)
        self.key, self.wait = key, wait

    @requests
    async def tag(self, docs):
        await asyncio.sleep(self.wait)
        for doc in docs:
            doc.tags[self.key] = True
            doc.tags.setdefault("seen", {})[self.key] = sorted(doc.tags.keys() - {"seen"})


class Fails(Executor):
    @requests
    def fail(self, docs):
        raise ValueError(f"no {docs[0].text}")


# ---------------------------------------------------------------------------------------------- wiring


def test_documents_go_from_one_to_the_next():
    flow = Flow().add(uses=Say, uses_with={"word": "a"}).add(uses=Say, uses_with={"word": "b"})
    with flow:
        assert ["x a b", "y a b"] == flow.post("/", words("x", "y")).texts


def test_what_is_sent_stays_as_it_is():
    sent = words("x")
    with Flow().add(uses=Say) as flow:
        found = flow.post("/", sent)
    assert (["x"], ["x said"]) == (sent.texts, found.texts)


def test_a_flow_is_a_value():
    empty = Flow()
    one = empty.add(uses=Say, name="a")
    assert (0, 1) == (len(empty), len(one))
    assert one == Flow().add(uses=Say, name="a")
    assert one != Flow().add(uses=Say, name="b")
    with pytest.raises(BadTopology, match="'a' already"):
        one.add(uses=Say, name="a")
    with pytest.raises(BadTopology, match="Did you mean 'a'"):
        one.add(uses=Say, needs="aa")
    with pytest.raises(BadTopology, match="two deployments"):
        one.needs(["a"])
    with pytest.raises(UnknownOption, match="Did you mean 'replicas'"):
        one.add(uses=Say, replica=2)
    with pytest.raises(UnknownOption, match="Did you mean 'workspace'"):
        Flow(workspcae="x")
    with pytest.raises(BadValue, match="identifier"):
        one.add(uses=Say, name="a b")


def test_branches_do_not_see_each_other_and_are_joined():
    flow = (
        Flow()
        .add(uses=Tag, name="a", uses_with={"key": "a"})
        .add(uses=Tag, name="b", needs="gateway", uses_with={"key": "b"})
        .needs_all(name="end")
    )
    with flow:
        doc = flow.post("/", words("x"))[0]
    assert {"a": True, "b": True, "seen": {"a": ["a"], "b": ["b"]}} == doc.tags


def test_branches_run_at_the_same_time():
    flow = (
        Flow()
        .add(uses=Tag, name="a", uses_with={"key": "a", "wait": 0.2})
        .add(uses=Tag, name="b", needs="gateway", uses_with={"key": "b", "wait": 0.2})
        .needs(["a", "b"])
    )
    with flow:
        begun = time.monotonic()
        flow.post("/", words("x"))
        assert time.monotonic() - begun < 0.39


class Fill(Executor):
    def __init__(self, text: str = "", weight: float = 0.0, wait: float = 0, **kwargs):
        super().__init__(**kwargs)
        self.text, self.weight, self.wait = text, weight, wait

    @requests
    async def fill(self, docs):
        await asyncio.sleep(self.wait)
        for doc in docs:
            doc.text = self.text
            doc.weight = self.weight
            doc.chunks.append(Document(text=self.text))


@pytest.mark.parametrize("slow", ["a", "b"])
def test_a_join_does_not_depend_on_who_was_first(slow):
    flow = (
        Flow()
        .add(uses=Fill, name="a", uses_with={"text": "a", "weight": 1, "wait": 0.03 * (slow == "a")})
        .add(
            uses=Fill,
            name="b",
            needs="gateway",
            uses_with={"text": "b", "weight": 2, "wait": 0.03 * (slow == "b")},
        )
        .needs(["b", "a"], name="end")
    )
    with flow:
        doc = flow.post("/", Document(id="x"))[0]
    assert ("b", 2.0, ["b", "a"]) == (doc.text, doc.weight, doc.chunks.texts)


@pytest.mark.parametrize(
    ("reduce", "texts"),
    [("concat", ["x a", "x b"]), ("first", ["x a"]), ("merge", ["x a"]), (lambda parts: parts[1], ["x b"])],
    ids=["concat", "first", "merge", "own"],
)
def test_it_is_said_how_branches_are_joined(reduce, texts):
    flow = (
        Flow()
        .add(uses=Say, name="a", uses_with={"word": "a"})
        .add(uses=Say, name="b", needs="gateway", uses_with={"word": "b"})
        .needs(["a", "b"], reduce=reduce)
    )
    with flow:
        assert texts == flow.post("/", words("x")).texts


class Sees(Executor):
    @requests
    def see(self, docs, docs_matrix, docs_map):
        return {
            "matrix": [part.texts for part in docs_matrix],
            "map": {name: part.texts for name, part in docs_map.items()},
        }


def test_a_handler_gets_the_branches_as_they_are():
    flow = (
        Flow()
        .add(uses=Say, name="a", uses_with={"word": "a"})
        .add(uses=Say, name="b", needs="gateway", uses_with={"word": "b"})
        .add(uses=Sees, name="sees", needs=["b", "a"], no_reduce=True)
    )
    with flow:
        answer = flow.post("/", words("x"), return_responses=True)[0]
    said = answer.parameters["__results__"]["sees"]
    assert {"matrix": [["x b"], ["x a"]], "map": {"b": ["x b"], "a": ["x a"]}} == said
    assert ["b", "a"] == list(said["map"])


def test_documents_take_the_way_that_fits_them_and_come_back_in_order():
    flow = (
        Flow()
        .add(name="start")
        .add(uses=Say, uses_with={"word": "cheap"}, name="a", needs="start", when={"tags__price": {"$lt": 5}})
        .add(uses=Say, uses_with={"word": "dear"}, name="b", needs="start", when={"tags__price": {"$gte": 5}})
        .needs(["a", "b"])
    )
    docs = DocumentArray(Document(id=str(at), text=str(at), tags={"price": at * 7 % 10}) for at in range(10))
    with flow:
        found = flow.post("/", docs)
    assert [doc.id for doc in docs] == [doc.id for doc in found]
    assert all(doc.text.endswith("cheap" if doc.tags["price"] < 5 else "dear") for doc in found)


def test_nobody_waits_for_what_floats(caplog):
    done = threading.Event()

    class Slow(Executor):
        @requests
        def slow(self, docs):
            time.sleep(0.3)
            done.set()

    with Flow().add(uses=Say).inspect(uses=Slow).inspect(uses=Fails) as flow:
        begun = time.monotonic()
        assert ["x said"] == flow.post("/", words("x")).texts
        assert time.monotonic() - begun < 0.25
        assert not done.is_set()
    assert done.is_set()  # the end of the Flow waits for it
    assert "a floating deployment failed" in caplog.text


def test_two_classes_of_one_name_are_two_classes():
    def made(word):
        class Same(Executor):
            @requests(on=f"/{word}")
            def say(self, docs):
                docs.texts = [word for _ in docs]

        return Same

    with Flow().add(uses=made("a")).add(uses=made("b")) as flow:
        assert ["a"] == flow.post("/a", words("x")).texts
        assert ["b"] == flow.post("/b", words("x")).texts


# ---------------------------------------------------------------------------------------------- who is asked


class Search(Executor):
    @requests(on="/search")
    def search(self, docs, parameters):
        return {"got": parameters}


def test_who_does_not_answer_passes_documents_on():
    with Flow().add(uses=Search).add(uses=Say) as flow:
        assert ["x said"] == flow.post("/other", words("x")).texts
    with Flow().add() as flow:
        assert ["x"] == flow.post("/other", words("x")).texts


def test_an_endpoint_that_nobody_answers_is_an_error():
    with Flow().add(uses=Search) as flow, pytest.raises(NoEndpoint, match="Did you mean '/search'"):
        flow.post("/serach", words("x"))


def test_deployments_are_chosen_by_a_pattern():
    flow = Flow().add(uses=Say, name="enc_a").add(uses=Say, name="enc_b").add(uses=Say, name="index")
    with flow:
        answer = flow.post("/", words("x"), target_executor="enc_.*", return_responses=True)[0]
        assert ["x said said"] == answer.docs.texts
        assert ["gateway", "enc_a", "enc_b"] == [visit.executor for visit in answer.routes]
        with pytest.raises(BadRequest, match="no deployment is called"):
            flow.post("/", words("x"), target_executor="none")
        with pytest.raises(BadRequest, match="no pattern"):
            flow.post("/", words("x"), target_executor="(")
        with pytest.raises(BadRequest, match="simple pattern"):
            flow.post("/", words("x"), target_executor="(a+)+$")


def test_parameters_are_for_all_or_for_one():
    given = {"k": 1, "one": {"k": 2}, "two__k": 3, "half": 0.5}
    with Flow().add(uses=Search, name="one").add(uses=Search, name="two") as flow:
        answer = flow.post("/search", parameters=given, return_responses=True)[0]
    results = answer.parameters["__results__"]
    assert {"k": 2, "half": 0.5} == results["one"]["got"]
    assert {"k": 3, "half": 0.5, "one": {"k": 2}} == results["two"]["got"]
    assert type(results["two"]["got"]["k"]) is int
    assert {"k": 1, "one": {"k": 2}, "two__k": 3, "half": 0.5} == given


# ---------------------------------------------------------------------------------------------- shards, replicas


class Shelf(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.held = DocumentArray()

    @requests(on="/index")
    def index(self, docs):
        self.held.extend(docs)
        return {self.runtime_args.name: len(self.held)}

    @requests(on="/search")
    def search(self, docs):
        for doc in docs:
            doc.matches = [Document(held, copy=True) for held in self.held]
            doc.tags[str(self.runtime_args.shard_id)] = len(self.held)


class Before(Executor):
    @requests(on="/search")
    def before(self, docs):
        docs.texts = [f"{text} before" for text in docs.texts]


class After(Executor):
    @requests(on="/search")
    def after(self, docs):
        docs.texts = [f"{text} after" for text in docs.texts]


def test_one_shard_is_written_and_all_are_searched():
    flow = Flow().add(uses=Shelf, shards=3, polling={"/index": "ANY", "/search": "ALL"}, name="shelf")
    with flow:
        flow.post("/index", words(*"abcdef"), request_size=1)
        answer = flow.post("/search", Document(text="x"), return_responses=True)[0]
    doc = answer.docs[0]
    assert {"0": 2, "1": 2, "2": 2} == doc.tags
    assert set("abcdef") == {match.id for match in doc.matches}
    assert ["gateway", "shelf"] == [visit.executor for visit in answer.routes]


def test_others_are_asked_before_and_after_the_shards():
    with Flow().add(uses=Shelf, shards=2, polling="ALL", uses_before=Before, uses_after=After) as flow:
        assert ["x before after"] == flow.post("/search", words("x")).texts
    with pytest.raises(BadTopology, match="shards"):
        Flow().add(uses=Shelf, uses_before=Before)


def test_replicas_share_the_requests():
    class Slow(Executor):
        @requests
        def slow(self, docs):
            time.sleep(0.02)
            return {"by": self.runtime_args.replica_id}

    with Flow().add(uses=Slow, replicas=3, engine="inline", name="slow") as flow:
        begun = time.monotonic()
        answers = flow.post("/", words(*map(str, range(30))), request_size=1, return_responses=True)
        seconds = time.monotonic() - begun
    by = [answer.parameters["__results__"]["slow"]["by"] for answer in answers]
    assert all(7 <= by.count(at) <= 13 for at in range(3))
    assert seconds < 0.5


# ---------------------------------------------------------------------------------------------- concurrency


def test_plain_methods_come_one_by_one_and_coroutines_all_at_once():
    at_once = []
    now = 0

    class Both(Executor):
        @requests(on="/plain")
        def plain(self, docs):
            nonlocal now
            now += 1
            at_once.append(now)
            time.sleep(0.002)
            now -= 1

        @requests(on="/async")
        async def waits(self, docs):
            await asyncio.sleep(0.1)

    docs = words(*map(str, range(50)))
    with Flow().add(uses=Both) as flow:
        flow.post("/plain", docs[:20], request_size=1)
        begun = time.monotonic()
        flow.post("/async", docs, request_size=1, prefetch=50)
        assert time.monotonic() - begun < 0.6
    assert {1} == set(at_once)


def test_it_is_said_how_many_run_at_the_same_time():
    at_once = []
    now = 0

    class Counts(Executor):
        @requests
        async def count(self, docs):
            nonlocal now
            now += 1
            at_once.append(now)
            await asyncio.sleep(0.005)
            now -= 1

    with Flow().add(uses=Counts, max_concurrency=3) as flow:
        flow.post("/", words(*map(str, range(20))), request_size=1)
    assert 3 == max(at_once)


def test_more_than_may_wait_are_refused():
    class Slow(Executor):
        @requests
        def slow(self, docs):
            time.sleep(0.1)

    with Flow().add(uses=Slow, max_queue=2) as flow:
        answers = flow.post(
            "/",
            words(*map(str, range(10))),
            request_size=1,
            return_responses=True,
            on_error=lambda answer: None,
        )
    refused = [answer for answer in answers if answer.error is not None]
    assert 7 == len(refused)
    assert all(isinstance(answer.error, Overloaded) for answer in refused)


def test_requests_are_put_together():
    sizes = []

    class Encode(Executor):
        @dynamic_batching(preferred_batch_size=10, timeout=200)
        @requests(on="/encode")
        def encode(self, docs):
            sizes.append(len(docs))
            docs.texts = [text.upper() for text in docs.texts]

    with Flow().add(uses=Encode) as flow:
        letters = words(*"abcdefghijklmnopqrst")
        assert list("ABCDEFGHIJKLMNOPQRST") == flow.post("/encode", letters, request_size=1).texts
        assert [10, 10] == sizes
        begun = time.monotonic()
        assert ["X"] == flow.post("/encode", words("x")).texts
        assert 0.15 < time.monotonic() - begun < 1
        flow.post("/encode", words(*"ab"), request_size=1, parameters={"k": 1})
    assert [10, 10, 1, 2] == sizes


def test_an_error_of_a_batch_is_of_its_members_alone():
    class Encode(Executor):
        @dynamic_batching(preferred_batch_size=2, timeout=50)
        @requests
        def encode(self, docs):
            if "bad" in docs.texts:
                raise ValueError("bad")

    with Flow().add(uses=Encode) as flow:
        answers = flow.post(
            "/",
            words("a", "bad", "b", "c"),
            request_size=1,
            return_responses=True,
            on_error=lambda answer: None,
        )
    assert [True, True, False, False] == [answer.error is not None for answer in answers]


# ---------------------------------------------------------------------------------------------- errors and time


def test_what_a_handler_raises_comes_to_the_caller():
    after = []

    class After(Executor):
        @requests
        def after(self, docs):
            after.append(1)

    with Flow().add(uses=Fails, name="fails").add(uses=After) as flow:
        with pytest.raises(ExecutorError, match="fails raised ValueError: no x") as caught:
            flow.post("/", words("x"))
        answer = flow.post("/", words("x"), return_responses=True, on_error=lambda answer: None)[0]
    assert isinstance(caught.value.__cause__, ValueError)
    assert ("ValueError", "fails") == (caught.value.name, caught.value.executor)
    assert "in fail" in caught.value.traceback
    assert [] == after
    assert ("ERROR", "ValueError", ["no x"]) == (
        answer.status.code, answer.status.exception.name, answer.status.exception.args,
    )  # fmt: skip
    assert [None, "fails raised ValueError: no x"] == [visit.error for visit in answer.routes][:2] or (
        "fails raised ValueError: no x" in [visit.error for visit in answer.routes]
    )


def test_a_flow_that_does_not_start_says_why_and_ends_what_it_began():
    closed = []

    class Begins(Executor):
        def close(self):
            closed.append(1)

    class Broken(Executor):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            raise RuntimeError("no gpu")

    flow = Flow().add(uses=Begins).add(uses=Broken, name="broken")
    with pytest.raises(FlowStartError, match=r"broken/rep-0 did not start: RuntimeError: no gpu") as caught:
        flow.start()
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert [1] == closed
    assert not flow.is_running


def test_warmup_comes_before_the_first_request_and_health_is_asked():
    class Warm(Executor):
        ready = False
        well = True

        async def warmup(self):
            self.ready = True

        def health(self):
            return self.well

        @requests
        def say(self, docs):
            return {"ready": self.ready}

        @requests(on="/sick")
        def sicken(self, docs):
            self.well = False

    with Flow().add(uses=Warm, name="warm") as flow:
        answer = flow.post("/", return_responses=True)[0]
        assert {"ready": True} == answer.parameters["__results__"]["warm"]
        assert flow.is_flow_ready()
        flow.post("/sick")
        assert not flow.is_flow_ready()


def test_time_is_over_for_a_request_and_its_handler():
    cancelled = threading.Event()

    class Slow(Executor):
        @requests
        async def slow(self, docs):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    with Flow().add(uses=Slow, name="slow") as flow:
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="no answer in time"):
            flow.post("/", words("x"), timeout=0.1)
        assert time.monotonic() - begun < 1
        assert cancelled.wait(1)
        assert 0 == flow.status()["slow"]["replicas"][0]["busy"]
    with (
        Flow().add(uses=Slow, name="slow", timeout_send=0.1) as flow,
        pytest.raises(DeadlineExceeded, match="slow"),
    ):
        flow.post("/", words("x"))


def test_a_flow_that_does_not_run_says_so():
    flow = Flow().add(uses=Say)
    with pytest.raises(NotRunning, match="does not run"):
        flow.post("/", words("x"))
    with flow, pytest.raises(NotRunning, match="runs already"):
        flow.start()
    flow.close()


# ---------------------------------------------------------------------------------------------- post


def test_documents_are_sent_in_requests_of_a_size_and_come_in_order():
    sizes = []

    class Counts(Executor):
        @requests
        async def count(self, docs):
            sizes.append(len(docs))
            await asyncio.sleep(0.02 if docs[0].text == "0" else 0)

    docs = words(*map(str, range(250)))
    with Flow().add(uses=Counts) as flow:
        assert docs.texts == flow.post("/", docs).texts
        assert [100, 100, 50] == sizes
        late = flow.post("/", docs, request_size=50, results_in_order=False)
        assert sorted(docs.texts) == sorted(late.texts)
        assert "0" != late[0].text


def test_progress_is_told():
    said = []
    with Flow().add(uses=Say) as flow:
        flow.post("/", words(*"abcde"), request_size=2, show_progress=lambda *state: said.append(state))
    assert (3, 3, "POST /") == said[-1]


@pytest.mark.parametrize(
    "inputs",
    [
        words("a", "b"),
        [Document(text="a"), Document(text="b")],
        (Document(text=text) for text in "ab"),
        lambda: iter(words("a", "b")),
        ["a", "b"],
        [{"text": "a"}, {"text": "b"}],
    ],
    ids=["array", "list", "generator", "function", "content", "dicts"],
)
def test_whatever_gives_documents_is_sent(inputs):
    with Flow().add(uses=Say) as flow:
        assert ["a said", "b said"] == flow.post("/", inputs).texts


def test_one_document_or_none_is_sent():
    with Flow().add(uses=Say) as flow:
        assert ["a said"] == flow.post("/", Document(text="a")).texts
        assert ["a said"] == flow.post("/", "a").texts
        assert [] == flow.post("/").texts
        with pytest.raises(BadValue, match="request_size"):
            flow.post("/", "a", request_size=0)
        with pytest.raises(FieldTypeError, match="endpoint"):
            flow.post(3, "a")


class Sometimes(Executor):
    @requests
    def some(self, docs):
        if docs[0].text == "bad":
            raise ValueError("bad")


def test_callbacks_are_called_as_they_should_be(caplog):
    said = []

    def calls(name):
        return lambda answer: said.append((name, answer.docs.texts))

    ways = {"on_done": calls("done"), "on_error": calls("error"), "on_always": calls("always")}
    with Flow().add(uses=Sometimes) as flow:
        assert flow.post("/", words("a", "bad"), request_size=1, **ways) is None
        assert [("done", ["a"]), ("always", ["a"]), ("error", ["bad"]), ("always", ["bad"])] == said
        assert ["a"] == flow.post("/", words("a", "bad"), request_size=1, on_error=ways["on_error"]).texts
        assert ["a", "b"] == flow.post(
            "/", words("a", "bad", "b"), request_size=1, continue_on_error=True
        ).texts
        assert "failed" in caplog.text
        with pytest.raises(ExecutorError):
            flow.post("/", words("a", "bad"), request_size=1)
        with pytest.raises(CallbackError, match="ZeroDivisionError"):
            flow.post("/", words("a"), on_done=lambda answer: 1 / 0)


def test_a_flow_is_awaited():
    async def main():
        async with Flow(asyncio=True).add(uses=Say) as flow:

            async def sent():
                for text in "abcde":
                    yield Document(text=text)

            parts = [docs.texts async for docs in flow.post("/", sent, request_size=2)]
            streamed = [docs.texts async for docs in flow.stream("/", words("x"))]
            return parts, streamed

    parts, streamed = asyncio.run(main())
    assert [["a said", "b said"], ["c said", "d said"], ["e said"]] == parts
    assert [["x said"]] == streamed


def test_a_plain_flow_runs_inside_a_running_loop():
    async def main():
        with Flow().add(uses=Tag).add(uses=Say) as flow:
            return flow.post("/", words("x")).texts

    assert ["x said"] == asyncio.run(main())


def test_an_endless_source_is_read_no_further_than_needed():
    taken = []

    def source():
        for at in range(10_000):
            taken.append(at)
            yield Document(text=str(at))

    class Stop(Exception):
        pass

    def stop(answer):
        if answer.docs[0].text == "20":
            raise Stop

    with Flow().add(uses=Tag) as flow, pytest.raises(CallbackError):
        flow.post("/", source, request_size=1, on_done=stop, prefetch=4)
    assert len(taken) < 40


# ---------------------------------------------------------------------------------------------- streams


class Counts(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.made = 0
        self.ended = threading.Event()

    @requests(on="/count")
    def count(self, docs, parameters):
        try:
            for at in range(int(parameters.get("to", 3))):
                self.made += 1
                yield Document(text=str(at))
        finally:
            self.ended.set()

    @requests(on="/slow")
    async def slow(self, docs):
        for at in range(100):
            await asyncio.sleep(0.01)
            yield Document(text=str(at))


def test_parts_come_as_they_are_made_and_go_through_what_follows():
    with Flow().add(uses=Say, uses_with={"word": "in"}).add(uses=Counts).add(uses=Say) as flow:
        assert [["0 said"], ["1 said"], ["2 said"]] == [
            part.texts for part in flow.stream("/count", words("x"))
        ]
        assert ["0 said", "1 said", "2 said"] == flow.post("/count", words("x")).texts
        assert ["0 said"] == [doc.text for doc in flow.stream_doc("/count", words("x"), parameters={"to": 1})]
        begun = time.monotonic()
        first = next(flow.stream("/slow", words("x")))
        assert ["0 said"] == first.texts
        assert time.monotonic() - begun < 0.5


def test_who_stops_listening_ends_the_handler():
    with Deployment(uses=Counts, name="c") as flow:
        worker = flow._running.groups["c"].shards[0].workers[0].executor
        with contextlib.closing(flow.stream("/count", parameters={"to": 10_000})) as parts:
            assert ["0"] == next(parts).texts
        assert worker.ended.wait(2)
        assert worker.made < 20
        assert 0 == flow.status()["c"]["replicas"][0]["busy"]


def test_an_error_in_the_middle_comes_after_what_was_before_it():
    class Breaks(Executor):
        @requests
        def breaks(self, docs):
            yield Document(text="a")
            raise ValueError("broken")

    got = []
    with Flow().add(uses=Breaks) as flow, pytest.raises(ExecutorError, match="broken"):
        got.extend(part.texts for part in flow.stream("/"))
    assert [["a"]] == got or [] == got  # `extend` keeps none of a generator that raises
    with Flow().add(uses=Breaks) as flow:
        stream = flow.stream("/")
        assert ["a"] == next(stream).texts
        with pytest.raises(ExecutorError, match="broken"):
            next(stream)


# ---------------------------------------------------------------------------------------------- nothing is left


def test_nothing_is_left_when_a_flow_ends():
    before = {thread.name for thread in threading.enumerate()}
    with contextlib.suppress(KeyError), Flow().add(uses=Say).add(uses=Tag) as flow:
        flow.post("/", words("x"))
        raise KeyError
    assert before == {thread.name for thread in threading.enumerate()}


def test_a_flow_in_this_process_opens_no_port(monkeypatch):
    def refuse(*args):
        raise AssertionError("a port was opened")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with Flow().add(uses=Say).add(uses=Tag) as flow:
        assert ["x said"] == flow.post("/", words("x")).texts


def test_it_blocks_until_it_is_told():
    stop = threading.Event()
    with Flow().add(uses=Say) as flow:
        waiting = threading.Thread(target=flow.block, args=(stop,))
        waiting.start()
        assert waiting.is_alive()
        stop.set()
        waiting.join(2)
        assert not waiting.is_alive()


class Arrays(Executor):
    @requests(on="/whole")
    def whole(self, docs):
        for doc in docs:
            doc.embedding = np.arange(3, dtype=np.float32)
            doc.tensor = [[1, 2], [3, 4]]
            doc.chunks = [Document(embedding=np.ones(2))]

    @requests(on="/parts")
    def parts(self, docs):
        yield Document(embedding=np.arange(2.0))


@pytest.mark.parametrize("engine", ["inline", "process"])
@pytest.mark.parametrize("name", ["torch", "numpy", "list"])
def test_arrays_leave_as_those_of_a_framework(engine, name):
    if name == "torch":
        pytest.importorskip("torch", reason="pip install torch")
    with Flow(engine=engine).add(uses=Arrays, output_array_type=name) as flow:
        doc = flow.post("/whole", Document())[0]
        assert {name} == {
            tensors.framework(one) for one in (doc.embedding, doc.tensor, doc.chunks[0].embedding)
        }
        assert tensors.to_numpy(doc.embedding).tolist() == [0.0, 1.0, 2.0]
        (part,) = flow.stream("/parts", Document())
        assert tensors.framework(part[0].embedding) == name
    with pytest.raises(BadValue, match="Did you mean 'torch'"):
        Flow().add(output_array_type="toch")

"""Posting: how documents are sent to a Flow, a Deployment or a server, and what comes back. It is the same for all.

Rule 1: documents that are sent stay as they are: what comes back are others.
Rule 2: answers come in the order of the requests, unless it is said that they need not.
Rule 3: so many requests are on their way at the same time and no more: who reads the answers sets the pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from concurrent import futures
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from docarray.array import DocumentArray
from docarray.dataclasses import is_multimodal
from docarray.document import Document
from docarray.errors import BadValue, DocArrayError, FieldTypeError
from docarray.flow.envelope import Envelope
from docarray.flow.faults import CallbackError, NotRunning
from docarray.flow.loops import LoopThread
from docarray.progress import Bar, Show

__all__ = ["Callback", "Posting", "checked"]

LOG: Final = logging.getLogger("docarray.flow")
Callback = Callable[[Envelope], object]
IN_FLIGHT: Final = 32


class _Asked(NamedTuple):
    """What is asked of every request of one post."""

    on: str
    parameters: Mapping[str, Any] | None
    target: str | None
    timeout: float | None
    metadata: Mapping[str, str] | None

    def envelope(self, docs: DocumentArray[Any]) -> Envelope:
        return Envelope(
            docs, self.on, self.parameters, target=self.target, timeout=self.timeout, metadata=self.metadata
        )


class _Told(NamedTuple):
    """Who is told of answers."""

    on_done: Callback | None
    on_error: Callback | None
    on_always: Callback | None
    continue_on_error: bool

    def tell(self, answer: Envelope) -> None:
        """Calls who wants to know.

        Raises:
            The error of the answer, where nobody takes it. CallbackError: a callback raised.
        """
        try:
            if answer.error is None:
                self._call(self.on_done, answer)
            elif self.on_error is not None:
                self._call(self.on_error, answer)
            elif self.continue_on_error:
                LOG.error("request %s failed", answer.request_id, exc_info=answer.error)
            else:
                raise answer.error
        finally:
            self._call(self.on_always, answer)

    def _call(self, callback: Callback | None, answer: Envelope) -> None:
        if callback is None:
            return
        try:
            callback(answer)
        except Exception as error:
            if not self.continue_on_error:
                raise CallbackError(f"a callback raised {type(error).__name__}: {error}") from error
            LOG.exception("a callback raised")


class Posting:
    """What a Flow, a Deployment and a Client have in common."""

    asyncio: bool = False
    """Whether `post` is awaited, or iterated with `async for`."""

    # What each kind says for itself.

    def _loop(self) -> LoopThread | None:
        """The loop in which requests are answered; None where the caller's does."""
        raise NotImplementedError

    async def _send(self, envelope: Envelope) -> None:
        """Has a request answered; the envelope becomes the answer."""
        raise NotImplementedError

    def _stream(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part."""
        raise NotImplementedError

    def _send_here(self, envelope: Envelope) -> bool:
        """Has a request answered in this thread, if it can be."""
        del envelope
        return False

    # ------------------------------------------------------------------------------------------ post

    def post(
        self,
        on: str,
        inputs: Any = None,
        on_done: Callback | None = None,
        on_error: Callback | None = None,
        on_always: Callback | None = None,
        parameters: Mapping[str, Any] | None = None,
        target_executor: str | None = None,
        request_size: int = 100,
        show_progress: Show = False,
        continue_on_error: bool = False,
        return_responses: bool = False,
        results_in_order: bool = True,
        prefetch: int | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Sends documents to an endpoint.

        Args:
            on: the endpoint, such as '/search'.
            inputs: a document, an array, any iterable or generator of documents or of their content, or a function that
                gives one; with `asyncio=True` an async generator too. None sends one request without documents.
            on_done, on_error, on_always: called with each answer: a right one, a failed one, any.
            parameters: for all deployments; `{name: {...}}` or `name__key` for one of them.
            target_executor: a pattern that names begin with: other deployments pass the documents on.
            request_size: documents of one request.
            show_progress: see docarray.progress.
            continue_on_error: log what failed, and go on.
            return_responses: give the answers, not their documents.
            results_in_order: False gives answers as they come.
            prefetch: requests on their way at the same time.
            timeout: seconds that each request has.
            metadata: sent with each request.

        Returns:
            The documents of all answers as an array; a list of the answers with `return_responses`; None where there is
            `on_done` or `on_always`. With `asyncio=True` an async iterator of the documents, or answers, of each.

        Raises:
            ExecutorError: a handler raised. NoEndpoint, BadRequest, Overloaded, Unavailable, DeadlineExceeded: see
                docarray.flow.faults. CallbackError: a callback raised.
        """
        if not isinstance(cast("Any", on), str):
            raise FieldTypeError(f"an endpoint is text such as '/search'; got {on!r:.60}")
        if not isinstance(cast("Any", request_size), int) or request_size < 1:
            raise BadValue(f"request_size is a whole number from 1; got {request_size!r}")
        ahead = prefetch or IN_FLIGHT
        asked = _Asked(on, parameters, target_executor, timeout, metadata)
        told = _Told(on_done, on_error, on_always, continue_on_error)
        if self.asyncio:
            return self._posted(asked, told, inputs, request_size, ahead, results_in_order, return_responses)
        keeps = on_done is None and on_always is None
        parts = _parts(inputs, request_size)
        answers: list[Envelope] = []
        bar = Bar(f"POST {on}", _total(inputs, request_size), show=show_progress) if show_progress else None
        with bar or contextlib.nullcontext(), contextlib.closing(parts):
            for answer in self._answers(asked, parts, ahead, results_in_order):
                if bar is not None:
                    bar.step()
                told.tell(answer)
                if keeps and (return_responses or answer.error is None):
                    answers.append(answer)
        if not keeps:
            return None
        return answers if return_responses else _together(answers)

    def index(self, inputs: Any = None, **options: Any) -> Any:
        """`post` to '/index'."""
        return self.post("/index", inputs, **options)

    def search(self, inputs: Any = None, **options: Any) -> Any:
        """`post` to '/search'."""
        return self.post("/search", inputs, **options)

    def update(self, inputs: Any = None, **options: Any) -> Any:
        """`post` to '/update'."""
        return self.post("/update", inputs, **options)

    def delete(self, inputs: Any = None, **options: Any) -> Any:
        """`post` to '/delete'."""
        return self.post("/delete", inputs, **options)

    # ------------------------------------------------------------------------------------------ plain callers

    def _answers(
        self, asked: _Asked, parts: Iterator[DocumentArray[Any]], ahead: int, in_order: bool
    ) -> Generator[Envelope]:
        first = next(parts, None)
        if first is None:
            return
        second = next(parts, None)
        if second is None:  # one request: no other is to be on its way at the same time
            yield self._answer(asked.envelope(first))
            return
        loop = self._running_loop()
        waiting: deque[Any] = deque()
        queue = _chained((first, second), parts)
        try:
            while True:
                for docs in islice(queue, ahead - len(waiting)):
                    waiting.append(loop.submit(self._settled(asked.envelope(docs))))
                if not waiting:
                    return
                if in_order:
                    yield waiting.popleft().result()
                else:
                    yield _first_done(waiting).result()
        finally:
            for future in waiting:
                future.cancel()

    def _answer(self, envelope: Envelope) -> Envelope:
        try:
            if self._send_here(envelope):
                return envelope
        except DocArrayError as error:
            envelope.error = error
            return envelope
        return self._running_loop().run(self._settled(envelope))

    def _running_loop(self) -> LoopThread:
        loop = self._loop()
        if loop is None:
            raise NotRunning("this is awaited: async for docs in flow.post(...)")
        if loop.is_here:
            raise NotRunning(
                "a handler that is a coroutine cannot wait here for its own Flow; use a plain method"
            )
        return loop

    async def _settled(self, envelope: Envelope) -> Envelope:
        """An answer, whatever comes of it."""
        try:
            await self._send(envelope)
        except DocArrayError as error:
            envelope.error = error
        return envelope

    # ------------------------------------------------------------------------------------------ awaiting callers

    async def _here(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Awaits in the loop of the caller what runs in that of the Flow."""
        loop = self._loop()
        if loop is None or loop.is_here:
            return await work
        return await asyncio.wrap_future(loop.submit(work))

    async def _posted(
        self,
        asked: _Asked,
        told: _Told,
        inputs: Any,
        size: int,
        ahead: int,
        in_order: bool,
        whole: bool,
    ) -> AsyncGenerator[Any]:
        waiting: deque[asyncio.Future[Envelope]] = deque()
        source = _async_parts(inputs, size)
        ended = False
        try:
            while True:
                while not ended and len(waiting) < ahead:
                    docs = await anext(source, None)
                    if docs is None:
                        ended = True
                        break
                    waiting.append(asyncio.ensure_future(self._here(self._settled(asked.envelope(docs)))))
                    if not in_order or waiting[0].done():
                        break
                if not waiting:
                    return
                if in_order:
                    answer = await waiting.popleft()
                else:
                    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    one = done.pop()
                    waiting.remove(one)
                    answer = one.result()
                told.tell(answer)
                if answer.error is None or whole:
                    yield answer if whole else answer.docs
        finally:
            for future in waiting:
                future.cancel()
            await source.aclose()

    # ------------------------------------------------------------------------------------------ streams

    def stream(
        self,
        on: str,
        inputs: Any = None,
        parameters: Mapping[str, Any] | None = None,
        target_executor: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer of a handler that is a generator, part by part, as it yields; one request with all documents.

        Returns:
            An iterator of arrays; with `asyncio=True` an async one. To end it early ends the handler.
        """
        envelope = _Asked(on, parameters, target_executor, timeout, metadata).envelope(
            DocumentArray([doc for docs in _parts(inputs, 1 << 30) for doc in docs])
        )
        return self._streamed_async(envelope) if self.asyncio else self._streamed(envelope)

    def stream_doc(self, on: str, inputs: Any = None, **options: Any) -> Any:
        """`stream` of one document, whose answer is documents one by one."""
        source = self.stream(on, inputs, **options)
        if not self.asyncio:
            return (doc for part in source for doc in part)

        async def one_by_one() -> AsyncGenerator[Document]:
            async with contextlib.aclosing(source):
                async for part in source:
                    for doc in part:
                        yield doc

        return one_by_one()

    def _streamed(self, envelope: Envelope) -> Generator[DocumentArray[Any]]:
        loop = self._running_loop()
        source = self._stream(envelope)

        async def following() -> DocumentArray[Any] | None:
            return await anext(source, None)

        try:
            while (part := loop.run(following())) is not None:
                yield part
        finally:
            loop.run(source.aclose())

    async def _streamed_async(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        source = self._stream(envelope)

        async def following() -> DocumentArray[Any] | None:
            return await anext(source, None)

        try:
            while (part := await self._here(following())) is not None:
                yield part
        finally:
            await self._here(source.aclose())


# ---------------------------------------------------------------------------------------------- what is sent


def _parts(inputs: Any, size: int) -> Generator[DocumentArray[Any]]:
    """The documents of each request."""
    if callable(inputs) and not isinstance(inputs, (Document, DocumentArray)):
        inputs = inputs()
    if inputs is None:
        yield DocumentArray()
        return
    if isinstance(inputs, DocumentArray):
        array = cast("DocumentArray[Any]", inputs)
        if len(array) <= size:
            yield array
            return
        for start in range(0, len(array), size):
            yield array[start : start + size]
        return
    if isinstance(inputs, AsyncIterable):
        raise FieldTypeError("an async generator is sent by Flow(asyncio=True) or Client(asyncio=True)")
    if (
        isinstance(inputs, (Document, str, bytes, Mapping))
        or is_multimodal(inputs)
        or not isinstance(inputs, Iterable)
    ):
        inputs = [inputs]
    iterator = iter(cast("Iterable[Any]", inputs))
    sent = False
    while some := [_document(one) for one in islice(iterator, size)]:
        sent = True
        yield DocumentArray(some)
    if not sent:
        yield DocumentArray()


def checked(inputs: Any) -> bool:
    """Looks whether something can be sent; of what can be read but once nothing is taken.

    Raises:
        FieldTypeError: it cannot.
    """
    if isinstance(inputs, (Generator, Iterator, AsyncIterable)) or callable(inputs):
        return True
    for _ in _parts(inputs, IN_FLIGHT):
        pass
    return True


async def _async_parts(inputs: Any, size: int) -> AsyncGenerator[DocumentArray[Any]]:
    if callable(inputs) and not isinstance(inputs, (Document, DocumentArray)):
        inputs = inputs()
    if not isinstance(inputs, AsyncIterable):
        for part in _parts(inputs, size):
            yield part
        return
    some: list[Document] = []
    async for one in cast("AsyncIterable[Any]", inputs):
        some.extend(cast("Iterable[Document]", one) if isinstance(one, DocumentArray) else [_document(one)])
        while len(some) >= size:
            yield DocumentArray(some[:size])
            some = some[size:]
    if some:
        yield DocumentArray(some)


def _document(value: Any) -> Document:
    if isinstance(value, Document):
        return value
    if isinstance(value, Mapping):
        return Document.from_dict(cast("Any", value))
    if is_multimodal(value):
        return Document(value)
    return Document(content=value)


def _total(inputs: Any, size: int) -> int | None:
    return (
        math.ceil(len(inputs) / size)
        if hasattr(inputs, "__len__") and not isinstance(inputs, (str, bytes))
        else None
    )


def _chained(first: Iterable[Any], rest: Iterable[Any]) -> Iterator[Any]:
    yield from first
    yield from rest


def _first_done(waiting: deque[Any]) -> Any:
    done, _ = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
    one = done.pop()
    waiting.remove(one)
    return one


def _together(answers: list[Envelope]) -> DocumentArray[Any]:
    if len(answers) == 1:
        return answers[0].docs
    whole = DocumentArray[Any]()
    for answer in answers:
        whole.extend(answer.docs)
    return whole

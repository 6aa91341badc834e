"""Service: what clients can do with one array, whatever it is stored in. REST and GraphQL are two faces of it.

Rule 1: what a client chooses is held against `Limits` before anything is done with it.
Rule 2: answers are Tables with the fields that were asked for: no document is made for an answer.
Rule 3: an array in memory belongs to one thread at a time; a storage is called from several.
Rule 4: a page is found again by a cursor, which says an id and where it stood: what was deleted meanwhile is no error.
"""

# pyright: reportPrivateUsage=false
# The modules above floor 5 that answer from columns are friends: they read the slots of arrays.

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np

from docarray import exchange, find, query
from docarray.array import DocumentArray
from docarray.columns import ScoresColumn, tensor_column
from docarray.contents import contents
from docarray.distance import canonical
from docarray.errors import (
    BadValue,
    DuplicateDocument,
    FieldTypeError,
    MissingDocument,
    MissingEmbedding,
    OutOfRange,
    ShapeError,
    UnknownField,
    UnknownMetric,
    near_miss,
)
from docarray.kept import named_vector
from docarray.rows import Slots
from docarray.schema import FIELDS
from docarray.store import BATCH, Changes, Store
from docarray.table import DocsColumn, Table
from docarray.web.lane import Lane
from docarray.web.limits import Limits, TooMuch, shown
from docarray.web.problems import NotAllowed

__all__ = ["METRICS", "Page", "Service", "Written"]

METRICS: Final = ("cosine", "euclidean", "sqeuclidean", "inner_product")
"""Metrics that clients can name."""

_SAMPLE: Final = 100  # rows that are asked of what type embeddings are
_SPARE: Final = 16  # results that are asked for beyond, where some were deleted
_MOST_MORE: Final = 1_000
_QUICK: Final = 0.001  # seconds of work that hold up nobody
_KEPT: Final = 10_000  # changes of an array in memory that can still be told
_POLL: Final = 0.25  # seconds between two looks at a store that others write too

Encoder = Callable[[list[str]], Any]


class Page(NamedTuple):
    """A part of a list of documents."""

    table: Table
    """Its rows, with the fields that were asked for."""
    cursors: list[str]
    """For each row what `after` takes to go on from there."""
    total: int
    """Rows of the whole list."""
    start: int
    """The number of the first row of this page in the list."""

    @property
    def has_next(self) -> bool:
        """Whether more rows follow."""
        return self.start + len(self.table) < self.total


class Written(NamedTuple):
    """What became of documents that were sent."""

    created: list[str]
    """Ids that are new."""
    replaced: list[str]
    """Ids that were there."""


class Service:
    """One array, for many clients.

    Args:
        docs: in memory or on a storage. What others write to the storage meanwhile is seen.
        name: what it is called.
        limits: what one request may ask for.
        writable: whether clients may write; else `index`, `update` and `delete` raise NotAllowed.
        schema: the multimodal dataclass that the documents are of, if they are: its fields are shown with their types.
        encode: texts to vectors (n, d), with the model that made the embeddings. With it `search(text=...)` goes by
            meaning and by words; without by words (BM25). What is written with a text and without an embedding gets
            that of its text.

    Its methods may be called from any thread. `call` runs one off the event loop.

    >>> from docarray import Document, DocumentArray
    >>> shelf = DocumentArray([Document(id='a', text='green tea', price=3), Document(id='b', text='coffee', price=5)])
    >>> service = Service(shelf)
    >>> service.search(text='tea', fields=['text']).ids
    ['a']
    >>> page = service.documents(filter={'tags__price': {'$gt': 1}}, first=1)
    >>> page.table.ids, page.total, page.has_next
    (['a'], 2, True)
    >>> service.documents(filter={'tags__price': {'$gt': 1}}, after=page.cursors[-1]).table.ids
    ['b']
    """

    def __init__(
        self,
        docs: DocumentArray[Any],
        *,
        name: str = "docs",
        limits: Limits | None = None,
        writable: bool = False,
        schema: type[Any] | None = None,
        encode: Encoder | None = None,
    ) -> None:
        if not isinstance(cast("object", docs), DocumentArray):
            raise FieldTypeError(f"a service is of a DocumentArray; got a {type(docs).__name__}")
        self.docs = docs
        self.name = name
        self.limits: Limits = limits or Limits()
        self.writable = writable
        self.schema = schema
        self.lane: Lane = Lane(self.limits.threads, self.limits.waiting, self.limits.timeout)
        self._encode = encode
        self._turn: Any = threading.RLock() if docs.store is None else contextlib.nullcontext()
        self._costs: dict[Any, float] = {}
        self._mark = 0
        self._log: deque[tuple[int, bool, str]] = deque(maxlen=_KEPT)
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._waiting = threading.Lock()

    @property
    def _slots(self) -> Slots:
        return self.docs._slots

    @property
    def store(self) -> Store | None:
        """The store of the array; None in memory."""
        return self._slots.store

    def close(self) -> None:
        """Ends the threads of the service. The array stays open: it is the caller's."""
        self.lane.close()

    async def call(self, method: str | Callable[..., Any], /, **arguments: Any) -> Any:
        """What the method of this name, or a function that uses others, gives, without holding up the event loop.

        A call on an array in memory that took less than a millisecond the last time is made here and now: to go to
        another thread and back would take as long as the work. All others are made by the lane.

        Raises:
            Busy, TimedOut: see `docarray.web.lane`. What the method raises.
        """
        key = (method, *sorted(name for name, value in arguments.items() if value is not None))
        if self._costs.get(key, 1.0) < _QUICK and self.store is None and self._turn.acquire(blocking=False):
            try:
                return self._timed(key, method, arguments)
            finally:
                self._turn.release()
        return await self.lane.run(self._timed, key, method, arguments)

    def _timed(self, key: Any, method: str | Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        begun = time.perf_counter()
        try:
            return (getattr(self, method) if isinstance(method, str) else method)(**arguments)
        finally:
            # A slow call is remembered for some time: the next ones of its kind go to the lane again.
            self._costs[key] = max(time.perf_counter() - begun, 0.8 * self._costs.get(key, 0.0))

    # ------------------------------------------------------------------------------------------ reading

    def info(self) -> dict[str, Any]:
        """Name, number of documents, storage, what can be done, and what the fields of the first thousand rows hold."""
        with self._turn:
            count = len(self.docs)
            table = self._rows(self._places(range(min(count, 1000))), None)
            return {
                "name": self.name,
                "documents": count,
                "storage": self.docs.storage,
                "writable": self.writable,
                "search": ["vector", "like", "words", *(["meaning"] if self._encode else [])],
                "fields": contents([table]).fields(),
            }

    def __len__(self) -> int:
        with self._turn:
            return len(self.docs)

    def fields(self, names: Sequence[str] | None) -> list[str] | None:
        """The fields that an answer holds, checked; None for all.

        Raises:
            UnknownField: one is no field of a document.
        """
        if names is None:
            return None
        for name in names:
            if name not in FIELDS:
                raise UnknownField(f"{name!r} is no field of a document. {near_miss(name, FIELDS)}")
        return [name for name in dict.fromkeys(names) if name != "id"]

    def read(self, ids: Sequence[str], fields: Sequence[str] | None = None) -> Table:
        """The rows of those of these ids that there are, each once, in the order of the first mention.

        Raises:
            TooMuch: more than a page.
        """
        wanted = list(dict.fromkeys(map(self.limits.identity, ids)))
        if len(wanted) > self.limits.page:
            raise TooMuch(
                f"at most {self.limits.page} documents are given at once; {len(wanted)} were asked for"
            )
        chosen = self.fields(fields)
        with self._turn:
            store = self.store
            if store is not None:
                known = store.known(wanted)
                return self._rows([key for key in wanted if key in known], chosen)
            places = [self._slots.find_id(key) for key in wanted]
            return self._rows([place for place in places if place is not None], chosen)

    def document(self, id: str, fields: Sequence[str] | None = None) -> Table:
        """One row.

        Raises:
            MissingDocument: there is no such document.
        """
        table = self.read([id], fields)
        if not len(table):
            raise MissingDocument(f"there is no document {id!r}")
        return table

    def documents(
        self,
        filter: Any = None,
        sort: Any = None,
        after: str | None = None,
        first: int | None = None,
        fields: Sequence[str] | None = None,
    ) -> Page:
        """Documents in array order, or sorted, from after a cursor on.

        Args:
            filter: of the filter language; None keeps all.
            sort: a path or several; '-tags__price' is descending.
            after: a cursor of an earlier page of the same filter and order.
            first: how many at most; `limits.usual_page` unless given.
            fields: names of fields that rows hold; None for all.

        Costs on a storage what its filter and order cost; without both, one page at any depth costs the same.

        Raises:
            BadFilter, UnknownField, BadValue, TooMuch: see docarray.errors and `Limits`.
        """
        limits = self.limits
        most, condition, order = limits.first(first), limits.condition(filter), limits.order(sort)
        chosen = self.fields(fields)
        mark = None if after is None else _mark_of(limits.identity(after, "cursor"))
        with self._turn:
            listing = self._listed(condition, order)
            total = len(listing)
            start = 0 if mark is None else self._after(listing, *mark)
            stop = min(total, start + most)
            table = self._rows(self._places(listing[start:stop]), chosen)
            return Page(table, [_cursor(start + at, key) for at, key in enumerate(table.ids)], total, start)

    def count(self, filter: Any = None) -> int:
        """How many documents a filter keeps."""
        condition = self.limits.condition(filter)
        with self._turn:
            return len(self._listed(condition, None))

    def scan(
        self, filter: Any = None, sort: Any = None, fields: Sequence[str] | None = None
    ) -> Iterator[Table]:
        """All documents that a filter keeps, so many at a time; the turn is given back between two parts.

        The filter and the order are checked, and carried out, before the first part is asked for.
        """
        condition, order = self.limits.condition(filter), self.limits.order(sort)
        chosen = self.fields(fields)
        with self._turn:
            listing = self._listed(condition, order)
            ids = [self._id_at(place) for place in listing] if self.store is None else listing
        return self._scanned(ids, chosen)

    def _scanned(self, ids: Sequence[Any], fields: list[str] | None) -> Iterator[Table]:
        last: str | None = None
        for start in range(0, len(ids), BATCH):
            with self._turn:
                store = self.store
                if isinstance(ids, range):
                    # Rows by number, where rows may come and go: from after the last one that was given.
                    if last is not None and last in cast("Store", store):
                        start = cast("Store", store).position(last) + 1
                    stop = min(len(cast("Store", store)), start + BATCH)
                    table = self._rows(self._places(range(start, stop)), fields)
                    last = table.ids[-1] if len(table) else last
                else:
                    part = ids[start : start + BATCH]
                    if store is not None:
                        known = store.known(part)
                        table = self._rows([key for key in part if key in known], fields)
                    else:
                        places = [self._slots.find_id(key) for key in part]
                        table = self._rows([place for place in places if place is not None], fields)
            if len(table):
                yield table

    def search(
        self,
        vector: Any = None,
        text: str | None = None,
        like: str | None = None,
        filter: Any = None,
        limit: int | None = None,
        metric: str = "cosine",
        fields: Sequence[str] | None = None,
        embedding: str | None = None,
        index: str = "text",
    ) -> Table:
        """The documents that fit best, with `scores`, the best first.

        Args:
            vector: (d,) numbers: the nearest.
            text: by words (BM25), in the field `index`; with a model, or with `vector` or `like` beside it, by meaning
                and words, the two rankings made one (reciprocal rank fusion, `scores['rrf']`).
            like: an id: the nearest to its embedding, without itself.
            filter: only documents that it keeps.
            limit: how many at most; `limits.usual_page` unless given.
            metric: one of METRICS.
            embedding: the name of the embeddings that are searched, of `doc.embeddings`; None is `embedding`.

        Documents without an embedding are passed over by a search of vectors.

        Raises:
            BadValue: nothing to look for, or a vector and `like`. ShapeError: a vector of another length.
            MissingDocument: there is no document `like`; MissingEmbedding: it has no embedding.
        """
        limits = self.limits
        most, condition = limits.first(limit), limits.condition(filter)
        if metric not in METRICS:
            raise UnknownMetric(f"no metric is called {metric!r:.60}. {near_miss(metric, METRICS)}")
        chosen = self.fields(fields)
        if chosen is not None and "scores" not in chosen:
            chosen.append("scores")
        asked = None if vector is None else limits.numbers(vector)
        words = None if text is None else limits.question(text)
        if asked is not None and like is not None:
            raise BadValue("a search goes by a vector or by what is like a document, not by both")
        if asked is None and like is None and words is None:
            raise BadValue("a search wants a vector, a text, or the id of a document to be like")
        if condition is not None:
            find.check_filter(condition)
        if asked is None and like is None and self._encode is not None:
            with self._turn:
                asked = limits.numbers(np.asarray(self._encode([cast("str", words)]))[0])
        if like is not None:
            limits.identity(like)
        if embedding is not None:
            limits.identity(embedding, "the name of an embedding")
        more = 0
        with self._turn:
            while True:
                places, cells = self._ranked(
                    asked, words, like, condition, most + more, metric, embedding, index
                )
                table = self._rows(places, chosen)
                if len(table) == len(cells):
                    break
                # Some of what was found was deleted before it was read: others come up in their place.
                there = set(table.ids)
                known = zip(places, cells, strict=True)
                cells = [cell for place, cell in known if self._id_at(place) in there]
                if len(cells) >= most or len(places) < most + more or more > _MOST_MORE:
                    break
                more += most + _SPARE
            if len(cells) > most:
                table, cells = table.slice(0, most), cells[:most]
            return table.with_columns({"scores": ScoresColumn(cells)})

    def _ranked(
        self, vector: Any, words: str | None, like: str | None, condition: Any, limit: int, metric: str,
        embedding: str | None, index: str,
    ) -> tuple[Sequence[Any], list[dict[str, Any]]]:  # fmt: skip
        """The places of what a search finds, and the scores of each."""
        if like is not None:
            vector = self._embedding_of(like, embedding)
        if vector is None:
            found = find.words(self._slots, [cast("str", words)], limit, index, condition)[0]
            return found[0], _scored(found[0], {"bm25": (found, "bm25", "similarity")})
        measured = cast("str", canonical(metric))
        if words is None:
            found = self._near(vector, limit, condition, metric, embedding, like)
            return found[0], _scored(found[0], {metric: (found, measured, "distance")})
        deep = max(100, 3 * limit)
        near = self._near(vector, deep, condition, metric, embedding, like)
        worded = find.words(self._slots, [words], deep, index, condition)[0]
        if like is not None:
            kept = [(at, value) for at, value in zip(*worded, strict=True) if self._id_at(at) != like]
            worded = [at for at, _ in kept], [value for _, value in kept]
        found = find.fused([near], [worded], "rrf", None, limit)[0]
        return found[0], _scored(
            found[0],
            {
                "rrf": (found, "rrf", "similarity"),
                metric: (near, measured, "distance"),
                "bm25": (worded, "bm25", "similarity"),
            },
        )

    def _near(
        self, vector: Any, limit: int, condition: Any, metric: str, embedding: str | None, skip: str | None
    ) -> find.Found:
        ways: dict[str, Any] = {"metric": metric, "limit": limit, "embedding": embedding}
        ways["leave_out"] = None if skip is None else [skip]
        if not len(self._slots):
            return [], []
        try:
            return find.search(self._slots, vector[None], condition=condition, **ways)[0]
        except MissingEmbedding:
            if self.store is not None or embedding is not None:
                return [], []  # no document has one
        has = {"embedding": {"$exists": True}}
        kept = has if condition is None else {"$and": [has, condition]}
        return find.search(self._slots, vector[None], condition=kept, **ways)[0]

    def _embedding_of(self, key: str, name: str | None) -> Any:
        field = "embedding" if name is None else "_metadata"
        table = self.document(key, [field])
        column = table.columns.get(field)
        value = None if column is None else column.values()[0]
        if name is not None:
            value = named_vector(value, name)
        if value is None:
            what = "embedding" if name is None else f"embedding {name!r}"
            raise MissingEmbedding(f"document {key!r} has no {what}, so nothing is like it")
        vector, _ = find.vectors_of(value)
        return vector[0]

    def nested(self, table: Table, field: str) -> list[Table]:
        """Of each row the documents below it: `field` is 'chunks' or 'matches'. They are in it: no store is asked."""
        column = table.columns.get(field)
        if not isinstance(column, DocsColumn):
            return [Table({}, 0, [])] * len(table)
        return [column.value(row) for row in range(len(table))]

    # ------------------------------------------------------------------------------------------ places

    def _listed(self, condition: Mapping[str, Any] | None, order: list[str] | None) -> Sequence[Any]:
        """The places of a list: a range of numbers, or positions (in memory) or ids (on a storage)."""
        if order is not None:
            query.parse_sort(cast("Any", order), FIELDS)
        if condition is None and order is None:
            return range(len(self._slots))
        places = None if condition is None else find.positions_where(self._slots, condition)
        if order is not None:
            places = find.sorted_positions(self._slots, order, places)
        return cast("list[Any]", places)

    def _places(self, part: Sequence[Any]) -> Sequence[Any]:
        """Positions in memory, ids on a storage."""
        store = self.store
        if store is None or not isinstance(part, range):
            return part
        while True:
            try:
                return store.at(part)
            except OutOfRange:  # rows were deleted since they were counted
                part = range(part.start, max(part.start, min(part.stop - 1, len(store))))

    def _id_at(self, place: Any) -> str:
        return place if isinstance(place, str) else self._slots._id_at(place)

    def _after(self, listing: Sequence[Any], number: int, key: str) -> int:
        """The number of the row after the one of a cursor, in the list as it is now."""
        total = len(listing)
        if number < total and self._id_at(self._places(listing[number : number + 1])[0]) == key:
            return number + 1
        if isinstance(listing, range):
            try:
                return (self._slots.position(key) if self.store is None else self.store.position(key)) + 1
            except MissingDocument:
                return min(number, total)
        place = key if self.store is not None else self._slots.find_id(key)
        try:
            return listing.index(place) + 1
        except ValueError:
            return min(number, total)

    def _rows(self, places: Sequence[Any], fields: list[str] | None) -> Table:
        store = self.store
        if not len(places):
            return Table({}, 0, [])
        if store is not None:
            table = self._there(store, list(places), fields)
        else:
            table = self._slots.select(places).table()
        return table if fields is None else table.select(fields)

    @staticmethod
    def _there(store: Store, ids: list[str], fields: list[str] | None) -> Table:
        while True:
            try:
                return store.read(ids, fields)
            except MissingDocument:  # some were deleted since they were found
                known = store.known(ids)
                ids = [key for key in ids if key in known]

    # ------------------------------------------------------------------------------------------ writing

    def _writing(self) -> None:
        if not self.writable:
            raise NotAllowed("these documents are served for reading only")

    def index(self, table: Table, replace: bool = True, untyped: bool = False) -> Written:
        """Documents put in place of those of their ids, and at the end where there are none; all or none.

        Args:
            table: documents, each id once; those without one were given one.
            replace: False refuses ids that are there.
            untyped: the table was read from JSON, which has no types of numbers: float64 embeddings take the type of
                those which are there.

        Raises:
            NotAllowed: for reading only. DuplicateDocument: an id stands twice, or is there. TooMuch: too many.
            ShapeError: an embedding of another length than those that are there, which no search could go over.
        """
        self._writing()
        if len(table) > self.limits.documents:
            raise TooMuch(f"at most {self.limits.documents} documents are taken at once; {len(table)} came")
        ids = [self.limits.identity(key) for key in table.ids]
        if len(set(ids)) < len(ids):
            twice = next(key for at, key in enumerate(ids) if key in ids[:at])
            raise DuplicateDocument(f"document {twice!r} stands twice in what was sent. Nothing was written")
        table = self._embedded(self._typed(table) if untyped else table)
        self._check_shapes(table)
        with self._together():
            docs = DocumentArray[Any](table)
            there = self._known(ids)
            if there and not replace:
                first = next(key for key in ids if key in there)
                raise DuplicateDocument(f"there is a document {first!r} already. Nothing was written")
            self.docs.upsert(docs)
            self._tell(False, ids)
        return Written([key for key in ids if key not in there], [key for key in ids if key in there])

    def update(self, changes: Sequence[Mapping[str, Any]]) -> list[str]:
        """Changes fields of documents that are there; all or none.

        Args:
            changes: for each document a dict with its `id`, and the fields to be set, in the library's JSON; None
                unsets one. `tags` are merged at every level (RFC 7396): a key with None is taken away.

        Raises:
            NotAllowed: for reading only. MissingDocument: an id is not there. FieldTypeError, UnknownField: a value.
        """
        self._writing()
        if len(changes) > self.limits.documents:
            raise TooMuch(
                f"at most {self.limits.documents} documents are changed at once; {len(changes)} came"
            )
        asked = [self._change(change) for change in changes]
        ids = [key for key, _, _ in asked]
        with self._together():
            there = self._known(ids)
            missing = [key for key in ids if key not in there]
            if missing:
                raise MissingDocument(f"there is no document {missing[0]!r}. Nothing was changed")
            wanted = list(dict.fromkeys(ids))
            if self.store is not None:
                docs = DocumentArray[Any](self.store.read(wanted))
                by_id = {doc.id: doc for doc in docs}
                for key, fields, tags in asked:
                    _apply(by_id[key], fields, tags)
                self.docs.upsert(docs)
            else:
                held = {key: self.docs[key] for key in wanted}
                trial = {key: copy.deepcopy(doc) for key, doc in held.items()}
                for docs_by_id in (trial, held):  # what fails, fails on the copies
                    for key, fields, tags in asked:
                        _apply(docs_by_id[key], fields, tags)
            self._tell(False, wanted)
        return wanted

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Deletes documents; all or none.

        Raises:
            NotAllowed: for reading only. MissingDocument: an id is not there.
        """
        self._writing()
        if len(ids) > self.limits.documents:
            raise TooMuch(
                f"at most {self.limits.documents} documents are deleted at once; {len(ids)} were named"
            )
        wanted = list(dict.fromkeys(map(self.limits.identity, ids)))
        with self._together():
            there = self._known(wanted)
            missing = [key for key in wanted if key not in there]
            if missing:
                raise MissingDocument(f"there is no document {missing[0]!r}. Nothing was deleted")
            if wanted:
                del self.docs[wanted]
            self._tell(True, wanted)
        return wanted

    def _change(self, change: Any) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
        """A change, checked: the id, the fields to set (None: unset), and what to merge into the tags."""
        if not isinstance(change, Mapping):
            raise FieldTypeError(f"a change is an object with an id; got {shown(change)}")
        given = dict(cast("Mapping[str, Any]", change))
        key = self.limits.identity(given.pop("id", None))
        tags = given.pop("tags", {})
        merged = None if tags is None else tags
        if merged is not None and not isinstance(merged, Mapping):
            raise FieldTypeError(f"document {key!r}: tags are an object; got {shown(tags)}")
        unset = [name for name, value in given.items() if value is None and name != "_arrays"]
        for name in unset:
            if name not in FIELDS and name != "content":
                raise UnknownField(f"document {key!r}: {name!r} is no field. {near_miss(name, FIELDS)}")
        table = self._typed(exchange.from_dicts([{"id": key, **given}], "jsonschema"))
        self._check_shapes(table)
        doc = DocumentArray[Any](table)[0]
        # `_arrays` is no field: it says what the lists of the others do not.
        fields: dict[str, Any] = {
            name: getattr(doc, name) for name in given if name not in unset and name != "_arrays"
        }
        fields.update(dict.fromkeys(unset))
        if self._encode is not None and fields.get("text") and "embedding" not in given:
            fields["embedding"] = np.asarray(self._encode([fields["text"]]))[0]
        return key, fields, None if merged is None else dict(cast("Mapping[str, Any]", merged))

    def _typed(self, table: Table) -> Table:
        """The table, with its embeddings in the floating type of those that are there."""
        column = table.columns.get("embedding")
        if column is None:
            return table
        there = self._held()
        wanted: Any = getattr(there, "dtype", None)
        if not isinstance(there, np.ndarray) or wanted.kind != "f":
            return table
        values: list[Any] = column.values()
        for row, value in enumerate(values):
            if isinstance(value, np.ndarray) and cast("Any", value).dtype in (np.float64, np.int64):
                with np.errstate(over="ignore"):
                    values[row] = value.astype(wanted)
                if not np.array_equal(np.isfinite(values[row]), np.isfinite(cast("Any", value))):
                    raise BadValue(
                        f"document {table.ids[row]!r}: a number of its embedding is too great for {wanted}"
                    )
        return table.with_columns({"embedding": tensor_column(values)})

    def _held(self, without: Sequence[str] = ()) -> Any:
        """An embedding of those that are there; None where the first documents have none."""
        with self._turn:
            table = self._rows(self._places(range(min(len(self._slots), _SAMPLE))), ["embedding"])
        column, left = table.columns.get("embedding"), {*without}
        if column is None:
            return None
        found = (
            v for key, v in zip(table.ids, column.values(), strict=True) if v is not None and key not in left
        )
        return next(found, None)

    def _check_shapes(self, table: Table) -> None:
        """Raises ShapeError where an embedding is not as long as the others: one would end every search of vectors."""
        column = table.columns.get("embedding")
        if column is None:
            return
        held = self._held(table.ids)
        wanted = None if held is None else _shape(held)
        for key, value in zip(table.ids, column.values(), strict=True):
            if value is None:
                continue
            shape = _shape(value)
            if wanted is None:
                wanted = shape
            elif shape != wanted and len(wanted) == 1:
                raise ShapeError(
                    f"document {key!r}: an embedding here has shape {wanted}; got "
                    f"{f'one of shape {shape}' if shape else 'one that is no vector'}. Nothing was written"
                )

    def _embedded(self, table: Table) -> Table:
        """The table, with embeddings of the texts that came without one, where there is a model."""
        texts = table.columns.get("text")
        if self._encode is None or texts is None:
            return table
        column = table.columns.get("embedding")
        values: list[Any] = [None] * len(table) if column is None else list(column.values())
        words = texts.values()
        rows = [row for row, text in enumerate(words) if text and values[row] is None]
        if not rows:
            return table
        vectors = np.asarray(self._encode([words[row] for row in rows]))
        for row, vector in zip(rows, vectors, strict=True):
            values[row] = vector
        return table.with_columns({"embedding": tensor_column(values)})

    def _known(self, ids: Sequence[str]) -> set[str]:
        store = self.store
        return store.known(ids) if store is not None else {key for key in ids if self._slots.has(key)}

    @contextlib.contextmanager
    def _together(self) -> Generator[None]:
        """A look and a write with nobody in between."""
        with self._turn, self.store.transaction() if self.store is not None else contextlib.nullcontext():
            yield

    # ------------------------------------------------------------------------------------------ changes

    def mark(self) -> int:
        """A number that grows with each change."""
        known = None if self.store is None else self.store.mark()
        return self._mark if known is None else known

    def changes(self, since: int) -> Changes | None:
        """What happened since a mark; None where that cannot be told any more."""
        store = self.store
        if store is not None and store.mark() is not None:
            return store.changes(since)
        with self._turn:
            if since > self._mark or (self._log and self._log[0][0] > since + 1 and len(self._log) == _KEPT):
                return None
            deleted, written = dict[str, None](), dict[str, None]()
            for mark, gone, key in self._log:
                if mark > since:
                    (deleted if gone else written)[key] = None
                    if gone:
                        written.pop(key, None)
            return Changes(self._mark, list(deleted), list(written), False)

    def _tell(self, gone: bool, ids: Sequence[str]) -> None:
        self._costs.clear()  # what was quick before may begin with an index of its own
        self._mark += 1
        self._log.extend((self._mark, gone, key) for key in ids)
        with self._waiting:
            waiters = list(self._waiters)
        for loop, event in waiters:
            with contextlib.suppress(RuntimeError):  # a loop that was closed
                loop.call_soon_threadsafe(event.set)

    async def watch(self) -> AsyncGenerator[Changes]:
        """Changes as they come, from now on; those that others make to a storage within a quarter of a second.

        Ends never: close it. Where changes cannot be told any more one comes with `moved`, which says: read again.
        """
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        store = self.store
        poll = None if store is None or store.mark() is None else _POLL
        with self._waiting:
            self._waiters.add((loop, event))
        try:
            mark = await self.lane.run(self.mark)
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(poll):
                        await event.wait()
                event.clear()
                if await self.lane.run(self.mark) == mark:
                    continue
                found = await self.lane.run(self.changes, mark)
                if found is None:
                    found = Changes(await self.lane.run(self.mark), [], [], True)
                mark = found.mark
                if found.deleted or found.written or found.moved:
                    yield found
        finally:
            with self._waiting:
                self._waiters.discard((loop, event))


def _cursor(number: int, key: str) -> str:
    text = json.dumps([number, key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _mark_of(cursor: str) -> tuple[int, str]:
    """What a cursor says.

    Raises:
        BadValue: it is none of ours.
    """
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        said = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, list):
        parts = cast("list[Any]", said)
        if (
            len(parts) == 2
            and type(parts[0]) is int
            and 0 <= parts[0] < 1 << 62
            and isinstance(parts[1], str)
        ):
            return parts[0], parts[1]
    raise BadValue(f"{cursor!r:.60} is no cursor of this list; leave it out to begin at the front")


def _scored(places: Sequence[Any], scores: Mapping[str, tuple[find.Found, str, str]]) -> list[dict[str, Any]]:
    """For each place its scores, as a document has them."""
    cells: list[dict[str, Any]] = [{} for _ in places]
    for name, ((at, values), op_name, kind) in scores.items():
        known = dict(zip(at, values, strict=True))
        for place, cell in zip(places, cells, strict=True):
            if place in known:
                cell[name] = {"value": known[place], "op_name": op_name, "description": kind}
    return cells


def _apply(doc: Any, fields: Mapping[str, Any], tags: Mapping[str, Any] | None) -> None:
    for name, value in fields.items():
        if value is None:
            doc.pop(name)
        else:
            setattr(doc, name, value)
    if tags is None:
        doc.pop("tags")
        return
    for name, value in tags.items():
        if value is None:
            doc.tags.pop(name, None)
        else:
            doc.tags[name] = _merged(doc.tags.get(name), value)


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return tuple(np.shape(value))
    except ValueError:  # lists of different lengths
        return ()


def _merged(old: Any, change: Any) -> Any:
    """A value after a merge patch (RFC 7396)."""
    if not isinstance(change, Mapping):
        return change
    made = dict(cast("Mapping[str, Any]", old)) if isinstance(old, Mapping) else dict[str, Any]()
    for name, value in cast("Mapping[str, Any]", change).items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = _merged(made.get(name), value)
    return made

"""GraphQL over a Service: documents by filter, search and page, what is nested in them, changes as they happen.

Rule 1: a query is weighed before it is validated: levels, words, other names, and the documents that it may give.
Rule 2: only the fields that a query names are read; whatever is asked document by document goes into one read.
Rule 3: an error is told as `problems` tells it, with its code and status in `extensions`; no text of an unexpected
        one reaches a client.
Rule 4: what was parsed and validated once is kept by its text, within bounds; variables are weighed each time.
"""

# pyright: reportPrivateUsage=false
# The modules of this room are friends: cursors are made in one place.

from __future__ import annotations

import asyncio
import contextlib
import enum
import inspect
import json
from collections import OrderedDict
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import timedelta
from operator import attrgetter
from typing import Annotated, Any, Final, NamedTuple, cast
from urllib.parse import parse_qsl

import graphql
import numpy as np
import strawberry
from graphql import GraphQLError, GraphQLSyntaxError, OperationType
from graphql.language import ast
from starlette.websockets import WebSocket
from strawberry.annotation import StrawberryAnnotation
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.scalars import JSON, Base64
from strawberry.schema.config import StrawberryConfig
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.tools import create_type
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.field import StrawberryField
from strawberry.types.graphql import OperationType as StrawberryOperation

from docarray import exchange, find
from docarray.array import DocumentArray
from docarray.dataclasses import Plan, _plan_of
from docarray.errors import BadValue, DocArrayError, FieldTypeError
from docarray.paths import parse_dunder
from docarray.records import table_of
from docarray.settle import settled
from docarray.table import DocsColumn, Table
from docarray.web import guards
from docarray.web.guards import ASGIApp, Receive, Scope, Send
from docarray.web.limits import Limits, TooMuch, shown
from docarray.web.plans import QueryPlan, SteppedBack, plan_of
from docarray.web.problems import Busy, NotAllowed, TimedOut, problem_of
from docarray.web.service import Page, Service, _cursor, _mark_of
from docarray.web.strawberry_types import (
    SCALARS,
    NdArray,
    ScoreItem,
    ScoreItemInput,
    finite,
    record_of_fields,
    score_items,
)
from docarray.web.weigher import Weigher

__all__ = ["Endpoint", "graphql_app", "print_schema", "schema_of"]

ID = strawberry.ID


@strawberry.enum(description="How near two vectors are.")
class Metric(enum.Enum):
    """The metrics of a search; the values are those of `Service.search`."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"
    SQEUCLIDEAN = "sqeuclidean"
    INNER_PRODUCT = "inner_product"


@strawberry.enum(description="Whether the best have the least score, or the greatest.")
class ScoreKind(enum.Enum):
    """What a score of a search is."""

    DISTANCE = "distance"
    SIMILARITY = "similarity"


class Cells:
    """The values of a table, column by column, as they are asked for."""

    __slots__ = ("_nested", "_values", "ids", "table")

    def __init__(self, table: Table) -> None:
        self.table: Table = table
        self.ids: list[str] = table.ids
        self._values: dict[str, list[Any]] = {}
        self._nested: dict[tuple[str, int], Cells] = {}

    def value(self, name: str, at: int) -> Any:
        """The value of a field in a row; None where it is not set."""
        values = self._values.get(name)
        if values is None:
            column = self.table.columns.get(name)
            values = self._values[name] = [None] * len(self.table) if column is None else column.values()
        return values[at]

    def below(self, name: str, at: int) -> Cells:
        """The documents below a row."""
        found = self._nested.get((name, at))
        if found is None:
            column = self.table.columns.get(name)
            table = column.value(at) if isinstance(column, DocsColumn) else Table({}, 0, [])
            found = self._nested[name, at] = Cells(table)
        return found

    def nodes(self) -> list[DocumentNode]:
        """A document for each row."""
        return [DocumentNode(cells=self, at=at) for at in range(len(self.table))]


FilterArgument = Annotated[
    JSON | None,
    strawberry.argument(
        description='A filter such as {"tags__price": {"$lt": 3}}, as a variable or as its text.'
    ),
]
AfterArgument = Annotated[
    str | None, strawberry.argument(description="A cursor: the page begins after its document.")
]
FirstArgument = Annotated[int | None, strawberry.argument(description="How many at most.")]


@strawberry.type(name="Document", description="A document. What is not set is null.")
class DocumentNode:
    """One row of a table."""

    cells: strawberry.Private[Cells]
    at: strawberry.Private[int]

    def _value(self, name: str) -> Any:
        return self.cells.value(name, self.at)

    @strawberry.field
    def id(self) -> ID:
        return ID(self.cells.ids[self.at])

    @strawberry.field
    def text(self) -> str | None:
        return self._value("text")

    @strawberry.field
    def uri(self) -> str | None:
        return self._value("uri")

    @strawberry.field
    def mime_type(self) -> str | None:
        return self._value("mime_type")

    @strawberry.field
    def modality(self) -> str | None:
        return self._value("modality")

    @strawberry.field
    def weight(self) -> float | None:
        return finite(self._value("weight"))

    @strawberry.field
    def granularity(self) -> int | None:
        return self._value("granularity")

    @strawberry.field
    def adjacency(self) -> int | None:
        return self._value("adjacency")

    @strawberry.field
    def parent_id(self) -> ID | None:
        return self._value("parent_id")

    @strawberry.field
    def offset(self) -> float | None:
        return finite(self._value("offset"))

    @strawberry.field
    def location(self) -> list[float] | None:
        return self._value("location")

    @strawberry.field(description="All tags, or what a path such as `size__width` leads to in them.")
    def tags(self, info: strawberry.Info, path: str | None = None) -> JSON | None:
        return (
            self._value("tags")
            if path is None
            else at_path(self._value("tags"), path, service_of(info).limits)
        )

    @strawberry.field
    def blob(self) -> Base64 | None:
        return self._value("blob")

    @strawberry.field
    def tensor(self) -> NdArray | None:
        return self._value("tensor")

    @strawberry.field
    def embedding(self) -> NdArray | None:
        return self._value("embedding")

    @strawberry.field
    def scores(self) -> list[ScoreItem]:
        return score_items(self._value("scores") or {})

    @strawberry.field
    def evaluations(self) -> list[ScoreItem]:
        return score_items(self._value("evaluations") or {})

    @strawberry.field(description="The parts of the document.")
    def chunks(
        self, info: strawberry.Info, filter: FilterArgument = None, after: AfterArgument = None,
        first: FirstArgument = None,
    ) -> DocumentConnection:  # fmt: skip
        return cast("DocumentConnection", below(self, "chunks", service_of(info), filter, after, first))

    @strawberry.field(description="What was found for the document.")
    def matches(
        self, info: strawberry.Info, filter: FilterArgument = None, after: AfterArgument = None,
        first: FirstArgument = None,
    ) -> DocumentConnection:  # fmt: skip
        return cast("DocumentConnection", below(self, "matches", service_of(info), filter, after, first))

    @strawberry.field(description="The document of `parentId`, if it is one of these documents.")
    async def parent(self, info: strawberry.Info) -> DocumentNode | None:
        key = self._value("parent_id")
        return await context_of(info).document(key, asked_of(info)) if key else None

    @strawberry.field(description="The documents whose embeddings are nearest.")
    async def similar(
        self, info: strawberry.Info, filter: FilterArgument = None, limit: FirstArgument = None,
        metric: Metric = Metric.COSINE, embedding: str | None = None,
    ) -> list[Hit]:  # fmt: skip
        return await context_of(info).search(
            asked_of(info, ("document",)), like=self.cells.ids[self.at], filter=filter, limit=limit,
            metric=metric.value, embedding=embedding,
        )  # fmt: skip


@strawberry.type(description="A document of a page, and the cursor that goes on after it.")
class DocumentEdge:
    """An edge of Relay."""

    cursor: str
    node: DocumentNode


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """The page info of Relay."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="A page of a list of documents.")
class DocumentConnection:
    """A connection of Relay."""

    page: strawberry.Private[Page]
    cells: strawberry.Private[Cells]

    @strawberry.field
    def edges(self) -> list[DocumentEdge]:
        return [
            DocumentEdge(cursor=cursor, node=node)
            for cursor, node in zip(self.page.cursors, self.cells.nodes(), strict=True)
        ]

    @strawberry.field(description="The documents alone.")
    def nodes(self) -> list[DocumentNode]:
        return self.cells.nodes()

    @strawberry.field
    def page_info(self) -> PageInfo:
        cursors = self.page.cursors
        return PageInfo(
            has_next_page=self.page.has_next,
            has_previous_page=self.page.start > 0,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        )

    @strawberry.field(description="Documents of the whole list.")
    def total_count(self) -> int:
        return self.page.total


@strawberry.type(description="A document that a search found.")
class Hit:
    """One line of an answer."""

    document: DocumentNode
    score: float | None = strawberry.field(description="How near, or how alike; see `kind`.")
    name: str = strawberry.field(description="The metric, `bm25` or `rrf`.")
    kind: ScoreKind
    found: strawberry.Private[Mapping[str, Mapping[str, Any]]]

    @strawberry.field(description="All scores that made the order.")
    def scores(self) -> list[ScoreItem]:
        return score_items(self.found)


@strawberry.type(description="What happened to documents.")
class Change:
    """What a subscription gives."""

    written: list[ID]
    deleted: list[ID]
    moved: bool = strawberry.field(
        description="Whether more changed than can be told: what was read before is to be read again."
    )

    @strawberry.field(description="The written documents that are still there; the first page of them.")
    async def documents(self, info: strawberry.Info) -> list[DocumentNode]:
        ids = self.written[: service_of(info).limits.page]
        return await context_of(info).read(ids, asked_of(info))


@strawberry.type(description="What became of documents that were sent.")
class IndexPayload:
    """The answer to `index`."""

    created: list[ID]
    replaced: list[ID]
    documents: list[DocumentNode] = strawberry.field(
        description="As they are now, in the order they were sent."
    )


@strawberry.type(description="Documents that were changed.")
class UpdatePayload:
    """The answer to `update`."""

    ids: list[ID]
    documents: list[DocumentNode] = strawberry.field(description="As they are now.")


@strawberry.type(description="Documents that were deleted.")
class DeletePayload:
    """The answer to `delete`."""

    ids: list[ID]


@strawberry.input(
    description="A document. `index` takes null for not set; `update` leaves what is not given, and unsets by null."
)
class DocumentInput:
    """What clients write."""

    id: ID | None = strawberry.UNSET
    text: str | None = strawberry.UNSET
    uri: str | None = strawberry.UNSET
    mime_type: str | None = strawberry.UNSET
    modality: str | None = strawberry.UNSET
    weight: float | None = strawberry.UNSET
    granularity: int | None = strawberry.UNSET
    adjacency: int | None = strawberry.UNSET
    parent_id: ID | None = strawberry.UNSET
    offset: float | None = strawberry.UNSET
    location: list[float] | None = strawberry.UNSET
    tags: JSON | None = strawberry.UNSET
    blob: Base64 | None = strawberry.UNSET
    tensor: NdArray | None = strawberry.UNSET
    embedding: NdArray | None = strawberry.UNSET
    scores: list[ScoreItemInput] | None = strawberry.UNSET
    evaluations: list[ScoreItemInput] | None = strawberry.UNSET
    chunks: list[DocumentInput] | None = strawberry.UNSET
    matches: list[DocumentInput] | None = strawberry.UNSET


@strawberry.type(description="What can be asked.")
class Query:
    """What can be asked."""

    @strawberry.field(description="The document of an id; null if there is none.")
    async def document(self, info: strawberry.Info, id: ID) -> DocumentNode | None:
        return await context_of(info).document(id, asked_of(info))

    @strawberry.field(description="Documents in their order, or sorted, page by page.")
    async def documents(
        self,
        info: strawberry.Info,
        filter: FilterArgument = None,
        sort: Annotated[
            list[str] | None, strawberry.argument(description="Paths; `-tags__price` is descending.")
        ] = None,
        after: AfterArgument = None,
        first: FirstArgument = None,
    ) -> DocumentConnection:
        page = await service_of(info).call(
            "documents",
            filter=filter,
            sort=sort,
            after=after,
            first=first,
            fields=sorted(asked_of(info, *PAGE)),
        )
        return DocumentConnection(page=page, cells=Cells(page.table))

    @strawberry.field(
        description="The documents that fit best: by words or meaning, near a vector, or like another document."
    )
    async def search(
        self,
        info: strawberry.Info,
        text: str | None = None,
        vector: list[float] | None = None,
        like: Annotated[ID | None, strawberry.argument(description="The id of a document.")] = None,
        filter: FilterArgument = None,
        limit: FirstArgument = None,
        metric: Metric = Metric.COSINE,
        embedding: Annotated[
            str | None, strawberry.argument(description="The name of the embeddings to search in.")
        ] = None,
    ) -> list[Hit]:
        return await context_of(info).search(
            asked_of(info, ("document",)), text=text, vector=vector, like=like, filter=filter, limit=limit,
            metric=metric.value, embedding=embedding,
        )  # fmt: skip


@strawberry.type(description="What can be written, where the service lets clients write.")
class Mutation:
    """What can be written, where the service lets clients write."""

    @strawberry.mutation(
        description="Puts documents in the place of those of their ids, or at the end; all or none."
    )
    async def index(
        self,
        info: strawberry.Info,
        documents: list[DocumentInput],
        replace: Annotated[bool, strawberry.argument(description="False refuses ids that are there.")] = True,
    ) -> IndexPayload:
        asked = answered(info, len(documents))
        table = settled(table_of([record_of(document) for document in documents]))
        written = await service_of(info).call("index", table=table, replace=replace, untyped=True)
        found = [] if asked is None else await context_of(info).read(table.ids, asked)
        return IndexPayload(created=written.created, replaced=written.replaced, documents=found)

    @strawberry.mutation(
        description="Changes fields of documents that are there; tags are merged; all or none."
    )
    async def update(self, info: strawberry.Info, documents: list[DocumentInput]) -> UpdatePayload:
        asked = answered(info, len(documents))
        ids = await service_of(info).call("update", changes=[change_of(document) for document in documents])
        found = [] if asked is None else await context_of(info).read(ids, asked)
        return UpdatePayload(ids=ids, documents=found)

    @strawberry.mutation(description="Deletes documents; all or none.")
    async def delete(self, info: strawberry.Info, ids: list[ID]) -> DeletePayload:
        return DeletePayload(ids=await service_of(info).call("delete", ids=ids))


@strawberry.type(description="What can be listened to.")
class Subscription:
    """What can be listened to."""

    @strawberry.subscription(description="Changes of the documents, from now on.")
    async def changes(self, info: strawberry.Info) -> AsyncGenerator[Change]:
        schema = cast("ServiceSchema", info.schema)
        with schema.listener():
            async with contextlib.aclosing(service_of(info).watch()) as watched:
                async for change in watched:
                    yield Change(
                        written=[ID(key) for key in change.written],
                        deleted=[ID(key) for key in change.deleted],
                        moved=change.moved,
                    )


PAGE: Final = (("nodes",), ("edges", "node"))
"""The ways from a connection to its documents."""

_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": (),
    "similar": (),
    "parent": ("parent_id",),
    "parentId": ("parent_id",),
    "mimeType": ("mime_type",),
    "fields": ("tags", "chunks", "_metadata"),
    **{
        name: (name,)
        for name in (
            "text", "uri", "modality", "weight", "granularity", "adjacency", "offset", "location", "tags", "blob",
            "tensor", "embedding", "scores", "evaluations", "chunks", "matches",
        )
    },
}  # fmt: skip
"""What each field of a Document is read from."""


# ---------------------------------------------------------------------------------------------- documents and rows


def at_path(tags: Any, path: str, limits: Limits) -> Any:
    """What a path leads to in tags; None for nothing. Keys of objects and places in lists are followed, nothing else.

    Raises:
        TooMuch: a longer path. BadPath: it is none.

    >>> at_path({'size': {'width': [3, 4]}}, 'size__width__1', Limits())
    4
    """
    value: Any = tags
    for part in parse_dunder(limits.identity(path, "path")):
        if isinstance(value, dict):
            held = cast("dict[Any, Any]", value)
            value = held.get(part, held.get(str(part)))
        elif isinstance(value, (list, tuple)):
            listed = cast("Sequence[Any]", value)
            digits = str(part)
            at = int(digits) if digits.isdecimal() and len(digits) < 10 else len(listed)
            value = listed[at] if at < len(listed) else None
        else:
            return None
    return value


def below(
    node: DocumentNode, name: str, service: Service, filter: Any, after: str | None, first: int | None
) -> DocumentConnection | Awaitable[DocumentConnection]:
    """A page of the documents that are nested in one: they are in its row, so no store is asked."""
    cells = node.cells.below(name, node.at)
    limits = service.limits
    if filter is not None:
        return _kept_below(service, cells.table, limits.condition(filter), after, limits.first(first))
    start, most = _start(cells.table, limits, after), limits.first(first)
    total = len(cells.table)
    if start or most < total:
        cells = Cells(cells.table.slice(start, min(total, start + most)))
    return _page_of(cells, total, start)


async def _kept_below(
    service: Service, table: Table, condition: Any, after: str | None, most: int
) -> DocumentConnection:
    def kept() -> tuple[Cells, int, int]:
        places = find.positions_where(DocumentArray[Any](table)._slots, condition)
        found = table.take(np.asarray(places, np.intp))
        start = _start(found, service.limits, after)
        return Cells(found.slice(start, min(len(found), start + most))), len(found), start

    return _page_of(*await service.lane.run(kept))


def _start(table: Table, limits: Limits, after: str | None) -> int:
    """The number of the row after the one of a cursor."""
    if after is None:
        return 0
    number, key = _mark_of(limits.identity(after, "cursor"))
    ids = table.ids
    if number < len(ids) and ids[number] == key:
        return number + 1
    return ids.index(key) + 1 if key in ids else min(number, len(ids))


def _page_of(cells: Cells, total: int, start: int) -> DocumentConnection:
    cursors = [_cursor(start + at, key) for at, key in enumerate(cells.ids)]
    return DocumentConnection(page=Page(cells.table, cursors, total, start), cells=cells)


def record_of(document: DocumentInput) -> dict[str, Any]:
    """The record of a document that was sent."""
    return record_of_fields(vars(document), record_of)


def change_of(document: DocumentInput) -> dict[str, Any]:
    """What `Service.update` takes: what was given, in the library's JSON, None for what is unset."""
    given = {name: value for name, value in vars(document).items() if value is not strawberry.UNSET}
    record = record_of(document)
    said: dict[str, Any] = (
        {} if not record else exchange.to_dicts(settled(table_of([record])), "jsonschema")[0]
    )
    beside = said.get("_arrays")
    change = {name: None if value is None else said[name] for name, value in given.items()}
    return change if beside is None else {**change, "_arrays": beside}


# ---------------------------------------------------------------------------------------------- what was asked


class Context:
    """What belongs to one request: the service, and the reads that wait for each other.

    A read is asked for by each document that wants one; all that ask at the same time become one `Service.read`.
    """

    def __init__(self, service: Service, request_id: str | None = None) -> None:
        self.service = service
        self.request_id = request_id
        self.connection_params: Any = None
        self._loader: DataLoader[tuple[str, frozenset[str]], DocumentNode | None] = DataLoader(
            self._load, max_batch_size=max(1, service.limits.page), cache=False
        )
        self._turn = asyncio.Semaphore(max(1, service.limits.threads))

    async def _load(self, keys: list[tuple[str, frozenset[str]]]) -> list[DocumentNode | None]:
        columns = frozenset[str]().union(*(columns for _, columns in keys))
        found = await self.read([key for key, _ in keys], columns)
        known = {node.cells.ids[node.at]: node for node in found}
        return [known.get(key) for key, _ in keys]

    async def document(self, key: str, columns: frozenset[str]) -> DocumentNode | None:
        """The document of an id, with these columns at least; None if there is none."""
        return await self._loader.load((self.service.limits.identity(key), columns))

    async def read(self, ids: Sequence[str], columns: frozenset[str]) -> list[DocumentNode]:
        """The documents of ids that there are."""
        return Cells(await self.service.call("read", ids=list(ids), fields=sorted(columns))).nodes()

    async def search(self, columns: frozenset[str], **ways: Any) -> list[Hit]:
        """What a search finds."""
        async with self._turn:
            table: Table = await self.service.call("search", fields=sorted(columns), **ways)
        cells = Cells(table)
        return [hit_of(node, cells.value("scores", node.at)) for node in cells.nodes()]


def hit_of(node: DocumentNode, scores: Mapping[str, Mapping[str, Any]]) -> Hit:
    """A hit; the first of its scores made the order."""
    name, score = next(iter(scores.items()))
    return Hit(
        document=node,
        score=finite(score["value"]),
        name=name,
        kind=ScoreKind(score["description"]),
        found=scores,
    )


def context_of(info: strawberry.Info) -> Context:
    """The context of the request."""
    return cast("Context", info.context)


def service_of(info: strawberry.Info) -> Service:
    """The service that is asked."""
    return context_of(info).service


Sets = Iterable[ast.SelectionSetNode | None]


def fields_in(sets: Sets, fragments: Mapping[str, ast.FragmentDefinitionNode]) -> Iterator[ast.FieldNode]:
    """The fields of selections, those of fragments too."""
    stack, seen = list(sets), set[str]()
    while stack:
        chosen = stack.pop()
        for selection in () if chosen is None else chosen.selections:
            if isinstance(selection, ast.FieldNode):
                yield selection
            elif isinstance(selection, ast.InlineFragmentNode):
                stack.append(selection.selection_set)
            else:
                name = cast("ast.FragmentSpreadNode", selection).name.value
                if name not in seen and name in fragments:
                    seen.add(name)
                    stack.append(fragments[name].selection_set)


def _named_below(sets: Sets, name: str, fragments: Mapping[str, Any]) -> list[ast.SelectionSetNode | None]:
    return [node.selection_set for node in fields_in(sets, fragments) if node.name.value == name]


def asked_of(info: strawberry.Info, *ways: tuple[str, ...]) -> frozenset[str]:
    """The columns that the documents of an answer are asked for.

    Args:
        ways: from the field to its documents; none where it gives a document itself.
    """
    raw = cast("Any", info)._raw_info
    fragments = raw.fragments
    columns: set[str] = set()
    for way in ways or ((),):
        sets: list[ast.SelectionSetNode | None] = [node.selection_set for node in raw.field_nodes]
        for name in way:
            sets = _named_below(sets, name, fragments)
        for node in fields_in(sets, fragments):
            columns.update(_COLUMNS.get(node.name.value, ()))
    return frozenset(columns)


def answered(info: strawberry.Info, count: int) -> frozenset[str] | None:
    """The columns of the documents that a mutation answers with; None if it is asked for none.

    Raises:
        TooMuch: it would be more than a page. That is known before anything is written.
    """
    raw = cast("Any", info)._raw_info
    if not _named_below([node.selection_set for node in raw.field_nodes], "documents", raw.fragments):
        return None
    most = service_of(info).limits.page
    if count > most:
        raise TooMuch(
            f"at most {most} documents are given at once; ask for the ids alone. Nothing was written"
        )
    return asked_of(info, ("documents",))


# ---------------------------------------------------------------------------------------------- errors


class ToldError(GraphQLError):
    """An error as a client is told it."""


_MOST_ERRORS: Final = 20


def told(errors: Sequence[GraphQLError], context: Any) -> list[GraphQLError]:
    """Errors as a client is told them, the first ones."""
    request_id = context.request_id if isinstance(context, Context) else None
    return [_told(error, request_id) for error in errors[:_MOST_ERRORS]]


def _told(error: GraphQLError, request_id: str | None) -> GraphQLError:
    if isinstance(error, ToldError):
        return error
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if cause is None:
        message, status = error.message, 400
        code = (
            "GRAPHQL_PARSE_FAILED" if isinstance(error, GraphQLSyntaxError) else "GRAPHQL_VALIDATION_FAILED"
        )
        if error.path:
            code = "BAD_VALUE"
    else:
        if isinstance(cause, RecursionError):
            cause = TooMuch("this is nested too deep")
        elif isinstance(cause, TimeoutError) and not isinstance(cause, TimedOut):
            cause = TimedOut("there was no answer in time")
        problem = problem_of(cause, request_id)
        message, status = problem.detail, problem.status
        code = problem.title.upper().replace(" ", "_").replace("-", "_")
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "..."
    return ToldError(
        message, nodes=error.nodes, source=error.source, positions=error.positions, path=error.path,
        extensions={"code": code, "status": status},
    )  # fmt: skip


_LONGEST_MESSAGE: Final = 1_000
_NO_QUERY: Final = 'there is no query: send {"query": "..."}'


# ---------------------------------------------------------------------------------------------- dataclasses


_PLAIN: Final = frozenset({"str", "int", "float", "bool"})

Reader = Callable[["DocumentNode", Any], Any]


class Typed:
    """The object types of a dataclass and of those in it: plain fields have types of their own, media are documents.

    The types are made of what the class says; each field is read from the document that an object was made to.

    Raises:
        FieldTypeError: it is no dataclass of this library.
    """

    def __init__(self, cls: Any) -> None:
        plan = _plan_of(cls)
        if plan is None:
            raise FieldTypeError(f"{cls!r} is no dataclass of docarray: decorate it with docarray.dataclass")
        self.readers: dict[str, dict[str, Reader]] = {}
        """Of each type its fields, and how they are read."""
        self._named: dict[str, Any] = {"DocumentNode": DocumentNode, "JSON": JSON}
        self._names: dict[Any, str] = {}
        self.field: StrawberryField = StrawberryField(
            python_name="fields",
            graphql_name="fields",
            type_annotation=self._annotation(f"{self._type(plan)} | None"),
            description=f"The document as a {plan.cls.__name__}; null if none made it.",
        )

    def _annotation(self, text: str) -> StrawberryAnnotation:
        return StrawberryAnnotation(text, namespace=self._named)

    def _type(self, plan: Plan) -> str:
        key = (plan.cls, plan.arguments)
        if key in self._names:
            return self._names[key]
        base = name = f"{plan.cls.__name__}Fields"
        if not _says(base):
            raise FieldTypeError(f"{plan.cls.__name__!r} is no name that GraphQL can say; rename the class")
        while name in self.readers:
            name = f"{base}{len(self.readers)}"
        self._names[key] = name
        readers = self.readers[name] = {}
        if plan.fields is None:
            plan.settle()
        fields: list[StrawberryField] = []
        for one in plan.fields or ():
            node, said = one.node, _camel(one.name)
            said = said if said not in readers else one.name
            if not _says(said) or said.startswith("__"):
                continue  # a name that GraphQL cannot say: it is in the tags, or the chunks
            if one.in_tags:
                form, reader = node.name if node.name in _PLAIN else "JSON", _tag_reader(one.name)
            elif node.attribute_type == "nested" and len(node.nested) == 1:
                form, reader = self._type(cast("Plan", _plan_of(node.nested[0]))), _chunk_reader(one.name)
            elif one.is_list:
                form, reader = "list[DocumentNode]", _list_reader(one.name)
            else:
                form, reader = "DocumentNode", _chunk_reader(one.name)
            readers[said] = reader
            fields.append(
                StrawberryField(
                    python_name=one.name,
                    graphql_name=said,
                    type_annotation=self._annotation(f"{form} | None"),
                )
            )
        self._named[name] = create_type(name, fields, description=f"The fields of a {plan.cls.__name__}.")
        return name


def _says(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] if part else "_" for part in rest)


def _entry(node: DocumentNode, name: str) -> Mapping[str, Any] | None:
    """What the document that was made of an object says of a field."""
    return _object_of(_object_of(node.cells.value("_metadata", node.at)).get("multi_modal_schema")).get(name)


def _object_of(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _tag_reader(name: str) -> Reader:
    def read(node: DocumentNode, info: Any) -> Any:
        return None if _entry(node, name) is None else _object_of(node.cells.value("tags", node.at)).get(name)

    return read


def _chunk_reader(name: str) -> Reader:
    def read(node: DocumentNode, info: Any) -> Any:
        position = (_entry(node, name) or {}).get("position")
        if position is None:
            return None
        cells, at = node.cells.below("chunks", node.at), int(position)
        return DocumentNode(cells=cells, at=at) if 0 <= at < len(cells.table) else None

    return read


def _list_reader(name: str) -> Reader:
    one = _chunk_reader(name)

    def read(node: DocumentNode, info: Any) -> Any:
        held = one(node, info)
        if held is None:
            return None
        nodes = held.cells.below("chunks", held.at).nodes()
        most = info.context.service.limits.page
        if len(nodes) > most:
            raise TooMuch(
                f"this field holds {len(nodes)} documents; at most {most} are given at once: page its chunks"
            )
        return nodes

    return read


# ---------------------------------------------------------------------------------------------- schema


class Prepared(NamedTuple):
    """A query that may be executed."""

    document: ast.DocumentNode
    is_fixed: bool
    """Whether its weight does not depend on variables."""
    plan: QueryPlan | None
    """How it is carried out in a shorter way; None if there is none."""


class _Chosen(NamedTuple):
    """The operation of a query that is meant."""

    document: ast.DocumentNode
    plan: QueryPlan | None
    kind: OperationType


class ServiceSchema(strawberry.Schema):
    """The schema over a Service; `schema_of` makes it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._typed = None if service.schema is None else Typed(service.schema)
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._held = 0
        self._listeners = 0
        cast("Any", super()).__init__(
            query=Query,
            mutation=Mutation if service.writable else None,
            subscription=Subscription,
            config=StrawberryConfig(scalar_map=SCALARS),
        )
        self._shorten()

    def get_fields(self, type_definition: Any) -> list[StrawberryField]:
        """The fields of a type; those of documents with `fields`, where they are of a dataclass."""
        found = super().get_fields(type_definition)
        typed = self._typed
        return (
            [*found, typed.field] if typed is not None and type_definition.origin is DocumentNode else found
        )

    def process_errors(self, errors: Any, execution_context: Any = None) -> None:
        """Nothing: `problems` logs what a client is not told."""

    @property
    def graphql_schema(self) -> graphql.GraphQLSchema:
        """The schema as graphql-core has it."""
        return self._schema

    def _shorten(self) -> None:
        """Has fields be read without a detour where nobody waits for them: a page has thousands of them."""
        types = cast("dict[str, graphql.GraphQLObjectType]", self._schema.type_map)
        for name in (
            "Document",
            "DocumentConnection",
            "DocumentEdge",
            "PageInfo",
            "Hit",
            "Namescoreitem",
            "Namedscore",
        ):
            for field in types[name].fields.values():
                said = cast("StrawberryField", field.extensions["strawberry-definition"])
                if not said.is_async:
                    field.resolve = _direct(said)
        if self._typed is not None:
            types["Document"].fields["fields"].resolve = _made_object
            for type_name, readers in self._typed.readers.items():
                for name, read in readers.items():
                    types[type_name].fields[name].resolve = read

    # ------------------------------------------------------------------------------------------ queries

    async def prepared(self, query: Any, variables: Mapping[str, Any] | None) -> Prepared:
        """A query that was read and weighed, and that fits the schema.

        A long one is read off the event loop.

        Raises:
            _Invalid: it does not fit. TooMuch: it asks for more than the limits. BadValue: it is none.
        """
        if not isinstance(query, str) or not query:
            raise _Malformed(_NO_QUERY)
        known = self._prepared.get(query)
        if known is None:
            if len(query) <= _SHORT:
                known = self._prepare(query, variables)
            elif len(query) <= self.service.limits.body:
                known = await self.service.lane.run(self._prepare, query, variables)
            else:  # of a socket
                raise TooMuch("this query is too long")
            self._keep(query, known)
            return known
        if not known.is_fixed:
            Weigher(known.document, variables, self.service.limits).check()
        return known

    def _prepare(self, query: str, variables: Mapping[str, Any] | None) -> Prepared:
        limits = self.service.limits
        document = graphql.parse(query, max_tokens=limits.tokens)
        weigher = Weigher(document, variables, limits)
        weigher.check()
        if not self.service.writable:
            for each in document.definitions:
                if isinstance(each, ast.OperationDefinitionNode) and each.operation is OperationType.MUTATION:
                    raise NotAllowed("these documents are served for reading only")
        errors = graphql.validate(self._schema, document, max_errors=_MOST_ERRORS)
        if errors:
            raise _Invalid(errors)
        return Prepared(document, weigher.is_fixed, plan_of(self._schema, document))

    def _keep(self, query: str, made: Prepared) -> None:
        if len(query) > _LONGEST_KEPT:
            return
        if query not in self._prepared:
            self._held += len(query)
        self._prepared[query] = made
        while self._held > _MOST_KEPT:
            self._held -= len(self._prepared.popitem(last=False)[0])

    async def execute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[StrawberryOperation] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """What a query or a mutation gives. Errors are told as a client is told them; none is raised.

        Args:
            context_value: a `Context`; a new one unless given.
        """
        context = context_value or Context(self.service)
        try:
            made = await self._allowed(query, variable_values, operation_name, allowed_operation_types)
            if made.kind is OperationType.SUBSCRIPTION:
                raise _NotHere(made.kind)
            if made.plan is not None:
                with contextlib.suppress(SteppedBack):
                    return ExecutionResult(data=await made.plan.run(context, variable_values), errors=None)
            result: Any = cast("Any", graphql).execute(
                self._schema,
                made.document,
                root_value,
                context,
                variable_values,
                operation_name,
            )
            if not isinstance(result, graphql.ExecutionResult):
                result = await result
        except Exception as error:
            return ExecutionResult(data=None, errors=_told_of(error, context))
        return _result(result, context)

    async def _allowed(
        self,
        query: str | None,
        variables: Mapping[str, Any] | None,
        operation: str | None,
        kinds: Iterable[StrawberryOperation] | None,
    ) -> _Chosen:
        made = await self.prepared(query, variables)
        kind = _kind_of(made.document, operation)
        if kinds is not None and kind.value not in {one.value for one in kinds}:
            raise _NotHere(kind)
        return _Chosen(made.document, made.plan, kind)

    async def stream(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[StrawberryOperation] | None = None,
    ) -> AsyncGenerator[ExecutionResult | PreExecutionError]:
        """What an operation gives, one after the other: of a query or a mutation one. See `execute`."""
        del root_value, operation_extensions
        context = context_value or Context(self.service)
        return self._streamed(query, variable_values, context, operation_name, allowed_operation_types)

    async def _streamed(
        self,
        query: str | None,
        variables: dict[str, Any] | None,
        context: Context,
        operation: str | None,
        kinds: Iterable[StrawberryOperation] | None,
    ) -> AsyncGenerator[ExecutionResult | PreExecutionError]:
        begun = False
        try:
            made = await self._allowed(query, variables, operation, kinds)
            if made.kind is not OperationType.SUBSCRIPTION:
                begun = True
                yield await self.execute(query, variables, context, operation_name=operation)
                return
            results: Any = cast("Any", graphql).subscribe(
                self._schema, made.document, None, context, variables, operation
            )
            if inspect.isawaitable(results):
                results = await results
            if isinstance(results, graphql.ExecutionResult):
                yield PreExecutionError(data=None, errors=told(results.errors or (), context))
                return
            begun = True
            async with contextlib.aclosing(cast("AsyncGenerator[Any]", results)) as coming:
                async for result in coming:
                    yield _result(result, context)
        except Exception as error:
            kind = ExecutionResult if begun else PreExecutionError
            yield kind(data=None, errors=_told_of(error, context))

    @contextlib.contextmanager
    def listener(self) -> Generator[None]:
        """One more that listens to changes, as long as the block lasts.

        Raises:
            Busy: as many listen as may.
        """
        if self._listeners >= self.service.limits.subscriptions:
            raise Busy(f"{self._listeners} clients listen already; come back later")
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1


class _Invalid(Exception):
    """A query that does not fit the schema."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class _NotHere(DocArrayError):
    """An operation of a kind that is asked for in another way."""

    status: int = 405

    def __init__(self, kind: OperationType) -> None:
        how = (
            "a subscription is asked for with `Accept: text/event-stream`, or over a socket of graphql-transport-ws"
            if kind is OperationType.SUBSCRIPTION
            else "what writes is sent by POST"
        )
        super().__init__(how)


_SHORT: Final = 1_000  # characters of a query that is read at once
_LONGEST_KEPT: Final = 10_000  # characters of a query that is kept
_MOST_KEPT: Final = 200_000  # characters of all queries that are kept


def _as_error(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError("", original_error=error)


def _told_of(error: Exception, context: Context) -> list[GraphQLError]:
    return told(error.errors if isinstance(error, _Invalid) else [_as_error(error)], context)


def _result(result: Any, context: Context) -> ExecutionResult:
    """A result of graphql-core as Strawberry has it, its errors as a client is told them."""
    return ExecutionResult(data=result.data, errors=told(result.errors, context) if result.errors else None)


def _kind_of(document: ast.DocumentNode, name: str | None) -> OperationType:
    """What kind of operation is meant.

    Raises:
        BadValue: that cannot be said.
    """
    found = [each for each in document.definitions if isinstance(each, ast.OperationDefinitionNode)]
    if name is not None:
        found = [each for each in found if each.name is not None and each.name.value == name]
    if len(found) != 1:
        asked = "there is no operation in it" if name is None else f"no operation is called {shown(name)}"
        raise BadValue(
            asked if not found else "there are several operations in it: name one as operationName"
        )
    return found[0].operation


def _direct(field: StrawberryField) -> Callable[..., Any]:
    """The method of a field, or what reads its attribute. Both Infos have the context, which is all that they read."""
    resolver = cast("Any", field).base_resolver
    read: Callable[..., Any] = attrgetter(field.python_name) if resolver is None else resolver.wrapped_func
    if field.arguments:
        return read

    def direct(source: Any, info: Any) -> Any:
        del info
        return read(source)

    return direct


def _made_object(node: DocumentNode, info: Any) -> DocumentNode | None:
    """A document as an object of a dataclass, if it was made of one."""
    private: Any = node.cells.value("_metadata", node.at)
    return node if isinstance(private, dict) and "multi_modal_schema" in private else None


# ---------------------------------------------------------------------------------------------- endpoint


class _Asked(NamedTuple):
    """What a client sent."""

    query: str
    variables: dict[str, Any] | None
    operation: str | None


class _Malformed(DocArrayError):
    """A request that is none of GraphQL over HTTP."""

    status: int = 400


class _Unreadable(DocArrayError):
    """A body of a type that is not read."""

    status: int = 415


def asked_of_json(said: Any) -> _Asked:
    """The members of a request, each of its type.

    Raises:
        BadValue: one is not.
    """
    if isinstance(said, list):
        raise _Malformed("one request at a time is taken, and no list of them")
    if not isinstance(said, dict):
        raise _Malformed(f"a request is an object with a query; got {shown(said)}")
    members = cast("dict[str, Any]", said)
    query, variables, operation = (members.get(name) for name in ("query", "variables", "operationName"))
    if not isinstance(query, str) or not query:
        raise _Malformed(_NO_QUERY)
    if variables is not None and not isinstance(variables, dict):
        raise _Malformed(f"variables are an object; got {shown(variables)}")
    if operation is not None and not isinstance(operation, str):
        raise _Malformed(f"operationName is text; got {shown(operation)}")
    return _Asked(query, cast("dict[str, Any] | None", variables), operation or None)


def _json_of(data: bytes | str, what: str) -> Any:
    try:
        return json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _Malformed(f"{what} is no JSON, or is nested too deep") from None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


class Endpoint(GraphQL[Context, None]):
    """The schema by HTTP and sockets: an ASGI application, at whatever path it is reached.

    Args:
        schema: of `schema_of`.
        origins: of pages on other sites that may open a socket, such as 'https://shelf.example'; '*' for all.

    Queries come by POST, in JSON, or by GET; mutations by POST. Where `Accept` has `text/event-stream` the answer is a
    stream of events (GraphQL over SSE, distinct connections); a socket speaks graphql-transport-ws. Who accepts
    `application/graphql-response+json` is told by the status too that nothing could be answered.
    """

    schema: ServiceSchema  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, schema: ServiceSchema, origins: Sequence[str] = ()) -> None:
        limits = schema.service.limits
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=limits.timeout),
            max_subscriptions_per_connection=max(1, min(100, limits.subscriptions)),
            allowed_origins=guards.checked_origins(origins),
        )
        self.service: Service = schema.service
        self.owns = False
        """Whether the service ends with the application."""
        self._sockets = 0
        self.graphql_transport_ws_handler_class = _Socket

    async def get_context(self, request: Any, response: Any) -> Context:
        """A context for a socket."""
        return Context(self.service, guards.request_id(request.scope))

    def decode_json(self, data: str | bytes) -> object:
        """What the text of a message of a socket says."""
        try:
            return json.loads(data, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise json.JSONDecodeError("no JSON", "", 0) from None

    def encode_json(self, data: object) -> str:
        """The text of a message of a socket."""
        said = cast("dict[str, Any]", data)
        if said.get("type") != "next":
            return _encoded(data).decode()
        rest = _encoded({**said, "payload": None}).decode()
        return f"{rest.removesuffix('null}')}{self._body(said['payload']).decode()}}}"

    def _body(self, payload: Any) -> bytes:
        try:
            return _encoded(payload)
        except RecursionError:  # tags may hold what is deeper than an answer can be
            error = _as_error(TooMuch("this answer is nested too deep"))
            return _encoded(_failed([error], Context(self.service)))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._socket(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            said = (await receive())["type"]
            if said == "lifespan.shutdown" and self.owns:
                self.service.lane.close(wait=False)
            await send({"type": f"{said}.complete"})
            if said == "lifespan.shutdown":
                return

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sockets >= self.service.limits.subscriptions:
            await receive()
            await send({"type": "websocket.close", "code": 1013})  # try again later
            return
        self._sockets += 1
        try:
            await self.run(WebSocket(scope, cast("Any", receive), cast("Any", send)))
        finally:
            self._sockets -= 1

    # ------------------------------------------------------------------------------------------ HTTP

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = Context(self.service, guards.request_id(scope))
        accept = _header(scope, b"accept") or ""
        media = _RESPONSE if _RESPONSE in accept else "application/json"
        method = scope["method"]
        try:
            if method not in _METHODS:
                error = _Malformed("GraphQL is asked by POST or GET")
                await self._answer(send, 405, _failed([_as_error(error)], context), media, (_ALLOW,))
                return
            asked = await self._asked(scope, receive)
            if asked is None:
                return  # the client has gone
            if "text/event-stream" in accept:
                await self._events(asked, context, method, receive, send)
                return
            result = await self.schema.execute(
                asked.query,
                asked.variables,
                context,
                operation_name=asked.operation,
                allowed_operation_types=_METHODS[method],
            )
        except DocArrayError as error:
            errors = told([_as_error(error)], context)
            status = cast("int", cast("Any", errors[0].extensions)["status"])
            await self._answer(send, status, _failed(errors, context), media)
            return
        payload: dict[str, Any] = {"data": result.data}
        status = 200
        if result.errors:
            errors = result.errors
            payload = {"errors": _formatted(errors), **payload}
            first = cast("dict[str, Any]", errors[0].extensions)
            if result.data is None and (media == _RESPONSE or first["status"] in _SAID):
                status = first["status"]
        headers = (_ALLOW,) if status == 405 else (_AGAIN,) if status == 503 else ()
        await self._answer(send, status, payload, media, headers)

    async def _answer(
        self, send: Send, status: int, payload: Any, media: str, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        body = self._body(payload)
        said = [(b"content-type", media.encode()), (b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": said})
        await send({"type": "http.response.body", "body": body})

    async def _asked(self, scope: Scope, receive: Receive) -> _Asked | None:
        """What is asked; None if the client has gone.

        Raises:
            _Malformed, _Unreadable: it is no request of GraphQL. TooMuch: it is too long.
        """
        if scope["method"] == "GET":
            try:
                pairs = parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=10, errors="strict")
            except ValueError:
                raise _Malformed("the query string of this request cannot be read") from None
            given: dict[str, Any] = dict(pairs)
            if given.get("variables"):
                given["variables"] = _json_of(given["variables"], "the parameter variables")
            else:
                given.pop("variables", None)
            return asked_of_json(given)
        kind = (_header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise _Unreadable("a request is sent as application/json")
        if _header(scope, b"content-encoding") not in (None, "identity"):
            raise _Unreadable("a request is sent as it is, not compressed")
        parts: list[bytes] = []
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            length += len(part)
            if length > self.service.limits.body:
                raise TooMuch(f"a request has at most {self.service.limits.body} bytes")
            parts.append(part)
            more = message.get("more_body", False)
        return asked_of_json(_json_of(b"".join(parts), "the body of this request"))

    async def _events(
        self, asked: _Asked, context: Context, method: str, receive: Receive, send: Send
    ) -> None:
        """The answer, or the answers, as a stream of events, as long as there are some and the client is there."""
        allowed = _METHODS[method] | {StrawberryOperation.SUBSCRIPTION}
        results: Any = await self.schema.stream(
            asked.query,
            asked.variables,
            context,
            operation_name=asked.operation,
            allowed_operation_types=allowed,
        )
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        headers.append((b"x-accel-buffering", b"no"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.ensure_future(_until_gone(receive))
        coming: asyncio.Future[Any] | None = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(results, None))
                done, _ = await asyncio.wait(
                    {coming, gone}, timeout=_PING, return_when=asyncio.FIRST_COMPLETED
                )
                if gone in done:
                    return
                if not done:
                    await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
                    continue
                result, coming = coming.result(), None
                if result is None:
                    break
                payload: dict[str, Any] = {"data": result.data}
                if result.errors:
                    payload["errors"] = _formatted(result.errors)
                event = b"event: next\ndata: " + self._body(payload) + b"\n\n"
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"event: complete\ndata: \n\n"})
        finally:
            gone.cancel()
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})
            await results.aclose()


_RESPONSE: Final = "application/graphql-response+json"
_PING: Final = 15.0  # seconds without an event, after which a comment keeps the connection open
_METHODS: Final[Mapping[str, frozenset[StrawberryOperation]]] = {
    "GET": frozenset({StrawberryOperation.QUERY}),
    "POST": frozenset({StrawberryOperation.QUERY, StrawberryOperation.MUTATION}),
}
_ALLOW: Final = (b"allow", b"GET, POST")
_AGAIN: Final = (b"retry-after", b"1")
# Where nothing was answered for reasons that those between client and server should know of.
_SAID: Final = frozenset({405, 500, 503, 504})


def _failed(errors: Sequence[GraphQLError], context: Context) -> dict[str, Any]:
    return {"errors": _formatted(told(errors, context))}


def _formatted(errors: Sequence[GraphQLError]) -> list[Any]:
    return [error.formatted for error in errors]


def _encoded(payload: Any) -> bytes:
    """JSON, in ASCII: half a character of a text is written as an escape."""
    return json.dumps(payload, separators=(",", ":")).encode()


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Socket(BaseGraphQLTransportWSHandler[Context, None]):
    """A socket, whose messages are looked at before they are believed."""

    async def handle_message(self, message: Any) -> None:
        fault = _fault(message)
        if fault is not None:
            await self.handle_invalid_message(fault)
            return
        await super().handle_message(message)


def _fault(message: Any) -> str | None:
    """What is wrong with a message of a socket."""
    if not isinstance(message, dict):
        return "A message is an object"
    said = cast("dict[str, Any]", message)
    if not isinstance(said.get("type"), str):
        return "A message has a type"
    if said["type"] in ("subscribe", "complete"):
        key = said.get("id")
        if not isinstance(key, str) or not 0 < len(key) <= 128:
            return "An id is a text of at most 128 characters"
    if said["type"] == "subscribe":
        try:
            asked_of_json(said.get("payload"))
        except _Malformed:
            return "A payload is an object with a query"
    return None


def graphql_app(
    docs: Service | DocumentArray[Any], *, origins: Sequence[str] = (), **options: Any
) -> ASGIApp:
    """An ASGI application that serves one array by GraphQL, at every path below the one that it is mounted at.

    Args:
        docs: an array, in memory or on a storage, or a Service of one.
        origins: of pages on other sites that may open a socket, such as 'https://shelf.example'; '*' for all.
        options: of the `Service` that is made of an array: `limits`, `writable`, `schema`, `encode`, `name`.

    It runs by itself (`uvicorn module:app`), or in another: `fastapi_app.mount('/graphql', graphql_app(da))`. Bodies
    and time are limited; keys and CORS are of `docarray.web.app`.

    Raises:
        FieldTypeError: `docs` is no array, or options came with a Service; `schema` is no dataclass.

    >>> from docarray import Document
    >>> from starlette.testclient import TestClient
    >>> shelf = DocumentArray([Document(id='a', text='green tea'), Document(id='b', text='coffee')])
    >>> with TestClient(graphql_app(shelf)) as client:
    ...     answer = client.post('/', json={'query': '{ search(text: "tea") { document { id text } name } }'})
    >>> answer.json()
    {'data': {'search': [{'document': {'id': 'a', 'text': 'green tea'}, 'name': 'bm25'}]}}
    """
    if isinstance(docs, Service):
        if options:
            raise FieldTypeError(f"{', '.join(options)}: options of a Service are given where it is made")
        service, own = docs, False
    else:
        service, own = Service(docs, **options), True
    try:
        endpoint = Endpoint(schema_of(service), origins)
    except BaseException:
        if own:
            service.close()
        raise
    endpoint.owns = own
    limits = service.limits
    return guards.Envelope(guards.Deadline(guards.BodyLimit(endpoint, limits.body), limits.timeout))


def schema_of(service: Service) -> ServiceSchema:
    """The schema of what a Service gives: with mutations where it is writable, with typed fields where it has a schema.

    >>> from docarray import Document
    >>> service = Service(DocumentArray([Document(id='a', text='green tea')]))
    >>> asyncio.run(schema_of(service).execute('{ document(id: "a") { text } }')).data
    {'document': {'text': 'green tea'}}
    >>> service.close()
    """
    return ServiceSchema(service)


def print_schema(schema: type[Any] | None = None) -> str:
    """The schema in the language of GraphQL, with mutations.

    Args:
        schema: the dataclass that the documents are of, if they are.

    >>> print_schema().count('type Query')
    1
    """
    service = Service(DocumentArray[Any](), writable=True, schema=schema)
    try:
        return schema_of(service).as_str() + "\n"
    finally:
        service.close()

"""GraphQL of a Flow: `docs(data, targetExecutor, parameters, execEndpoint)`, as a query and as a mutation.

Rule 1: what a request may ask is bounded before it is carried out: levels, aliases, tokens.
Rule 2: an error is told with its status in `extensions`; what nobody foresaw is masked, and logged.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Protocol, cast

from docarray.array import DocumentArray
from docarray.errors import MissingExtra
from docarray.flow.access import access_of
from docarray.flow.envelope import Envelope
from docarray.flow.faults import BadRequest, ExecutorError
from docarray.flow.spec import GatewaySpec
from docarray.web import guards
from docarray.web.guards import ASGIApp
from docarray.web.problems import LOG, problem_of

try:
    import strawberry
    from graphql import GraphQLError
    from strawberry.asgi import GraphQL
    from strawberry.extensions import MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter
    from strawberry.schema.config import StrawberryConfig

    from docarray.web.strawberry_types import (
        SCALARS,
        JSONScalar,
        StrawberryDocument,
        StrawberryDocumentInput,
        from_objects,
        to_objects,
    )
except ImportError as _error:
    raise MissingExtra(
        'GraphQL needs the package strawberry-graphql: pip install "docarray[graphql]"; or graphql=False'
    ) from _error

__all__ = ["endpoint", "schema_of"]

_DEPTH: Final = 12
_ALIASES: Final = 32
_TOKENS: Final = 1 << 20  # documents may be written into the query


class Asking(Protocol):
    """What this needs of the application."""

    spec: GatewaySpec

    async def ask(self, envelope: Envelope) -> None:
        """Has a request answered."""
        ...

    def follow(self, envelope: Envelope) -> AsyncGenerator[DocumentArray[Any]]:
        """What comes of a request part by part."""
        ...


class _Schema(strawberry.Schema):
    """Errors are logged where they are made, and once."""

    def process_errors(self, errors: Any, execution_context: Any = None) -> None:
        """See strawberry.Schema."""
        del errors, execution_context


def schema_of(asking: Asking) -> strawberry.Schema:
    """The schema over an application."""

    async def docs(
        info: strawberry.Info,
        data: list[StrawberryDocumentInput] | None = None,
        target_executor: str | None = None,
        parameters: JSONScalar | None = None,  # pyright: ignore[reportInvalidTypeForm]
        exec_endpoint: Annotated[str, strawberry.argument(description="Which is asked.")] = "/search",
    ) -> list[StrawberryDocument]:
        return await _asked(asking, info, data, target_executor, parameters, exec_endpoint)

    said = "Sends documents to an endpoint, and gives what comes back."
    query = type("Query", (), {"docs": strawberry.field(resolver=docs, description=said)})
    mutation = type("Mutation", (), {"docs": strawberry.mutation(resolver=docs, description=said)})
    for one in (query, mutation):
        one.__annotations__ = {}
    return _Schema(
        strawberry.type(query),
        strawberry.type(mutation),
        config=StrawberryConfig(scalar_map=cast("Any", SCALARS)),
        extensions=[
            lambda: QueryDepthLimiter(_DEPTH),
            lambda: MaxAliasesLimiter(_ALIASES),
            lambda: MaxTokensLimiter(_TOKENS),
        ],
    )


async def _asked(
    asking: Asking, info: Any, data: Any, target: str | None, parameters: Any, exec_endpoint: str
) -> list[StrawberryDocument]:
    request_id = guards.request_id(info.context["request"].scope)
    try:
        if parameters is not None and not isinstance(parameters, dict):
            raise BadRequest("parameters is an object")
        envelope = Envelope(
            from_objects(DocumentArray, data or []),
            exec_endpoint,
            cast("dict[str, Any] | None", parameters),
            target=target,
            request_id=request_id,
            timeout=asking.spec.timeout,
            trace=info.context["request"].headers,
            own=True,
        )
        access_of(info.context["request"].scope).asked(envelope)
        await asking.ask(envelope)
        return to_objects(envelope.docs)
    except Exception as error:
        access_of(info.context["request"].scope).failed(error)
        if isinstance(error, ExecutorError):
            LOG.error("request %s: %s", request_id or "-", error, exc_info=error.__cause__ or error)
        problem = problem_of(error, request_id)
        raise GraphQLError(problem.detail, extensions={"status": problem.status}) from None


def endpoint(asking: Asking) -> ASGIApp:
    """The schema as an ASGI application."""
    return cast("ASGIApp", GraphQL(schema_of(asking), graphql_ide=None))

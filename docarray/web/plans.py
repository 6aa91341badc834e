"""Plans: queries of GraphQL compiled to plain calls.

A plan asks the resolvers of the schema what they would be asked anyway, and gives what the executor of graphql-core
would give, in a fraction of its time: that one looks anew at every field of every document.

Rule 1: a plan is made of a query that fits the schema, once, and only if it knows all of it: one query, without
        directives and fragments, of fields that answer at once below one that may wait.
Rule 2: what does not go as usual - a value that is none of its type, an error, somebody who waits - makes a plan step
        back, before anything was said: the executor does it then, and its errors are what a client is told. Nothing is
        lost by that: a query changes nothing.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, cast

import graphql
from graphql import GraphQLError, OperationType
from graphql.execution.values import get_argument_values, get_variable_values
from graphql.language import ast

from docarray.web.problems import Busy, TimedOut

__all__ = ["QueryPlan", "SteppedBack", "plan_of"]

Completion = Callable[[Any, Any], Any]
"""What is made of a value: (value, info)."""


class SteppedBack(Exception):
    """A plan leaves it to the executor."""


class _Unknown(Exception):
    """A query that no plan is made of."""


class QueryPlan:
    """A query as a call of one resolver, and what is made of its answer."""

    def __init__(self, schema: graphql.GraphQLSchema, operation: ast.OperationDefinitionNode) -> None:
        assert schema.query_type is not None
        (node,) = _fields_of(operation.selection_set)
        field = schema.query_type.fields.get(node.name.value)
        said: Any = None if field is None else field.extensions.get("strawberry-definition")
        if field is None or said is None or not said.is_async:
            raise _Unknown
        self._schema = schema
        self._node = node
        self._field = field
        self._key = _key_of(node)
        self._resolve: Callable[..., Any] = said.base_resolver.wrapped_func
        self._complete = _completion(field.type, node)
        definitions = operation.variable_definitions or ()
        vectors = [one for one in definitions if graphql.print_ast(one.type) in _VECTORS]
        self._vectors = [(one.variable.name.value, one) for one in vectors]
        self._others = [one for one in definitions if one not in vectors]
        self._fixed = None if _has_variables(node) or definitions else get_argument_values(field, node)
        # As `Info` of Strawberry has it, as far as the resolvers look at it.
        self._raw = SimpleNamespace(field_nodes=[node], fragments=MappingProxyType({}))

    async def run(self, context: Any, variables: Mapping[str, Any] | None) -> dict[str, Any]:
        """The data of the answer.

        Raises:
            SteppedBack: the executor is to be asked. Busy, TimedOut: it would be told the same.
        """
        info = SimpleNamespace(context=context, _raw_info=self._raw)
        try:
            arguments = self._arguments(variables or {})
            found = await self._resolve(None, info, **arguments)
            return {self._key: self._complete(found, info)}
        except (Busy, TimedOut, SteppedBack):
            raise
        except Exception as error:
            raise SteppedBack from error

    def _arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        if self._fixed is not None:
            return dict(self._fixed)
        given = dict(variables)
        floats: dict[str, list[float]] = {}
        others = self._others
        for name, node in self._vectors:
            numbers = given.get(name)
            # As `Float` takes them: whole numbers too, truths not, infinity not.
            if type(numbers) is list and set(map(type, cast("list[Any]", numbers))) <= {float, int}:
                found = [float(one) for one in cast("list[Any]", numbers)]
                if all(map(math.isfinite, found)):
                    floats[name] = found
                    continue
            others = [*others, node]
        values = get_variable_values(self._schema, others, given)
        if isinstance(values, list):
            raise SteppedBack
        values.coerced.update(floats)
        return get_argument_values(self._field, self._node, values)


_VECTORS: Final = frozenset({"[Float!]", "[Float!]!", "[Float]", "[Float]!"})


def plan_of(schema: graphql.GraphQLSchema, document: ast.DocumentNode) -> QueryPlan | None:
    """The plan of a query that fits the schema; None if there is none.

    Cost: that of a walk over the query.
    """
    if len(document.definitions) != 1:
        return None
    operation = document.definitions[0]
    if (
        not isinstance(operation, ast.OperationDefinitionNode)
        or operation.operation is not OperationType.QUERY
    ):
        return None
    if operation.directives:
        return None
    try:
        return QueryPlan(schema, operation)
    except (_Unknown, ValueError, GraphQLError):
        return None


# ---------------------------------------------------------------------------------------------- what is made of answers


def _fields_of(chosen: ast.SelectionSetNode | None) -> list[ast.FieldNode]:
    """The fields of a selection.

    Raises:
        _Unknown: it has something else too, or two that are merged.
    """
    found: list[ast.FieldNode] = []
    for selection in () if chosen is None else chosen.selections:
        if not isinstance(selection, ast.FieldNode) or selection.directives:
            raise _Unknown
        found.append(selection)
    if len({_key_of(node) for node in found}) < len(found):
        raise _Unknown
    return found


def _key_of(node: ast.FieldNode) -> str:
    return node.name.value if node.alias is None else node.alias.value


def _has_variables(node: ast.FieldNode) -> bool:
    return any(not _is_fixed(argument.value) for argument in node.arguments or ())


def _is_fixed(value: Any) -> bool:
    if isinstance(value, ast.VariableNode):
        return False
    if isinstance(value, ast.ListValueNode):
        return all(map(_is_fixed, value.values))
    if isinstance(value, ast.ObjectValueNode):
        return all(_is_fixed(field.value) for field in value.fields)
    return True


def _completion(kind: Any, node: ast.FieldNode) -> Completion:
    """What is made of the value of a field."""
    if isinstance(kind, graphql.GraphQLNonNull):
        return _needed(_completion(cast("Any", kind).of_type, node))
    if isinstance(kind, graphql.GraphQLList):
        one = _completion(cast("Any", kind).of_type, node)

        def several(value: Any, info: Any) -> Any:
            if value is None:
                return None
            if not isinstance(value, (list, tuple)):
                raise SteppedBack
            return [one(each, info) for each in cast("list[Any]", value)]

        return several
    if isinstance(kind, graphql.GraphQLObjectType):
        return _object(kind, node)
    if graphql.is_leaf_type(kind):
        return _leaf(kind)
    raise _Unknown


def _needed(one: Completion) -> Completion:
    def needed(value: Any, info: Any) -> Any:
        made = one(value, info)
        if made is None:
            raise SteppedBack
        return made

    return needed


def _leaf(kind: Any) -> Completion:
    serialize = cast("Callable[[Any], Any]", getattr(kind, "coerce_output_value", None) or kind.serialize)
    same = str if kind.name in ("String", "ID") else bool if kind.name == "Boolean" else None

    def leaf(value: Any, info: Any) -> Any:
        del info
        return value if value is None or type(value) is same else serialize(value)

    return leaf


def _object(kind: graphql.GraphQLObjectType, node: ast.FieldNode) -> Completion:
    parts: list[tuple[str, Callable[..., Any], Mapping[str, Any], Completion, bool]] = []
    for one in _fields_of(node.selection_set):
        name = one.name.value
        if name == "__typename":
            parts.append((_key_of(one), _name_of(kind.name), _NOTHING, _as_it_is, False))
            continue
        field = kind.fields.get(name)
        said: Any = None if field is None else field.extensions.get("strawberry-definition")
        if (
            field is None
            or field.resolve is None
            or (said is not None and said.is_async)
            or _has_variables(one)
        ):
            raise _Unknown
        arguments = get_argument_values(field, one)
        may_wait = not graphql.is_leaf_type(graphql.get_named_type(field.type))
        parts.append((_key_of(one), field.resolve, arguments, _completion(field.type, one), may_wait))

    def made(value: Any, info: Any) -> Any:
        if value is None:
            return None
        out: dict[str, Any] = {}
        for key, resolve, arguments, complete, may_wait in parts:
            got = resolve(value, info, **arguments) if arguments else resolve(value, info)
            if may_wait and inspect.isawaitable(got):
                if inspect.iscoroutine(got):
                    got.close()
                raise SteppedBack
            out[key] = complete(got, info)
        return out

    return made


def _name_of(name: str) -> Callable[[Any, Any], str]:
    def named(source: Any, info: Any) -> str:
        del source, info
        return name

    return named


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _as_it_is(value: Any, info: Any) -> Any:
    del info
    return value

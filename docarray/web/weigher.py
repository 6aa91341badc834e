"""Weigher: what a query of GraphQL asks for, known before it is validated or carried out.

Rule 1: fragments are weighed once each. What they would grow to when written out is a product, not work.
Rule 2: where a page size is a variable the client's value counts; where it is no number, the greatest page does.
Rule 3: introspection weighs nothing here: a rule of validation limits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from graphql.language import ast

from docarray.errors import BadValue
from docarray.web.limits import Limits, TooMuch

__all__ = ["Weigher"]

_LISTS: Final = frozenset({"documents", "chunks", "matches"})
_SEARCHES: Final = frozenset({"search", "similar"})
_HEAVY: Final = frozenset({"blob", "tensor", "embedding"})
_SEARCH_COST: Final = 20
_NESTING: Final = 100  # selections in selections, those of fragments too


class _Weight(NamedTuple):
    depth: int
    cost: int


class Weigher:
    """How deep a query is, how much it renames, and how many documents it may give; without its being executed.

    Fragments are weighed once each: what they would grow to when written out is a product, not work.

    Args:
        document: the parsed query.
        variables: as the client sent them.
        limits: what may be asked for.
    """

    def __init__(
        self, document: ast.DocumentNode, variables: Mapping[str, Any] | None, limits: Limits
    ) -> None:
        self._limits = limits
        self._variables = variables or {}
        self._defaults: dict[str, Any] = {}
        self._aliases = 0
        self.is_fixed: bool = True
        """Whether no variable had a say in it; known after `check`."""
        self._fragments: dict[str, ast.FragmentDefinitionNode] = {}
        self._operations: list[ast.OperationDefinitionNode] = []
        self._weights: dict[str, _Weight | None] = {}
        for definition in document.definitions:
            if isinstance(definition, ast.FragmentDefinitionNode):
                self._fragments[definition.name.value] = definition
            elif isinstance(definition, ast.OperationDefinitionNode):
                self._operations.append(definition)

    def check(self) -> None:
        """Does nothing if the query may be executed.

        Raises:
            TooMuch: one of the limits. BadValue: a fragment holds itself.
        """
        for operation in self._operations:
            self._defaults = {
                each.variable.name.value: each.default_value for each in operation.variable_definitions or ()
            }
            self._weights = {}
            weight = self._set(operation.selection_set, 0)
            if weight.cost > self._limits.complexity:
                raise TooMuch(
                    f"this query may give some {weight.cost} documents in all, by its own page sizes; "
                    f"at most {self._limits.complexity} are given: ask for smaller pages"
                )

    def _set(self, chosen: ast.SelectionSetNode | None, nesting: int, known: bool = False) -> _Weight:
        """The levels below, and the documents of one object with these selections."""
        if nesting > _NESTING:
            raise TooMuch(f"a query is nested at most {self._limits.depth} levels deep")
        depth = cost = 0
        names = set[str]()
        for selection in () if chosen is None else chosen.selections:
            if isinstance(selection, ast.FieldNode):
                name = (selection.alias or selection.name).value
                # Which of two fields of one name are the same field is work that grows with the square of them.
                self._alias(selection.alias is not None or name in names)
                names.add(name)
                weight = self._field(selection, nesting + 1, known)
            elif isinstance(selection, ast.InlineFragmentNode):
                weight = self._set(selection.selection_set, nesting + 1, known)
            else:
                weight = self._spread(
                    cast("ast.FragmentSpreadNode", selection).name.value, nesting + 1, known
                )
            depth, cost = max(depth, weight.depth), cost + weight.cost
        if depth > self._limits.depth:
            raise TooMuch(f"a query is nested at most {self._limits.depth} levels deep")
        return _Weight(depth, cost)

    def _spread(self, name: str, nesting: int, known: bool) -> _Weight:
        if name not in self._fragments:
            return _Weight(0, 0)  # validation tells of it
        if name in self._weights:
            found = self._weights[name]
            if found is None:
                raise BadValue(f"the fragment {name!r:.60} holds itself")
            return found
        self._weights[name] = None
        found = self._weights[name] = self._set(self._fragments[name].selection_set, nesting, known)
        return found

    def _alias(self, counts: bool) -> None:
        self._aliases += counts
        if self._aliases > self._limits.aliases:
            raise TooMuch(f"a query has at most {self._limits.aliases} fields under another name, or again")

    def _field(self, node: ast.FieldNode, nesting: int, known: bool) -> _Weight:
        name = node.name.value
        inside = known or name in ("__schema", "__type")
        below = self._set(node.selection_set, nesting, inside)
        if inside:  # introspection has a limit of its own, by a rule of validation
            return _Weight(0, 0)
        if name in _LISTS:
            cost = self._count(node, "first") * max(1, below.cost)
        elif name in _SEARCHES:
            cost = _SEARCH_COST + self._count(node, "limit") * max(1, below.cost)
        elif name in ("document", "parent", "changes"):
            cost = max(1, below.cost)
        else:
            cost = below.cost + (name in _HEAVY)
        return _Weight(below.depth + 1, cost)

    def _count(self, node: ast.FieldNode, name: str) -> int:
        """The page that a field asks for; the greatest that it can be given where that is no number."""
        limits = self._limits
        for argument in node.arguments or ():
            if argument.name.value != name:
                continue
            value: Any = argument.value
            if isinstance(value, ast.VariableNode):
                key = value.name.value
                self.is_fixed = False
                value = self._variables.get(key, self._defaults.get(key))
            if isinstance(value, ast.IntValueNode):
                value = int(value.value) if len(value.value) < 20 else limits.page
            if isinstance(value, int):
                return min(max(value, 0), limits.page)
        return limits.first(None)

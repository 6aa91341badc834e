"""The arrays below and beside a document: they tell each document that comes in where it is.

Rule 1: `_admit` sees every document that comes in, by whatever method, so the bookkeeping holds for all of them.
Rule 2: granularity (adjacency) is one more than the parent's, and goes down to every depth below.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from docarray.array import DocumentArray
from docarray.document import CopyOf, Document, Links
from docarray.live import Inside, Live, adopted
from docarray.rows import RowsSpan, Slots
from docarray.stored import LiveSlots, home_below

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import TypeVar as DefaultTypeVar

    D = DefaultTypeVar("D", bound=Document, default=Document)
else:
    D = TypeVar("D", bound=Document)

__all__ = ["ChunkArray", "MatchArray"]


class _Nested(DocumentArray[D]):
    """An array that belongs to a document."""

    __slots__ = ("_parent",)
    _field: ClassVar[str]
    _parent: Document | None

    def __init__(self, docs: Any = None, reference_doc: Document | None = None, **kwargs: Any) -> None:
        self._parent = reference_doc
        if isinstance(docs, DocumentArray):
            docs = list(cast("DocumentArray[Any]", docs))
        super().__init__(docs, **kwargs)

    @property
    def reference_doc(self) -> Document | None:
        """The document that these belong to."""
        return self._parent

    def _lent(self) -> Slots:
        # A second view would not tell what is added to it where it is: it is a list of its own.
        return self._slots.select(slice(None))

    def _of_slots(self, slots: Slots) -> Self:
        fresh = super()._of_slots(slots)
        fresh._parent = None
        return fresh

    def _where(self, doc: Document) -> tuple[str, int, int]:
        """Where a document of this array is: its parent, and its depth along chunks and along matches."""
        return doc._place or ("", 0, 0)

    def _tell(self, doc: Document, above: tuple[Document, ...] = ()) -> None:
        """Writes into a document where it is, and then into all below it; who is nested in itself stays as it is."""
        place = self._where(doc)
        if doc._place == place:
            return
        above = (*above, cast("Document", self._parent))
        if all(doc._target() is not one for one in above):
            doc._place = place
            for name in ("chunks", "matches"):
                nested = doc._nested(name)
                if nested is not None:
                    nested._readmit(above)

    def _readmit(self, above: tuple[Document, ...] = ()) -> None:
        for doc in self:
            self._tell(doc, above)

    def _admit(self, docs: list[Any]) -> list[Any]:
        checked = super()._admit(docs)
        parent = self._parent
        if parent is not None:
            if isinstance(parent, Live):  # a store holds copies of what is put into it
                home = home_below(parent, self._field)
                if home is not None:
                    checked = [doc if self._has(doc, home) else adopted(doc, home) for doc in checked]
            for doc in checked:
                self._tell(doc)
        return checked

    def _has(self, doc: Document, home: Inside) -> bool:
        """Whether the document is in this array already, to be put in another place of it."""
        if not isinstance(doc, Live) or not isinstance(doc._home, Inside) or doc._home.root is not home.root:
            return False
        return any(doc is one for one in self._slots)

    def append(self, value: D) -> None:
        """One more document at the end."""
        self._slots.extend(self._admit([value]))


class ChunkArray(_Nested[D]):
    """The chunks of a document: they carry its id as `parent_id`, and one more than its granularity.

    >>> parent = Document(id='p', chunks=[Document(chunks=[Document()])])
    >>> parent.chunks[0].parent_id, parent.chunks[0].granularity, parent.chunks[0].chunks[0].granularity
    ('p', 1, 2)
    """

    __slots__ = ()
    _field: ClassVar[str] = "chunks"

    @property
    def granularity(self) -> int:
        """The depth of these chunks: one more than the parent's."""
        return 1 if self._parent is None else self._parent.granularity + 1

    def _where(self, doc: Document) -> tuple[str, int, int]:
        parent = cast("Document", self._parent)
        return (parent.id, parent.granularity + 1, doc.adjacency)


class MatchArray(_Nested[D]):
    """The matches of a document: they carry one more than its adjacency.

    >>> Document(matches=[Document()]).matches[0].adjacency
    1
    """

    __slots__ = ()
    _field: ClassVar[str] = "matches"

    @property
    def adjacency(self) -> int:
        """The distance of these matches along matches: one more than the parent's."""
        return 1 if self._parent is None else self._parent.adjacency + 1

    def _where(self, doc: Document) -> tuple[str, int, int]:
        parent = cast("Document", self._parent)
        return (doc.parent_id, doc.granularity, parent.adjacency + 1)


def nest(name: str, parent: Document, value: object) -> Any:
    """What the slot of chunks or matches holds: an array that belongs to the document, made of `value`."""
    kind = ChunkArray if name == "chunks" else MatchArray
    parent = parent._target()
    if isinstance(value, RowsSpan):  # read from columns: the bookkeeping was written with them
        array: Any = kind(None, parent)
        array._slots = value.slots()
        return _watched(array, parent)
    if isinstance(value, CopyOf):
        value = value.docs()
    if isinstance(value, kind) and cast("Any", value)._parent is parent:
        return value  # pyright: ignore[reportUnknownVariableType]
    return _watched(kind(value, parent), parent)


def _watched(array: Any, parent: Document) -> Any:
    """The array, which of a live document tells it of each change."""
    if isinstance(parent, Live):
        array._slots = LiveSlots(array._slots, parent, array._field)
    return array


Links.nest = nest
Links.chunks = ChunkArray

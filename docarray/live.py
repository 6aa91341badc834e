"""Live documents: those that were taken from a store. What is changed in one, at any depth, is written there.

Rule 1: a live document is one object for as long as somebody holds it: `da['x'] is da['x']`.
Rule 2: a change is made, then written; where it cannot be written it is taken back, and the error says why.
Rule 3: what is nested in a live document is live too. What is put into it is copied: a store holds copies.
Rule 4: arrays are handed out read-only, since nobody would hear of a number that changes in place.
Rule 5: one that was deleted from its store, or whose store was given up, is a document like any other.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol, cast

import numpy as np

from docarray.document import CopyOf, Document, copied
from docarray.errors import StaleDocument
from docarray.multimodal import schema_of
from docarray.schema import FIELDS
from docarray.score import Scores
from docarray.tensors import framework
from docarray.watched import WatchedDict, WatchedList, WatchedScores, plain, watched

__all__ = ["EVERY", "Home", "Inside", "Live", "Unfinished", "adopted", "deferred", "is_live"]

EVERY: Final = tuple(name for name in FIELDS if name != "id")
_CONTENT: Final = ("text", "blob", "tensor")
_SET_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys((*_CONTENT, "content"), _CONTENT),
    "uri": ("uri", "mime_type"),
    "embeddings": ("_metadata",),
    "granularity": ("granularity", "chunks", "matches"),
    "adjacency": ("adjacency", "chunks", "matches"),
}
"""What else is written where a field is set."""
_SLOTS: Final = Document.__slots__
_SLOTS_AND_FIELDS: Final = frozenset((*_SLOTS, *FIELDS, *_SET_WITH))


class Home(Protocol):
    """Where a live document is written."""

    def changed(self, doc: Live, fields: Sequence[str]) -> None:
        """These fields of the document were changed; writes them."""

    def may_rename(self, doc: Live, new: Any) -> None:
        """Does nothing if the document may have this id; else raises."""

    def renamed(self, doc: Live, old: str) -> None:
        """The document has another id; it was `old`."""


class Inside:
    """The home of documents that are nested in a live one: a change is one of the field of that which they are in."""

    __slots__ = ("field", "root")
    field: str
    root: Live

    def __init__(self, root: Live, field: str) -> None:
        self.root = root
        self.field = field

    def changed(self, doc: Live, fields: Sequence[str]) -> None:
        """Writes the whole of the field that the document is in."""
        self.root.tell(self.field)

    def may_rename(self, doc: Live, new: Any) -> None:
        """Any id will do: nested documents are not looked up by it."""

    def renamed(self, doc: Live, old: str) -> None:
        """As `changed`."""
        self.root.tell(self.field)


class Unfinished(Document):
    """A live document while it is made: its slots are written without a word to anybody."""

    __slots__ = ("__weakref__", "_home")
    _is_live: ClassVar[bool] = True
    _home: Home | None


class Live(Unfinished):
    """A document of a store; see the rules above. Its class shows as Document."""

    __slots__ = ()

    def tell(self, *fields: str) -> None:
        """Writes these fields; at once, or where changes are deferred, with the others."""
        home = self._home
        if home is None:
            return
        pending = _Pending.of_thread()
        if pending is not None and not isinstance(home, Inside):
            pending.note(home, self, fields)
        else:
            home.changed(self, fields)

    def __setattr__(self, name: str, value: Any) -> None:
        if (name[0] == "_" and name != "_metadata") or self._home is None:
            object.__setattr__(self, name, value)
            return
        before, key = self._state(), self._id
        try:
            if name == "id":
                self._rename(key, value)
            else:
                if name not in _SLOTS_AND_FIELDS and name in schema_of(self):
                    self.set_multi_modal_attribute(name, value)
                else:
                    object.__setattr__(self, name, value)
                    self.tell(*_SET_WITH.get(name, (name,)))
        except BaseException:
            self._restore(before)
            raise

    def _rename(self, key: str, value: Any) -> None:
        if self._home is not None:
            self._home.may_rename(self, value)
        with deferred():  # the chunks are told the new id, and are written under it
            object.__setattr__(self, "id", value)
            if self._id != key and self._home is not None:
                self._home.renamed(self, key)
            if self._chunks is not None:
                self.tell("chunks")

    def _state(self) -> tuple[Any, ...]:
        return tuple(getattr(self, slot, None) for slot in _SLOTS)

    def _restore(self, state: Sequence[Any]) -> None:
        for slot, value in zip(_SLOTS, state, strict=True):
            object.__setattr__(self, slot, value)

    def _become(self, other: Document, place: tuple[str, int, int] | None = None) -> None:
        with deferred():
            super()._become(other, place)
            self.tell(*EVERY)

    def pop(self, *fields: str) -> None:
        """As of a Document; the id of a document of a store cannot be taken away."""
        if "id" in fields and self._home is not None:
            self._home.may_rename(self, None)
        with deferred():
            super().pop(*fields)

    def clear(self) -> None:
        """As of a Document, and so refused while this is one of a store: without an id it would be none."""
        if self._home is not None:
            self._home.may_rename(self, None)
        super().clear()

    def _owner(self, field: str, slot: str) -> Any:
        def told() -> None:
            if self._home is None:
                return
            held = getattr(self, slot) if slot != "_more" else (self._more or {}).get(field)
            if held is not owned[0]:
                raise StaleDocument(
                    f"this {field!r} of document {self.id!r} is from before it was set or read anew: "
                    f"take doc.{field} again. Nothing was changed"
                )
            self.tell(field)

        owned: list[Any] = [None]
        return told, owned

    def _watch(self, field: str, slot: str, value: Any, kind: Any) -> Any:
        told, owned = self._owner(field, slot)
        owned[0] = kind(value, told)
        return owned[0]

    # ------------------------------------------------------------------------------------------ containers

    @property
    def tags(self) -> dict[str, Any]:
        """Free nested data; a change anywhere in it is written."""
        found = self._tags
        if type(found) is not WatchedDict:
            found = self._tags = self._watch("tags", "_tags", found or {}, WatchedDict)
        return found

    @tags.setter
    def tags(self, value: Mapping[str, Any] | None) -> None:
        cast("Any", Document.tags).fset(self, value)
        if self._tags is not None:
            self._tags = self._watch("tags", "_tags", self._tags, WatchedDict)

    @property
    def scores(self) -> Scores:
        """Scores by name; a change of one is written."""
        found = self._scores
        if type(found) is not WatchedScores:
            found = self._scores = self._watch("scores", "_scores", found or {}, WatchedScores)
        return found

    @scores.setter
    def scores(self, value: Mapping[str, Any] | None) -> None:
        cast("Any", Document.scores).fset(self, value)
        if self._scores is not None:
            self._scores = self._watch("scores", "_scores", self._scores, WatchedScores)

    def _rarely(self, field: str, kind: Any) -> Any:
        more = self._more
        found = None if more is None else more.get(field)
        if type(found) is not kind:
            empty: Any = [] if kind is WatchedList else {}
            found = self._watch(field, "_more", empty if found is None else found, kind)
            self._rare(field, found)
        return found

    def _set_rarely(self, field: str, kind: Any, value: Any) -> None:
        getattr(Document, field).fset(self, value)
        if self._more is not None and field in self._more:
            self._rare(field, self._watch(field, "_more", self._more[field], kind))

    @property
    def evaluations(self) -> Scores:
        """Scores by metric; a change of one is written."""
        return self._rarely("evaluations", WatchedScores)

    @evaluations.setter
    def evaluations(self, value: Mapping[str, Any] | None) -> None:
        self._set_rarely("evaluations", WatchedScores, value)

    @property
    def location(self) -> list[float]:
        """The place of this fragment in its parent; a change of it is written."""
        return self._rarely("location", WatchedList)

    @location.setter
    def location(self, value: Any) -> None:
        self._set_rarely("location", WatchedList, value)

    @property
    def _metadata(self) -> dict[str, Any]:
        return self._rarely("_metadata", WatchedDict)

    @_metadata.setter
    def _metadata(self, value: Mapping[str, Any] | None) -> None:  # pyright: ignore[reportUnusedFunction]
        self._set_rarely("_metadata", WatchedDict, value)

    # ------------------------------------------------------------------------------------------ arrays

    @property
    def tensor(self) -> Any:
        """As of a Document, but read-only: set another one to change it."""
        return _lent(cast("Any", Document.tensor).fget(self))

    @tensor.setter
    def tensor(self, value: Any) -> None:
        cast("Any", Document.tensor).fset(self, _own(value))

    @property
    def content(self) -> Any:
        """Whichever of text, blob and tensor is filled; None when none is."""
        return _lent(cast("Any", Document.content).fget(self))

    @content.setter
    def content(self, value: Any) -> None:
        cast("Any", Document.content).fset(self, _own(value) if framework(value) is not None else value)

    @property
    def embedding(self) -> Any:
        """As of a Document, but read-only: set another one to change it."""
        return _lent(self._vector())

    @embedding.setter
    def embedding(self, value: Any) -> None:
        cast("Any", Document.embedding).fset(self, _own(value))


def is_live(doc: Document) -> bool:
    """Whether what is changed in the document is written to a store."""
    target = doc._target()
    return isinstance(target, Live) and target._home is not None


def _own(value: Any) -> Any:
    """A copy of an array that is put in."""
    return value if value is None or framework(value) is None else copied(value)


def _lent(value: Any) -> Any:
    """An array to look at: a view of numpy that cannot be written to, a copy of any other."""
    if type(value) is np.ndarray:
        view = value.view()
        view.flags.writeable = False
        return view
    return value if value is None or isinstance(value, (str, bytes)) else copied(value)


def adopted(doc: Document, home: Home) -> Live:
    """A live copy of a document, with all that is nested in it."""
    fresh = Unfinished.__new__(Unfinished)
    fresh._id = doc.id
    fresh._content = _own(doc._content) if not isinstance(doc._content, (str, bytes)) else doc._content
    fresh._tags = watched_copy(doc._tags)
    fresh._embedding, fresh._vectors = _own(doc._vector()), None
    fresh._scores = None if doc._scores is None else Scores(plain(doc._scores))
    fresh._uri, fresh._mime_type, fresh._place = doc._uri, doc._mime_type, doc._place
    fresh._more = None if doc._more is None else {name: watched_copy(v) for name, v in doc._more.items()}
    fresh._chunks = None if doc._nested("chunks") is None else CopyOf(doc._chunks)
    fresh._matches = None if doc._nested("matches") is None else CopyOf(doc._matches)
    fresh._home = home
    fresh.__class__ = Live
    return cast("Live", fresh)


def watched_copy(value: Any) -> Any:
    """A plain copy of a value, at every depth of its dicts and lists."""
    if isinstance(value, Scores):
        return Scores(plain(value))
    return plain(watched(value, _nobody)) if isinstance(value, (dict, list)) else value


def _nobody() -> None:
    pass


# ---------------------------------------------------------------------------------------------- many at once


class _Pending:
    """Changes of this thread that are made already, and are to be written together."""

    threads = threading.local()

    def __init__(self) -> None:
        self.notes: dict[int, tuple[Home, dict[int, tuple[Live, dict[str, None]]]]] = {}

    @classmethod
    def of_thread(cls) -> _Pending | None:
        return getattr(cls.threads, "pending", None)

    def note(self, home: Home, doc: Live, fields: Sequence[str]) -> None:
        """These fields of the document are to be written."""
        _, docs = self.notes.setdefault(id(home), (home, {}))
        docs.setdefault(id(doc), (doc, {}))[1].update(dict.fromkeys(fields))

    def flush(self) -> None:
        """Writes everything, each home in one go."""
        for home, docs in self.notes.values():
            cast("Any", home).changed_many([(doc, tuple(fields)) for doc, fields in docs.values()])


@contextlib.contextmanager
def deferred() -> Generator[None]:
    """Changes of live documents inside are written together at the end: one transaction for each store.

    When the block raises, what was changed before that is written all the same, as it would have been without it.
    """
    if _Pending.of_thread() is not None:
        yield
        return
    pending = _Pending.threads.pending = _Pending()
    try:
        yield
    finally:
        _Pending.threads.pending = None
        pending.flush()

"""DocumentArray: a list of documents that is also a table, a search index and a tree.

Rule 1: the class says what a call means; `Slots` (rows.py) holds the documents, `indexing.py` reads what stands
        between `[` and `]`, `traverse.py` walks chunks and matches, `find.py` searches.
Rule 2: every document that comes in passes `_admit`, whatever the method; a subclass does its bookkeeping there.
Rule 3: a call that raises has changed nothing.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import contextlib
import copy as copying
import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, SupportsIndex, TypeVar, cast, overload

import numpy as np

from docarray import embedding as embedders
from docarray import evaluate as evaluation
from docarray import find as finding
from docarray import progress, registry, stored, tensors, text, traverse
from docarray.attributes import all_or_none, column_setter, setter, unsetter
from docarray.columns import UniformTensors
from docarray.distance import canonical
from docarray.document import Document, IdChanges, Links, copied
from docarray.errors import (
    BadSelector,
    BadValue,
    ClosedStore,
    FieldTypeError,
    MissingDocument,
    ShapeError,
    Unsupported,
)
from docarray.garbage import gc_paused
from docarray.ids import new_id, new_ids
from docarray.indexing import Selection, positions_of, read_key
from docarray.intake import (
    CONTENT,
    NESTED,
    admitted,
    cells_of,
    checked_cells,
    column_from,
    counted,
    counted_rows,
    listed,
    nested_column,
    settle_media_types,
    several,
)
from docarray.live import deferred
from docarray.parallel import Parallel
from docarray.paths import parse_dunder, parse_traversal
from docarray.porting import on_class
from docarray.rows import Slots, rows_of_matrix
from docarray.schema import FIELDS, field_named
from docarray.score import NamedScore, Scores
from docarray.settle import settle_contents
from docarray.stored import Stored
from docarray.table import Table
from docarray.tensors import Array

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import TypeVar as DefaultTypeVar

    from docarray.display.projector import Projection
    from docarray.store import Store

    D = DefaultTypeVar("D", bound=Document, default=Document)
else:
    D = TypeVar("D", bound=Document)

__all__ = ["DocumentArray"]

_Default: Any = object()
_AGAIN = 10
_FIXED = {str, int, float, bool, type(None)}


class DocumentArray(Parallel[D], Generic[D]):
    """A mutable sequence of Documents, with columns, paths, filters and vector search.

    Args:
        _docs: a Document, an iterable of them, a Table, or another array, of which this becomes a second view:
            what is appended to one is in the other (`copy=True`: deep copies with the same ids). Of chunks or
            matches, which know their parent, it is a list of its own.
        storage: where the documents are: 'memory' unless given; 'sqlite', 'hnswlib', 'postgres', ... as
            docs/storage.md has them. With `_docs`, these replace what the storage held before.
        copy: see `_docs`.
        config: settings of the storage, a dict or its config class; memory has none.
        subindex_configs: paths that are searched with `on=`, and the settings of each that differ from those of the
            storage; in memory every path can be searched.

    Raises:
        FieldTypeError: an element is no Document (the message names its position), or nothing can be iterated.
        UnknownName: no storage of that name. UnknownOption: a setting that it does not have (a KeyError).

    >>> da = DocumentArray([Document(id='a', text='hello'), Document(id='b', text='world', price=3)])
    >>> da['b'].text, da[:, 'text'], da[-1:, 'tags__price']
    ('world', ['hello', 'world'], [3])
    >>> da.find({'tags__price': {'$lt': 5}})[:, 'id']
    ['b']
    """

    __slots__ = ("_slots", "_subindices")

    _slots: Slots

    def __init__(
        self,
        _docs: Any = None,
        storage: str | None = None,
        copy: bool = False,
        config: Any = None,
        subindex_configs: Mapping[str, Any] | None = None,
    ) -> None:
        self._subindices = dict(subindex_configs or {})
        if storage not in (None, "memory"):
            self._slots = stored.opened(str(storage), config, self._subindices)
            if _docs is not None:
                self._replace(_docs)
            return
        if storage is None:
            stored.refuse_settings(config)
        self._slots = Slots()
        if _docs is None:
            return
        if storage is not None and isinstance(_docs, DocumentArray) and _docs._slots.store is not None:
            _docs = cast("DocumentArray[Any]", _docs)._slots.table()  # asked for in memory, by name
        if isinstance(_docs, DocumentArray) and not copy:
            self._slots = cast("DocumentArray[Any]", _docs)._lent()
        elif isinstance(_docs, Slots):
            self._slots = _docs
        elif isinstance(_docs, Table):
            self._slots = Slots.of_table(_docs)
        else:
            docs = listed(_docs)
            if copy:
                docs = [copying.deepcopy(doc) for doc in docs]
            self._slots = Slots(self._admit(docs))

    def _replace(self, docs: Any) -> None:
        """Makes these the documents of a storage that was just opened; closes it where that cannot be."""
        body = cast("Stored", self._slots)
        try:
            source = cast("DocumentArray[Any]", docs)._slots if isinstance(docs, DocumentArray) else None
            if source is not None and source.store is not None:
                source = Slots.of_table(source.table())  # it may be the same rows, which are about to go
            with body.writing():
                body.clear()
                if isinstance(docs, Table):
                    body.adopt(Slots.of_table(docs))
                elif source is not None:
                    body.adopt(source)
                else:
                    self.extend(cast("Any", docs))
        except BaseException:
            body.close()
            raise

    def _lent(self) -> Slots:
        """The body for a second view of this array."""
        return self._slots

    @property
    def storage(self) -> str:
        """Where the documents are: 'memory', 'sqlite', ..."""
        return "memory" if self._slots.store is None else cast("Stored", self._slots).name

    @property
    def store(self) -> Store | None:
        """The store that the array is on; None in memory."""
        return self._slots.store

    @on_class
    def empty(cls, size: int = 0, **kwargs: Any) -> Self:
        """An array of `size` fresh documents; keywords as of the class.

        >>> len(DocumentArray.empty(3))
        3
        """
        return cls([Document() for _ in range(size)], **kwargs)

    @on_class
    def from_columns(cls, **columns: Any) -> Self:
        """An array from columns; no document is made before one is touched.

        Args:
            **columns: fields of a Document by name: lists with None for unset; `embedding` and `tensor` also as one
                array (n, *shape), which is used without copy; `id` may be left out.

        Raises:
            UnknownField: no field has that name. LengthError: the columns differ in length.
            FieldTypeError: a column holds values that its field does not take; the message names the first.

        >>> da = DocumentArray.from_columns(text=['a', 'b'], embedding=np.eye(2))
        >>> da[1].text, da.embeddings.shape
        ('b', (2, 2))
        """
        given = {name: values for name, values in columns.items() if values is not None}
        ids: list[str] | None = None
        if "id" in given:
            cells = checked_cells("id", cells_of("id", given.pop("id")))
            ids = [new_id() if key is None else key for key in cells] if None in cells else cells
        held = {name: column_from(name, values) for name, values in given.items() if name not in NESTED}
        settle_contents(held)
        settle_media_types(held)
        for name in NESTED:
            if name in given:
                below = [listed([] if v is None else v) for v in cells_of(name, given[name])]
                ids = new_ids(len(below)) if ids is None else ids
                held[name] = nested_column(name, below, ids, held)
        return cls(Table(held, None if held or ids else 0, ids))

    # ------------------------------------------------------------------------------------------ reading

    def __len__(self) -> int:
        return len(self._slots.items)

    def __bool__(self) -> bool:
        return len(self._slots.items) > 0

    def __iter__(self) -> Iterator[D]:
        slots = self._slots
        return cast("Iterator[D]", iter(slots.items) if slots.rows is None else iter(slots))

    def __contains__(self, value: object) -> bool:
        if type(value) is str:
            slots = self._slots
            ids = slots._ids
            if ids is None or slots._ids_seen != IdChanges.count or ids.covered < len(slots.items):
                return slots.has(value)
            return value in ids.places
        if isinstance(value, Document):
            return self._slots.has(value.id)
        return isinstance(value, str) and self._slots.has(value)

    @overload
    def __getitem__(self, index: SupportsIndex) -> D: ...
    @overload
    def __getitem__(self, index: slice | list[Any] | np.ndarray[Any, Any]) -> DocumentArray[D]: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    @overload
    def __getitem__(self, index: Any) -> Any: ...
    def __getitem__(self, index: Any) -> Any:
        """Documents, or attributes of them.

        An int or id gives a document; a slice, list, mask or 1-D array gives an array; '@c' walks a path; `...` gives
        every document at every depth. `da[which, 'text']` gives a value, or a list of them; `da[which, ['id', 'text']]`
        a list for each attribute. Attributes may be paths: 'tags__price'. `da[which, '@c', 'text']` walks from some of
        the documents.

        Raises:
            OutOfRange, MissingDocument, UnknownField, BadSelector, BadPath: see docarray.errors.
        """
        slots = self._slots
        kind = cast("Any", type(index))
        if slots.rows is None:  # all are documents: the commonest keys without a detour
            if kind is int:
                try:
                    return slots.items[index]
                except IndexError:
                    pass  # the message below says more
            elif kind is str and index[:1] != "@":
                return slots.items[slots.position(index)]
        elif kind is str and index[:1] != "@":
            return slots.get(slots.position(index))
        if kind is slice:
            return DocumentArray(slots.select(index))
        if kind is tuple and (inner := self._inner(index)) is not None:
            part, key = inner
            return cast("Any", part)[key]
        return self._read(read_key(index, slots))

    def _inner(self, key: tuple[Any, ...]) -> tuple[DocumentArray[D], Any] | None:
        """Of a key such as `[2:, '@.[title]', 'text']` the documents before the path, and what is asked of them."""
        if len(key) not in (2, 3) or type(key[1]) is not str or key[1][:1] != "@":
            return None
        picked: Any = cast("Any", self)[key[0]]
        return DocumentArray(picked), key[1] if len(key) == 2 else key[1:]

    def _read(self, chosen: Selection) -> Any:
        names = chosen.attributes
        if chosen.form == "one":
            doc = self._slots.get(chosen.positions[0])
            if names is None:
                return doc
            values = [doc._at(name) for name in names]
            return values if chosen.boxed else values[0]
        if names is None:
            return self._picked(chosen)
        picked = self if self._is_all(chosen) else self._picked(chosen)
        columns = [picked._values(name) for name in names]
        return columns if len(columns) > 1 else columns[0]

    def _is_all(self, chosen: Selection) -> bool:
        positions = chosen.positions
        if chosen.whole:  # whatever others have put in or taken out since
            return True
        return chosen.form == "many" and isinstance(positions, range) and positions == range(len(self))

    def _picked(self, chosen: Selection) -> DocumentArray[D]:
        if chosen.form == "many":
            window = slice(None) if chosen.whole else _window(chosen.positions)
            return DocumentArray(self._slots.select(window))
        if chosen.form == "all":
            return self.flatten()
        reached = traverse.walk(self._slots, chosen.path)
        return self if reached is self._slots else DocumentArray(reached)

    def _values(self, name: str | tuple[str | int, ...]) -> Any:
        """One attribute of all documents: a list; `embedding` and `tensor` stacked."""
        slots = self._slots
        if name in ("embedding", "tensor"):
            return self.embeddings if name == "embedding" else self.tensors
        if name == "text":
            return self.texts
        if name == "id":
            return slots.ids()
        parts = parse_dunder(name)
        if parts[0] in ("chunks", "matches") and len(parts) == 1:
            return [getattr(doc, str(name)) for doc in slots]
        if parts[0] == "tags" and len(parts) == 2:
            key = parts[1]
            try:
                found = [tags[key] for tags in slots.raw("tags")]
                # Of rows, lists and dicts are copies that nobody else has: they come from the documents instead.
                if slots.rows is None or set(map(type, found)) <= _FIXED:
                    return found
            except (KeyError, TypeError):  # some lack it, or have no tags
                return [doc._at(name) if doc._tags else None for doc in slots]
        if (
            len(parts) == 1
            and parts[0] in FIELDS
            and FIELDS[str(parts[0])].kind in ("text", "bytes", "number")
        ):
            default = FIELDS[str(parts[0])].default
            return [default if value is None else value for value in slots.raw(str(parts[0]))]
        return [doc._at(name) for doc in slots]

    # ------------------------------------------------------------------------------------------ writing

    def _admit(self, docs: list[Any]) -> list[Any]:
        """The documents, if they are all Documents; a subclass tells them where they are."""
        return admitted(docs)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Documents, or attributes of them, as `__getitem__` reads them.

        `da[i] = doc`, `da[2:4] = docs` (which may change the length, as of a list), `da[mask] = docs`,
        `da['@c'] = docs` (ids must be the same, one by one), `da[which, 'text'] = value or values`,
        `da[which, ['text', 'uri']] = [texts, uris]`. A list or tuple is dealt out, one value a document; anything
        else goes to each.

        Raises:
            LengthError: another number of values than documents. FieldTypeError: no Document, or no such value.
            BadValue: other ids along a path.
        """
        if isinstance(index, slice):
            window = cast("slice[Any, Any, Any]", index)
            self._slots.splice(window, self._admitted_for(window, value))
            return
        if type(index) is tuple and (inner := self._inner(cast("tuple[Any, ...]", index))) is not None:
            part, key = inner
            part[key] = value
            return
        chosen = read_key(index, self._slots)
        if chosen.attributes is not None:
            self._write_attributes(chosen, value)
        elif chosen.form == "one":
            self._slots.put(chosen.positions[0], self._admit([value])[0])
        elif chosen.form == "many":
            docs = self._admit(counted(listed(value), len(chosen.positions)))
            with self._slots.writing():
                for at, doc in zip(chosen.positions, docs, strict=True):
                    self._slots.put(at, doc)
        else:
            targets = list(self._picked(chosen))
            docs = DocumentArray._admit(cast("Any", self), counted(listed(value), len(targets)))
            if chosen.form == "path":
                for at, (old, new) in enumerate(zip(targets, docs, strict=True)):
                    if old.id != new.id:
                        raise BadValue(
                            f"setting along '@{chosen.path}' keeps the ids: document {at} is {old.id!r}, got {new.id!r}"
                        )
            paths = parse_traversal(chosen.path) if chosen.form == "path" else ((),)
            below = all(any(step.kind != "r" for step in path) for path in paths)
            self._overwrite(targets, docs, set() if below else {id(doc) for doc in self})

    def _overwrite(self, targets: list[D], docs: list[D], roots: set[int]) -> None:
        """Makes each target say what its new document says; what is nested stays the chunk or match that it is."""
        moving = {id(doc) for doc in targets}
        fresh = [
            copying.copy(new) if new is not old and id(new) in moving else new
            for old, new in zip(targets, docs, strict=True)
        ]
        with deferred():
            for old, new in zip(targets, fresh, strict=True):
                old._become(new, None if id(old) in roots else old._place)

    def _admitted_for(self, window: slice, value: Any) -> list[Any]:
        docs = listed(value)
        if window.step not in (None, 1):
            counted(docs, len(range(len(self))[window]))
        return self._admit(docs)

    def _write_attributes(self, chosen: Selection, value: Any) -> None:
        names = chosen.attributes or ()
        if chosen.form == "one":
            doc = self._slots.get(chosen.positions[0])
            values = counted(several(value), len(names)) if chosen.boxed else [value]
            all_or_none([setter(doc, name, v) for name, v in zip(names, values, strict=True)])
            return
        picked = self._picked(chosen)
        if chosen.boxed and len(names) > 1:
            columns = counted(several(value), len(names))
        else:
            columns = [value]
        target = cast("DocumentArray[D]", self) if self._is_all(chosen) else picked
        steps = [
            (name, target._dealt(str(name), column)) for name, column in zip(names, columns, strict=True)
        ]
        writes: list[Callable[[], Any]] = []
        for name, cells in steps:
            if name == "embedding" and not isinstance(cells, list):
                writes.append(functools.partial(target._slots.set_embeddings, cells))
            else:
                writes.append(column_setter(target._slots.docs(), name, cast("list[Any]", cells)))
        all_or_none(writes)

    def _dealt(self, name: str, value: Any) -> Any:
        """A value for each document: sequences and arrays are dealt out, anything else is given to each."""
        count = len(self)
        if name in ("embedding", "tensor"):
            if value is None:
                return [None] * count
            if tensors.framework(value) not in (None, "list") and not _of_objects(name, value):
                counted_rows(value, count)
                if name == "embedding" and tensors.framework(value) in ("numpy", "torch", "scipy"):
                    return value
                return rows_of_matrix(value)
        if tensors.framework(value) not in (None, "list") and getattr(value, "ndim", 0):
            counted_rows(value, count)
            return rows_of_matrix(value) if value.ndim > 1 else tensors.to_numpy(value).tolist()
        if isinstance(value, (list, tuple)):
            return counted(list(cast("Sequence[Any]", value)), count)
        if isinstance(value, dict):
            return [copying.deepcopy(cast("dict[Any, Any]", value)) for _ in range(count)]
        return [value] * count

    def __delitem__(self, index: Any) -> None:
        """Takes documents out, or unsets attributes: `del da[i]`, `del da['@c[0]']`, `del da[:, 'text']`.

        Raises:
            BadValue: the id was to be unset. Otherwise as of `__getitem__`.
        """
        if type(index) is tuple and (inner := self._inner(cast("tuple[Any, ...]", index))) is not None:
            part, key = inner
            del part[key]
            return
        chosen = read_key(index, self._slots)
        if chosen.attributes is not None:
            picked = (
                [self._slots.get(chosen.positions[0])] if chosen.form == "one" else list(self._picked(chosen))
            )
            all_or_none([unsetter(doc, name) for doc in picked for name in chosen.attributes])
        elif chosen.form == "all":
            self.clear()
        elif chosen.form == "path":
            self._delete_along(chosen.path)
        else:
            self._slots.remove(positions_of(chosen))

    def _delete_along(self, text: str) -> None:
        gone: dict[int, tuple[Slots, set[int]]] = {}
        for path in parse_traversal(text):
            for parent, _, body, positions in traverse.owners(self._slots, path):
                if path[-1].kind == "." and parent is not None and parent._raw("_metadata"):
                    raise Unsupported(
                        f"'@{text}' is a field of document {parent.id!r}, whose other fields are counted by position: "
                        "it cannot be deleted. Unset what it holds, or delete within it"
                    )
                _, places = gone.setdefault(id(body), (body, set()))
                places.update(range(len(body)) if positions is None else positions)
        with deferred():
            for body, places in gone.values():
                body.remove(sorted(places))

    def append(self, value: D) -> None:
        """One more document at the end (0.1 us)."""
        slots = self._slots
        if type(value) is Document and type(slots) is Slots and type(slots.items) is list:
            cast("Any", slots).items.append(value)
        else:
            slots.extend(DocumentArray._admit(cast("Any", self), [value]))

    def extend(self, values: Iterable[D]) -> None:
        """More documents at the end; all or none."""
        if isinstance(values, DocumentArray):
            other = cast("DocumentArray[Any]", values)._slots
            if type(self) is DocumentArray and self._slots.adopt(other):
                return
        elif self._slots.store is not None and hasattr(values, "__next__"):
            self._slots.extend(
                self._admit([value])[0] for value in values
            )  # of any length: it is not gathered
            return
        self._slots.extend(self._admit(cast("list[Any]", values) if type(values) is list else listed(values)))

    def upsert(self, values: Iterable[D]) -> None:
        """Documents in place of those of the same ids, and at the end where there are none; all or none.

        >>> da = DocumentArray([Document(id='a', text='old'), Document(id='b')])
        >>> da.upsert([Document(id='c'), Document(id='a', text='new')])
        >>> da[:, 'id'], da.texts
        (['a', 'b', 'c'], ['new', '', ''])
        """
        docs = self._admit(listed(values))
        if self._slots.store is not None:
            cast("Stored", self._slots).upsert(docs)
            return
        for doc in docs:
            at = self._slots.find_id(doc.id)
            if at is None:
                self._slots.extend([doc])
            else:
                self._slots.put(at, doc)

    def insert(self, index: SupportsIndex, value: D) -> None:
        """One more document, before position `index`, as of a list."""
        if not hasattr(index, "__index__"):
            raise FieldTypeError(f"insert takes a position; got {type(index).__name__}: {index!r:.60}")
        self._slots.insert(index.__index__(), self._admit([value])[0])

    def pop(self, index: Any = -1) -> D:
        """Takes the document at a position, or of an id, out and gives it.

        Raises:
            OutOfRange: the array is empty, or has no such position. MissingDocument: no document has that id.
        """
        doc = cast("object", self[index])
        if not isinstance(doc, Document):
            raise BadSelector(f"pop takes one position or one id; got {index!r:.60}")
        del self[index]
        return cast("D", doc)

    def remove(self, value: Any) -> None:
        """Takes the document (or that of this id) out.

        Raises:
            BadValue: the array does not have it; a ValueError, as of a list.
        """
        self._slots.remove([self.index(value)])

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The position of the document, by its id.

        Raises:
            BadValue: the array does not have it; a ValueError, as of a list.
        """
        key = value.id if isinstance(value, Document) else value
        window = range(len(self))[start:stop]
        at = (
            self._slots.find_id(key) if isinstance(key, str) else None
        )  # the last one, where several have this id
        if at is not None and self._slots.has_repeats:
            ids = self._slots.ids()
            at = next((i for i in window if ids[i] == key), None)
        if at is None or at not in window:
            raise BadValue(f"{value!r} is not in this array of {len(self)}")
        return at

    def count(self, value: Any) -> int:
        """How many documents have the id of this one."""
        key = value.id if isinstance(value, Document) else value
        return self._slots.ids().count(key)

    def reverse(self) -> None:
        """The same documents in the other order."""
        self._slots.reorder(range(len(self) - 1, -1, -1))

    def sort(
        self, key: str | Sequence[str] | Callable[[D], Any] | None = None, reverse: bool = False
    ) -> None:
        """Orders the documents in place; stable.

        Args:
            key: a path ('tags__price'; '-tags__price' is descending), several, or a function of a document.
            reverse: the other way round.

        Raises:
            BadValue: there is no key: documents have no order of their own.
        """
        if key is None:
            raise BadValue("documents have no order of their own: sort(key='tags__price') or key=a function")
        if callable(key):
            docs = self._slots.docs()
            order = sorted(range(len(docs)), key=lambda i: cast("Any", key)(docs[i]), reverse=reverse)
        else:
            keys = _sort_keys(key)
            if reverse:  # of equals the first stays the first, and what has no value stays at the end
                keys = [name.removeprefix("-") if name.startswith("-") else f"-{name}" for name in keys]
            order = finding.sorted_positions(self._slots, keys)
            if self._slots.store is not None:
                cast("Stored", self._slots).reorder_ids(order)
                return
        self._slots.reorder(order)

    def clear(self) -> None:
        """Takes every document out."""
        self._slots.clear()

    def copy(self) -> DocumentArray[D]:
        """Another array of the same documents."""
        return DocumentArray(self._slots.select(slice(None)))

    def __copy__(self) -> Self:
        fresh = self._of_slots(self._slots.select(slice(None)))
        if hasattr(self, "__dict__"):
            fresh.__dict__.update(self.__dict__)
        return fresh

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        fresh = memo[id(self)] = self._of_slots(Slots(copying.deepcopy(list(self), memo)))
        if hasattr(self, "__dict__"):
            fresh.__dict__.update(copying.deepcopy(self.__dict__, memo))
        return fresh

    def _of_slots(self, slots: Slots) -> Self:
        """An array of the same class and settings with another body."""
        fresh = type(self).__new__(type(self))
        fresh._slots, fresh._subindices = slots, dict(self._subindices)
        return fresh

    def __add__(self, other: Iterable[D]) -> DocumentArray[D]:
        joined = self.copy()
        joined.extend(other)
        return joined

    def __radd__(self, other: Iterable[D]) -> DocumentArray[D]:
        return DocumentArray(listed(other) + list(self))

    def __iadd__(self, values: Iterable[D]) -> Self:
        self.extend(values)
        return self

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, DocumentArray) or type(self) is not type(cast("Any", other)):
            return NotImplemented
        theirs = cast("DocumentArray[Any]", other)
        return len(self) == len(theirs) and all(a == b for a, b in zip(self, theirs, strict=True))

    def __repr__(self) -> str:
        if self._slots.store is None:
            return f"<{type(self).__name__} (length={len(self)}) at {id(self):#x}>"
        try:
            what = f"length={len(self)}"
        except ClosedStore:
            what = "closed"
        return f"<{type(self).__name__} ({what}, storage={self.storage!r}) at {id(self):#x}>"

    # ------------------------------------------------------------------------------------------ columns

    @property
    def embeddings(self) -> Any:
        """The embeddings as one array (n, *shape) of their framework; None when no document has one.

        An array that was set or loaded as a matrix gives that matrix, without copy; after changes of single documents
        it is gathered once and kept. What numpy gives is a read-only view: copy it to change it.

        Raises:
            MissingEmbedding: some documents have none. ShapeError: they differ in shape.
        """
        gathered = self._slots.gathered()
        if gathered is None:
            return self._stacked("embedding")
        return _read_only(gathered.matrix)

    @embeddings.setter
    def embeddings(self, value: Any) -> None:
        self._set_arrays("embedding", value)

    @property
    def tensors(self) -> Any:
        """The tensors as one array (n, *shape) of their framework; None when no document has one.

        Columns that nobody touched are given without copy, as a read-only view where they are of numpy.

        Raises:
            MissingEmbedding: some documents have none. ShapeError: they differ in shape.
        """
        slots = self._slots
        numbers = slots.untouched
        if isinstance(numbers, range) and numbers.step == 1 and slots.rows is not None:
            column = slots.rows.table.columns.get("tensor")
            if isinstance(column, UniformTensors) and column.present is None:
                data = column.data[numbers.start : numbers.stop]
                return _read_only(tensors.from_numpy(data, column.framework))
        return self._stacked("tensor")

    @tensors.setter
    def tensors(self, value: Any) -> None:
        self._set_arrays("tensor", value)

    def _stacked(self, name: str) -> Any:
        values = self._slots.raw(name)
        if all(value is None for value in values):
            return None
        finding.check_present(values, self._slots, None, name)
        return tensors.stack(values)

    def _set_arrays(self, name: str, value: Any) -> None:
        self[:, name] = value

    @property
    def texts(self) -> list[str]:
        """The text of each document; '' where it has none."""
        return self._slots.texts()

    @texts.setter
    def texts(self, value: Sequence[str] | None) -> None:
        if value is None:
            self[:, "text"] = None
            return
        cells = checked_cells("text", counted(several(value), len(self)))
        if None in cells:  # which unsets a text, and leaves a blob or tensor as it is
            self[:, "text"] = cells
        else:
            self._slots.set_texts(cells)

    @property
    def blobs(self) -> list[bytes]:
        """The blob of each document; b'' where it has none."""
        return [b"" if value is None else value for value in self._slots.raw("blob")]

    @blobs.setter
    def blobs(self, value: Sequence[bytes] | None) -> None:
        self[:, "blob"] = None if value is None else several(value)

    @property
    def contents(self) -> Any:
        """The content of each document; stacked where all are tensors of one shape."""
        if {doc.content_type for doc in self} == {"tensor"}:
            with contextlib.suppress(ShapeError):
                return self.tensors
        return [doc.content for doc in self]

    @contents.setter
    def contents(self, value: Any) -> None:
        name = "content"
        if _is_typed(value):
            value, name = cast("tuple[Any, str]", value)
        if value is not None and tensors.framework(value) not in (None, "list"):
            counted_rows(value, len(self))
            value = rows_of_matrix(value)
        self[:, name] = None if value is None else several(value)

    # ------------------------------------------------------------------------------------------ walking

    def traverse(
        self, traversal_paths: str, filter_fn: Callable[[D], bool] | None = None
    ) -> Iterator[DocumentArray[D]]:
        """The containers that paths such as 'r,c,mm' reach, one after the other (written without '@').

        Raises:
            BadPath: the text is no path.
        """
        for path in parse_traversal(traversal_paths):
            for found in traverse.owners(self._slots, path):
                part = found.part()
                whole = self if found.parent is None else getattr(found.parent, found.name)
                # The array itself, where it is whole: it tells what is added to it where it is.
                yield whole if part is whole._slots and filter_fn is None else self._kept(part, filter_fn)

    def traverse_flat(
        self, traversal_paths: str, filter_fn: Callable[[D], bool] | None = None
    ) -> DocumentArray[D]:
        """The documents that the paths reach, in one array; 'r' gives this one."""
        reached = traverse.walk(self._slots, traversal_paths)
        return self if reached is self._slots and filter_fn is None else self._kept(reached, filter_fn)

    def traverse_flat_per_path(
        self, traversal_paths: str, filter_fn: Callable[[D], bool] | None = None
    ) -> Iterator[DocumentArray[D]]:
        """The documents that each path reaches, one array a path."""
        for path in parse_traversal(traversal_paths):
            reached = traverse.reach(self._slots, path)
            yield self if reached is self._slots and filter_fn is None else self._kept(reached, filter_fn)

    @staticmethod
    def _kept(slots: Slots, keep: Callable[[Any], bool] | None) -> DocumentArray[Any]:
        return DocumentArray(slots if keep is None else Slots([doc for doc in slots if keep(doc)]))

    def flatten(self) -> DocumentArray[D]:
        """Every document at every depth: of each its chunks, its matches, and then itself."""
        return DocumentArray(traverse.flattened(self._slots))

    # ------------------------------------------------------------------------------------------ finding

    def find(
        self,
        query: Any = None,
        metric: str | Callable[..., Any] = "cosine",
        limit: int | None = _Default,
        metric_name: str | None = None,
        exclude_self: bool = False,
        filter: Mapping[str, Any] | None = None,
        only_id: bool = False,
        index: str = "text",
        return_root: bool = False,
        on: str | None = None,
        *,
        sort: str | Sequence[str] | None = None,
        text: str | Sequence[str] | None = None,
        fusion: str = "rrf",
        weights: Sequence[float] | None = None,
        embedding: str | None = None,
        normalization: tuple[float, float] | None = None,
        batch_size: int | None = None,
        use_scipy: bool = False,
        device: str = "cpu",
        num_worker: int = 1,
    ) -> Any:
        """Documents that a filter keeps, the nearest to vectors, those whose words fit best, or the two together.

        Args:
            query: a filter (dict): gives an array. A vector (d,): gives an array, nearest first. Vectors (q, d), a
                Document or a DocumentArray with embeddings: gives a list with an array for each. Text: words to look
                for, by BM25; gives an array; several texts in a list: a list with an array for each.
            metric: 'cosine', 'euclidean', 'sqeuclidean', 'inner_product', a name of scipy.spatial.distance, or a
                function of two matrices (q, d) and (n, d) that gives (q, n). Smaller is nearer.
            limit: how many at most; 20 for vectors and all for a filter unless given; None is all.
            metric_name: the key of `scores` that is filled; the name of the metric unless given.
            exclude_self: leave out the document that has the id of the query Document.
            filter: only documents that it keeps are searched.
            only_id: results hold nothing but id and scores.
            index: where words are looked for: 'text', or a path such as 'tags__title'.
            text: words to look for beside vectors, one text for all or one for each. The two rankings become one:
                `fusion='rrf'` is reciprocal rank fusion, with `weights` (of vectors, of words) if given. Each result
                has scores of both where it stood among the first, and `scores['rrf']`.
            embedding: search the embeddings of this name, `doc.embeddings[name]`, instead of `embedding`; documents
                without one are passed over, of a query Document its own of the name is taken.
            on: search the documents at this path, such as '@c'. `return_root`: give their root documents instead.
            sort: order what a filter keeps by this path; '-tags__price' is descending.
            normalization: (a, b): distances become scores from a, for the nearest, to b, for the farthest.
            batch_size: rows that are compared at once; no result depends on it.
            use_scipy, device, num_worker: accepted for old callers; no result depends on them.

        Returns:
            Light copies that share no container with what they were found as: no matches, scores kept, with
            `scores[metric_name]` set. What a filter alone keeps are the documents themselves.

        Raises:
            BadFilter, BadValue, MissingEmbedding, ShapeError, UnknownMetric, FieldTypeError: see docarray.errors.
        """
        if isinstance(query, Mapping):
            if filter is not None:
                raise BadValue("there are two filters: as the query and as filter=; give one")
            query, filter = None, cast("Mapping[str, Any]", query)
        if on is not None and on != "@r":
            return self._find_on(
                on, query, metric, limit, metric_name, exclude_self, filter, only_id, index, return_root, sort,
                normalization, batch_size, (text, fusion, weights, embedding),
            )  # fmt: skip
        return self._find(
            query, metric, limit, metric_name, exclude_self, filter, only_id, index, sort, normalization, batch_size,
            (text, fusion, weights, embedding),
        )  # fmt: skip

    def _find(self, *args: Any) -> Any:
        for _ in range(0 if self._slots.store is None else _AGAIN):
            try:
                return self._find_once(*args)
            except MissingDocument:  # somebody deleted what was found before it was read
                continue
        return self._find_once(*args)

    def _find_once(self, query: Any, metric: Any, limit: Any, metric_name: Any, exclude_self: bool, filter: Any,
              only_id: bool, index: str, sort: Any, normalization: Any, batch_size: Any, hybrid: Any,
              roots: Any = None) -> Any:  # fmt: skip
        # `roots`: for each place of this array the document to give instead.
        text, fusion, weights, embedding = hybrid
        if query is None and text is not None:
            query, text = text, None
        if query is None:
            if filter is None:
                raise BadValue("find() wants a query, a filter, or both")
            if isinstance(filter, str):
                raise BadValue("a filter is a dict, such as {'tags__price': {'$lt': 30}}")
            kept = self._filtered(filter, None if limit is _Default else finding.ask(limit), sort)
            return DocumentArray(self._slots.select(kept) if roots is None else [roots[at] for at in kept])
        if sort is not None:
            raise BadValue(
                "sort= orders what a filter alone keeps; what is near a vector comes nearest first"
            )
        most = finding.ask(20 if limit is _Default else limit)
        if isinstance(query, str) or (isinstance(query, list) and query and isinstance(query[0], str)):
            texts = [query] if isinstance(query, str) else finding.texts_of(cast("list[Any]", query))
            worded = finding.words(self._slots, texts, most, index, filter)
            hits = self._hits(worded, metric_name or "bm25", "bm25", "similarity", only_id, roots)
            return hits[0] if isinstance(query, str) else hits
        vectors, single, ids = self._query_vectors(query, embedding)
        name = finding.score_name(metric, metric_name)
        if vectors is None or (self._slots.store is None and not len(self)):
            if filter is not None:
                finding.check_filter(filter)  # which the search below does
            canonical(metric)
            nothing = [DocumentArray[D]() for _ in range(0 if vectors is None else vectors.shape[0])]
            return nothing[0] if single else nothing
        found = finding.search(
            self._slots,
            vectors,
            metric=metric,
            limit=most if text is None or most is None else max(100, 3 * most),
            condition=filter,
            leave_out=ids if exclude_self else None,
            normalization=normalization,
            batch_size=batch_size,
            embedding=embedding,
        )
        better = (
            "similarity" if normalization is not None and normalization[0] > normalization[1] else "distance"
        )
        op_name = finding.score_name(metric, None)
        if text is None:
            made = self._hits(found, name, op_name, better, only_id, roots)
            return made[0] if single else made
        asked = finding.texts_for(text, vectors.shape[0])
        deep = None if most is None else max(100, 3 * most)
        worded = finding.words(self._slots, asked, deep, index, filter)
        if exclude_self and ids is not None:
            worded = [self._without(part, key) for part, key in zip(worded, ids, strict=True)]
        ranked = finding.fused(found, worded, fusion, weights, most)
        made = self._hits(ranked, fusion, fusion, "similarity", only_id, roots)
        for source, *kind in ((found, name, op_name, better), (worded, "bm25", "bm25", "similarity")):
            for (places, _), (others, values), docs in zip(ranked, source, made, strict=True):
                known = dict(zip(others, values, strict=True))
                for place, doc in zip(places, docs, strict=True):
                    if place in known:
                        _score(doc, known[place], *kind)
        return made[0] if single else made

    def _without(self, found: finding.Found, key: str) -> finding.Found:
        """What was found, without the document of an id."""
        pairs = [(at, value) for at, value in zip(*found, strict=True) if self._slots._id_at(at) != key]
        return [at for at, _ in pairs], [value for _, value in pairs]

    def _filtered(self, condition: Mapping[str, Any], limit: int | None, sort: Any) -> list[Any]:
        kept = finding.positions_where(self._slots, condition, limit if sort is None else None)
        if sort is not None:
            kept = finding.sorted_positions(self._slots, _sort_keys(sort), kept)
        return kept[:limit]

    @staticmethod
    def _query_vectors(query: Any, embedding: str | None) -> tuple[Any, bool, list[str] | None]:
        if isinstance(query, Document):
            query = DocumentArray([query])
        if isinstance(query, DocumentArray):
            asked = cast("DocumentArray[Any]", query)
            if not len(asked):
                return None, False, []
            slots = asked._slots
            matrix = (
                finding.matrix_of(slots)[0] if embedding is None else finding.named_matrix(slots, embedding)
            )
            return matrix, False, slots.ids()
        if len(getattr(query, "shape", ())) > 1 and not query.shape[0]:
            return None, False, []
        vectors, single = finding.vectors_of(query)
        return vectors, single, None

    def _hits(
        self,
        found: list[finding.Found],
        name: str,
        op_name: str,
        better: str,
        only_id: bool,
        roots: Any = None,
    ) -> list[DocumentArray[D]]:
        flat = [at for places, _ in found for at in places] if len(found) != 1 else found[0][0]
        with gc_paused():
            if only_id:
                ids = [self._slots._id_at(at) if roots is None else roots[at].id for at in flat]
                docs = [Document(id=key) for key in ids]
            elif roots is not None:
                docs = [roots[position]._hit() for position in flat]
            else:
                docs = self._slots.hits(flat)
            start, out = 0, list[DocumentArray[D]]()
            for positions, distances in found:
                part = docs[start : start + len(positions)]
                start += len(positions)
                _score_all(part, distances, name, op_name, better)
                hits = cast("DocumentArray[D]", DocumentArray.__new__(DocumentArray))
                hits._slots, hits._subindices = Slots(part), {}
                out.append(hits)
            return out

    def _find_on(self, on: str, query: Any, metric: Any, limit: Any, metric_name: Any, exclude_self: bool,
                 filter: Any, only_id: bool, index: str, return_root: bool, sort: Any, normalization: Any,
                 batch_size: Any, hybrid: Any) -> Any:  # fmt: skip
        if not on.startswith("@"):
            raise BadValue(f"no subindex is available for on={on!r}: on= takes a path such as '@c'")
        body = self._slots
        if isinstance(body, Stored) and on in body.subs:
            below, roots = DocumentArray[D](body.below(on)), body.roots_of(on) if return_root else None
        else:
            below = cast("DocumentArray[D]", self[on])
            roots = self._roots_of(below) if return_root else None
        return below._find(
            query, metric, limit, metric_name, exclude_self, filter, only_id, index, sort, normalization, batch_size,
            hybrid, roots,
        )  # fmt: skip

    def _roots_of(self, below: DocumentArray[D]) -> list[D]:
        """The document of this array that each of those below is nested in, at whatever depth."""
        roots: dict[int, D] = {}
        for root in self:
            for doc in traverse.flattened(Slots([root])):
                roots.setdefault(id(doc), root)
        return [roots[id(doc)] for doc in below]

    def match(
        self,
        darray: DocumentArray[Any] | None,
        metric: str | Callable[..., Any] = "cosine",
        limit: int | None = 20,
        normalization: tuple[float, float] | None = None,
        metric_name: str | None = None,
        batch_size: int | None = None,
        exclude_self: bool = False,
        filter: Mapping[str, Any] | None = None,
        only_id: bool = False,
        use_scipy: bool = False,
        device: str = "cpu",
        num_worker: int = 1,
        on: str | None = None,
        embedding: str | None = None,
    ) -> None:
        """Finds the nearest documents of `darray` for each document here, and sets them as its `matches`.

        Arguments as of `find`. Nothing happens when either array is empty. Matching an array against itself is safe:
        matches are copies, and have no matches themselves.
        """
        if not len(self) or darray is None or not len(darray):
            return
        found = darray.find(
            self, metric, limit, metric_name, exclude_self, filter, only_id, on=on, normalization=normalization,
            batch_size=batch_size, embedding=embedding,
        )  # fmt: skip
        with deferred():
            for doc, matches in zip(self, found, strict=True):
                doc.matches = matches

    # ------------------------------------------------------------------------------------------ groups

    def split_by_tag(self, tag: str) -> dict[Any, DocumentArray[D]]:
        """The documents by the value of a tag, in order; documents without it are left out.

        Args:
            tag: a key, or a path within the tags: 'color', 'shape__sides'.

        Raises:
            FieldTypeError: a value cannot be a key of a dict; the message names the document.
        """
        groups = finding.grouped(self._slots, tag)
        return {value: DocumentArray(self._slots.select(positions)) for value, positions in groups.items()}

    def batch(
        self, batch_size: int, shuffle: bool = False, show_progress: bool = False
    ) -> Iterator[DocumentArray[D]]:
        """Arrays of `batch_size` documents each; the last may be shorter.

        Raises:
            BadValue: the size is no int above 0.
        """
        parts = self._batches(batch_size, shuffle, show_progress)
        return (DocumentArray(self._slots.select(_window(positions))) for positions in parts)

    def batch_ids(self, batch_size: int, shuffle: bool = False) -> Iterator[list[str]]:
        """Lists of `batch_size` ids each; the last may be shorter."""
        ids = self._slots.ids()
        return ([ids[i] for i in positions] for positions in self._batches(batch_size, shuffle, False))

    def _batches(self, size: Any, shuffle: bool, show_progress: bool) -> Iterable[Sequence[int]]:
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size <= 0:
            raise BadValue(f"batch_size={size!r}: it is an int above 0")
        size = int(cast("Any", size))
        order: Sequence[int] = range(len(self))
        if shuffle:
            order = random.Random().sample(order, len(order))
        parts = [order[at : at + size] for at in range(0, len(order), size)]
        return progress.track(parts, len(parts), "batches", show_progress)

    def sample(self, k: int, seed: int | None = None) -> DocumentArray[D]:
        """`k` documents at random, without repeats; the same for the same seed. No global state is used.

        Raises:
            BadValue: there are fewer than k.
        """
        if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 0 <= k <= len(self):
            raise BadValue(f"a sample of {k} from an array of {len(self)}")
        return DocumentArray(self._slots.select(random.Random(seed).sample(range(len(self)), k)))

    def shuffle(self, seed: int | None = None) -> DocumentArray[D]:
        """All documents in a random order, in a new array; the same for the same seed."""
        return self.sample(len(self), seed)

    def reduce(self, other: DocumentArray[D]) -> Self:
        """Adds what `other` has and this lacks: documents by id, their fields, chunks and matches by id, tags by key.

        Where both have a value, this array's stays; a document that has content keeps it, of whatever type.
        """
        with self._slots.writing(), deferred():
            for doc in other:
                if self._slots.has(doc.id):
                    _fill_up(self._slots.get(self._slots.position(doc.id)), doc)
                else:
                    self.append(doc)
        return self

    def reduce_all(self, others: Iterable[DocumentArray[D]]) -> Self:
        """`reduce` with each of the others."""
        for other in others:
            self.reduce(other)
        return self

    def get_vocabulary(self, min_freq: int = 1, text_attrs: Sequence[str] = ("text",)) -> dict[str, int]:
        """The words of these attributes and an id for each, from 2, in the order of first sight.

        >>> DocumentArray([Document(text='a b a')]).get_vocabulary()
        {'a': 2, 'b': 3}
        """
        counts: Counter[str] = Counter()
        for doc in self:
            counts.update(doc.get_vocabulary(text_attrs))
        return text.numbered(counts, min_freq)

    # ------------------------------------------------------------------------------------------ embedding, evaluating

    def embed(
        self,
        embed_model: Any,
        device: Any = "cpu",
        batch_size: int = 256,
        to_numpy: bool = False,
        collate_fn: Callable[[DocumentArray[Any]], Any] | None = None,
        *,
        show_progress: progress.Show = None,
        embedding: str | None = None,
    ) -> Self:
        """Sets the embedding of each document to what a model gives for its tensor or text. All are set, or none.

        Args:
            embed_model: a torch.nn.Module, a keras or paddle model, an onnxruntime.InferenceSession, an object that
                encodes texts (of sentence-transformers, wordllama, ...), or any function of a batch. It is put back
                in the mode and on the device it came in.
            device: where it runs and its batches are put: 'cpu', 'cuda', 'cuda:1', ...
            batch_size: documents a call.
            to_numpy: keep ndarrays instead of the model's own.
            collate_fn: what makes a batch of an array; unless given the stacked tensors, or the texts for what takes
                texts. A mapping is given as keywords, or as inputs by name.
            show_progress: see `docarray.progress.Show`.
            embedding: a name: set `doc.embeddings[name]` instead.

        Raises:
            FieldTypeError: this is no model, or it gives no array. BadValue: `batch_size` is no int above 0, or the
            model cannot run there. MissingEmbedding: documents have nothing to embed, and there is no `collate_fn`.
            LengthError: the model gave another number of rows. ShapeError: they are no vectors of one shape.
            StaleDocument: others changed the order of the store meanwhile. More: see `docarray.embedding.embedded`.

        >>> da = DocumentArray([Document(text='a'), Document(text='bcd')])
        >>> da.embed(lambda texts: [[len(text), 1] for text in texts]).embeddings.tolist()
        [[1, 1], [3, 1]]
        """
        embedders.embed(
            self, embed_model, device, batch_size, to_numpy, collate_fn, show_progress=show_progress,
            embedding=embedding,
        )  # fmt: skip
        return self

    def embed_feature_hashing(
        self,
        n_dim: int = 256,
        sparse: bool = False,
        fields: Sequence[str] = ("text", "tags"),
        max_value: float = 1_000_000,
    ) -> Self:
        """Sets each embedding to a hash of the words and tags: vectors without a model, alike in every process.

        Args:
            n_dim: how many dimensions the vectors have; more keep more words apart.
            sparse: set rows of a scipy.sparse csr_matrix instead of an ndarray; both are float64.
            fields: what is hashed, each once: texts, 'tags', numbers such as 'weight', or paths: 'tags__title'.
            max_value: numbers in tags are clipped to -max_value ... max_value.

        What counts how much: see `docarray.embedding.feature_hash`.

        >>> da = DocumentArray([Document(text=t) for t in ('the cat sat', 'a cat sat down', 'stocks fell')])
        >>> da.embed_feature_hashing().find(Document(text='cat').embed_feature_hashing())[0][:2, 'text']
        ['the cat sat', 'a cat sat down']
        """
        embedders.embed_feature_hashing(self, n_dim, sparse, fields, max_value)
        return self

    def embed_image_features(self, **options: Any) -> Self:
        """Sets each embedding to histograms of the colours and gradients of the image in `tensor`: no weights needed.

        Pictures may differ in size. Options and source: see `docarray.media.features`.

        Raises:
            MissingEmbedding: documents have no tensor. MissingExtra: `docarray[media]` is not installed.
        """
        registry.resolve("room", "features").embed_image_features(self, **options)
        return self

    def evaluate(
        self,
        metrics: Sequence[str | Callable[..., Any]] | None = None,
        ground_truth: DocumentArray[Any] | None = None,
        hash_fn: Callable[[Any], Any] | None = None,
        metric_names: Sequence[str] | None = None,
        strict: bool = True,
        label_tag: str = "label",
        num_relevant_documents_per_label: Mapping[Any, int] | None = None,
        **kwargs: Any,
    ) -> dict[str, float]:
        """Scores the matches of each document, into `evaluations`, and gives the average of each metric.

        A match is relevant when the same document of `ground_truth` has it too, or else when its tag `label_tag` is
        that of the document. Arguments and errors: see `docarray.evaluate.evaluate`.

        >>> da = DocumentArray([Document(tags={'label': 1}, matches=[Document(tags={'label': n}) for n in (1, 2)])])
        >>> da.evaluate(['precision_at_k', 'reciprocal_rank'], k=2)
        {'precision_at_k': 0.5, 'reciprocal_rank': 1.0}
        """
        return evaluation.evaluate(
            self, metrics, ground_truth, hash_fn, metric_names, strict, label_tag, num_relevant_documents_per_label,
            **kwargs,
        )  # fmt: skip

    def embed_and_evaluate(
        self,
        metrics: Sequence[str | Callable[..., Any]] | None = None,
        index_data: DocumentArray[Any] | None = None,
        ground_truth: DocumentArray[Any] | None = None,
        metric_names: Sequence[str] | None = None,
        strict: bool = True,
        label_tag: str = "label",
        embed_models: Any = None,
        embed_funcs: Callable[..., Any]
        | tuple[Callable[..., Any] | None, Callable[..., Any] | None]
        | None = None,
        device: str = "cpu",
        batch_size: int | tuple[int, int] = 256,
        collate_fns: Callable[..., Any]
        | tuple[Callable[..., Any] | None, Callable[..., Any] | None]
        | None = None,
        distance: str | Callable[..., Any] = "cosine",
        limit: int | None = 20,
        normalization: tuple[float, float] | None = None,
        exclude_self: bool = False,
        use_scipy: bool = False,
        num_worker: int = 1,
        match_batch_size: int = 100_000,
        query_sample_size: int | None = 1_000,
        *,
        seed: int | None = None,
        hash_fn: Callable[[Any], Any] | None = None,
        num_relevant_documents_per_label: Mapping[Any, int] | None = None,
        **kwargs: Any,
    ) -> dict[str, float]:
        """Embeds these documents and an index, matches and scores, in batches: what the three give in turn.

        The documents keep their new matches and evaluations; none gets an embedding, or loses one. Arguments and
        errors: see `docarray.evaluate.embed_and_evaluate`.
        """
        return evaluation.embed_and_evaluate(
            self, metrics, index_data, ground_truth, metric_names, strict, label_tag, embed_models, embed_funcs,
            device, batch_size, collate_fns, distance, limit, normalization, exclude_self, use_scipy, num_worker,
            match_batch_size, query_sample_size, seed=seed, hash_fn=hash_fn,
            num_relevant_documents_per_label=num_relevant_documents_per_label, **kwargs,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ in and out

    def __reduce__(self) -> tuple[Any, ...]:
        own = getattr(self, "__dict__", None)
        if self._slots.store is not None and self._slots.store.config is not None:
            return _reopened, (type(self), self.storage, self._slots.store.config, self._subindices, own)
        if self._slots.store is not None:
            return _restored, (type(self), self.storage, self._subindices, self.to_bytes(), own)
        return _unpickled, (type(self), self.to_bytes(), own)

    def sync(self) -> None:
        """Writes what a storage holds back, such as the graph of a vector index. Rows are written by each call."""
        if self._slots.store is not None:
            self._slots.store.sync()

    def close(self) -> None:
        """Closes the storage: calls on this array raise ClosedStore from then on. In memory there is nothing to close.

        An array that nobody holds any more closes by itself; what was written is there in any case.
        """
        if self._slots.store is not None:
            cast("Stored", self._slots).close()

    def __enter__(self) -> Self:
        """On a storage all that is written inside is one transaction; an exception takes it back."""
        if self._slots.store is not None:
            cast("Stored", self._slots).enter()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._slots.store is not None:
            cast("Stored", self._slots).leave(*exception)
        if not any(exception):
            self.sync()

    # ------------------------------------------------------------------------------------------ on sight

    def summary(self) -> None:
        """Prints what the array holds: length, fields, types, nesting."""
        registry.resolve("room", "display").show(self)

    def plot_embeddings(
        self,
        title: str = "MyDocumentArray",
        path: Any = None,
        image_sprites: bool = False,
        min_image_size: int = 16,
        channel_axis: int = -1,
        start_server: bool = True,
        host: str = "127.0.0.1",
        port: int | None = None,
        image_source: Literal["tensor", "uri"] = "tensor",
        exclude_fields_metas: Sequence[str] | None = None,
        show_progress: progress.Show = False,
    ) -> Projection:
        """The embeddings as points in three dimensions, on a page that a notebook shows and a browser opens.

        Principal components, exactly; with what is known of each document, a search, colours by any field or tag, and
        up to 10 000 points the nearest of each by cosine. Documents without an embedding are left out, and counted.

        Args:
            title: of the page and its files.
            path: a folder to write the page to, and what TensorFlow's projector opens; see `Projection.save`.
            image_sprites: show each document as its image.
            min_image_size: pixels of its side, at least.
            channel_axis, image_source: as of `plot_image_sprites`.
            start_server: outside of notebooks, serve the page until `close()`; it does not wait for that.
            host, port: where; any free port unless given.
            exclude_fields_metas: fields and tags (`tags__key`) that are left out.

        Returns:
            a `docarray.display.projector.Projection`: `url`, `html`, `png`, `save(folder)`, `close()`.

        Raises:
            MissingEmbedding: there is nothing to plot. ShapeError: the embeddings are not of one length.

        Costs what its search for neighbours and the eigenvectors of a (d, d) matrix cost.

        >>> da = DocumentArray([Document(embedding=[1.0, 2]), Document(embedding=[3.0, 1]), Document()])
        >>> print(da.plot_embeddings('few', start_server=False))
        few: 2 points of 2 numbers, 1 document without embedding left out
        """
        return registry.resolve("room", "display").plot_embeddings(
            self, title, path, image_sprites, min_image_size, channel_axis, start_server, host, port, image_source,
            exclude_fields_metas, show_progress,
        )  # fmt: skip

    def plot_image_sprites(
        self,
        output: Any = None,
        canvas_size: int = 512,
        min_size: int = 16,
        channel_axis: int = -1,
        image_source: Literal["tensor", "uri"] = "tensor",
        skip_empty: bool = False,
        show_progress: progress.Show = False,
        show_index: bool = False,
        fig_size: tuple[int, int] | None = (10, 10),
        keep_aspect_ratio: bool = False,
    ) -> Any:
        """All images in one square picture, row by row.

        Args:
            output: a path, URL or open file that the picture is written to; None gives it, an image of Pillow.
            canvas_size: pixels of the side of the picture.
            min_size: pixels of the side of an image, at least; the picture grows where it must.
            channel_axis: where the channels stand in the tensors.
            image_source: 'tensor', without which the blob and what the uri leads to are taken; or 'uri' first.
            skip_empty: leave out documents without an image.
            show_index: write the position of each on it.
            fig_size: means nothing; kept for old calls.
            keep_aspect_ratio: do not stretch images to squares.

        Raises:
            BadValue: the array is empty, a document has no image, or one that cannot be shown: the message names it.
            MissingExtra: Pillow is not installed.

        >>> DocumentArray([Document(tensor=np.zeros((4, 4, 3)))] * 5).plot_image_sprites(canvas_size=96).size
        (96, 96)
        """
        return registry.resolve("room", "display").plot_image_sprites(
            self, output, canvas_size, min_size, channel_axis, image_source, skip_empty, show_progress, show_index,
            fig_size, keep_aspect_ratio,
        )  # fmt: skip

    def save_gif(
        self,
        output: Any,
        channel_axis: int = -1,
        duration: int = 200,
        size_ratio: float = 1.0,
        inline_display: bool = False,
        image_source: Literal["tensor", "uri"] = "tensor",
        skip_empty: bool = False,
        show_index: bool = False,
        show_progress: progress.Show = False,
    ) -> None:
        """Writes all images as an animation to a path, URL or open file. Frames are of the size of the first image.

        Args:
            duration: milliseconds a frame.
            size_ratio: times the size of the first image.
            inline_display: show it too, in a notebook.

        Others, and errors, as of `plot_image_sprites`.
        """
        registry.resolve("room", "display").save_gif(
            self, output, channel_axis, duration, size_ratio, inline_display, image_source, skip_empty, show_index,
            show_progress,
        )  # fmt: skip

    def __rich_console__(self, console: Any, options: Any) -> Any:
        yield registry.resolve("room", "display").rich_of(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        return registry.resolve("room", "display").html_of(self)

    def _ipython_key_completions_(self) -> list[str]:
        return registry.resolve("room", "display").completions(self)


def _unpickled(cls: type[DocumentArray[Any]], data: bytes, own: dict[str, Any] | None) -> DocumentArray[Any]:
    array = cls(DocumentArray.from_bytes(data))
    if own:
        array.__dict__.update(own)
    return array


def _reopened(
    cls: type[DocumentArray[Any]], storage: str, config: Any, subs: dict[str, Any], own: dict[str, Any] | None
) -> DocumentArray[Any]:
    array = cls(storage=storage, config=config, subindex_configs=subs)
    if own:
        array.__dict__.update(own)
    return array


def _restored(
    cls: type[DocumentArray[Any]], storage: str, subs: dict[str, Any], data: bytes, own: dict[str, Any] | None
) -> DocumentArray[Any]:
    array = cls(DocumentArray.from_bytes(data), storage=storage, subindex_configs=subs)
    if own:
        array.__dict__.update(own)
    return array


def _score(doc: Document, value: float, name: str, op_name: str, better: str) -> None:
    """Says in the scores of a fresh hit how good it is."""
    score = NamedScore.__new__(NamedScore)
    score._value, score._op_name, score._description, score._ref_id = value, op_name, better, None
    if doc._scores is None:
        doc._scores = cast("Any", dict).__new__(Scores)
    cast("Any", dict).__setitem__(doc._scores, name, score)


def _score_all(docs: list[Any], values: list[float], name: str, op_name: str, better: str) -> None:
    """`_score` for many."""
    fresh, plain_dict = NamedScore.__new__, cast("Any", dict)
    empty, put = plain_dict.__new__, plain_dict.__setitem__
    for doc, value in zip(docs, values, strict=True):
        score = fresh(NamedScore)
        score._value, score._op_name, score._description, score._ref_id = value, op_name, better, None
        scores: Any = doc._scores
        if scores is None:
            scores = doc._scores = empty(Scores)
        put(scores, name, score)


def _read_only(array: Any) -> Any:
    """A view that cannot be written to, of what documents share; arrays of other frameworks have no such view."""
    if type(array) is np.ndarray:
        array = cast("Any", array.view())
        array.flags.writeable = False
    return array


def _window(positions: Sequence[int]) -> Sequence[int] | slice:
    if isinstance(positions, range) and positions.step > 0:
        return slice(positions.start, positions.stop, positions.step)
    return positions


def _sort_keys(keys: str | Sequence[str]) -> list[str]:
    """The paths to sort by, if each of them begins with a field; '-' before one is descending."""
    names = [keys] if isinstance(keys, str) else list(keys)
    for name in names:
        if isinstance(cast("object", name), str):
            field_named(str(parse_dunder(name.removeprefix("-"))[0]))
    return names


def _is_typed(value: Any) -> bool:
    """Whether contents came as (values, 'text')."""
    if not isinstance(value, tuple) or len(cast("tuple[Any, ...]", value)) != 2:
        return False
    values, name = cast("tuple[Any, Any]", value)
    return isinstance(name, str) and name in CONTENT and tensors.framework(values) is not None


def _of_objects(name: str, value: Any) -> bool:
    """Whether an array holds arrays, each of its own shape.

    Raises:
        FieldTypeError: it holds no numbers at all.
    """
    if not isinstance(value, np.ndarray):
        return False
    array = cast("Array", value)
    if array.dtype.kind not in "biufcO":
        raise FieldTypeError(f"field {name!r} takes arrays of numbers; got {array.dtype} {array.shape}")
    return array.dtype.kind == "O"


def _fill_up(doc: Document, other: Document) -> None:
    """Gives a document what another of its id has and it lacks."""
    for name, field in FIELDS.items():
        if name == "id":
            continue
        theirs = other._filled(name)
        if theirs is None:
            continue
        if field.kind == "docs":
            getattr(doc, name).reduce(getattr(other, name))
        elif field.kind in ("json", "scores"):
            _merge(getattr(doc, name), theirs, deep=name == "tags")
        elif doc._filled(name) is None and (name not in CONTENT or doc.content is None):
            known = doc._mime_type
            # A row of a matrix is written to when the embedding of its document changes: that is no row to share.
            setattr(
                doc, name, copied(theirs) if name == "embedding" and other._vectors is not None else theirs
            )
            doc._mime_type = known if name == "uri" and known else doc._mime_type


def _merge(mine: Any, theirs: Mapping[Any, Any], deep: bool) -> None:
    for key, value in theirs.items():
        if key not in mine:
            mine[key] = value
        elif deep and isinstance(mine[key], dict) and isinstance(value, dict):
            _merge(mine[key], cast("Mapping[Any, Any]", value), deep)


Links.array = DocumentArray

"""Document: one piece of data of any medium, its nested documents, and what is known about it.

Rule 1: text, blob and tensor share one slot, so that a document has one content at most, by construction.
Rule 2: an unset field is None in its slot; what it reads as is made on reading, and an id when first asked for.
Rule 3: rarely used fields live together in one dict (`_more`), bookkeeping in one tuple shared by siblings (`_place`).
Rule 4: the embedding is in its slot, or a row of a matrix shared with other documents (vectors.py); never both.
Rule 5: modules of this floor may read slots; they write through the properties, or say why not.
"""

# pyright: reportPrivateUsage=false
# The modules of this floor are friends: they read the slots of documents and arrays (document.py, rule 5).

from __future__ import annotations

import base64
import copy as copying
import functools
import hashlib
import mimetypes
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from numbers import Real
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, cast

import numpy as np

from docarray import exchange, progress, registry, tagged, tensors
from docarray.errors import BadValue, FieldTypeError, UnknownField, near_miss
from docarray.ids import new_id
from docarray.multimodal import Multimodal, attribute_of, schema_of
from docarray.paths import lookup, parse_dunder
from docarray.records import Record, cell_of, records_of
from docarray.schema import FIELDS
from docarray.score import Scores
from docarray.text import Vocabulary, text_of, word_ids, words
from docarray.watched import plain

if TYPE_CHECKING:
    import numpy.typing as npt
    from pydantic import BaseModel

    from docarray.array import DocumentArray
    from docarray.nested import ChunkArray, MatchArray
    from docarray.vectors import Vectors
    from docarray.web.models import PydanticDocument
    from docarray.web.strawberry_types import StrawberryDocument, StrawberryDocumentInput

__all__ = ["Document"]

_ndarray: Final = np.ndarray
_NAMES: Final = (*FIELDS, "content", "embeddings")
_ROOT: Final = ("", 0, 0)
_HANDLERS: Final = ("catch", "drop", "raise")
_SINGLE: Final = ("document", "nested")


class _NoId:
    """What stands in the slot of an id that was taken away, so that none is drawn again."""

    def __repr__(self) -> str:
        return "no id"


_NO_ID: Final[Any] = _NoId()


class Links:
    """What documents need of the modules above them, bound when those are imported."""

    array: Callable[..., DocumentArray[Any]]
    chunks: type[Any]
    nest: Callable[[str, Document, object], Any]


class Document(Multimodal):
    """A document: content, meta-data, a vector, scores, and documents below (chunks) and beside it (matches).

    `Document(text='hi', tags={'lang': 'en'})` or `Document({'text': 'hi'})`. Keywords that are no field go to
    `tags`. Setting a field to None unsets it. `text`, `blob` and `tensor` exclude each other: setting one clears
    the others; given together, the last of text, blob, tensor, content counts.

    Args:
        _obj: a dict of fields, which win over keywords of the same name; or a Document, of which this becomes a
            second name (what one changes the other shows), or with `copy=True` a deep copy of the same id, or with
            keywords a copy in which these replace fields (tags are merged).
        copy: see `_obj`.
        field_resolver: renames incoming keys: `{'json_key': 'field'}`.
        unknown_fields_handler: 'catch' puts unknown keys into `tags`, 'drop' leaves them out, 'raise' raises.

    Raises:
        FieldTypeError: a field was given a value of a type that it does not take.
        UnknownField: `unknown_fields_handler='raise'`, and there was an unknown key.

    Costs about half a microsecond and 140 bytes beside the values.

    >>> doc = Document(text='hello', tags={'lang': 'en'}, source='mail')
    >>> doc.tags, doc.content, doc.non_empty_fields
    ({'lang': 'en', 'source': 'mail'}, 'hello', ('id', 'text', 'tags'))
    """

    __slots__ = (
        "_chunks",
        "_content",
        "_embedding",
        "_id",
        "_matches",
        "_mime_type",
        "_more",
        "_place",
        "_row",
        "_scores",
        "_tags",
        "_uri",
        "_vectors",
    )

    _is_live: ClassVar[bool] = False  # whether it stands for a row of a store: see live.py
    _is_guise: ClassVar[bool] = False  # whether the class is one of our own that shows as Document
    _id: Any
    _content: Any
    _tags: dict[str, Any] | None
    _embedding: Any
    _chunks: Any
    _matches: Any
    _scores: Scores | None
    _uri: str | None
    _mime_type: str | None
    _place: tuple[str, int, int] | None
    _more: dict[str, Any] | None
    _vectors: Vectors | None
    _row: Any  # set where _vectors is

    if TYPE_CHECKING:

        def __init__(
            self,
            _obj: object = None,
            copy: bool = False,
            field_resolver: Mapping[str, str] | None = None,
            unknown_fields_handler: Literal["catch", "raise", "drop"] = "catch",
            id: str | None = None,
            text: str | None = None,
            tags: Mapping[str, Any] | None = None,
            embedding: Any = None,
            *,
            embeddings: Mapping[str, Any] | None = None,
            parent_id: str | None = None,
            granularity: int | None = None,
            adjacency: int | None = None,
            blob: bytes | bytearray | memoryview | None = None,
            tensor: Any = None,
            content: Any = None,
            mime_type: str | None = None,
            weight: float | None = None,
            uri: str | PathLike[str] | None = None,
            offset: float | None = None,
            location: Iterable[float] | None = None,
            modality: str | None = None,
            evaluations: Mapping[str, Any] | None = None,
            scores: Mapping[str, Any] | None = None,
            chunks: Document | Iterable[Document] | None = None,
            matches: Document | Iterable[Document] | None = None,
            **unknown: Any,
        ) -> None: ...

    else:
        # The four fields that most documents are made of are arguments, which costs a quarter of what keywords
        # cost; they stand in their slots at once and are checked there. All others go through their properties.
        def __init__(
            self,
            _obj=None,
            copy=False,
            field_resolver=None,
            unknown_fields_handler="catch",
            id=None,
            text=None,
            tags=None,
            embedding=None,
            **fields,
        ):
            self._id = id
            self._content = text
            self._tags = tags
            self._embedding = embedding
            self._chunks = self._matches = self._scores = self._uri = self._mime_type = None
            self._place = self._more = self._vectors = None
            if text is not None and type(text) is not str:
                self.text = text
            if tags is not None and type(tags) is not dict:
                self.tags = tags
            if embedding is not None and type(embedding) is not _ndarray:
                self.embedding = embedding
            if id is not None and type(id) is not str:
                self.id = id
            if fields or _obj is not None or field_resolver is not None:
                given = {"id": id, "text": text, "tags": tags, "embedding": embedding}
                given = {name: value for name, value in given.items() if value is not None}
                self._initialise(_obj, copy, field_resolver, unknown_fields_handler, given, fields)

    def _initialise(
        self,
        obj: object,
        copy: bool,
        resolver: Mapping[str, str] | None,
        handler: str,
        given: dict[str, Any],
        fields: dict[str, Any],
    ) -> None:
        if handler not in _HANDLERS:
            raise BadValue(
                f"unknown_fields_handler={handler!r}: there is no such way. {near_miss(handler, _HANDLERS)}"
            )
        plan = getattr(cast("Any", type(obj)), "__multimodal__", None)
        if plan is not None:  # an object of a dataclass of ours: its fields, and what is given beside them
            plan.fill(self, obj)
            if not given and not fields:
                shape(self)
                return
            given, fields = {}, {**given, **fields}
            if "tags" in fields:
                fields["tags"] = {**self.tags, **fields["tags"]}
            if "chunks" in fields:  # positions of fields are counted from the first chunk
                fields["chunks"] = [*self.chunks, *Links.array(fields["chunks"])]
            if "_metadata" in fields:
                fields["_metadata"] = {**fields["_metadata"], **self._metadata}
        elif isinstance(obj, Document):
            if not copy and not given and not fields and type(self) is Document:
                self.__class__ = _Alias
                _TARGET.__set__(self, obj._target())
                return
            tags = given.pop("tags", None)
            merged = dict(obj._tags) if obj._tags else {}
            self._copy_slots(obj, deep=copy)
            if tags is not None:
                merged.update(tags)
                self._tags = merged
            elif not copy and obj._tags is not None:
                self._tags = merged
            for name, value in given.items():
                setattr(self, name, value)
        elif isinstance(obj, Mapping):
            fields = {**fields, **cast("Mapping[str, Any]", obj)}
        elif obj is not None:
            raise BadValue(
                f"a Document is made from keywords, a dict or a Document; got {type(obj).__name__}: {obj!r:.80}"
            )
        if resolver:
            if not isinstance(obj, Document):
                _blank(self)  # what was given by its own name may be meant for another field
                fields = {**given, **fields}
            fields = {resolver.get(name, name): value for name, value in fields.items()}
        unknown = {name: fields.pop(name) for name in list(fields) if name not in _KNOWN}
        if unknown and handler == "raise":
            name = next(iter(unknown))
            raise UnknownField(f"a Document has no field {name!r}. {near_miss(name, _NAMES)}")
        for name in _CONSTRUCTED:
            if name in fields and fields[name] is not None:
                setattr(self, name, fields[name])
        if unknown and handler == "catch":
            self._tags = {**(self._tags or {}), **unknown}
        shape(self)

    # ------------------------------------------------------------------------------------------ content

    @property
    def id(self) -> str:
        """32 hex digits from the system's entropy, drawn on first use; None after `clear()` or `pop('id')`."""
        found = self._id
        if type(found) is str:
            return found
        if found is None:
            found = self._id = new_id()
            return found
        return None if found is _NO_ID else found  # pyright: ignore[reportReturnType]

    @id.setter
    def id(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise _wrong("id", "a str", value, self)
        if self._id is not None:  # else nobody can have looked it up yet
            IdChanges.count += 1
        self._id = _NO_ID if value is None else value
        if self._chunks is not None and len(self._chunks):
            for chunk in self.chunks:
                chunk.parent_id = value

    @property
    def text(self) -> str:
        """The text; '' when the content is something else."""
        found = self._content
        return found if isinstance(found, str) else ""

    @text.setter
    def text(self, value: str | None) -> None:
        if value is None:
            if isinstance(self._content, str):
                self._content = None
        elif isinstance(value, str):
            self._content = value
        else:
            self._refuse("text", "a str", value)

    @property
    def blob(self) -> bytes:
        """Raw bytes; b'' when the content is something else."""
        found = self._content
        return found if isinstance(found, bytes) else b""

    @blob.setter
    def blob(self, value: bytes | bytearray | memoryview | None) -> None:
        if value is None:
            if isinstance(self._content, bytes):
                self._content = None
        elif isinstance(value, bytes):
            self._content = value
        elif isinstance(value, (bytearray, memoryview)):
            self._content = bytes(value)
        else:
            self._refuse("blob", "bytes", value)

    @property
    def tensor(self) -> Any:
        """An array of any framework or a nested list of numbers, as it was given; None when there is none."""
        found = self._content
        return None if isinstance(found, (str, bytes)) else found

    @tensor.setter
    def tensor(self, value: Any) -> None:
        if value is None:
            if not isinstance(self._content, (str, bytes)):
                self._content = None
        elif tensors.framework(value) is None:
            self._refuse("tensor", "an array or a nested list of numbers", value)
        else:
            self._content = value

    @property
    def content(self) -> Any:
        """Whichever of text, blob and tensor is filled; None when none is.

        Setting takes a str as text, bytes, bytearray or memoryview as blob, an array or list as tensor, None as none.
        """
        found = self._content
        return None if isinstance(found, (str, bytes)) and not found else found

    @content.setter
    def content(self, value: Any) -> None:
        if value is None:
            self._content = None
        elif isinstance(value, str):
            self.text = value
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.blob = value
        else:
            self.tensor = value

    @property
    def content_type(self) -> Literal["text", "blob", "tensor"] | None:
        """Which of text, blob and tensor is filled; None when none is."""
        found = self.content
        if found is None:
            return None
        return "text" if isinstance(found, str) else "blob" if isinstance(found, bytes) else "tensor"

    @property
    def embedding(self) -> Any:
        """A vector of any framework, or None. One of a gathered matrix is a view of its row there."""
        vectors = self._vectors
        if vectors is None:
            return self._embedding
        view = vectors.row(self._row)
        if view is None:  # the row cannot be lent: the document gets its own array, which may be written to
            view = self.embedding = vectors.peek(self._row).copy()
        return view

    @embedding.setter
    def embedding(self, value: Any) -> None:
        if value is not None and tensors.framework(value) is None:
            self._refuse("embedding", "an array or a list of numbers", value)
        vectors = self._vectors
        if vectors is not None:
            vectors.changed[self._row] = self
            self._vectors = None
        self._embedding = value

    def _vector(self) -> Any:
        """The embedding for reading only: a view that stays inside the library."""
        vectors = self._vectors
        return self._embedding if vectors is None else vectors.peek(self._row)

    @property
    def embeddings(self) -> dict[str, Any]:
        """Vectors by name, beside `embedding`; `find(..., embedding='image')` searches those of a name.

        >>> doc = Document(text='a red car', embeddings={'text': [1.0, 0.0], 'image': [0.0, 1.0]})
        >>> sorted(doc.embeddings)
        ['image', 'text']
        """
        found = (self._raw("_metadata") or _NOTHING).get("embeddings")
        return _FirstVectors(self) if found is None else self._metadata["embeddings"]

    @embeddings.setter
    def embeddings(self, value: Mapping[str, Any] | None) -> None:
        if value is None:
            if self._more is not None and "embeddings" in (self._more.get("_metadata") or _NOTHING):
                del self._metadata["embeddings"]
            return
        if not isinstance(value, Mapping):
            self._refuse("embeddings", "a dict of vectors by name", value)
        for name, vector in value.items():
            if not isinstance(cast("object", name), str) or tensors.framework(vector) is None:
                self._refuse(f"embeddings[{name!r}]", "an array or a list of numbers, by a name", vector)
        self._metadata["embeddings"] = dict(value)

    # ------------------------------------------------------------------------------------------ meta-data

    @property
    def parent_id(self) -> str:
        """The id of the document that this one is a chunk of; ''."""
        return (self._place or _ROOT)[0]

    @parent_id.setter
    def parent_id(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            self._refuse("parent_id", "a str", value)
        _, granularity, adjacency = self._place or _ROOT
        self._place = (value or "", granularity, adjacency)  # chunks say nothing of their grandparent

    @property
    def granularity(self) -> int:
        """The depth along chunks; 0 at the root."""
        return (self._place or _ROOT)[1]

    @granularity.setter
    def granularity(self, value: int | None) -> None:
        parent, _, adjacency = self._place or _ROOT
        self._place = (parent, self._whole("granularity", value), adjacency)
        self._tell_below()

    @property
    def adjacency(self) -> int:
        """The depth along matches; 0 at the root."""
        return (self._place or _ROOT)[2]

    @adjacency.setter
    def adjacency(self, value: int | None) -> None:
        parent, granularity, _ = self._place or _ROOT
        self._place = (parent, granularity, self._whole("adjacency", value))
        self._tell_below()

    def _tell_below(self) -> None:
        for name in ("chunks", "matches"):
            nested = self._nested(name)
            if nested is not None:
                nested._readmit()

    def _whole(self, name: str, value: object) -> int:
        if value is None:
            return 0
        number = _plain(value)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        return int(number) if isinstance(number, int) else self._refuse(name, "an int", value)

    @property
    def mime_type(self) -> str:
        """The media type, such as 'image/png'; ''. Setting takes a file name or extension too: 'jpg', 'a.mp3'."""
        return self._mime_type or ""

    @mime_type.setter
    def mime_type(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            self._refuse("mime_type", "a str", value)
        self._mime_type = media_type(value) if value else value

    @property
    def uri(self) -> str:
        """Where the content is: a path, URL or data URI; ''. Setting it sets `mime_type` too where that can be told."""
        return self._uri or ""

    @uri.setter
    def uri(self, value: str | PathLike[str] | None) -> None:
        if value is None:
            self._uri = None
            return
        path = fspath(value) if isinstance(value, PathLike) else value
        if not isinstance(path, str):
            self._refuse("uri", "a str or a path", value)
        self._uri = path
        guessed = mimetypes.guess_type(path)[0] if path else None
        if guessed is not None:
            self._mime_type = guessed

    @property
    def tags(self) -> dict[str, Any]:
        """Free nested data: str, numbers, bools, None, lists, dicts, and what `docarray.tagged` can say."""
        found = self._tags
        if found is None:
            found = self._tags = {}
        return found

    @tags.setter
    def tags(self, value: Mapping[str, Any] | None) -> None:
        if value is None or type(value) is dict:
            self._tags = value
        elif isinstance(value, Mapping):
            self._tags = dict(value)
        else:
            self._refuse("tags", "a dict", value)

    def _rare(self, name: str, value: Any) -> None:
        more = self._more
        if value is not None:
            if more is None:
                more = self._more = {}
            more[name] = value
        elif more is not None:
            more.pop(name, None)

    def _number(self, name: str, value: object) -> None:
        number = _plain(value)
        if number is not None and not isinstance(number, Real):
            self._refuse(name, "a number", value)
        self._rare(name, number)

    @property
    def weight(self) -> float:
        """The weight of this document among others, without unit; 0.0."""
        return (self._more or _NOTHING).get("weight", 0.0)

    @weight.setter
    def weight(self, value: float | None) -> None:
        self._number("weight", value)

    @property
    def offset(self) -> float:
        """The position of this fragment in its parent; 0.0."""
        return (self._more or _NOTHING).get("offset", 0.0)

    @offset.setter
    def offset(self, value: float | None) -> None:
        self._number("offset", value)

    @property
    def location(self) -> list[float]:
        """The place of this fragment in its parent, such as a crop box (top, left, height, width)."""
        if self._more is None or "location" not in self._more:
            self._rare("location", [])
        return cast("dict[str, Any]", self._more)["location"]

    @location.setter
    def location(self, value: Iterable[float] | None) -> None:
        if value is None:
            self._rare("location", None)
            return
        numbers = (
            tensors.to_numpy(value).tolist() if tensors.framework(value) not in (None, "list") else value
        )
        if not isinstance(numbers, (list, tuple)) or not all(
            isinstance(n, Real) for n in cast("list[Any]", numbers)
        ):
            self._refuse("location", "a list of numbers", value)
        self._rare("location", list(cast("list[float]", numbers)))

    @property
    def modality(self) -> str:
        """A free word for the medium: 'image', 'text'; ''."""
        return (self._more or _NOTHING).get("modality", "")

    @modality.setter
    def modality(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            self._refuse("modality", "a str", value)
        self._rare("modality", value)

    @property
    def scores(self) -> Scores:
        """Scores by name, filled by `find` and `match`; a name that is read first is made."""
        found = self._scores
        if found is None:
            found = self._scores = Scores()
        return found

    @scores.setter
    def scores(self, value: Mapping[str, Any] | None) -> None:
        self._scores = self._as_scores("scores", value)

    @property
    def evaluations(self) -> Scores:
        """Scores by metric, filled by `evaluate`; a name that is read first is made."""
        if self._more is None or "evaluations" not in self._more:
            self._rare("evaluations", Scores())
        return cast("dict[str, Any]", self._more)["evaluations"]

    @evaluations.setter
    def evaluations(self, value: Mapping[str, Any] | None) -> None:
        self._rare("evaluations", self._as_scores("evaluations", value))

    def _as_scores(self, name: str, value: object) -> Scores | None:
        if value is None or type(value) is Scores:
            return value
        if not isinstance(value, Mapping):
            self._refuse(name, "a dict of scores", value)
        try:
            return Scores(cast("Mapping[str, Any]", value))
        except (FieldTypeError, UnknownField) as error:
            raise type(error)(f"field {name!r} of document {self.id!r}: {error}") from None

    @property
    def _metadata(self) -> dict[str, Any]:
        """Private data of the library, kept in every format: the schema of a multimodal document."""
        if self._more is None or "_metadata" not in self._more:
            self._rare("_metadata", {})
        return cast("dict[str, Any]", self._more)["_metadata"]

    @_metadata.setter
    def _metadata(self, value: Mapping[str, Any] | None) -> None:  # pyright: ignore[reportUnusedFunction]
        if value is not None and not isinstance(value, Mapping):
            self._refuse("_metadata", "a dict", value)
        self._rare("_metadata", None if value is None else dict(value))
        shape(self)

    # ------------------------------------------------------------------------------------------ nested

    @property
    def chunks(self) -> ChunkArray[Document]:
        """The documents that this one is made of, one level finer. They know their parent."""
        found = self._chunks
        if not isinstance(found, Links.array):  # pyright: ignore[reportArgumentType]
            found = self._chunks = Links.nest("chunks", self, found)
        return cast("Any", found)

    @chunks.setter
    def chunks(self, value: Document | Iterable[Document] | None) -> None:
        self._chunks = None if value is None else Links.nest("chunks", self, value)

    @property
    def matches(self) -> MatchArray[Document]:
        """The documents found for this one, at its own level."""
        found = self._matches
        if not isinstance(found, Links.array):  # pyright: ignore[reportArgumentType]
            found = self._matches = Links.nest("matches", self, found)
        return cast("Any", found)

    @matches.setter
    def matches(self, value: Document | Iterable[Document] | None) -> None:
        self._matches = None if value is None else Links.nest("matches", self, value)

    # ------------------------------------------------------------------------------------------ as a whole

    def _raw(self, name: str) -> Any:
        """The value of a field as it is set, without making a default; None when unset."""
        return _RAW[name](self)

    def _filled(self, name: str) -> Any:
        """The value of a field; None when it is unset or equals its default."""
        value = _RAW[name](self)
        return None if value is None or _is_empty(value) else value

    @property
    def non_empty_fields(self) -> tuple[str, ...]:
        """Names of the fields that differ from their defaults, in canonical order."""
        return tuple(name for name in FIELDS if self._filled(name) is not None)

    @property
    def content_hash(self) -> int:
        """128 bits of a digest over every field but id and parent_id: alike in every process, for equal contents."""
        digest = hashlib.blake2b(digest_size=16)
        for name, field in FIELDS.items():
            value = None if name in ("id", "parent_id") else self._filled(name)
            if value is None:
                continue
            digest.update(b"\0" + name.encode() + b"\0")
            if field.kind == "bytes":
                digest.update(len(value).to_bytes(8, "big"))  # the bytes could spell what follows them
                digest.update(value)
            elif field.kind == "tensor":
                tensors.digest(value, digest)
            elif field.kind == "docs":
                for doc in self.chunks if name == "chunks" else self.matches:
                    digest.update(doc.content_hash.to_bytes(16, "big"))
            else:
                digest.update(tagged.dumps(_sorted(value)).encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest(), "big")

    @property
    def nbytes(self) -> int:
        """Bytes of the document in the native format."""
        return len(bytes(self))

    def get_attributes(self, *names: str | tuple[str | int, ...]) -> Any:
        """Values of fields or paths: 'text', 'tags__a__0', `('tags', 'a__b', 0)`; one is given unboxed.

        Raises:
            UnknownField: the path begins with no field; a missing key gives None.

        >>> Document(tags={'a': [1, 2]}, text='x').get_attributes('tags__a__1', 'text')
        [2, 'x']
        """
        values = [self._at(name) for name in names]
        return values[0] if len(values) == 1 else values

    _get_attributes = get_attributes

    def _at(self, path: str | tuple[str | int, ...]) -> Any:
        if type(path) is str and path in _RAW:
            return getattr(self, path)
        parts = parse_dunder(path)
        if parts[0] not in FIELDS and not hasattr(type(self), str(parts[0])):
            raise UnknownField(f"a Document has no field {parts[0]!r}. {near_miss(parts[0], _NAMES)}")
        return lookup(self, parts)

    def pop(self, *fields: str) -> None:
        """Unsets the fields of these names; names that are none are passed over."""
        for name in fields:
            if name in _NAMES:
                setattr(self, name, None)

    def clear(self) -> None:
        """Unsets every field, the id too."""
        # Nested documents go first: they keep what they say of their parent, as all that are taken out do.
        for name in reversed(list(FIELDS)):
            setattr(self, name, None)

    def copy_from(self, other: Document) -> None:
        """Makes this a deep copy of `other`, its id too."""
        if not isinstance(other, Document):
            raise FieldTypeError(f"copy_from takes a Document; got {type(other).__name__}")
        self._become(other if other._target() is self._target() else copying.deepcopy(other))

    def _target(self) -> Document:
        """The document itself; of a second name the one that it stands for."""
        return self

    def _become(self, other: Document, place: tuple[str, int, int] | None = None) -> None:
        """Takes over every field of `other`, its id and nested documents too; arrays are shared, not copied.

        `place`: what to say of its own parent and depth instead of what `other` says of its own.
        """
        if other._target() is self._target():
            return
        nested = [
            None if found is None else list(found)
            for found in (other._nested("chunks"), other._nested("matches"))
        ]
        vector = other._vector()
        # A row of a matrix is written to when the embedding of its document changes: that is no row to share.
        self.embedding = vector if other._vectors is None else copied(vector)
        self._chunks = self._matches = None
        self.id = other.id
        self._content = other._content
        self._tags = None if other._tags is None else dict(other._tags)
        self._scores = None if other._scores is None else Scores(copying.deepcopy(other._scores))
        self._uri, self._mime_type = other._uri, other._mime_type
        self._more = None if other._more is None else copying.deepcopy(other._more)
        self._place = place or other._place
        self.chunks, self.matches = nested

    def _nested(self, name: str) -> Any:
        """The chunks or matches; None where there are none, and then no array is made."""
        found = getattr(self, "_" + name)
        return getattr(self, name) if found is not None and len(found) else None

    def _copy_slots(self, other: Document, *, deep: bool, memo: dict[int, Any] | None = None) -> None:
        """Takes over every field of `other`; nested arrays are told that this is their document."""
        self._id = other.id if other._id is not _NO_ID else _NO_ID
        other._give_content(self, deep=deep)
        self._tags = copying.deepcopy(other._tags) if deep else other._tags
        vector = other._vector()
        self._embedding = copied(vector) if deep or other._vectors is not None else vector
        self._vectors = None
        self._scores = None if other._scores is None else copying.deepcopy(other._scores)
        self._uri, self._mime_type, self._place = other._uri, other._mime_type, other._place
        self._more = None if other._more is None else copying.deepcopy(other._more)
        for name in ("_chunks", "_matches"):
            nested = getattr(other, name)
            if nested is not None and len(nested):
                docs = list(other._nested(name[1:]))
                setattr(self, name[1:], copying.deepcopy(docs, memo) if deep else docs)
        if self._more is not None:
            shape(self)

    def _give_content(self, other: Document, *, deep: bool) -> None:
        """Gives another document the content of this one."""
        value = self._content
        other._content = copied(value) if deep else value

    def __copy__(self) -> Document:
        fresh = class_of(self).__new__(class_of(self))
        _blank(fresh)
        fresh._copy_slots(self, deep=False)
        fresh._tags = None if self._tags is None else dict(self._tags)
        _own(fresh).update(_own(self._target()))
        return fresh

    def __deepcopy__(self, memo: dict[int, Any]) -> Document:
        fresh = class_of(self).__new__(class_of(self))
        _blank(fresh)
        memo[id(self)] = fresh
        fresh._copy_slots(self, deep=True, memo=memo)
        _own(fresh).update(copying.deepcopy(_own(self._target()), memo))
        return fresh

    def _hit(self) -> Document:
        """A light copy for search results: no matches; containers are copied, large arrays lent read-only."""
        hit = Document.__new__(Document)
        _blank(hit)
        hit._id = self.id
        self._lend_content(hit)
        tags = self._tags
        hit._tags = copy_tags(tags) if tags else None
        vector = self._vector()
        hit._embedding = vector if vector is None else copied(vector)
        hit._uri, hit._mime_type, hit._place = self._uri, self._mime_type, self._place
        if self._more is not None:
            hit._more = copying.deepcopy(self._more)
            shape(hit)
        if self._scores:
            hit._scores = Scores(copying.deepcopy(self._scores))
        if self._chunks is not None and len(self._chunks):
            hit._chunks = CopyOf(self._chunks)
        return hit

    def _lend_content(self, hit: Document) -> None:
        """Gives a hit the content of this document; a large array is lent read-only."""
        content = self._content
        if type(content) is np.ndarray:
            content = content.view()
            content.flags.writeable = False
        elif type(content) not in _ATOMS:
            content = copied(content)  # no other framework can lend what nobody may write to
        hit._content = content

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Document) or class_of(self) is not class_of(other):
            return NotImplemented
        for name, field in FIELDS.items():
            mine, theirs = self._filled(name), other._filled(name)
            if mine is theirs:
                continue
            if mine is None or theirs is None:
                return False
            if field.kind == "tensor":
                if not tensors.equal(mine, theirs):
                    return False
            elif field.kind == "docs":
                if list(getattr(self, name)) != list(getattr(other, name)):
                    return False
            elif not _same_data(mine, theirs):
                return False
        return True

    def __hash__(self) -> int:
        """The hash of the id: equal documents have equal ids."""
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<{class_of(self).__name__} {self.non_empty_fields!r} at {self.id}>"

    def __getattr__(self, name: str) -> Any:
        if name[0] == "_":  # no field of anybody
            raise UnknownField(f"a Document has no field {name!r}.")
        try:  # a document among chunks that are all made is had without a detour: as `attribute_of` would give it
            entry = cast("Any", self._more)["_metadata"]["multi_modal_schema"][name]
            at, nested = entry["position"], self._chunks
            if (
                type(at) is int
                and at >= 0
                and type(nested) is Links.chunks
                and entry["attribute_type"] in _SINGLE
            ):
                body: Any = nested._slots
                if body.rows is None:
                    return body.items[at]
        except (KeyError, TypeError, IndexError):
            pass  # what is wrong is said below
        if schema := schema_of(self):
            found = attribute_of(self, name)
            if found is not None:
                return found
            names = (*_NAMES, *schema)
            raise UnknownField(
                f"multimodal document {self.id!r} has no field {name!r}. {near_miss(name, names)}"
            )
        raise UnknownField(f"a Document has no field {name!r}. {near_miss(name, _NAMES)}")

    # ------------------------------------------------------------------------------------------ in and out

    def to_bytes(self, protocol: str | None = None, compress: str | None = None, **options: Any) -> bytes:
        """The document as bytes, with everything nested in it.

        Args:
            protocol: the name of a format: 'binary' (the default: native and lossless), 'protobuf', 'json',
                'pickle', or any other that `DocumentArray.to_bytes` takes.
            compress: 'lz4', 'zstd', 'gzip', 'bz2', 'lzma', 'zlib', or None.
            options: of the format.

        Raises:
            UnknownName: no such format or compression. FieldTypeError: the format cannot say a value.

        >>> Document(id='a', text='hi').to_bytes('protobuf').hex()
        '0a016122026869'
        """
        return exchange.dumps_record(record_of(self), protocol, compress, **options)

    @classmethod
    def from_bytes(
        cls,
        data: bytes | bytearray | memoryview,
        protocol: str | None = None,
        compress: str | None = None,
        **options: Any,
    ) -> Self:
        """The document that `to_bytes` wrote.

        Args:
            data: bytes-like.
            protocol: the format; None finds it by content where it has a mark, as the native one does.
            compress: None finds it by content; 'zlib' must be named.
            options: `max_size` as in `DocumentArray.from_bytes`, and those of the format.

        Raises:
            CorruptData: the bytes are damaged, or hold another number of documents than one.
            UnsupportedFormat: no format knows them.
        """
        return cls._of_record(exchange.loads_record(data, protocol, compress, **options))

    def __bytes__(self) -> bytes:
        return self.to_bytes()

    def to_base64(self, protocol: str | None = None, compress: str | None = None, **options: Any) -> str:
        """`to_bytes` in base64, in the standard alphabet."""
        return base64.b64encode(self.to_bytes(protocol, compress, **options)).decode()

    @classmethod
    def from_base64(
        cls, data: str, protocol: str | None = None, compress: str | None = None, **options: Any
    ) -> Self:
        """The document that `to_base64` wrote; see `from_bytes`."""
        return cls.from_bytes(exchange.unbase64(data), protocol, compress, **options)

    def to_dict(
        self, protocol: Literal["jsonschema", "protobuf"] = "jsonschema", **kwargs: Any
    ) -> dict[str, Any]:
        """The document as a dict of what JSON can say.

        Args:
            protocol: 'jsonschema' (keys are the fields), or 'protobuf' (keys and values as protobuf's JSON has them).
            kwargs: `exclude_none`, `arrays`; for 'protobuf' those of `MessageToDict`.
        """
        return exchange.to_dict(record_of(self), protocol, **kwargs)

    @classmethod
    def from_dict(
        cls,
        obj: Mapping[str, Any],
        protocol: Literal["jsonschema", "protobuf"] | None = "jsonschema",
        **kwargs: Any,
    ) -> Self:
        """The document that `to_dict` wrote.

        Args:
            obj: a dict of fields.
            protocol: as in `to_dict`; None takes keys that are no field as tags.

        Raises:
            CorruptData: a value is of another type than its field.
        """
        return cls._of_record(exchange.from_dict(obj, protocol, **kwargs))

    def to_json(self, protocol: Literal["jsonschema", "protobuf"] = "jsonschema", **kwargs: Any) -> str:
        """The document as one JSON object; see `to_dict`."""
        return exchange.to_json(record_of(self), protocol, **kwargs)

    @classmethod
    def from_json(
        cls,
        obj: str | bytes | bytearray,
        protocol: Literal["jsonschema", "protobuf"] | None = "jsonschema",
        **kwargs: Any,
    ) -> Self:
        """The document that `to_json` wrote.

        Raises:
            CorruptData: this is no JSON, or not of a document.
        """
        return cls._of_record(exchange.from_json(obj, protocol, **kwargs))

    def to_protobuf(self, ndarray_type: Literal["list", "numpy"] | None = None) -> Any:
        """The document as a `DocumentProto` message of the package `docarray.proto`.

        Args:
            ndarray_type: 'list' or 'numpy' converts all arrays first, those of nested documents too.
        """
        return exchange.to_message(record_of(self), ndarray_type)

    @classmethod
    def from_protobuf(cls, pb_msg: Any) -> Self:
        """The document that a `DocumentProto` message holds.

        Raises:
            CorruptData: an array in it is not what it says of itself.
        """
        return cls._of_record(exchange.from_message(pb_msg))

    def to_pydantic_model(self) -> PydanticDocument:
        """The document as a model of pydantic, with arrays as lists; see `docarray.web.models`. Needs pydantic.

        Raises:
            MissingExtra: there is no pydantic. FieldTypeError: JSON cannot say a value.

        >>> Document(text='hi').to_pydantic_model().text
        'hi'
        """
        return registry.room("models").to_model(self)

    @classmethod
    def from_pydantic_model(cls, model: BaseModel) -> Self:
        """The document of a model of pydantic: of what `to_pydantic_model` gave, or any other with such fields.

        What is no field becomes a tag; an id is drawn where there is none.

        Raises:
            CorruptData: a value is none of its field; the message names it.
        """
        return registry.room("models").from_model(cls, model)

    @classmethod
    def get_json_schema(cls, indent: int | None = 2) -> str:
        """The JSON Schema of `PydanticDocument`, as text; `indent` is that of `json.dumps`."""
        return registry.resolve("room", "models").json_schema(Document, indent)

    def to_strawberry_type(self) -> StrawberryDocument:
        """The document as an object of strawberry, for resolvers of GraphQL to give; arrays are shared with it.

        Raises:
            MissingExtra: there is no strawberry.

        >>> Document(text='hi').to_strawberry_type().text
        'hi'
        """
        return registry.resolve("room", "strawberry_types").to_object(self)

    @classmethod
    def from_strawberry_type(cls, model: StrawberryDocument | StrawberryDocumentInput) -> Self:
        """The document of an object of strawberry, as resolvers of GraphQL take it; an id is drawn where there is none.

        Raises:
            FieldTypeError: it is no such object, or has a value of another type than its field.
        """
        return registry.resolve("room", "strawberry_types").from_object(cls, model)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return registry.resolve("room", "models").document_core_schema(cls, source, handler)

    @staticmethod
    def generator_from_webcam(
        height_width: tuple[int, int] | None = None,
        show_window: bool = True,
        window_title: str = "webcam",
        fps: int = 30,
        exit_key: int = 27,
        exit_event: Any = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Generator[Document]:
        """A document for each frame of a camera; see `docarray.loaders.generator_from_webcam`. Needs OpenCV."""
        return registry.resolve("room", "loaders").generator_from_webcam(
            height_width, show_window, window_title, fps, exit_key, exit_event, tags
        )

    @classmethod
    def _of_record(cls, record: Record) -> Self:
        """The document of a record from elsewhere, of which nothing is believed."""
        if record.get("chunks") or record.get("matches"):
            found: Any = Links.array(exchange.settled_record(record))[0]
            if cls is Document:
                return found
            doc = cls.__new__(cls)
            _blank(doc)
            doc._copy_slots(found, deep=False)
            return doc
        doc = cls.__new__(cls)
        _blank(doc)
        key = record.get("id")
        doc._id = key if type(key) is str else new_id() if key is None else cell_of("id", key, "")
        for name, value in record.items():
            if name == "text" and type(value) is str:
                doc._content = value
            elif name == "tags" and type(value) is dict:
                doc._tags = value
            elif name == "embedding" and type(value) is _ndarray:
                doc._embedding = value
            elif value is not None and name not in ("id", "chunks", "matches"):
                _put_raw(doc, name, cell_of(name, value, doc._id))
        shape(doc)
        return doc

    def __reduce__(self) -> tuple[Any, ...]:
        if class_of(self) is Document:
            return _unpickled, (self.to_bytes(),)
        return cast("tuple[Any, ...]", super().__reduce__())

    def __getstate__(self) -> Any:  # of subclasses
        own = getattr(self, "__dict__", {})
        return {**own, "": Document(self, copy=True)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _blank(self)
        self._copy_slots(state.pop(""), deep=False)
        if state:
            self.__dict__.update(state)

    # ------------------------------------------------------------------------------------------ words and vectors

    def get_vocabulary(self, text_attrs: Sequence[str] = ("text",)) -> Counter[str]:
        """How often each word stands in the text, or in other attributes; in the order of first sight.

        Args:
            text_attrs: names or paths, such as 'text' and 'tags__title'; what is unset has no words.

        Raises:
            UnknownField: a Document has no such field. FieldTypeError: one of them is no text.

        >>> Document(text='To be, or not to be!').get_vocabulary()
        Counter({'to': 2, 'be': 2, 'or': 1, 'not': 1})
        """
        counts: Counter[str] = Counter()
        for name in [text_attrs] if isinstance(text_attrs, str) else text_attrs:
            value = self._at(name)
            if isinstance(value, str):
                counts.update(words(value))
            elif value is not None:
                raise FieldTypeError(
                    f"{name!r} of document {self.id!r} is no text, but a {type(value).__name__}"
                )
        return counts

    def convert_text_to_tensor(
        self, vocab: Mapping[str, int], max_length: int | None = None, dtype: npt.DTypeLike = "int64"
    ) -> Self:
        """Puts the ids of the words of the text, a tensor (max_length,), in its place.

        Args:
            vocab: word to id, as `DocumentArray.get_vocabulary` gives it; a word that it does not have is 1.
            max_length: a shorter text is padded with 0 on the left, of a longer one the last words stay; None takes
                every word.
            dtype: of the tensor.

        Raises:
            BadValue: the document holds a blob or a tensor; or an id does not fit into `dtype`.

        >>> Document(text='to be').convert_text_to_tensor({'to': 2}, max_length=3).tensor.tolist()
        [0, 2, 1]
        """
        if not isinstance(self._content, str) and self._content is not None:
            raise BadValue(f"document {self.id!r} has no text to convert: it holds a {self.content_type}")
        self.tensor = word_ids(self.text, vocab, max_length, dtype)
        return self

    def convert_tensor_to_text(self, vocab: Vocabulary, delimiter: str = " ") -> Self:
        """Puts the words of the ids in the tensor, a text, in its place.

        Args:
            vocab: word to id, or id to word. Id 0 is passed over; 1, and one without a word, is '<UNK>'.
            delimiter: stands between the words.

        Raises:
            BadValue: there is no tensor, or it is not one of whole numbers (n,).

        >>> Document(tensor=[0, 2, 1]).convert_tensor_to_text({2: 'to'}).text
        'to <UNK>'
        """
        ids = self.tensor
        if ids is None:
            raise BadValue(f"document {self.id!r} has no tensor of word ids to convert: its tensor is None")
        self.text = text_of(tensors.to_numpy(ids), vocab, delimiter)
        return self

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
        """Sets the embedding to what a model gives for this document: see `DocumentArray.embed`."""
        Links.array([self]).embed(
            embed_model, device, batch_size, to_numpy, collate_fn, show_progress=show_progress, embedding=embedding
        )  # fmt: skip
        return self

    def embed_feature_hashing(
        self,
        n_dim: int = 256,
        sparse: bool = False,
        fields: Sequence[str] = ("text", "tags"),
        max_value: float = 1_000_000,
    ) -> Self:
        """Sets the embedding to a hash of the words and tags: see `DocumentArray.embed_feature_hashing`.

        >>> doc = Document(text='hello world').embed_feature_hashing(n_dim=16)
        >>> doc.embedding.shape, float(abs(doc.embedding).sum())
        ((16,), 2.0)
        """
        Links.array([self]).embed_feature_hashing(n_dim, sparse, fields, max_value)
        return self

    def match(self, darray: DocumentArray[Any] | None, **kwargs: Any) -> Self:
        """Sets `matches` to the documents of `darray` that are nearest: arguments as of `DocumentArray.match`."""
        Links.array([self]).match(darray, **kwargs)
        return self

    # ------------------------------------------------------------------------------------------ on sight

    def summary(self) -> None:
        """Prints this document and what is nested in it as a tree."""
        registry.resolve("room", "display").show(self)

    def __rich_console__(self, console: Any, options: Any) -> Any:
        yield registry.resolve("room", "display").rich_of(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        return registry.resolve("room", "display").html_of(self)

    # ------------------------------------------------------------------------------------------ errors

    def _refuse(self, name: str, wanted: str, value: object) -> Any:
        raise _wrong(name, wanted, value, self)


_TARGET: Final[Any] = Document.__dict__["_row"]


class _Alias(Document):
    """What `Document(doc)` gives: a second name. Each slot is the slot of the document that it stands for."""

    __slots__ = ()

    def _target(self) -> Document:
        return _TARGET.__get__(self)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_TARGET.__get__(self), name, value)


class _FirstVectors(dict[str, Any]):
    """The named embeddings of a document that has none: it gets them with the first that is put in."""

    def __init__(self, doc: Document) -> None:
        super().__init__()
        self._doc = doc

    def __setitem__(self, name: str, vector: Any) -> None:
        super().__setitem__(name, vector)
        self._doc.embeddings = {**(self._doc.embeddings or {}), name: vector}

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, vector in dict(*args, **kwargs).items():
            self[name] = vector

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]


class _Shaped(Document):
    """A document that a dataclass made: its fields can be set by name. Its class shows as Document."""

    __slots__ = ()
    _is_guise: ClassVar[bool] = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _SETTABLE and name in schema_of(self):
            self.set_multi_modal_attribute(name, value)
        else:
            object.__setattr__(self, name, value)


def shape(doc: Document) -> None:
    """Lets the fields of a document be set by name, if a dataclass made it."""
    if type(doc) is Document and doc._more is not None and schema_of(doc):
        doc.__class__ = _Shaped


class _Load:
    """What stands in the slot of the content of a pending document: its load, and what that has put there so far."""

    __slots__ = ("content", "load", "lock", "thread")

    def __init__(self, load: Callable[[Document], object]) -> None:
        self.load = load
        self.lock = threading.RLock()
        self.thread = 0  # the one that is loading
        self.content: Any = None

    @property
    def is_ours(self) -> bool:
        """Whether this thread is loading: it alone sees the document as it is by now."""
        return self.thread == threading.get_ident()


class Pending(Document):
    """A document whose content is loaded when it is first asked for; from then on it is a document like any other.

    Its class shows as Document. What asks: `text`, `blob`, `tensor`, `content`, `tags`, `chunks`, comparing, writing it
    anywhere. What does not: `id`, `uri`, `modality`, `embedding`, `repr`, copying it, finding it. It loads once: other
    threads that ask meanwhile wait.
    """

    __slots__ = ()
    _is_guise: ClassVar[bool] = True

    @staticmethod
    def of(doc: Document, load: Callable[[Document], object]) -> Document:
        """Makes `load(doc)` fill the document when its content is first asked for; gives the document.

        A load that raises leaves it pending: whoever asks sees the error, and may ask again.
        """
        doc._content = _Load(load)
        doc.__class__ = Pending
        return doc

    def _load(self) -> None:
        held = _HELD.__get__(self)
        if type(held) is not _Load or held.is_ours:
            return
        with held.lock:
            if _HELD.__get__(self) is not held:  # it came while we waited
                return
            before = self._tags, self._uri, self._mime_type, self._more, self._chunks
            held.thread = threading.get_ident()
            try:
                held.load(self)
            except BaseException:
                self._tags, self._uri, self._mime_type, self._more, self._chunks = before
                held.content = None
                raise
            finally:
                held.thread = 0
            self._turn_into(held.content)

    def _turn_into(self, content: Any) -> None:
        _HELD.__set__(self, content)  # before the class, which says that it is there
        self.__class__ = cast("Any", Document)

    @property
    def _content(self) -> Any:
        self._load()
        held = _HELD.__get__(self)
        return held.content if type(held) is _Load else held

    @_content.setter
    def _content(self, value: Any) -> None:
        held = _HELD.__get__(self)
        if type(held) is not _Load:
            self._turn_into(value)
        elif held.is_ours:
            held.content = value
        else:
            with held.lock:
                self._turn_into(value)

    @property
    def tags(self) -> dict[str, Any]:
        """Free nested data, some of which the load may bring."""
        self._load()
        return cast("Any", Document.tags).fget(self)

    @tags.setter
    def tags(self, value: Mapping[str, Any] | None) -> None:
        cast("Any", Document.tags).fset(self, value)

    @property
    def chunks(self) -> ChunkArray[Document]:
        """The documents below, which the load may bring."""
        self._load()
        return cast("Any", Document.chunks).fget(self)

    @chunks.setter
    def chunks(self, value: Document | Iterable[Document] | None) -> None:
        cast("Any", Document.chunks).fset(self, value)

    def _give_content(self, other: Document, *, deep: bool) -> None:
        held = _HELD.__get__(self)
        if type(held) is _Load and not held.is_ours:
            Pending.of(other, held.load)
        else:
            super()._give_content(other, deep=deep)

    def _lend_content(self, hit: Document) -> None:
        held = _HELD.__get__(self)
        if type(held) is _Load and not held.is_ours:
            Pending.of(hit, held.load)
        else:
            super()._lend_content(hit)

    def __repr__(self) -> str:
        return f"<Document (pending) at {self.id}>"


_HELD: Final[Any] = Document.__dict__["_content"]
_SETTABLE: Final = frozenset((*Document.__slots__, *_NAMES, "_metadata"))


def _stand_in(name: str) -> Any:
    return property(lambda alias: getattr(_TARGET.__get__(alias), name))


for _name in (*Document.__slots__, *_NAMES):
    setattr(_Alias, _name, _stand_in(_name))


class IdChanges:
    """Counts how often a document got another id, so that lookups by id know when to look again."""

    count = 0


class CopyOf:
    """Stands in the slot of chunks until they are read: copies of the chunks that another document had just now."""

    __slots__ = ("source",)

    def __init__(self, nested: Any) -> None:
        if isinstance(nested, CopyOf):
            self.source: Any = nested.source
        else:  # a stretch of rows, or an array, which may grow or shrink before these are read
            self.source = nested.slots() if hasattr(nested, "slots") else nested._slots.select(slice(None))

    def __len__(self) -> int:
        return len(self.source)

    def docs(self) -> list[Document]:
        """The copies, made now."""
        return [copying.deepcopy(doc) for doc in self.source]


_NOTHING: Final[Mapping[str, Any]] = {}

_FIRST: Final = ("id", "text", "blob", "tensor", "content", "uri", "mime_type")
_LAST: Final = ("chunks", "matches")  # they are told the id and depth of their parent
_CONSTRUCTED: Final = (
    *_FIRST,
    *(name for name in FIELDS if name not in (*_FIRST, *_LAST)),
    "embeddings",
    *_LAST,
)
_KNOWN: Final = frozenset(_CONSTRUCTED)
"""The order in which a constructor sets fields: of several contents the last counts, and `mime_type` beats `uri`."""


def _more_reader(name: str) -> Callable[[Document], Any]:
    return lambda doc: None if doc._more is None else doc._more.get(name)


def _place_reader(part: int) -> Callable[[Document], Any]:
    return lambda doc: None if doc._place is None else doc._place[part] or None


_RAW: Final[Mapping[str, Callable[[Document], Any]]] = {
    "id": lambda doc: doc.id,
    "parent_id": _place_reader(0),
    "granularity": _place_reader(1),
    "adjacency": _place_reader(2),
    "blob": lambda doc: doc._content if isinstance(doc._content, bytes) else None,
    "tensor": lambda doc: None if isinstance(doc._content, (str, bytes)) else doc._content,
    "mime_type": lambda doc: doc._mime_type,
    "text": lambda doc: doc._content if isinstance(doc._content, str) else None,
    "weight": _more_reader("weight"),
    "uri": lambda doc: doc._uri,
    "tags": lambda doc: doc._tags,
    "_metadata": _more_reader("_metadata"),
    "offset": _more_reader("offset"),
    "location": _more_reader("location"),
    "embedding": Document._vector,
    "modality": _more_reader("modality"),
    "evaluations": _more_reader("evaluations"),
    "scores": lambda doc: doc._scores,
    "chunks": lambda doc: doc._chunks,
    "matches": lambda doc: doc._matches,
}


def record_of(doc: Document) -> Record:
    """What is set of a document, as formats take it; values are shared with the document."""
    doc = doc._target()
    record: Record = {"id": doc.id}
    content = doc._content
    if doc._place is not None:
        record.update((name, value) for name, value in zip(_PLACES, doc._place, strict=True) if value)
    if content is not None and not isinstance(content, str):
        record["blob" if isinstance(content, bytes) else "tensor"] = content
    if doc._mime_type is not None:
        record["mime_type"] = doc._mime_type
    if isinstance(content, str):
        record["text"] = content
    more = doc._more
    if more is not None and "weight" in more:
        record["weight"] = more["weight"]
    if doc._uri is not None:
        record["uri"] = doc._uri
    if doc._tags is not None:
        record["tags"] = doc._tags
    if more is not None:
        record.update((name, more[name]) for name in ("_metadata", "offset", "location") if name in more)
    vector = doc._embedding if doc._vectors is None else doc._vector()
    if vector is not None:
        record["embedding"] = vector
    if more is not None:
        if "modality" in more:
            record["modality"] = more["modality"]
        if "evaluations" in more:
            record["evaluations"] = {key: score.to_dict() for key, score in more["evaluations"].items()}
    if doc._scores is not None:
        record["scores"] = {key: score.to_dict() for key, score in doc._scores.items()}
    if doc._chunks is not None or doc._matches is not None:
        for name in ("chunks", "matches"):
            nested = doc._nested(name)
            if nested:
                record[name] = records_of(nested._slots.table())
    return {name: plain(value) for name, value in record.items()} if doc._is_live else record


def _put_raw(doc: Document, name: str, value: Any) -> None:
    """Sets a field to a value of its type, and no other field with it."""
    slot = _SLOT_OF.get(name)
    if slot is not None:
        setattr(doc, slot, value)
    elif name in _PLACES:
        if value:
            place = list(doc._place or ("", 0, 0))
            place[_PLACES.index(name)] = value
            doc._place = cast("Any", tuple(place))
    elif name == "scores":
        doc._scores = Scores(value)
    else:
        doc._rare(name, Scores(value) if name == "evaluations" else value)


_PLACES = ("parent_id", "granularity", "adjacency")
_SLOT_OF = {
    "text": "_content",
    "blob": "_content",
    "tensor": "_content",
    "tags": "_tags",
    "embedding": "_embedding",
    "uri": "_uri",
    "mime_type": "_mime_type",
}


def _unpickled(data: bytes) -> Document:
    return Document.from_bytes(data)


def _plain(value: Any) -> Any:
    """A numpy scalar as the Python number that it is; anything else as it stands."""
    return cast("Any", value).item() if isinstance(value, np.generic) else value


def _is_empty(value: Any) -> bool:
    if isinstance(value, Real):
        return not value
    return tensors.framework(value) in (None, "list") and len(value) == 0


def _blank(doc: Document) -> None:
    doc._id = doc._content = doc._tags = doc._embedding = doc._chunks = doc._matches = doc._scores = None
    doc._uri = doc._mime_type = doc._place = doc._more = doc._vectors = None


def _own(doc: Document) -> dict[str, Any]:
    """The attributes that an object of a subclass has beside its fields."""
    return doc.__dict__ if type(doc).__dictoffset__ else {}


def class_of(doc: Document) -> type[Document]:
    """The class that a document shows: not that of a second name, nor of a row of a store."""
    kind = type(doc._target()) if isinstance(doc, _Alias) else type(doc)
    return Document if kind._is_live or kind._is_guise else kind


def copied(value: Any) -> Any:
    """A copy of an array of any framework; detached, where it could have a gradient."""
    if type(value) is np.ndarray:
        return value.copy()
    if tensors.framework(value) == "torch":
        return value.detach().clone()
    return copying.deepcopy(value)


_ATOMS: Final = frozenset({str, int, float, bool, type(None), bytes})


def copy_tags(value: dict[str, Any]) -> dict[str, Any]:
    """A copy of tags at every depth, quick for flat ones."""
    fresh = value.copy()
    for key, item in value.items():
        if type(item) not in _ATOMS:
            fresh[key] = copying.deepcopy(item)
    return fresh


def _same_data(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except (ValueError, RuntimeError):  # tags may hold arrays, whose == is no truth value
        if isinstance(a, dict):
            mine, theirs = cast("dict[Any, Any]", a), cast("dict[Any, Any]", b)
            return mine.keys() == theirs.keys() and all(_same_data(v, theirs[key]) for key, v in mine.items())
        if type(a) in (list, tuple) and type(a) is type(b):
            pairs = zip(a, b, strict=True)
            return len(a) == len(b) and all(_same_data(x, y) for x, y in pairs)
        return tensors.framework(a) is not None and tensors.framework(b) is not None and tensors.equal(a, b)


def _sorted(value: Any) -> Any:
    """The value with the keys of every dict in one order and scores as dicts, so that equals are written alike."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {
            key: _sorted(item) for key, item in sorted(items, key=lambda pair: (str(pair[0]), repr(pair[0])))
        }
    if isinstance(value, (list, tuple)):
        items = [_sorted(item) for item in cast("list[Any]", value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (set, frozenset)):  # in an order that is another in every process
        return {"": sorted(tagged.dumps(_sorted(item)) for item in cast("set[Any]", value))}
    if isinstance(value, np.generic):
        return _sorted(value.item())
    if isinstance(value, np.ndarray):
        digest = hashlib.blake2b(digest_size=16)
        tensors.digest(value, digest)
        return {"": digest.hexdigest()}
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1.0 equals 1
    return int(value) if type(value) is bool else value


@functools.lru_cache(maxsize=1024)
def media_type(value: str) -> str:
    """The media type that a name of one, an extension or a file name means; what is unknown is given back."""
    if not mimetypes.inited:
        mimetypes.init()
    if value in mimetypes.types_map.values():
        return value
    # A name that begins with its only dot, '.jpg', would be taken for a hidden file without extension.
    guessed = mimetypes.guess_type(f"*{value}" if "." in value else f"*.{value}")[0]
    return guessed or value


def _wrong(name: str, wanted: str, value: object, doc: Document) -> FieldTypeError:
    given = doc._id if type(doc._id) is str else None
    where = f" of document {given!r}" if given else ""
    return FieldTypeError(f"field {name!r}{where} takes {wanted}; got {type(value).__name__}: {value!r:.80}")

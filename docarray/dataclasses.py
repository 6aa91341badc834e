"""Dataclasses whose objects are documents: `Document(page)` of an object, `Page(doc)` of a document.

Rule 1: a class is looked at once. Its Plan holds, for each field, the two functions that write and read it; what names
        a class that is not there yet (itself, a later one) is settled when the first object is converted.
Rule 2: a field is a tag of the root (plain values), or a chunk (media, dataclasses, and lists and dicts of these); the
        schema in `_metadata` says which, as the old library wrote it. None is neither: it is left out.
Rule 3: who raises says what is wrong with a value; on the way out each level adds where it was.
Rule 4: the schema of a class is one dict that all of its documents share; nobody changes it.
Rule 5: a value that came over a wire which knows no ints, bools or dates becomes what the annotation says.
"""

# pyright: reportPrivateUsage=false
# The modules above floor 5 that make documents by the thousand are friends too: they fill fresh ones slot by slot.

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import numbers
import pathlib
import re
import sys
import typing
import uuid
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType, GenericAlias, UnionType
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar, cast, overload

from docarray.document import Document, _same_data, _Shaped
from docarray.errors import BadValue, CorruptData, DocArrayError, FieldMismatch, FieldTypeError, near_miss
from docarray.ids import new_id
from docarray.multimodal import misplaced
from docarray.nested import ChunkArray
from docarray.registry import resolve
from docarray.rows import Rows, RowsSpan, Slots
from docarray.typing import Medium, fresh, private_of, text_setter
from docarray.watched import plain

__all__ = ["dataclass", "field", "from_document", "is_multimodal", "register"]

T = TypeVar("T")
Handler = Callable[[Any], Any]

_KEY: Final = "docarray"
_SCHEMA: Final = "multi_modal_schema"
_NONE: Final = "multi_modal_none"
"""Names of fields that were None although the class gives them another default."""
_CLASS: Final = "multi_modal_class"
"""The name of a nested dataclass, where the annotation leaves open which it is."""
_KEYS: Final = "multi_modal_keys"
"""Of the container of a dict: the keys, in the order of its chunks."""
_MANY: Final = 256
_AHEAD: Final = 4096
_NOTHING: Final[Mapping[str, Any]] = {}


# --- what users call ------------------------------------------------------------------------------------------------


def field(
    *,
    setter: Callable[[Any], Document] | None = None,
    getter: Callable[[Document], Any] | None = None,
    _source_field: Any = None,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    init: bool = True,
    repr: bool = True,
    hash: bool | None = None,
    compare: bool = True,
    metadata: Mapping[Any, Any] | None = None,
    kw_only: Any = dataclasses.MISSING,
) -> Any:
    """A field of a dataclass, as `dataclasses.field`, that may say how its values become documents.

    Args:
        setter: gives the Document of a value; of a list (dict) field, of each element.
        getter: gives the value of such a Document. Where one of the two is left out, that of the annotation counts.
        default, default_factory, init, repr, hash, compare, metadata, kw_only: as of `dataclasses.field`.

    >>> from docarray import Document
    >>> @dataclass
    ... class Product:
    ...     price: int = field(setter=lambda v: Document(weight=v), getter=lambda doc: int(doc.weight))
    >>> Product(Document(Product(3)))
    Product(price=3)
    """
    if _source_field is not None:  # as the old library asked for it in a `type_var_map`
        source = cast("dataclasses.Field[Any]", _source_field)
        default, default_factory = source.default, source.default_factory
        init, repr, hash, compare = source.init, source.repr, source.hash, source.compare
        metadata, kw_only = source.metadata, source.kw_only
    if setter is not None or getter is not None:
        metadata = {**(metadata or {}), _KEY: (setter, getter)}
    make = cast("Any", dataclasses.field)
    return make(
        default=default,
        default_factory=default_factory,
        init=init,
        repr=repr,
        hash=hash,
        compare=compare,
        metadata=metadata,
        kw_only=kw_only,
    )


@overload
def dataclass(cls: type[T], /) -> type[T]: ...
@overload
def dataclass(
    cls: None = None,
    /,
    *,
    init: bool = True,
    repr: bool = True,
    eq: bool = True,
    order: bool = False,
    unsafe_hash: bool = False,
    frozen: bool = False,
    match_args: bool = True,
    kw_only: bool = False,
    slots: bool = False,
    weakref_slot: bool = False,
    type_var_map: Mapping[Any, Callable[[Any], Any]] | None = None,
) -> Callable[[type[T]], type[T]]: ...
@typing.dataclass_transform(field_specifiers=(field, dataclasses.field))
def dataclass(
    cls: type[T] | None = None,
    /,
    *,
    type_var_map: Mapping[Any, Callable[[Any], Any]] | None = None,
    **options: Any,
) -> Any:
    """Makes a class a dataclass whose objects become documents: `Document(page)`, and back: `Page(doc)`.

    Args:
        cls: the class, whose annotations are its fields: those of `docarray.typing`, other dataclasses of this kind,
            plain values, lists and dicts of them, each also as `X | None`.
        type_var_map: for this class, an annotation to a function that makes a `field(setter=..., getter=...)` of a
            field; it goes before what is built in.
        options: as of `dataclasses.dataclass`.

    Raises:
        FieldTypeError: an annotation that no document can be made of (a TypeError; the message names the field).

    `Page(doc)` raises BadValue for a document that no dataclass made, and FieldMismatch (a KeyError) for one that
    another made. `Document(page)` raises FieldTypeError, with the path of the value that does not fit its field.

    >>> from docarray import Document
    >>> from docarray.typing import Text
    >>> @dataclass
    ... class Page:
    ...     title: Text
    ...     price: float = 0.0
    >>> doc = Document(Page('Teas', 2.5))
    >>> doc.title.text, doc.tags, Page(doc)
    ('Teas', {'price': 2.5}, Page(title='Teas', price=2.5))
    """
    frame = sys._getframe(1)
    names = _Names(frame.f_globals, _names_around(frame))

    def wrap(cls: type[T]) -> type[T]:
        return _made(cls, names, type_var_map or {}, options)

    return wrap if cls is None else wrap(cls)


def is_multimodal(obj: object) -> bool:
    """Whether a dataclass of `docarray.dataclass` made this document, or it is such a class or an object of one."""
    if isinstance(obj, Document):
        return obj.is_multimodal
    return isinstance(getattr(cast("Any", obj), "__multimodal__", None), Plan)


def from_document(cls: type[T], doc: Document) -> T:
    """The object of a dataclass that a document was made of: what `Page(doc)` gives, for who checks types.

    Raises:
        BadValue: no dataclass made the document. FieldMismatch: another one did.

    >>> from docarray import Document
    >>> from docarray.typing import Text
    >>> @dataclass
    ... class Page:
    ...     title: Text
    >>> from_document(Page, Document(Page('Teas'))).title
    'Teas'
    """
    plan = _plan_of(cls)
    if plan is None:
        raise FieldTypeError(f"{cls!r} is no dataclass of docarray: decorate it with docarray.dataclass")
    return plan.load(doc)


def register(
    kind: Any,
    *,
    setter: Callable[[Any], Document],
    getter: Callable[[Document], Any],
    name: str | None = None,
) -> None:
    """Lets fields of every dataclass be annotated with a type of yours.

    Args:
        kind: a class, or whatever an annotation may be; dataclasses that were made before do not know it.
        setter: gives the Document of a value.
        getter: gives the value of such a Document.
        name: what the schema of a document calls it; the name of the class unless given.

    Raises:
        BadValue: it is registered already, with other functions.

    An `Annotated[..., docarray.typing.Medium(...)]` does the same without a registry.

    >>> from docarray import Document
    >>> class Point:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> register(Point, setter=lambda p: Document(location=[p.x, p.y]), getter=lambda doc: Point(*doc.location))
    >>> @dataclass
    ... class Visit:
    ...     where: Point
    >>> Visit(Document(Visit(Point(1.0, 2.0)))).where.y
    2.0
    """
    medium = Medium(name or getattr(kind, "__name__", str(kind)), setter, getter)
    if _registered.setdefault(kind, medium) != medium:
        raise BadValue(f"{kind!r} is registered already, with other functions; give it a class of its own")


_registered: Final[dict[Any, Medium]] = {}


# --- the decorated class --------------------------------------------------------------------------------------------


class _Names(NamedTuple):
    """What the annotations of a class may name: where it was written, and in the functions around that."""

    everywhere: Mapping[str, Any]
    here: Mapping[str, Any]


def _made(cls: type[T], names: _Names, media: Mapping[Any, Any], options: dict[str, Any]) -> type[T]:
    own_eq = "__eq__" in cls.__dict__ or not options.get("eq", True)
    made: Any = dataclasses.dataclass(**options)(cls)
    plan = Plan(made, names, media)
    plan.is_written = options.get("init", True)
    if "__init__" not in made.__dict__ and is_multimodal(made):
        plan.init = made.__multimodal__.init  # inherited: it asks the class of the object for the plan
    else:
        made.__init__ = _taking_documents(made.__init__)
    made.__multimodal__ = plan
    made.__is_multimodal__ = True
    made.__get_pydantic_core_schema__ = classmethod(_pydantic_core_schema)
    if not own_eq:
        made.__eq__ = _equal
    if Generic in made.__mro__:
        _make_generic(made)
    plan.settle(late=False)
    return made


def _taking_documents(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if len(args) == 1 and not kwargs and isinstance(args[0], Document):
            self.__multimodal__.restore(self, args[0])
        else:
            init(self, *args, **kwargs)

    return __init__


def _pydantic_core_schema(cls: type[Any], source: Any, handler: Any) -> Any:
    return resolve("room", "models").dataclass_core_schema(cls, source, handler)


def _equal(self: Any, other: Any) -> bool:
    """What dataclasses compare, where fields may hold arrays."""
    if other.__class__ is not self.__class__:
        return NotImplemented
    for one in dataclasses.fields(self):
        if one.compare:
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            if mine is not theirs and not _same_data(mine, theirs):
                return False
    return True


class _Parametrised(GenericAlias):
    """`Box[Text]`: makes objects that know it, and reads documents as such."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__" and "pydantic" in sys.modules:
            # Of generic dataclasses pydantic makes a schema of its own, unless it finds one there.
            schema = resolve("room", "models").generic_core_schema(self)
            return {"__pydantic_core_schema__": schema}
        return super().__getattribute__(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], Document):
            return cast("Plan", _plan_of(self)).load(args[0])
        made = cast("Any", super()).__call__(*args, **kwargs)
        _remember(made, self)
        return made


def _remember(obj: Any, alias: Any) -> None:
    """Lets an object of a generic class know its arguments, a frozen one too; one with slots cannot."""
    if hasattr(obj, "__dict__"):
        object.__setattr__(obj, "__orig_class__", alias)


def _make_generic(made: Any) -> None:
    def __class_getitem__(cls: Any, arguments: Any) -> Any:
        return _Parametrised(cls, cast("Any", super(made, cls)).__class_getitem__(arguments).__args__)

    made.__class_getitem__ = classmethod(__class_getitem__)


def _plan_of(annotation: Any) -> Plan | None:
    """The plan of a dataclass of ours, or of a generic one with its arguments; None of anything else."""
    origin = typing.get_origin(annotation)
    plan = getattr(annotation if origin is None else origin, "__multimodal__", None)
    if not isinstance(plan, Plan):
        return None
    return plan if origin is None else plan.of(typing.get_args(annotation))


def _names_around(frame: FrameType) -> dict[str, Any]:
    """The local names that a class may use in its annotations; those of the functions around it too."""
    names: dict[str, Any] = {}
    around: FrameType | None = frame
    module = frame.f_globals
    while around is not None and around.f_globals is module and around.f_locals is not module:
        for name, value in around.f_locals.items():
            names.setdefault(name, value)
        around = around.f_back
    return names


# --- where an error was ---------------------------------------------------------------------------------------------


def _on_the_way(error: Exception, part: str) -> None:
    """Adds a step of the path from the object that is converted down to the value that is wrong."""
    error.__dict__.setdefault("_fields", []).append(part)


def _located(error: Exception, name: str) -> Exception:
    """The error with the path of the value in it: in the message of one of ours, as a note on any other."""
    parts: list[str] = error.__dict__.pop("_fields", [])
    if not parts:
        return error
    path = name + "".join(reversed(parts))
    if type(error).__module__ == DocArrayError.__module__:
        return type(error)(f"{path}: {error}")
    error.add_note(f"in the field {path}")
    return error


def _refused(wanted: str, value: object) -> FieldTypeError:
    return FieldTypeError(f"{wanted} is wanted; got a {type(value).__name__}: {value!r:.60}")


# --- the plan of a class --------------------------------------------------------------------------------------------


class Node:
    """How the values of one annotation are written and read."""

    __slots__ = (
        "attribute_type",
        "in_tags",
        "kinds",
        "medium",
        "name",
        "nested",
        "optional",
        "read",
        "write",
    )
    name: str
    attribute_type: str
    in_tags: bool
    write: Callable[..., Any]
    """A plain value to what stands in the tags; any other and its place to its document."""
    read: Handler
    """The inverse."""
    kinds: frozenset[str]
    """Of a plain value: what it is in the tags: str, number, bool, list, dict, any."""
    nested: tuple[Any, ...]
    """Of a nested dataclass: the annotations, of which there are several in a union."""
    medium: Medium | None
    """Of a document that is one value: how that is written and read."""
    optional: bool

    def __init__(
        self,
        name: str,
        attribute_type: str,
        write: Callable[..., Any],
        read: Handler,
        kinds: str = "",
        nested: tuple[Any, ...] = (),
        medium: Medium | None = None,
    ) -> None:
        self.name = name
        self.attribute_type = attribute_type
        self.in_tags = attribute_type.endswith("primitive")
        self.write = write
        self.read = read
        self.kinds = frozenset(kinds.split())
        self.nested = nested
        self.medium = medium
        self.optional = False


class _Field:
    """A field of a plan."""

    __slots__ = ("absent", "in_tags", "is_list", "late", "name", "node", "none_is_told")

    def __init__(self, of: dataclasses.Field[Any], node: Node) -> None:
        self.name = of.name
        self.node = node
        self.in_tags = node.in_tags
        self.is_list = node.attribute_type.startswith("iterable")
        self.late = not of.init
        has_default = of.default is not dataclasses.MISSING or of.default_factory is not dataclasses.MISSING
        self.absent = "default" if has_default or self.late else "none" if node.optional else "missing"
        """What a document without this field says: that it has the default, None, or is of another class."""
        self.none_is_told = self.absent == "missing" or (self.absent == "default" and of.default is not None)


class _Route:
    """How documents of one schema are read."""

    __slots__ = ("docs", "nones", "schema", "tags")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self.tags: list[tuple[str, Handler]] = []
        self.docs: list[tuple[str, Handler, int]] = []
        self.nones: list[str] = []


class Plan:
    """What is known of a dataclass: the way of its objects to documents, and back."""

    def __init__(
        self,
        cls: type[Any],
        names: _Names,
        media: Mapping[Any, Any],
        arguments: tuple[Any, ...] = (),
    ) -> None:
        self.cls = cls
        self.media = media
        self.arguments = arguments
        self.init: Callable[..., None] = cls.__init__
        self.fields: list[_Field] | None = None
        self.is_written = False
        """Whether `__init__` was written for the class, from its fields."""
        self.is_open: bool = False
        """Whether it is of a generic class of which an argument is not known."""
        self.names: _Names = names
        if names.here:
            used = set(re.findall(r"\w+", repr(list(inspect.get_annotations(cls).values()))))
            self.names = _Names(
                names.everywhere, {name: names.here[name] for name in used & names.here.keys()}
            )
        self._specials: dict[Any, Plan] = {}
        self._privates: dict[int, dict[str, Any]] = {}
        self._routes: dict[int, _Route] = {}

    def of(self, arguments: tuple[Any, ...]) -> Plan:
        """The plan of this generic class with these arguments."""
        found = self._specials.get(arguments)
        if found is None:
            found = self._specials[arguments] = Plan(self.cls, self.names, self.media, arguments)
            found.init = self.init
        return found

    # -- settling the annotations

    def settle(self, late: bool = True) -> None:
        """Reads the annotations. Early, a name that is not there yet leaves all of them for later.

        Raises:
            FieldTypeError: there is no way to make a document of one.
        """
        bindings = _bindings(self.cls, self.arguments)
        found: list[_Field] = []
        for one in dataclasses.fields(self.cls):
            owner = next(c for c in self.cls.__mro__ if one.name in inspect.get_annotations(c))
            where = f"{self.cls.__name__}.{one.name}"
            plan = owner.__dict__.get("__multimodal__")
            names = plan.names if plan is not None else _Names({}, {})
            reader = _Annotations(self, names, owner, bindings.get(owner, {}), one)
            try:
                found.append(_Field(one, reader.field(*one.metadata.get(_KEY, (None, None)))))
            except NameError as error:
                if not late:
                    return
                raise FieldTypeError(
                    f"{where} is annotated {one.type!r}, but {error}: define or import it, outside of "
                    "`if TYPE_CHECKING`, before the first object is converted"
                ) from None
            except FieldTypeError as error:
                raise FieldTypeError(f"{where}: {error}") from None
            self.is_open = self.is_open or reader.is_open
        self._tags = [(f.name, f.node.write, 1 << i) for i, f in enumerate(found) if f.in_tags]
        self._docs = [(f.name, f.node.write, 1 << i) for i, f in enumerate(found) if not f.in_tags]
        self._names = {f.name for f in found}
        self._late = [f.name for f in found if f.late]
        self._is_direct = not self._init_takes({f.name for f in found if not f.late})
        self._is_simple = not (self._is_direct or self._late or self.arguments)
        self._is_plain = self._is_simple and self.is_written and self._sets_attributes_only()
        self._count = len(found)
        self.fields = found

    def _sets_attributes_only(self) -> bool:
        """Whether `__init__`, where it was written for the class, does nothing but set the attributes of an object."""
        cls: Any = self.cls
        if hasattr(cls, "__post_init__") or not cls.__dictoffset__:
            return False
        frozen = cls.__dataclass_params__.frozen
        if cls.__setattr__ is not object.__setattr__ and not frozen:
            return False
        return not any(hasattr(inspect.getattr_static(cls, name, None), "__set__") for name in self._names)

    def _init_takes(self, names: set[str]) -> bool:
        """Whether `__init__` takes these and needs no other; what else it was told once, nobody can tell it again."""
        known = list(inspect.signature(self.init).parameters.values())[1:]
        named = {p.name for p in known if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        needed = {p.name for p in known if p.default is p.empty and p.name in named}
        return needed <= names and (names <= named or any(p.kind is p.VAR_KEYWORD for p in known))

    # -- to a document

    def fill(self, doc: Document, obj: Any) -> None:
        """Fills a fresh document with what an object holds.

        Raises:
            FieldTypeError, BadValue: a value does not fit its field; the message has its path.
        """
        try:
            self.fill_at(doc, obj, 0)
        except RecursionError:
            raise BadValue(f"an object of {self.cls.__name__} holds itself, or is nested too deep") from None
        except Exception as error:
            raise _located(error, self.cls.__name__) from error.__cause__

    def fill_at(self, doc: Document, obj: Any, depth: int) -> None:
        """The same for a document at a depth, of an object that may be within another."""
        if self.fields is None:
            self.settle()
        if self.is_open:
            plan = _plan_of(getattr(obj, "__orig_class__", None))
            if plan is not None and plan is not self and plan.cls is self.cls:
                plan.fill_at(doc, obj, depth)
                return
        missing, name = 0, ""
        tags: dict[str, Any] = {}
        docs: list[Document] = []
        place = None
        try:
            for name, write, bit in self._tags:
                value = getattr(obj, name)
                if value is None:
                    missing |= bit
                else:
                    tags[name] = write(value)
            if self._docs:
                place = _place_below(doc, depth)
                for name, write, bit in self._docs:
                    value = getattr(obj, name)
                    if value is None:
                        missing |= bit
                    else:
                        docs.append(write(value, place))
        except Exception as error:
            _on_the_way(error, f".{name}")
            raise
        private = self._privates.get(missing)
        doc._tags = tags
        doc._more = {"_metadata": dict(private or self._private(missing))}
        if docs:
            _hold(doc, docs, place)

    def _private(self, missing: int) -> dict[str, Any]:
        """The private data of documents that lack the fields of these bits."""
        schema: dict[str, Any] = {}
        told: list[str] = []
        position = 0
        for i, one in enumerate(cast("list[_Field]", self.fields)):
            if missing >> i & 1:
                if one.none_is_told:
                    told.append(one.name)
                continue
            schema[one.name] = {"attribute_type": one.node.attribute_type, "type": one.node.name}
            if not one.in_tags:
                schema[one.name]["position"] = position
                position += 1
        private: dict[str, Any] = {_SCHEMA: schema, _NONE: told} if told else {_SCHEMA: schema}
        if len(self._privates) < _MANY:
            self._privates[missing] = private
            self._routes[id(schema)] = self._route(Document(), schema, told)
        return private

    # -- and back

    def load(self, doc: Document) -> Any:
        """The object that a document was made of; see `restore`."""
        obj: Any = object.__new__(self.cls)
        self.restore(obj, doc)
        return obj

    def restore(self, obj: Any, doc: Document) -> None:
        """Sets the fields of a bare object as a document has them.

        Raises:
            BadValue: no dataclass made the document. FieldMismatch: another one did. FieldTypeError: a value is
            of another type than its field; the message has its path.
        """
        try:
            self._restore(obj, doc)
        except Exception as error:
            raise _located(error, self.cls.__name__) from error.__cause__

    def load_at(self, doc: Document) -> Any:
        """The object of a document that may be within another."""
        obj: Any = object.__new__(self.cls)
        self._restore(obj, doc)
        return obj

    def _restore(self, obj: Any, doc: Document) -> None:
        if self.fields is None:
            self.settle()
        more = doc._more
        private = (more.get("_metadata") if more is not None else None) or _NOTHING
        schema = private.get(_SCHEMA)
        route = self._routes.get(id(schema))
        if route is None or route.schema is not schema:
            if schema is None:
                raise BadValue(f"document {doc.id!r} is not multimodal: no dataclass made it")
            route = self._route(doc, schema, private.get(_NONE) or ())
        values: dict[str, Any] = dict.fromkeys(route.nones) if route.nones else {}
        name = ""
        try:
            if route.tags:
                tags = doc.tags
                for name, read in route.tags:
                    if name not in tags:
                        raise BadValue(f"document {doc.id!r} lacks the tag of this field")
                    values[name] = read(tags[name])
            if route.docs:
                chunks = _chunks(doc)
                count = len(chunks)
                for name, read, at in route.docs:
                    if not 0 <= at < count:
                        raise misplaced(doc, name, at)
                    values[name] = read(chunks[at])
        except Exception as error:
            _on_the_way(error, f".{name}")
            raise
        if self._is_plain and len(values) == self._count and type(obj) is self.cls:
            obj.__dict__ = values  # what the `__init__` of such a class would do
        elif self._is_simple:
            self.init(obj, **values)
        else:
            self._set(obj, values)

    def _set(self, obj: Any, values: dict[str, Any]) -> None:
        """Gives an object its values, where its `__init__` does not take all of them."""
        late = (
            values if self._is_direct else {name: values.pop(name) for name in self._late if name in values}
        )
        if late is not values:
            self.init(obj, **values)
        for name, value in late.items():
            object.__setattr__(obj, name, value)
        if self.arguments:
            _remember(obj, _Parametrised(self.cls, self.arguments))

    def _route(self, doc: Document, schema: Mapping[str, Any], nones: Iterable[str]) -> _Route:
        """How to read documents of a schema.

        Raises:
            FieldMismatch: it is not that of this class.
        """
        route = _Route(schema)
        for name in schema:
            if name not in self._names:
                raise self._of_another(doc, name)
        for one in cast("list[_Field]", self.fields):
            entry = schema.get(one.name)
            if entry is None:
                if one.name in nones or one.absent == "none":
                    route.nones.append(one.name)
                elif one.absent == "missing":
                    raise self._of_another(doc, one.name)
            elif one.in_tags is not (entry.get("position") is None):
                raise self._of_another(doc, one.name, entry)
            elif one.in_tags:
                route.tags.append((one.name, one.node.read))
            elif one.is_list is not entry["attribute_type"].startswith("iterable"):
                raise self._of_another(doc, one.name, entry)
            else:
                route.docs.append((one.name, one.node.read, int(entry["position"])))
        return route

    def _of_another(self, doc: Document, name: str, entry: Mapping[str, Any] | None = None) -> FieldMismatch:
        cls = self.cls.__name__
        if entry is not None:
            return FieldMismatch(
                f"field {name!r} of document {doc.id!r} is a {entry['type']}, and in {cls} it is not"
            )
        if name in self._names:
            return FieldMismatch(
                f"document {doc.id!r} has no field {name!r}, which {cls} wants: another class made it"
            )
        return FieldMismatch(
            f"document {doc.id!r} has a field {name!r}, which {cls} has not: another class made it. "
            f"{near_miss(name, self._names)}"
        )


def _chunks(doc: Document) -> list[Document]:
    """The chunks of a document, as a list to read."""
    found = doc._chunks
    if type(found) is ChunkArray and found._slots.rows is None:
        return found._slots.items
    if (
        type(found) is RowsSpan and type(found.rows) is Rows
    ):  # of a file: rows are made many at a time, as loops do
        rows, made = found.rows, found.rows.made
        if found.start not in made:
            rows.docs(range(found.start, min(len(rows), found.start + min(len(made), _AHEAD))))
    return doc.chunks._slots.docs()


def _place_below(doc: Document, depth: int) -> tuple[str, int, int]:
    """Where the chunks of a document at a depth are; shared by all of them."""
    key = doc._id
    if type(key) is not str:
        key = doc._id = new_id()
    return (key, depth + 1, 0)


def _hold(doc: Document, docs: list[Document], place: Any) -> None:
    """Makes documents the chunks of a fresh one. Most know their place; who made others tells them."""
    slots = Slots.__new__(
        Slots
    )  # by hand: a third of what the constructors cost, of what is done once a field
    slots.items = docs
    slots.rows = slots._ids = slots._gathered = slots._words = None
    slots._ids_seen = 0
    array: ChunkArray[Document] = ChunkArray.__new__(ChunkArray)
    array._slots = slots
    array._subindices = {}
    array._parent = doc
    doc._chunks = array
    for one in docs:
        if one._place is not place:
            array._tell(one)


# --- annotations ----------------------------------------------------------------------------------------------------


def _bindings(cls: type[Any], arguments: tuple[Any, ...]) -> dict[type[Any], dict[Any, Any]]:
    """What the type variables of a class and of those that it inherits from stand for."""
    found: dict[type[Any], dict[Any, Any]] = {}

    def walk(one: type[Any], given: tuple[Any, ...]) -> None:
        bound = found.setdefault(one, {})
        bound.update(zip(getattr(one, "__parameters__", ()), given, strict=False))
        for base in one.__dict__.get("__orig_bases__", one.__bases__):
            origin = typing.get_origin(base)
            if origin is None:
                if base is not object:
                    walk(base, ())
            elif origin is not Generic:
                walk(origin, tuple(_substituted(a, bound) for a in typing.get_args(base)))

    walk(cls, arguments)
    return found


def _substituted(annotation: Any, bound: Mapping[Any, Any]) -> Any:
    """An annotation in which type variables are replaced."""
    if isinstance(annotation, TypeVar):
        return bound.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if typing.get_origin(annotation) is None or not parameters:
        return annotation
    return annotation[tuple(bound.get(p, p) for p in parameters)]


def _either(a: Any, b: Any) -> Any:
    return a | b


class _Annotations:
    """Reads the annotation of a field."""

    def __init__(
        self,
        plan: Plan,
        names: _Names,
        owner: type[Any],
        bound: Mapping[Any, Any],
        one: dataclasses.Field[Any],
    ) -> None:
        self.plan = plan
        self.names = names
        self.owner = owner
        self.bound = bound
        self.one = one
        self.is_open = False

    def field(self, setter: Callable[[Any], Document] | None, getter: Handler | None) -> Node:
        """The node of the field; its own setter and getter go before those of the annotation."""
        if setter is None and getter is None:
            return self.node(self.one.type)
        return self._custom(self.one.type, setter, getter)

    def _custom(self, annotation: Any, setter: Any, getter: Any) -> Node:
        """The node of an annotation of which single values are written and read by these."""
        annotation = self._resolved(annotation)
        origin = typing.get_origin(annotation)
        arguments = typing.get_args(annotation)
        if origin in (typing.Union, UnionType) and type(None) in arguments:
            rest = [a for a in arguments if a is not type(None)]
            node = self._custom(functools.reduce(_either, rest), setter, getter)
            node.optional = True
            return node
        if origin in _LISTS and arguments:
            inner = self._custom(arguments[0], setter, getter)
            return _list_of_docs(inner, *_LISTS[origin])
        if origin in _DICTS and len(arguments) == 2:
            return _dict_of_docs(self.node(arguments[0]), self._custom(arguments[1], setter, getter))
        if setter is None or getter is None:
            known = self.node(annotation).medium
            if known is None:
                raise FieldTypeError(
                    "both a setter and a getter are wanted, for it is annotated as no medium"
                )
            setter, getter = setter or known.setter, getter or known.getter
        return _medium(Medium(_name_of(annotation), setter, getter))

    def node(self, annotation: Any) -> Node:
        """The node of an annotation.

        Raises:
            FieldTypeError: there is no way to make a document of one. NameError: it names what is not there.
        """
        annotation = self._resolved(annotation)
        medium = self._known(annotation)
        if medium is not None:
            return _medium(medium)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self.node(arguments[0])
        if isinstance(annotation, TypeVar):
            return self._variable(annotation)
        if hasattr(annotation, "__supertype__"):  # NewType
            return self.node(annotation.__supertype__)
        if type(annotation).__name__ == "TypeAliasType":
            return self.node(annotation.__value__)
        if origin in (typing.Union, UnionType):
            return self._union(arguments)
        if origin is Literal:
            return self._literal(arguments)
        if _plan_of(annotation) is not None:
            annotation = _substituted(annotation, self.bound)
            self.is_open = self.is_open or any(isinstance(a, TypeVar) for a in typing.get_args(annotation))
            return _nested((annotation,))
        if annotation in _PLAIN:
            return _PLAIN[annotation]()
        if origin in _LISTS or annotation in _LISTS:
            return self._list(origin or annotation, arguments or (Any,))
        if origin in _DICTS or annotation in _DICTS:
            return self._dict(arguments or (Any, Any))
        if isinstance(annotation, type) and origin is None:
            if issubclass(annotation, enum.Enum):
                return _enumeration(annotation)
            if issubclass(annotation, pathlib.PurePath):
                return _as_text(annotation, str, annotation)
            if issubclass(annotation, Document):
                return _medium(Medium("Document", lambda doc: doc, lambda doc: doc))
        shown = annotation if isinstance(annotation, str) else _name_of(annotation)
        raise FieldTypeError(
            f"unsupported annotation {shown}: there is no way to make a document of it. Use a medium of "
            "docarray.typing, a dataclass of docarray, plain values, or field(setter=..., getter=...)"
        )

    def _resolved(self, annotation: Any) -> Any:
        """The annotation itself, where it is written as a string."""
        while isinstance(annotation, (str, typing.ForwardRef)):
            text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
            inside = {name: v for name, v in vars(self.owner).items() if isinstance(v, type)}
            known = {p.__name__: p for p in getattr(self.owner, "__type_params__", ())}
            module = sys.modules.get(self.owner.__module__)
            there, here = self.names
            names = {
                **inside,
                **(vars(module) if module else {}),
                **there,
                **known,
                self.owner.__name__: self.owner,
                **here,
            }
            try:
                annotation = eval(text, {"__builtins__": __builtins__}, names)
            except NameError:
                raise
            except Exception as error:
                raise FieldTypeError(f"its annotation {text!r} cannot be read: {error}") from None
        return type(None) if annotation is None else annotation

    def _known(self, annotation: Any) -> Medium | None:
        """The medium that an annotation is, by the class, by registration, or because it says so."""
        try:
            made = self.plan.media.get(annotation)
            if made is None and annotation in _registered:
                return _registered[annotation]
        except TypeError as error:  # it has no hash
            raise FieldTypeError(f"unsupported annotation {annotation!r}: {error}") from None
        if made is not None:
            known = made(self.one)
            setter, getter = known.metadata.get(_KEY, (None, None))
            if setter is None or getter is None:
                raise FieldTypeError(
                    f"type_var_map gives {annotation!r} a field without a setter or a getter"
                )
            return Medium(_name_of(annotation), setter, getter)
        for extra in getattr(annotation, "__metadata__", ()):
            if isinstance(extra, Medium):
                return extra
        return None

    def _variable(self, variable: TypeVar) -> Node:
        """The node of a type variable: of what it stands for, else of what it says of itself."""
        found = self.bound.get(variable, variable)
        if found is not variable and not isinstance(found, TypeVar):
            return self.node(found)
        self.is_open = True
        if variable.__bound__ is not None:
            return self.node(variable.__bound__)
        if variable.__constraints__:
            return self._union(variable.__constraints__)

        def unknown(*_: Any) -> Any:
            raise FieldTypeError(
                f"it is of the type {variable}, and nobody said which that is: make it with "
                f"{self.owner.__name__}[...], or from a class that inherits from that"
            )

        return Node(str(variable), "primitive", unknown, unknown, "any")

    def _union(self, arguments: tuple[Any, ...]) -> Node:
        resolved = [self._resolved(a) for a in arguments]
        rest = [a for a in resolved if a is not type(None)]
        nodes = [self.node(a) for a in rest]
        if len(nodes) == 2 and Document in rest:  # media take documents anyway
            other = nodes[1 - rest.index(Document)]
            nodes = [other] if other.attribute_type == "document" else nodes
        if len(nodes) == 1:
            node = nodes[0]
        elif nodes and all(n.attribute_type == "nested" for n in nodes):
            node = _nested(tuple(a for n in nodes for a in n.nested))
        elif nodes and all(n.in_tags for n in nodes) and _can_tell(nodes):
            node = _one_of(nodes)
        else:
            names = " | ".join(n.name for n in nodes)
            raise FieldTypeError(
                f"unsupported annotation {names}: what is read back could be of more than one of them"
            )
        node.optional = node.optional or len(rest) < len(resolved)
        return node

    def _literal(self, values: tuple[Any, ...]) -> Node:
        table: dict[Any, Any] = {}
        for value in values:
            plain_value = value.value if isinstance(value, enum.Enum) else value
            if value is not None:
                if not isinstance(plain_value, (str, int)):
                    raise FieldTypeError(f"unsupported annotation: {value!r} in a Literal")
                table[plain_value] = value
        node = _table("Literal", table, f"one of {', '.join(map(repr, table.values()))}")
        node.optional = None in values
        return node

    def _list(self, kind: Any, arguments: tuple[Any, ...]) -> Node:
        name, make = _LISTS[kind]
        if kind is tuple and arguments[-1:] != (...,) and arguments != (Any,):
            return _row([self.node(a) for a in arguments])
        inner = self.node(arguments[0])
        return _list_of_values(inner, name, make) if inner.in_tags else _list_of_docs(inner, name, make)

    def _dict(self, arguments: tuple[Any, ...]) -> Node:
        key, inner = (self.node(a) for a in arguments)
        if not key.in_tags:
            raise FieldTypeError(f"unsupported annotation: a dict whose keys are {key.name}")
        return _dict_of_values(key, inner) if inner.in_tags else _dict_of_docs(key, inner)


def _name_of(annotation: Any) -> str:
    """What the schema calls an annotation."""
    name = getattr(annotation, "__name__", None)
    return name if isinstance(name, str) else str(annotation).removeprefix("typing.")


# --- plain values: in the tags --------------------------------------------------------------------------------------


def _write_str(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise _refused("a str", value)


def _read_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _refused("a str", value)


def _write_int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    raise _refused("an int", value)


def _read_int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, (bool, float)) and value == int(value):  # protobuf, and the JSON of the old library
        return int(value)
    raise _refused("an int", value)


def _write_float(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise _refused("a float", value)


def _read_float(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, (float, int)) or value in ("NaN", "Infinity", "-Infinity"):  # the JSON of protobuf
        return float(value)
    raise _refused("a float", value)


def _write_bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    raise _refused("a bool", value)


def _read_bool(value: Any) -> bool:
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    raise _refused("a bool", value)


def _write_bytes(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(cast("bytes", value)).decode()
    raise _refused("bytes", value)


def _read_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else base64.b64decode(value, validate=True)


def _write_clock(value: Any) -> Any:
    text: str = value.isoformat()
    return [text, value.fold] if value.fold else text


def _clock_reader(kind: Any) -> Handler:
    def read(value: Any) -> Any:
        text, fold = cast("list[Any]", value) if isinstance(value, list) else (value, 0)
        return kind.fromisoformat(text).replace(fold=int(fold))

    return read


def _write_span(value: datetime.timedelta) -> Any:
    exact = abs(value.days) < 90_000  # then its microseconds are fewer than a float can count
    return value.total_seconds() if exact else [value.days, value.seconds, value.microseconds]


def _read_span(value: Any) -> datetime.timedelta:
    return (
        datetime.timedelta(*map(int, cast("list[Any]", value)))
        if isinstance(value, list)
        else datetime.timedelta(seconds=float(value))
    )


def _write_complex(value: complex) -> list[float]:
    return [value.real, value.imag]


def _plain_node(name: str, write: Handler, read: Handler, kinds: str) -> Callable[[], Node]:
    return lambda: Node(name, "primitive", write, read, kinds)


def _read_carefully(wanted: str, read: Handler) -> Handler:
    def careful(value: Any) -> Any:
        try:
            return read(value)
        except (ValueError, TypeError, ArithmeticError, LookupError):
            raise CorruptData(f"{wanted} is wanted; the document has {value!r:.60}") from None

    return careful


def _as_text(kind: type[Any], write: Handler, read: Handler, kinds: str = "str") -> Node:
    """The node of a class whose objects stand in the tags as something plainer."""
    wanted = f"a {kind.__name__}"

    def checked(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is datetime.date and isinstance(value, datetime.datetime)):
            raise _refused(wanted, value)
        return write(value)

    return Node(kind.__name__, "primitive", checked, _read_carefully(wanted, read), kinds)


_PLAIN: Final[Mapping[Any, Callable[[], Node]]] = {
    str: _plain_node("str", _write_str, _read_str, "str"),
    int: _plain_node("int", _write_int, _read_int, "number"),
    float: _plain_node("float", _write_float, _read_float, "number"),
    bool: _plain_node("bool", _write_bool, _read_bool, "bool"),
    bytes: _plain_node("bytes", _write_bytes, _read_carefully("bytes", _read_bytes), "str"),
    Any: _plain_node("Any", plain, plain, "any"),
    object: _plain_node("object", plain, plain, "any"),
    datetime.datetime: lambda: _as_text(
        datetime.datetime, _write_clock, _clock_reader(datetime.datetime), "str list"
    ),
    datetime.date: lambda: _as_text(datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.time: lambda: _as_text(datetime.time, _write_clock, _clock_reader(datetime.time), "str list"),
    datetime.timedelta: lambda: _as_text(datetime.timedelta, _write_span, _read_span, "number list"),
    decimal.Decimal: lambda: _as_text(decimal.Decimal, str, decimal.Decimal),
    uuid.UUID: lambda: _as_text(uuid.UUID, str, uuid.UUID),
    complex: lambda: _as_text(complex, _write_complex, lambda v: complex(*map(_read_float, v)), "list"),
}


def _enumeration(kind: type[enum.Enum]) -> Node:
    if issubclass(kind, enum.Flag):
        return _as_text(kind, lambda v: v.value, lambda v: kind(_read_int(v)), "number")
    table: dict[Any, Any] = {
        member.value: member for member in kind if isinstance(member.value, (str, int, float))
    }
    if len(table) < len(kind):  # values that tags cannot say, or that are equal
        table = {member.name: member for member in kind}
        return _table(kind.__name__, table, f"a {kind.__name__}", lambda v: v.name)
    return _table(kind.__name__, table, f"a {kind.__name__}")


def _table(name: str, table: Mapping[Any, Any], wanted: str, write: Handler | None = None) -> Node:
    """The node of values of which there are a few, by what they are in the tags."""
    known: dict[Any, Any] = {(type(v), v): plain_value for plain_value, v in table.items()}

    def checked(value: Any) -> Any:
        try:
            return known[type(value), value]
        except (KeyError, TypeError):
            raise _refused(wanted, value) from None

    kinds = {"str" if isinstance(v, str) else "bool" if isinstance(v, bool) else "number" for v in table}
    return Node(name, "primitive", checked, _read_carefully(wanted, lambda v: table[v]), " ".join(kinds))


_KIND_OF: Final = {str: "str", bool: "bool", int: "number", float: "number", list: "list", dict: "dict"}


def _can_tell(nodes: list[Node]) -> bool:
    """Whether what stands in the tags says which of these it is of."""
    plainest = {"int", "float", "bool"}
    kinds = [k for n in nodes for k in n.kinds if n.name not in plainest]
    has_numbers = any(n.name in plainest for n in nodes)
    clear = len(kinds) == len(set(kinds)) and "any" not in kinds
    return clear and not (has_numbers and {"number", "bool"} & set(kinds))


def _one_of(nodes: list[Node]) -> Node:
    """The node of a union of plain values."""
    names = [n.name for n in nodes]

    def write(value: Any) -> Any:
        for node in nodes:
            if node.name == type(value).__name__:
                return node.write(value)
        for node in nodes:
            try:
                return node.write(value)
            except FieldTypeError:
                continue
        raise _refused(f"one of {', '.join(names)}", value)

    def read(value: Any) -> Any:
        kind = type(value).__name__
        if kind in names and kind in ("int", "float", "bool"):
            return value
        for node in nodes:
            if _KIND_OF.get(cast("Any", type(value))) in node.kinds or (
                isinstance(value, (int, float)) and "number" in node.kinds
            ):
                try:
                    return node.read(value)
                except FieldTypeError:
                    continue
        raise _refused(f"one of {', '.join(names)}", value)

    return Node(" | ".join(names), "primitive", write, read, " ".join({k for n in nodes for k in n.kinds}))


def _several(value: Any, wanted: str = "a list") -> Iterator[Any]:
    if isinstance(value, (str, bytes, bytearray, Mapping, Document)) or not isinstance(value, abc.Iterable):
        raise _refused(wanted, cast("Any", value))
    return iter(cast("Iterable[Any]", value))


def _each(values: Iterable[Any], function: Handler, optional: bool) -> list[Any]:
    """The function of each value; an error says which it was."""
    out: list[Any] = []
    try:
        for value in values:
            out.append(None if value is None and optional else function(value))
    except Exception as error:
        _on_the_way(error, f"[{len(out)}]")
        raise
    return out


def _list_of_values(inner: Node, name: str, make: Callable[[Any], Any]) -> Node:
    def write(value: Any) -> list[Any]:
        return _each(_several(value), inner.write, inner.optional)

    def read(value: Any) -> Any:
        values = _each(_several(value), inner.read, inner.optional)
        return values if make is list else make(values)

    return Node(f"{name}[{inner.name}]", "iterable_primitive", write, read, "list")


def _row(nodes: list[Node]) -> Node:
    """The node of a tuple of so many values, each of its own type."""
    if not all(n.in_tags for n in nodes):
        raise FieldTypeError(
            "unsupported annotation: a tuple of so many holds plain values; use tuple[..., ...]"
        )

    def convert(value: Any, way: str) -> list[Any]:
        values = list(_several(value, f"a tuple of {len(nodes)}"))
        if len(values) != len(nodes):
            raise BadValue(f"a tuple of {len(nodes)} is wanted; got one of {len(values)}")
        pairs = zip(values, nodes, strict=True)
        return _each(
            pairs, lambda p: None if p[0] is None and p[1].optional else getattr(p[1], way)(p[0]), False
        )

    def write(value: Any) -> list[Any]:
        return convert(value, "write")

    def read(value: Any) -> tuple[Any, ...]:
        return tuple(convert(value, "read"))

    return Node(f"Tuple[{', '.join(n.name for n in nodes)}]", "iterable_primitive", write, read, "list")


def _dict_of_values(key: Node, inner: Node) -> Node:
    as_dict = key.kinds == {"str"} or (key.name == "Any" and inner.name == "Any")

    def items(value: Any) -> Iterator[tuple[Any, Any]]:
        if not isinstance(value, Mapping):
            raise _refused("a dict", value)
        return iter(cast("Mapping[Any, Any]", value).items())

    def converted(pairs: Iterable[Any], way: str) -> Iterator[tuple[Any, Any]]:
        turn_key, turn = getattr(key, way), getattr(inner, way)
        for k, v in pairs:
            try:
                yield turn_key(k), None if v is None and inner.optional else turn(v)
            except Exception as error:
                _on_the_way(error, f"[{k!r:.40}]")
                raise

    def write(value: Any) -> Any:
        pairs = converted(items(value), "write")
        return dict(pairs) if as_dict else [list(pair) for pair in pairs]

    def read(value: Any) -> Any:
        return dict(converted(items(value) if as_dict else _several(value), "read"))

    return Node(f"Dict[{key.name}, {inner.name}]", "primitive", write, read, "dict" if as_dict else "list")


# --- documents: in the chunks ---------------------------------------------------------------------------------------


def _write_text(value: Any, place: Any) -> Document:
    """What `text_setter` gives, in its place, in a third of the time: no field is commoner."""
    if type(value) is not str:
        doc = text_setter(value)
        if doc._place is None and doc._chunks is None and doc._matches is None:
            doc._place = place
        return doc
    doc = Document.__new__(Document)
    doc._id = doc._tags = doc._embedding = doc._chunks = doc._matches = doc._scores = None
    doc._uri = doc._mime_type = doc._vectors = None
    doc._content, doc._place, doc._more = value, place, {"modality": "text"}
    return doc


def _medium(medium: Medium) -> Node:
    setter = medium.setter
    if setter is text_setter:
        return Node(medium.name, "document", _write_text, medium.getter, medium=medium)

    def write(value: Any, place: Any) -> Document:
        doc = setter(value)
        if not isinstance(doc, Document):
            raise FieldTypeError(
                f"the setter of {medium.name} gives a Document; it gave a {type(doc).__name__}"
            )
        if doc._place is None and doc._chunks is None and doc._matches is None:
            doc._place = place
        return doc

    return Node(medium.name, "document", write, medium.getter, medium=medium)


def _nested(annotations: tuple[Any, ...]) -> Node:
    plans = {plan.cls: plan for plan in map(_plan_of, annotations) if plan is not None}
    only = next(iter(plans)) if len(plans) == 1 else None
    names = " | ".join(cls.__name__ for cls in plans)
    if len(plans) < len(annotations):
        raise FieldTypeError(f"unsupported annotation {names}: one generic class twice cannot be told apart")

    def write(value: Any, place: Any) -> Document:
        plan = plans.get(type(value))  # pyright: ignore[reportUnknownArgumentType]
        if plan is None:
            if isinstance(value, Document):
                return value
            plan = _plan_of(type(value))
            if plan is None or not isinstance(value, tuple(plans)):
                raise _refused(f"a {names}", value)
        doc = fresh()
        doc._place = place
        plan.fill_at(doc, value, place[1])
        doc.__class__ = _Shaped  # last: it looks at each attribute that is set
        if plan.cls is not only:
            doc._metadata[_CLASS] = plan.cls.__qualname__
        return doc

    def read(doc: Document) -> Any:
        more = doc._more
        name = (more.get("_metadata") or _NOTHING).get(_CLASS) if more is not None else None
        if name is None and only is not None:
            return plans[only].load_at(doc)
        for cls in plans if name is not None else ():
            for one in _heirs(cls):
                if one.__qualname__ == name:
                    return (plans.get(one) or one.__multimodal__).load_at(doc)
        raise FieldMismatch(
            f"document {doc.id!r} is of {name or 'a class that it does not name'}, no {names}"
        )

    return Node(names, "nested", write, read, nested=annotations)


def _heirs(cls: Any) -> Iterator[Any]:
    """A dataclass and all that inherit from it, the latest first."""
    for below in reversed(type.__subclasses__(cls)):
        yield from _heirs(below)
    if "__multimodal__" in cls.__dict__:
        yield cls


def _element(inner: Node) -> tuple[Callable[[Any, Any], Document], Handler]:
    """How an element of a list or dict is written and read; None is a document that says so."""
    if not inner.optional:
        return inner.write, inner.read

    def write(value: Any, place: Any) -> Document:
        if value is not None:
            return inner.write(value, place)
        doc = fresh()
        doc._place, doc._more = place, {"_metadata": {_NONE: True}}
        return doc

    def read(doc: Document) -> Any:
        return None if private_of(doc).get(_NONE) is True else inner.read(doc)

    return write, read


def _container(place: Any, values: Iterable[Any], write: Callable[[Any, Any], Document]) -> Document:
    """A document whose chunks are those of the values."""
    doc = fresh()
    doc._place = place
    inside = _place_below(doc, place[1])
    docs: list[Document] = []
    try:
        for value in values:
            docs.append(write(value, inside))
    except Exception as error:
        _on_the_way(error, f"[{len(docs)}]")
        raise
    if docs:
        _hold(doc, docs, inside)
    return doc


def _iterable_of(inner: Node) -> str:
    return "iterable_nested" if inner.attribute_type == "nested" else "iterable_document"


def _list_of_docs(inner: Node, name: str, make: Callable[[Any], Any]) -> Node:
    write_one, read_one = _element(inner)

    def write(value: Any, place: Any) -> Document:
        items: Any = value if type(value) is list else _several(value)  # pyright: ignore[reportUnknownVariableType]
        return _container(place, items, write_one)

    def read(doc: Document) -> Any:
        docs = _chunks(doc)
        try:
            values = [read_one(one) for one in docs]
        except Exception:
            values = _each(docs, read_one, False)  # it says which one
        return values if make is list else make(values)

    return Node(f"{name}[{inner.name}]", _iterable_of(inner), write, read)


def _dict_of_docs(key: Node, inner: Node) -> Node:
    write_one, read_one = _element(inner)

    def write(value: Any, place: Any) -> Document:
        if not isinstance(value, Mapping):
            raise _refused("a dict", value)
        known = cast("Mapping[Any, Any]", value)
        doc = fresh()
        doc._place, inside, docs, names = place, _place_below(doc, place[1]), list[Document](), list[Any]()
        for k, v in known.items():
            try:
                names.append(key.write(k))
                docs.append(write_one(v, inside))
            except Exception as error:
                _on_the_way(error, f"[{k!r:.40}]")
                raise
        doc._more = {"_metadata": {_KEYS: names}}
        if docs:
            _hold(doc, docs, inside)
        return doc

    def read(doc: Document) -> Any:
        names: list[Any] = private_of(doc).get(_KEYS) or []
        docs = _chunks(doc)
        if len(names) != len(docs):
            raise BadValue(f"document {doc.id!r} holds {len(docs)} values for {len(names)} keys")
        return dict(zip(_each(names, key.read, False), _each(docs, read_one, False), strict=True))

    return Node(f"Dict[{key.name}, {inner.name}]", _iterable_of(inner), write, read)


_LISTS: Final[Mapping[Any, tuple[str, Callable[[Any], Any]]]] = {
    list: ("List", list),
    abc.Iterable: ("Iterable", list),
    abc.Sequence: ("Sequence", list),
    abc.MutableSequence: ("MutableSequence", list),
    abc.Collection: ("Collection", list),
    tuple: ("Tuple", tuple),
    set: ("Set", set),
    abc.Set: ("AbstractSet", set),
    abc.MutableSet: ("MutableSet", set),
    frozenset: ("FrozenSet", frozenset),
    collections.deque: ("Deque", collections.deque),
}
_DICTS: Final = (dict, abc.Mapping, abc.MutableMapping)

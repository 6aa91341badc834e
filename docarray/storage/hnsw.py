"""Rows in another store, and a vector index over their embeddings: storage 'hnswlib', of old 'annlite'.

Rule 1: rows are written to the inner store and nowhere else. The index follows the marks of that store, so a kill at
        any time loses nothing, and what other processes write is found.
Rule 2: all embeddings are of one shape and dtype. Another one is refused before anything is written.
Rule 3: marks of a transaction that failed may be given again, so the index is told of transactions. All stores of one
        place take part in them together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import operator
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self, cast
from urllib.parse import quote

from docarray import query, registry, tensors
from docarray.columns import Column, UniformTensors
from docarray.distance import Metric
from docarray.errors import (
    BadValue,
    FieldTypeError,
    ShapeError,
    StoreError,
    UnknownMetric,
    Unsupported,
    near_miss,
)
from docarray.progress import Show
from docarray.storage.graph import METRICS, engine_named
from docarray.storage.index import PREFIX, Settings, VectorIndex
from docarray.store import About, Changes, Found, Store, configured
from docarray.table import Table

__all__ = ["AnnliteConfig", "AnnliteStore", "HnswConfig", "HnswStore"]

_FORM: Final = PREFIX + "form"
_METRICS: Final = {**{name: name for name in METRICS}, "dot": "inner_product", "sqeuclidean": "euclidean"}
_FILTERS: Final = 16
_LONGEST: Final = 1 << 15  # ids of a filter that are kept
_ROWS: Final = ("columns", "list_like", "root_id", "serialize_config", "timeout")
_FILE: Final = ("conn_config", "journal_mode", "synchronous")

Form = tuple[tuple[int, ...], str | None]


@dataclass(frozen=True)
class HnswConfig:
    """Where an array with a vector index is kept, and how vectors are compared.

    >>> HnswConfig(n_dim=128, data_path='films').metric
    'cosine'
    """

    n_dim: int | None = None
    """Numbers in an embedding; None: as many as the first one has."""
    metric: str = "cosine"
    """'cosine', 'euclidean' or 'inner_product'. By other metrics one may search too, exactly."""
    data_path: str | os.PathLike[str] | None = None
    """A folder for rows and index. None: beside `connection`; without that, a folder that is removed at the end."""
    connection: Any = None
    """Where the rows are: as of storage 'sqlite', or a URL as of storage 'sql'. None: 'docs.db' in `data_path`."""
    table_name: str = "docs"
    """Which array of the file, or database."""
    ef_construction: int = 200
    """Neighbours looked at when a vector goes in: more is slower to build, and finds better."""
    ef_search: int = 64
    """Neighbours looked at in a search: more is slower, and finds better."""
    max_connection: int = 16
    """Links of a vector: more takes more memory, and finds better where there are many dimensions."""
    ef: int | None = None
    """Another name of `ef_search`."""
    M: int | None = None
    """Another name of `max_connection`."""
    engine: str | None = None
    """'hnswlib' or 'usearch'; None: the first of them that is installed."""
    dtype: str = "float32"
    """How the graph keeps vectors; 'float16' with usearch. Rows keep what they were given."""
    columns: Any = None
    """As of storage 'sqlite': typed, indexed tags for filters."""
    list_like: bool | None = None
    root_id: bool | None = None
    serialize_config: Mapping[str, Any] | None = None
    conn_config: Mapping[str, Any] | None = None
    journal_mode: str | None = None
    synchronous: str | None = None
    timeout: float | None = None
    n_components: int | None = None
    """Refused: reduce the vectors before they are stored."""
    progress: Show = None
    """Whether a bar is shown while the index is built; see `docarray.progress.Show`."""


@dataclass(frozen=True)
class AnnliteConfig:
    """The settings of storage 'annlite', by their old names.

    >>> AnnliteConfig(n_dim=128, metric='euclidean').ef_construction
    200
    """

    n_dim: int
    metric: str = "cosine"
    list_like: bool | None = None
    serialize_config: Mapping[str, Any] | None = None
    data_path: str | os.PathLike[str] | None = None
    ef_construction: int | None = 200
    ef_search: int | None = 64
    max_connection: int | None = 16
    n_components: int | None = None
    columns: Any = None
    root_id: bool | None = None


class HnswStore(Store):
    """A store with a vector index: rows are in the inner store, `nearest` goes by a graph.

    Args:
        inner: the rows; its `mark` must tell when they changed, or each search is exact.
        config: a `HnswConfig` or a dict of the same names.
        folder: where the index is saved; None for nowhere: then it is made anew after each opening.

    Embeddings are dense, real, and all of one shape and dtype; scipy.sparse is refused. Rows without an embedding are
    stored and not found by vectors.

    >>> import numpy as np
    >>> from docarray.columns import tensor_column
    >>> rows = Table({'embedding': tensor_column([np.array([1.0, 0.0]), np.array([0.0, 1.0])])}, ids=['x', 'y'])
    >>> with HnswStore.open() as store:
    ...     store.write(rows)
    ...     store.nearest(np.array([[2.0, 0.0]]), k=1)
    [(['x'], [0.0])]
    """

    about: ClassVar[About] = About(
        place="a file, and a folder for the index",
        install='"docarray[hnsw]" or "docarray[usearch]"',
        survives="kill -9",
        shared="as of the rows",
        filters="in SQL",
        vectors="HNSW",
        text="as of the rows",
    )
    exact: ClassVar[bool] = False
    has_columns: ClassVar[bool] = True

    def __init__(
        self,
        inner: Store,
        config: Any = None,
        folder: str | os.PathLike[str] | None = None,
        *,
        family: _Family | None = None,
    ) -> None:
        self._settings = _settings(chosen := configured(HnswConfig, config, "hnswlib"))
        self._chosen: HnswConfig = chosen
        self._inner = inner
        self._folder = None if folder is None else Path(folder)
        self._index = VectorIndex(inner, self._folder, self._settings)
        self._family = _Family() if family is None else family
        self._family.members.add(self)
        self._form: Form | None = None
        self._form_at: int | None = None
        self._filters: dict[Any, tuple[int, list[str]]] = {}
        self._temporary: Any = None
        self._besides: dict[str, HnswStore] = {}

    @classmethod
    def open(cls, config: Any = None) -> Self:
        """The store that a config means; see `HnswConfig`.

        Raises:
            UnknownOption: there is no such setting. BadValue: a setting has no such value.
            MissingExtra: neither hnswlib nor usearch is installed.
        """
        return cls._opened(configured(HnswConfig, config, "hnswlib"))

    @classmethod
    def _opened(cls, config: HnswConfig) -> Self:
        _settings(config)  # what cannot be opened leaves no files
        connection, table = config.connection, config.table_name
        folder = None if config.data_path is None else Path(config.data_path)
        temporary = None
        if connection is None:
            if folder is None:
                folder = Path(tempfile.mkdtemp(prefix="docarray-"))
                temporary = folder
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{folder} cannot be the folder of an index: {error}") from error
            connection = folder / "docs.db"
        rows: dict[str, Any] = {
            name: getattr(config, name) for name in _ROWS if getattr(config, name) is not None
        }
        if isinstance(rows.get("columns"), (list, tuple)):
            rows["columns"] = dict(rows["columns"])
        url = "://" in str(connection)
        if url:
            rows.pop("serialize_config", None)
            inner = registry.resolve("storage", "sql").open({"url": connection, "table_name": table, **rows})
        else:
            rows |= {name: getattr(config, name) for name in _FILE if getattr(config, name) is not None}
            inner = registry.resolve("storage", "sqlite").open(
                {"connection": connection, "table_name": table, **rows}
            )
        saved: Path | None = None
        if temporary is None:
            plain = quote(table, safe="")
            if folder is not None:
                saved = folder / f"{plain}.hnsw"
            elif not url and _is_path(connection) and str(connection) != ":memory:":
                path = Path(connection)
                saved = path.with_name(f"{path.name}.{plain}.hnsw")
        store = cls(inner, config, saved)
        if temporary is not None:
            store._temporary = weakref.finalize(store, _remove, temporary, os.getpid())
        elif _is_path(config.connection) or config.connection is None:
            store.config = config
        return store

    # ------------------------------------------------------------------------------------------ the five

    def ids(self) -> list[str]:
        return self._inner.ids()

    def read(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> Table:
        return self._inner.read(ids, columns)

    def write(self, table: Table, before: str | None = None) -> None:
        self._guarded(table, lambda: self._inner.write(table, before))

    def delete(self, ids: Sequence[str]) -> None:
        self._inner.delete(ids)

    def meta(self, update: Mapping[str, bytes | None] | None = None) -> dict[str, bytes]:
        for name in update or {}:
            if name.startswith(PREFIX):
                raise BadValue(f"a fact {name!r} belongs to the index: take a name without {PREFIX!r}")
        facts = self._inner.meta(update)
        return {name: value for name, value in facts.items() if not name.startswith(PREFIX)}

    # ------------------------------------------------------------------------------------------ rows

    def __len__(self) -> int:
        return len(self._inner)

    def known(self, ids: Sequence[str]) -> set[str]:
        return self._inner.known(ids)

    def at(self, positions: Sequence[int]) -> list[str]:
        return self._inner.at(positions)

    def position(self, key: str) -> int:
        return self._inner.position(key)

    def scan(self, columns: Sequence[str] | None = None, batch: int = 4096) -> Iterator[Table]:
        return self._inner.scan(columns, batch)

    def column(self, name: str) -> Column | None:
        return self._inner.column(name)

    def add(self, table: Table, before: str | None = None) -> None:
        self._guarded(table, lambda: self._inner.add(table, before))

    def update(self, table: Table) -> None:
        self._guarded(table, lambda: self._inner.update(table))

    def reorder(self, ids: Sequence[str]) -> None:
        self._inner.reorder(ids)

    def clear(self) -> None:
        self._inner.clear()

    # ------------------------------------------------------------------------------------------ finding

    def where(self, node: query.Node, limit: int | None = None) -> list[str]:
        return self._inner.where(node, limit)

    def ordered(self, keys: str | Sequence[str], ids: Sequence[str] | None = None) -> list[str]:
        return self._inner.ordered(keys, ids)

    def nearest(
        self,
        vectors: Any,
        k: int | None,
        metric: Metric = "cosine",
        *,
        where: query.Node | None = None,
        skip: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[Found]:
        """See `Store.nearest`. Nearly the nearest, by the graph, for k well below the number of rows; exact for another
        metric than that of the index, for few rows, for a narrow filter, and where the graph reached fewer than k.

        Costs what the graph costs; the first search after writing also adds to the graph what was written.
        """
        now = self._inner.mark()
        if now is None:
            return self._inner.nearest(vectors, k, metric, where=where, skip=skip, batch_size=batch_size)
        kept = None
        if where is not None:
            kept, now = self._kept(where, now)
        return self._index.nearest(now, vectors, k, metric, kept, skip, batch_size)

    def _kept(self, where: query.Node, now: int) -> tuple[Sequence[str], int]:
        """The ids that a filter keeps, and a mark from after that. The last few are kept while nothing changes."""
        kept, known = None, self._filters
        # Within a transaction marks may be given again; and of what is equal to itself alone nothing is kept.
        key = None if self._family.is_inside else (repr(where), where)
        if key is not None:
            try:
                at, kept = known.get(key, (None, None))
            except TypeError:  # a value that has no hash
                key, at = None, None
            if kept is not None and at == now:
                return kept, now
        kept = self._inner.where(where)
        after = cast("int", self._inner.mark())
        if key is not None and after == now and len(kept) <= _LONGEST:
            if len(known) >= _FILTERS:
                known.clear()
            known[key] = now, kept
        return kept, after

    def search(
        self, texts: Sequence[str], k: int | None, field: str = "text", *, where: query.Node | None = None
    ) -> list[Found]:
        return self._inner.search(texts, k, field, where=where)

    def embeddings(self) -> tuple[list[str], Any, Any] | None:
        if self._inner.mark() is None:
            return self._inner.embeddings()
        return self._index.whole(len(self._inner))

    # ------------------------------------------------------------------------------------------ changes

    def mark(self) -> int | None:
        return self._inner.mark()

    def changes(self, since: int) -> Changes | None:
        return self._inner.changes(since)

    def version(self) -> int:
        return self._inner.version()

    @property
    def turn(self) -> threading.RLock:
        return self._inner.turn

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        failed, entered = True, False
        try:
            with self._inner.transaction():
                self._family.enter()
                entered = True
                yield
            failed = False
        finally:
            if entered:
                self._family.leave(failed)

    def began(self) -> None:
        """A transaction of this place has begun."""
        self._index.begin()

    def ended(self, failed: bool) -> None:
        """It is over."""
        if failed:
            self._form = None
            self._filters.clear()
        self._index.end(failed)

    # ------------------------------------------------------------------------------------------ as a whole

    def beside(self, name: str, config: Any = None) -> Store:
        """Another store with an index in the same place. `config` are settings of `HnswConfig` that differ."""
        known = self._besides.get(name)
        if known is not None:
            return known
        given = _given(config)
        for key in ("data_path", "connection", "table_name"):
            given.pop(key, None)
        names = {field.name for field in dataclasses.fields(HnswConfig)}
        mine = {key: value for key, value in given.items() if key in names}
        rest = {key: value for key, value in given.items() if key not in names or key in (*_ROWS, *_FILE)}
        own = dataclasses.replace(self._chosen, **{"n_dim": None, **mine})
        folder = self._folder
        if folder is not None:
            folder = folder.with_name(f"{folder.name.removesuffix('.hnsw')}.{quote(name, safe='@')}.hnsw")
        _settings(own)
        store = HnswStore(self._inner.beside(name, rest), own, folder, family=self._family)
        self._besides[name] = store
        return store

    def sync(self) -> None:
        """Brings the index up to date and saves it.

        Raises:
            StoreError: it could not be written; the rows are safe.
        """
        self._inner.sync()
        if self._inner.mark() is not None:
            self._index.sync()

    def drop(self) -> None:
        self._inner.drop()
        self._index.abandon()
        self._family.members.discard(self)
        if self._folder is not None:
            _remove(self._folder, os.getpid())
        if self._temporary is not None:
            self._temporary()

    def close(self) -> None:
        for store in self._besides.values():
            store.close()
        self._index.close()
        self._inner.close()
        self._family.members.discard(self)
        if self._temporary is not None:
            self._temporary()

    # ------------------------------------------------------------------------------------------ one shape

    def _guarded(self, table: Table, write: Any) -> None:
        """Writes, if the embeddings are of the one shape and dtype; the first say which that is."""
        column = table.columns.get("embedding")
        form = None if column is None else _form_of(column, table)
        if form is None:
            write()
            return
        shape, dtype, row = form
        if self._known_form() == (shape, dtype):
            write()
            return
        with self.transaction():
            have = self._known_form(anew=True)
            if have is None or not self._fits(have, shape, dtype):
                wanted = self._chosen.n_dim
                if wanted is not None and math.prod(shape) != wanted:
                    have = ((wanted,), None)
                elif have is not None and not self._is_bare():
                    pass
                else:
                    have = None
                if have is not None:
                    holds = f"{have[0]}" + (f" {have[1]}" if have[1] else "")
                    raise ShapeError(
                        f"column 'embedding' holds {holds} cells; row {row} ({table.ids[row]!r}) brought "
                        f"{shape} {dtype}. Nothing was written"
                    )
            self._inner.meta({_FORM: json.dumps([shape, dtype]).encode()})
            write()
            self._form, self._form_at = (shape, dtype), self._inner.version()

    @staticmethod
    def _fits(have: Form, shape: tuple[int, ...], dtype: str) -> bool:
        return have[0] == shape and have[1] in (None, dtype)

    def _known_form(self, anew: bool = False) -> Form | None:
        version = self._inner.version()
        if anew or self._form is None or self._form_at != version:
            text = self._inner.meta().get(_FORM)
            self._form, self._form_at = None, version
            if text is not None:
                shape, dtype = json.loads(text)
                self._form = tuple(shape), dtype
        return self._form

    def _is_bare(self) -> bool:
        """Whether no row has an embedding: then the next may be of another shape."""
        if self._inner.mark() is not None:
            return not self._index.count()
        return all("embedding" not in table.columns for table in self._inner.scan(["embedding"]))


class AnnliteStore(HnswStore):
    """`HnswStore` by the old names of its settings; see `AnnliteConfig`."""

    @classmethod
    def open(cls, config: Any = None) -> Self:
        """The store that an `AnnliteConfig`, or a dict of its names, means.

        Raises:
            BadValue: `n_dim` is missing. UnknownOption: there is no such setting.
        """
        if isinstance(config, HnswConfig):
            return cls._opened(config)
        old = configured(AnnliteConfig, config, "annlite")
        return cls._opened(HnswConfig(**_given(old)))


class _Family:
    """The stores of one place, which take part in each other's transactions."""

    def __init__(self) -> None:
        self.members: weakref.WeakSet[HnswStore] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._depth = 0
        self._failed = False

    @property
    def is_inside(self) -> bool:
        """Whether a transaction is open."""
        return self._depth > 0

    def enter(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth > 1:
                return
            self._failed = False
        for store in list(self.members):
            store.began()

    def leave(self, failed: bool) -> None:
        with self._lock:
            self._depth -= 1
            self._failed |= failed
            if self._depth:
                return
        for store in list(self.members):
            store.ended(self._failed)


def _settings(config: HnswConfig) -> Settings:
    """The settings of the index.

    Raises:
        BadValue, UnknownMetric, Unsupported, FieldTypeError: one is not what it can be. MissingExtra: no engine.
    """
    if config.n_components is not None:
        raise Unsupported(
            "n_components: storage 'hnswlib' does not reduce vectors. Reduce them before they are stored, for "
            "instance with sklearn.decomposition.PCA, queries too"
        )
    metric = _METRICS.get(config.metric)
    if metric is None:
        raise UnknownMetric(
            f"no index is made for the metric {config.metric!r}. {near_miss(config.metric, _METRICS)}"
        )
    if config.n_dim is not None:
        _whole("n_dim", config.n_dim, 1)
    if config.dtype not in ("float32", "float16"):
        raise BadValue(f"dtype of the graph is 'float32' or 'float16', not {config.dtype!r}")
    kind = engine_named(config.engine)
    if config.dtype == "float16" and kind.name != "usearch":
        raise BadValue("a graph of float16 is made by usearch: engine='usearch' (pip install usearch)")
    return Settings(
        kind,
        metric,
        _whole("max_connection", config.max_connection if config.M is None else config.M, 2),
        _whole("ef_construction", config.ef_construction, 1),
        _whole("ef_search", config.ef_search if config.ef is None else config.ef, 1),
        config.dtype,
        config.progress,
    )


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _given(config: Any) -> dict[str, Any]:
    """The settings that a config or dict names; those that a config leaves as they are do not count."""
    if config is None or isinstance(config, Mapping):
        return dict(cast("Mapping[str, Any]", config or {}))
    if not dataclasses.is_dataclass(config):
        raise FieldTypeError(f"a config is a dict or a HnswConfig, not a {type(config).__name__}")
    fields = dataclasses.fields(config)
    return {
        f.name: value for f in fields if (value := getattr(config, f.name)) is not None and value != f.default
    }


def _whole(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise FieldTypeError(f"{name} is a whole number, not {type(value).__name__}") from None
    if number < least:
        raise BadValue(f"{name} must be {least} or more, and is {number}")
    return number


def _form_of(column: Column, table: Table) -> tuple[tuple[int, ...], str, int] | None:
    """Shape and dtype of all embeddings, and the first row that has one; None where no row has.

    Raises:
        ShapeError: they differ, or one cannot be indexed.
    """
    if isinstance(column, UniformTensors):
        data, present = column.data, column.present
        rows = len(data) if present is None else int(present.sum())
        if not rows:
            return None
        first = 0 if present is None else int(present.argmax())
        return *_one_form(data.shape[1:], data.dtype, first, table), first
    found: tuple[tuple[int, ...], str, int] | None = None
    for row, value in enumerate(column.values()):
        if value is None:
            continue
        if tensors.is_sparse(value):
            raise ShapeError(
                f"row {row} ({table.ids[row]!r}) brought a sparse embedding; a vector index takes dense ones: "
                "doc.embedding.toarray()[0]. Nothing was written"
            )
        array = tensors.to_numpy(value)
        form = _one_form(array.shape, array.dtype, row, table)
        if found is None:
            found = *form, row
        elif form != found[:2]:
            raise ShapeError(
                f"row {found[2]} ({table.ids[found[2]]!r}) brought an embedding of {found[0]} {found[1]}, row {row} "
                f"({table.ids[row]!r}) one of {form[0]} {form[1]}: an index has one shape. Nothing was written"
            )
    return found


def _one_form(shape: tuple[int, ...], dtype: Any, row: int, table: Table) -> tuple[tuple[int, ...], str]:
    if dtype.kind not in "biuf" or not math.prod(shape) or not shape:
        raise ShapeError(
            f"row {row} ({table.ids[row]!r}) brought an embedding of {tuple(shape)} {dtype}; an index takes vectors of "
            "real numbers. Nothing was written"
        )
    return tuple(shape), str(dtype)


def _remove(folder: Path, owner: int) -> None:
    """Removes a folder that is no longer needed; not from a child of fork."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)

"""Arrays in remote places: pushed to and pulled from any URL of fsspec, or a folder, in parts that are checked.

Rule 1: a pushed array is a manifest, `NAME.docarray.json`, and a folder of parts, `NAME.docarray/<sha256 of the part>`.
        The parts joined are a native container. A part is named by what it holds, so it is never changed, and what
        is there already is never sent again.
Rule 2: the manifest is written last and removed first: an array is there as a whole or not at all.
Rule 3: nothing that is pulled is believed: parts are looked for by their checksums only, and no byte is used before
        its part was compared with them. The manifest gives no names of files.
Rule 4: a file in the cache is whole: it is gathered under another name, in which a broken pull is gone on with.
Rule 5: nothing is reached that was not asked for, by a URL or by DOCARRAY_REMOTE.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, Generic, Protocol, Self, TypeVar, cast
from urllib.parse import quote

from docarray import files
from docarray.errors import (
    BadValue,
    CorruptData,
    DocArrayError,
    FieldTypeError,
    FormatError,
    MissingExtra,
    Unsupported,
    UnsupportedFormat,
)
from docarray.format import LIBRARY
from docarray.progress import Bar, Show
from docarray.registry import require, resolve
from docarray.settle import settled
from docarray.table import Table

__all__ = [
    "Entry",
    "MissingArray",
    "cache_folder",
    "delete",
    "listed",
    "pull",
    "push",
    "rich_table",
    "url_of",
]

T = TypeVar("T")

Target = str | os.PathLike[str]

_FORMAT: Final = "docarray-parts"
_VERSION: Final = 1
_ENVIRONMENT: Final = "DOCARRAY_REMOTE"

_PART: Final = 1 << 24
_LARGEST_PART: Final = 1 << 30
_LARGEST_MANIFEST: Final = 1 << 26
_AT_ONCE: Final = 4
_TIMEOUT: Final = 120.0
_ANEW: Final = "take it away with `delete`, and push again"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_OURS: Final = re.compile(
    r"[0-9a-f]{64}|\.docarray-[0-9a-f]{16}\.tmp"
)  # parts, and what files.replacing leaves
_SHOWN: Final = re.compile(r"[\w :.,+-]{0,100}")  # no codes that a terminal would follow
_PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f\\:*?#\[\]{}<>|\"%]+")
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2"})


class MissingArray(DocArrayError, FileNotFoundError):
    """No array was pushed under that name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One pushed array, as its manifest says it."""

    name: str
    """What it is called below the place that was listed."""
    url: str
    """What `pull` and `delete` take."""
    rows: int
    """How many documents it has."""
    size: int
    """Its bytes."""
    created: str
    """When it was pushed: ISO 8601, in UTC."""
    library: str
    """What pushed it."""
    parts: tuple[tuple[str, int], ...]
    """The checksum and the size of each part, in order."""

    @property
    def checksum(self) -> str:
        """What says whether two arrays are the same to the byte: SHA-256 of the checksums of all parts."""
        return hashlib.sha256("".join(digest for digest, _ in self.parts).encode()).hexdigest()


# ------------------------------------------------------------------------------------------------ the four verbs


def push(
    tables: Table | Iterable[Table],
    target: Target,
    *,
    show: Show = None,
    storage_options: Mapping[str, Any] | None = None,
    timeout: float = _TIMEOUT,
    part_size: int = _PART,
    **options: Any,
) -> Entry:
    """Writes tables as one array to a remote place, in the native format.

    What is there under the name is replaced at the end, in one step. A push that was broken off is gone on with by
    pushing the same again: parts that are there are not sent. One writer at a time: of two, the later one wins or
    gets an error.

    Args:
        tables: the documents; several tables are written one after the other.
        target: a URL of fsspec, such as `s3://bucket/folder/name`; a path; or a name below DOCARRAY_REMOTE.
        show: whether progress is shown; see `docarray.progress.Show`.
        storage_options: for the file system of fsspec, such as `{'endpoint_url': ...}`.
        timeout: seconds that one part may take.
        part_size: bytes of a part. Another size means other parts: nothing of an earlier push is found again then.
        options: of the native format, such as `compress='zstd'`.

    Returns:
        what the manifest says.

    Raises:
        BadValue: `target` is a name that cannot be, or a name while DOCARRAY_REMOTE is not set.
        Unsupported: `target` is a web address, where nothing can be written.
        MissingExtra: fsspec, or what it needs for the scheme, is not installed. OSError: the transfer failed.

    Costs one pass over the bytes for the checksums; memory of a table and nine parts at most.

    >>> entry = push(Table({}, 2), 'memory://doctest/empty')
    >>> entry.rows, entry.name, len(pull(entry.url, local_cache=False))
    (2, 'empty', 2)
    >>> delete(entry.url)
    """
    if not isinstance(part_size, int) or not 0 < part_size <= _LARGEST_PART:
        raise BadValue(f"part_size={part_size!r}: it is a number of bytes from 1 to {_LARGEST_PART}")
    url = url_of(target)
    place, name = _place_of(url, storage_options, timeout)
    if isinstance(place, _Web):
        raise Unsupported(f"nothing can be pushed to the web address {url!r}: push to its bucket or folder")
    folder = name + ".docarray"
    before = _replaced(place, name, url)
    rows = 0

    def counted() -> Iterator[Table]:
        nonlocal rows
        for table in [tables] if isinstance(tables, Table) else tables:
            rows += len(table)
            yield table

    with Bar(f"pushing {name}", show=show, unit="bytes") as bar:
        with _Sending(place, folder, part_size, bar.step) as stream:
            resolve("format", "binary").write(counted(), cast("BinaryIO", stream), **options)
        parts = tuple(stream.parts)
    there = place.sizes(folder)
    for digest, size in parts:
        if there.get(digest) != size:
            raise CorruptData(
                f"part {digest} of {url!r} is gone, or is not whole: somebody else pushes to this name. Push again"
            )
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    entry = Entry(name, url, rows, sum(size for _, size in parts), created, LIBRARY, parts)
    place.put(name + ".docarray.json", _written(entry))
    kept = {digest for digest, _ in parts}
    place.drop([f"{folder}/{digest}" for digest in sorted(before - kept) if digest in there])
    return entry


def pull(
    target: Target,
    *,
    show: Show = None,
    local_cache: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    timeout: float = _TIMEOUT,
) -> Table:
    """The documents that were pushed to a remote place.

    Args:
        target: a URL of fsspec or of the web, a path, or a name below DOCARRAY_REMOTE.
        show: whether progress is shown; see `docarray.progress.Show`.
        local_cache: whether what comes is kept in `cache_folder()`. What is there and is still what was pushed is
            not fetched again, nor are parts that came before a pull was broken off; the file is mapped, so that
            memory is what is touched. Otherwise everything is held in memory.
        storage_options: for the file system of fsspec.
        timeout: seconds that one part may take.

    Returns:
        one table.

    Raises:
        MissingArray: nothing was pushed there; it is a FileNotFoundError.
        CorruptData: the manifest is damaged, or a part is, or is missing; the message names it.
        UnsupportedFormat: a later version of the library pushed it.
        BadValue, MissingExtra, OSError: as `push`.

    Costs one request for the manifest, and one for each part that is fetched, four at a time.
    """
    url = url_of(target)
    place, name = _place_of(url, storage_options, timeout)
    entry = _entry(place, name, url)
    form = resolve("format", "binary")
    with Bar(f"pulling {name}", entry.size, show=show, unit="bytes") as bar, _naming(url):
        if local_cache:
            return settled(form.load(_cached(place, name, entry, bar.step)))
        data = bytearray()

        def keep(part: tuple[int, bytes]) -> None:
            data.extend(part[1])
            bar.step(len(part[1]))

        _fetch(place, name, entry, range(len(entry.parts)), keep)
        return settled(form.loads(memoryview(data).toreadonly()))


def listed(
    target: Target | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    timeout: float = _TIMEOUT,
) -> list[Entry]:
    """What was pushed to a place, folders below it included, in the order of names.

    Args:
        target: a URL of fsspec, or a folder; None is DOCARRAY_REMOTE.
        storage_options: for the file system of fsspec.
        timeout: seconds that one request may take.

    Returns:
        an entry for each array; none where there is no such place.

    Raises:
        BadValue: neither a target nor DOCARRAY_REMOTE is given. Unsupported: a web address, which has no listing.
        CorruptData, UnsupportedFormat: a manifest cannot be read.

    Costs a request for each folder and each manifest.
    """
    base = _base() if target is None else url_of(target)
    place = _opened(base, storage_options, timeout)
    if isinstance(place, _Web):
        raise Unsupported(f"the web address {base!r} cannot be listed: pull by name")
    names: list[str] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        below, found = place.children(folder)
        prefix = folder + "/" if folder else ""
        folders += [prefix + one for one in below if not one.endswith(".docarray")]
        names += [
            prefix + one.removesuffix(".docarray.json") for one in found if one.endswith(".docarray.json")
        ]
    return [_entry(place, name, f"{base.rstrip('/')}/{name}") for name in sorted(names)]


def delete(
    target: Target,
    *,
    storage_options: Mapping[str, Any] | None = None,
    timeout: float = _TIMEOUT,
) -> None:
    """Takes away what was pushed, and what broken pushes left behind; files of others stay.

    Args:
        target: a URL of fsspec, a path, or a name below DOCARRAY_REMOTE.
        storage_options: for the file system of fsspec.
        timeout: seconds that one request may take.

    Raises:
        MissingArray: nothing was pushed there; it is a FileNotFoundError.
        Unsupported: a web address.
    """
    url = url_of(target)
    place, name = _place_of(url, storage_options, timeout)
    if isinstance(place, _Web):
        raise Unsupported(f"nothing can be deleted at the web address {url!r}")
    parts = [one for one in place.sizes(name + ".docarray") if _OURS.fullmatch(one)]
    try:
        place.drop([name + ".docarray.json"])
    except FileNotFoundError:
        if not parts:
            raise MissingArray(f"nothing was pushed to {url!r}") from None
    place.drop([f"{name}.docarray/{one}" for one in parts])
    place.close(name + ".docarray")


def cache_folder() -> str:
    """Where pulled arrays are kept: `docarray` in XDG_CACHE_HOME, or in `~/.cache`. It may be deleted at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "docarray")


def rich_table(entries: Sequence[Entry]) -> Any:
    """Entries as a table of rich: what `DocumentArray.cloud_list(show_table=True)` shows."""
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table as Shown

    shown = Shown("name", "documents", "size", "pushed", "url")
    for entry in entries:
        cells = (entry.name, f"{entry.rows:,}", decimal(entry.size), entry.created, entry.url)
        shown.add_row(*(escape(cell if cell.isprintable() else ascii(cell)) for cell in cells))
    return shown


# ------------------------------------------------------------------------------------------------ names


def url_of(target: Target) -> str:
    """The URL or the absolute path that is meant by a URL, a path, or a name below DOCARRAY_REMOTE.

    A str that is neither a URL, nor absolute, nor begins with `./` or `~`, is a name.

    Raises:
        BadValue: it is a name and DOCARRAY_REMOTE is not set; or it leads out of where it should be.
        FieldTypeError: it is neither str nor path.

    >>> url_of('s3://bucket/menu/')
    's3://bucket/menu'
    >>> url_of('../menu')
    Traceback (most recent call last):
    docarray.errors.BadValue: '../menu' leads out of its place with '..': give a whole URL, or a pathlib.Path
    """
    if not isinstance(cast("object", target), (str, os.PathLike)):
        raise FieldTypeError(f"a name, a URL or a path is wanted; got {target!r:.80}")
    text = os.fspath(target)
    if not isinstance(target, str):
        return os.path.abspath(os.path.expanduser(text))
    if ".." in re.split(r"[/\\]", text):
        raise BadValue(f"{text!r} leads out of its place with '..': give a whole URL, or a pathlib.Path")
    if files.is_url(text):
        if "?" in text or "#" in text:
            raise BadValue(f"{text!r} has a query, which names of parts cannot be put behind")
        return text.rstrip("/")
    if os.path.isabs(text) or text.startswith(("./", "." + os.sep, "~")):
        return os.path.abspath(os.path.expanduser(text))
    if not _PLAIN.fullmatch(text) or "" in text.split("/") or "." in text.split("/"):
        raise BadValue(f"{text!r} is no name of an array: letters, digits and '-_./' are")
    base = _base(text)
    return f"{base.rstrip('/')}/{text}" if files.is_url(base) else os.path.join(base, text)


def _base(name: str | None = None) -> str:
    base = os.environ.get(_ENVIRONMENT)
    if not base:
        what = "no place is given" if name is None else f"{name!r} says no place"
        raise BadValue(
            f"{what}: give a URL, such as 's3://bucket/{name or 'folder'}', or set {_ENVIRONMENT} to one below which "
            "names are looked for. The service that once kept names is no more"
        )
    return base if files.is_url(base) else os.path.abspath(os.path.expanduser(base))


# ------------------------------------------------------------------------------------------------ places


class _Place(Protocol):
    """Files below one URL. Names are relative, with '/'."""

    def get(self, name: str, limit: int) -> bytes:
        """What a file holds, or its first `limit` bytes. FileNotFoundError."""
        ...

    def put(self, name: str, data: bytes | bytearray) -> None:
        """Writes a file as a whole."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """The files directly in a folder, and their sizes; none where there is no folder."""
        ...

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """The names of folders and of files directly in a folder."""
        ...

    def drop(self, names: list[str]) -> None:
        """Takes files away. FileNotFoundError."""
        ...

    def close(self, folder: str) -> None:
        """Takes a folder away, if it is empty and there is such a thing."""
        ...


class _Folder:
    """A local folder."""

    def __init__(self, root: str) -> None:
        self._root = root

    def _path(self, name: str) -> str:
        return os.path.join(self._root, *name.split("/"))

    def get(self, name: str, limit: int) -> bytes:
        with open(self._path(name), "rb") as stream:
            return stream.read(limit)

    def put(self, name: str, data: bytes | bytearray) -> None:
        path = self._path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with files.replacing(path) as stream:
            stream.write(data)

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._path(folder)) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        return {one.name: one.stat().st_size for one in self._scan(folder) if one.is_file()}

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        found = self._scan(folder)
        # A link to a folder may lead back to where it lies.
        folders = [one.name for one in found if one.is_dir(follow_symlinks=False)]
        return folders, [one.name for one in found if one.is_file()]

    def drop(self, names: list[str]) -> None:
        for name in names:
            os.unlink(self._path(name))

    def close(self, folder: str) -> None:
        with suppress(OSError):  # files of others are in it
            os.rmdir(self._path(folder))


class _Store:
    """What fsspec reaches."""

    def __init__(self, url: str, options: Mapping[str, Any] | None, timeout: float) -> None:
        fsspec = require("fsspec", f"the URL {url!r}", '"docarray[remote]"')
        # Nothing is remembered of what is there: other processes, and earlier pushes, change it.
        known = {"use_listings_cache": False, **(options or {})}
        try:
            self._system, root = fsspec.core.url_to_fs(url, **known)
        except ImportError as error:  # fsspec names the package of the scheme
            raise MissingExtra(f"the URL {url!r} cannot be opened: {error}") from error
        except ValueError as error:
            raise BadValue(f"{url!r} cannot be reached: {error}") from None
        self._root = root.rstrip("/")
        self._url = url
        self._timeout = timeout
        protocol = self._system.protocol
        kinds = {protocol} if isinstance(protocol, str) else set(protocol)
        # There a folder is but a part of names: none is made, and none stays behind.
        self._has_folders = not kinds & _OBJECT_STORES

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _call(self, verb: str, *args: Any, **options: Any) -> Any:
        timed = {"timeout": self._timeout} if self._system.async_impl else {}
        try:
            return getattr(self._system, verb)(*args, **options, **timed)
        except TimeoutError as error:
            raise TimeoutError(f"{self._url!r} gave no answer within {self._timeout} s") from error

    def get(self, name: str, limit: int) -> bytes:
        return self._call("cat_file", self._path(name), start=0, end=limit)

    def put(self, name: str, data: bytes | bytearray) -> None:
        path, data = self._path(name), bytes(data)
        try:
            self._call("pipe_file", path, data)
        except FileNotFoundError:
            if not self._has_folders:  # then it is the bucket that is missing
                raise
            self._call("makedirs", path.rpartition("/")[0], exist_ok=True)
            self._call("pipe_file", path, data)

    def _list(self, folder: str) -> list[dict[str, Any]]:
        try:
            return self._call("ls", self._path(folder), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        found = self._list(folder)
        return {_last(one["name"]): int(one["size"] or 0) for one in found if one["type"] == "file"}

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        found = self._list(folder)
        folders = [_last(one["name"]) for one in found if one["type"] == "directory"]
        return [one for one in folders if one], [_last(one["name"]) for one in found if one["type"] == "file"]

    def drop(self, names: list[str]) -> None:
        paths = [self._path(name) for name in names]
        if len(paths) == 1 and not self._call("exists", paths[0]):
            raise FileNotFoundError(paths[0])  # object stores say nothing
        if paths:
            self._call("rm", paths)

    def close(self, folder: str) -> None:
        if self._has_folders and self._call("isdir", self._path(folder)):
            with suppress(OSError):  # files of others are in it
                self._call("rmdir", self._path(folder))


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


class _Web:
    """A web server: files are fetched, and nothing else."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    def get(self, name: str, limit: int) -> bytes:
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        url = f"{self._url}/{quote(name)}"
        parts: list[bytes] = []
        left = limit
        try:
            with urlopen(Request(url, headers={"User-Agent": LIBRARY}), timeout=self._timeout) as answer:
                while left and (part := answer.read(left)):
                    parts.append(part)
                    left -= len(part)
        except HTTPError as error:
            with error:
                if error.code in (404, 410):
                    raise FileNotFoundError(f"{url}: {error}") from None
                raise OSError(f"{url}: {error}") from None
        except http.client.HTTPException as error:  # which is no OSError
            raise OSError(f"{url}: {error!r}") from error
        return b"".join(parts)


def _opened(url: str, options: Mapping[str, Any] | None, timeout: float) -> _Place | _Web:
    """The place at a URL, or at a local path."""
    path = files.path_of(url)
    if path is not None:
        return _Folder(path)
    if url.startswith(("http://", "https://")):
        return _Web(url, timeout)
    return _Store(url, options, timeout)


def _place_of(url: str, options: Mapping[str, Any] | None, timeout: float) -> tuple[_Place | _Web, str]:
    """The place that an array is in, and its name there."""
    path = files.path_of(url)
    if path is not None:
        parent, name = os.path.split(path)
    else:
        scheme, _, rest = url.partition("://")
        parent, _, name = rest.rpartition("/")
        if not parent and scheme in _OBJECT_STORES:
            raise BadValue(f"{url!r} has a bucket, or a name, where both are wanted: {scheme}://bucket/name")
        parent = f"{scheme}://{parent}"
    name = name.removesuffix(".docarray")
    if not name:
        raise BadValue(f"{url!r} has no name of an array at its end")
    return _opened(parent, options, timeout), name


# ------------------------------------------------------------------------------------------------ the manifest


def _written(entry: Entry) -> bytes:
    known = {
        "format": _FORMAT,
        "version": _VERSION,
        "library": entry.library,
        "created": entry.created,
        "rows": entry.rows,
        "size": entry.size,
        "parts": [{"sha256": digest, "size": size} for digest, size in entry.parts],
    }
    return json.dumps(known, indent=1).encode() + b"\n"


def _entry(place: _Place | _Web, name: str, url: str) -> Entry:
    try:
        data = place.get(name + ".docarray.json", _LARGEST_MANIFEST + 1)
    except FileNotFoundError:
        raise MissingArray(
            f"nothing was pushed to {url!r}; a file of another kind is read by `load`"
        ) from None
    with _naming(url + ".docarray.json"):
        return _read(data, name, url)


def _read(data: bytes, name: str, url: str) -> Entry:
    if len(data) > _LARGEST_MANIFEST:
        raise CorruptData(f"a manifest of more than {_LARGEST_MANIFEST} bytes")
    try:
        known = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"the manifest is no JSON: {error!s:.200}") from None
    if not isinstance(known, dict) or cast("dict[str, Any]", known).get("format") != _FORMAT:
        raise UnsupportedFormat("this is no manifest of a pushed array")
    said = cast("dict[str, Any]", known)
    if said.get("version") != _VERSION:
        raise UnsupportedFormat(
            f"a manifest of version {said.get('version')!r:.40}; this is {LIBRARY}, which reads version {_VERSION}: "
            "a newer version is needed"
        )
    try:
        parts = tuple((one["sha256"], one["size"]) for one in said["parts"])
        entry = Entry(name, url, said["rows"], said["size"], said["created"], said["library"], parts)
    except (KeyError, TypeError) as error:
        raise CorruptData(f"the manifest is malformed: {error!r:.200}") from None
    for at, (digest, size) in enumerate(parts):
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise CorruptData(f"part {at} has a checksum that is none: {digest!r:.80}")
        if type(size) is not int or not 0 < size <= _LARGEST_PART:
            raise CorruptData(f"part {at} has the size {size!r:.40}")
    total = sum(size for _, size in parts)
    if type(entry.size) is not int or entry.size != total or type(entry.rows) is not int or entry.rows < 0:
        raise CorruptData(f"{entry.rows!r:.40} rows in {entry.size!r:.40} bytes, and parts of {total} bytes")
    if not _SHOWN.fullmatch(str(entry.created)) or not _SHOWN.fullmatch(str(entry.library)):
        raise CorruptData("when and by what the array was pushed is no text that could be shown")
    return entry


def _replaced(place: _Place, name: str, url: str) -> set[str]:
    """The parts of what a push takes the place of; a manifest that nobody can read has none."""
    try:
        return {digest for digest, _ in _entry(place, name, url).parts}
    except (MissingArray, FormatError):
        return set()


@contextmanager
def _naming(url: str) -> Generator[None]:
    try:
        yield
    except FormatError as error:
        if repr(url) in str(error):
            raise
        raise type(error)(f"{url!r}: {error}") from error.__cause__


# ------------------------------------------------------------------------------------------------ the transfer


class _Crew(Generic[T]):
    """Jobs, of which a few run at once. What they give goes to `then`, in their order, in the thread that submits."""

    def __init__(self, then: Callable[[T], object]) -> None:
        self._then = then
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="docarray-remote")
        self._running: deque[Future[T]] = deque()

    def submit(self, job: Callable[..., T], *args: Any) -> None:
        if len(self._running) == _AT_ONCE:  # so that memory is bounded
            self._then(self._running.popleft().result())
        self._running.append(self._pool.submit(job, *args))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while self._running and kind is None:
                self._then(self._running.popleft().result())
        finally:
            self._pool.shutdown(cancel_futures=True)


class _Sending(io.RawIOBase):
    """A binary file that is cut into parts, which go to a place; those that are there are not sent."""

    def __init__(self, place: _Place, folder: str, size: int, step: Callable[[int], object]) -> None:
        self.parts: list[tuple[str, int]] = []
        self._place = place
        self._folder = folder
        self._there = place.sizes(folder)
        self._size = size
        self._step = step
        self._part = bytearray()
        self._crew: _Crew[tuple[str, int]] = _Crew(self._sent)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        at = 0
        while at < len(view):
            piece = view[at : at + self._size - len(self._part)]
            self._part += piece
            at += len(piece)
            if len(self._part) == self._size:
                self._next()
        return len(view)

    def _next(self) -> None:
        full, self._part = self._part, bytearray()
        self._crew.submit(self._send, full)

    def _send(self, part: bytearray) -> tuple[str, int]:
        digest = hashlib.sha256(part).hexdigest()
        if self._there.get(digest) != len(part):
            self._place.put(f"{self._folder}/{digest}", part)
        return digest, len(part)

    def _sent(self, part: tuple[str, int]) -> None:
        self.parts.append(part)
        self._step(part[1])

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None and self._part:
            self._next()
        self._crew.__exit__(kind, error, trace)


def _fetch(
    place: _Place | _Web,
    name: str,
    entry: Entry,
    wanted: Iterable[int],
    then: Callable[[tuple[int, bytes]], object],
) -> None:
    """Hands the numbers and the bytes of parts to `then`, each compared with its checksum."""

    def fetched(at: int) -> tuple[int, bytes]:
        digest, size = entry.parts[at]
        where = f"part {at} of {entry.url!r} ({digest})"
        try:
            data = place.get(f"{name}.docarray/{digest}", size + 1)
        except FileNotFoundError:
            raise CorruptData(f"{where} is missing: if it is being pushed anew, pull again") from None
        if len(data) != size:
            more = "more" if len(data) > size else len(data)
            raise CorruptData(f"{where} is of {more} bytes where {size} were announced: {_ANEW}")
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptData(f"{where} is not what its checksum says: {_ANEW}")
        return at, data

    with _Crew(then) as crew:
        for at in wanted:
            crew.submit(fetched, at)


def _cached(place: _Place | _Web, name: str, entry: Entry, step: Callable[[int], object]) -> str:
    """The path of the file in the cache, whole; what is missing is fetched."""
    key = re.sub(r"[^\w.-]", "_", name)[:64] + "-" + hashlib.sha256(entry.url.encode()).hexdigest()[:16]
    folder = os.path.join(cache_folder(), "remote", key)
    path = os.path.join(folder, entry.checksum + ".docarray")
    if os.path.isfile(path) and os.path.getsize(path) == entry.size:
        step(entry.size)
        return path
    os.makedirs(folder, exist_ok=True)
    unfinished = path + ".unfinished"
    with open(
        os.open(unfinished, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b"
    ) as stream:
        starts: list[int] = []
        missing: list[int] = []
        end = 0
        for at, (digest, size) in enumerate(entry.parts):
            starts.append(end)
            # What an earlier pull left is believed no more than what comes from outside.
            stream.seek(end)
            if hashlib.sha256(stream.read(size)).hexdigest() == digest:
                step(size)
            else:
                missing.append(at)
            end += size

        def keep(part: tuple[int, bytes]) -> None:
            stream.seek(starts[part[0]])
            stream.write(part[1])
            step(len(part[1]))

        # In their order, so that what a break leaves has no holes that would be read next time.
        _fetch(place, name, entry, missing, keep)
        stream.truncate(end)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.replace(unfinished, path)
    except FileNotFoundError:
        if not os.path.isfile(path):  # else another process was there first, with the same bytes
            raise
    for one in os.listdir(folder):  # what was pushed before, under the same name
        if not one.startswith(entry.checksum):
            with suppress(OSError):  # on some systems a file that is mapped stays
                os.unlink(os.path.join(folder, one))
    return path

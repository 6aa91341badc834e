"""Bytes of what a uri leads to: paths, data URIs, web addresses, object stores; and what documents do with bytes.

Rule 1: a uri comes from strangers. Its scheme is on a list, or it is not followed, however it was come by: by a
        redirect, or as a link of a chained URL.
Rule 2: what a server says is not believed: bytes are counted while they come, and compared with what it said.
Rule 3: passwords of a URL go to its own host, and into no message.
"""

# pyright: reportPrivateUsage=false
# An empty blob shows in the slot of the content alone.

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import stat
import string
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from docarray import compression, datauri, files, tensors
from docarray.errors import (
    BadUri,
    BadValue,
    CorruptData,
    DocArrayError,
    FetchError,
    FieldTypeError,
    MissingExtra,
    ShapeError,
    UnknownName,
    Unsupported,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from docarray.document import Document

__all__ = [
    "LOCAL",
    "REMOTE",
    "SCHEMES",
    "convert_blob_to_datauri",
    "convert_blob_to_tensor",
    "convert_content_to_datauri",
    "convert_tensor_to_blob",
    "convert_text_to_datauri",
    "convert_uri_to_datauri",
    "load_uri_to_blob",
    "load_uri_to_text",
    "naming",
    "of_document",
    "opened",
    "read",
    "save_blob_to_file",
    "save_uri_to_file",
    "scheme_of",
    "shortened",
]

SCHEMES: Final = frozenset(
    {
        *("", "file", "data", "http", "https", "memory"),
        *("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "hf"),
    }
)
"""What a uri may begin with unless `schemes` says otherwise; '' is a path. The second line is for fsspec."""

LOCAL: Final = 2 << 30
"""Bytes that are taken of a local file, unless `max_size` says otherwise, where all of it goes into memory."""

REMOTE: Final = 256 << 20
"""Bytes that are taken of anything else, unless `max_size` says otherwise."""

_AGENT: Final = "Mozilla/5.0 (compatible; docarray)"  # there are servers that send away what is no browser
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 10
_PIECE: Final = 1 << 18
_IN_MEMORY: Final = 8 << 20  # bytes of remote data that are held before they go to disk
_LONGEST: Final = 100  # characters of a uri in a message

# Two letters at least: `C:\\data` is a path.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z][A-Za-z0-9+.-]+)*):")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# The container of an Azure URL stands where others have a user, but never with a password.
_USER: Final = re.compile(r"^(https?://)[^/?#\s]*@|^([\w+.:-]+://)[^/?#\s]*:[^/?#\s]*@", re.IGNORECASE)


# ------------------------------------------------------------------------------------------------ uris


def scheme_of(uri: str) -> str:
    """What a uri begins with, in lower case; '' for a path.

    >>> [scheme_of(uri) for uri in ('a.png', 'C:/a.png', 'HTTPS://host/a.png', 'data:,tea')]
    ['', '', 'https', 'data']
    """
    found = _SCHEME.match(uri)
    if found is None:
        return ""
    scheme = found[1].lower()
    if scheme not in ("data", "file") and not uri.startswith("//", found.end()) and os.path.lexists(uri):
        return ""  # a file whose name has a colon in it
    return scheme


def shortened(uri: str) -> str:
    """A uri as it is shown in messages: no password, no more of a data URI than its head, no line ends.

    >>> shortened('https://me:secret@host/a.png'), shortened('data:image/png;base64,iVBORw0KGgo=')
    ('https://host/a.png', 'data:image/png;base64,...')
    """
    if datauri.is_datauri(uri):
        head, _, rest = uri[:_LONGEST].partition(",")
        return _CONTROL.sub("?", f"{head},..." if rest or len(uri) > _LONGEST else uri)
    shown = _CONTROL.sub("?", _USER.sub(r"\1\2", uri))
    return shown if len(shown) <= _LONGEST else f"{shown[:60]}...{shown[-37:]}"


def _allowed(uri: object, schemes: Collection[str] | None) -> str:
    """The scheme of a uri that may be followed."""
    if not isinstance(uri, str):
        raise FieldTypeError(f"a uri is a str; got {type(uri).__name__}: {uri!r:.80}")
    if not uri:
        raise BadUri("the uri is empty: there is nothing to read")
    scheme = scheme_of(uri)
    if scheme != "data" and (found := _CONTROL.search(uri)):
        raise BadUri(
            f"the uri {shortened(uri)!r} is not followed: it holds the control character {found[0]!r}"
        )
    links = {scheme}
    if scheme not in (
        "",
        "file",
        "data",
        "http",
        "https",
    ):  # fsspec reads several stores one through the other
        links = set(scheme.split("::"))
        links |= {link.partition("://")[0].lower() for link in uri[len(scheme) :].split("::")[1:]}
    _check(uri, links, schemes)
    return scheme


def _check(uri: str, links: Collection[str], schemes: Collection[str] | None) -> None:
    if isinstance(schemes, str):
        raise FieldTypeError(f"schemes={schemes!r}: a list of names is wanted, such as [{schemes!r}]")
    allowed = SCHEMES if schemes is None else schemes
    for name in links:
        if name not in allowed:
            called = f"of scheme {name!r}" if name else "a path"
            known = ", ".join(repr(each) for each in sorted(allowed)) or "none"
            hint = "; a path with a colon in it begins with './'" if name and "://" not in uri else ""
            raise BadUri(
                f"the uri {shortened(uri)!r} is {called}, which is not followed. There are: {known}. "
                f"If you trust it, allow it by schemes=[{name!r}]{hint}"
            )


# ------------------------------------------------------------------------------------------------ reading


@dataclass(slots=True)
class _Found:
    """What a uri leads to, and what is said of it there."""

    data: bytes
    media_type: str | None = None
    charset: str | None = None


@dataclass(slots=True)
class _Said:
    """What a server says of the bytes that it sends."""

    media_type: str | None = None
    charset: str | None = None


def read(
    uri: str,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Collection[str] | None = None,
) -> bytes:
    """All bytes of what a uri leads to.

    Args:
        uri: a path; `file://`, `data:`, `http://` or `https://`; or a URL of fsspec, such as `s3://bucket/key`.
        timeout: seconds that a web server may be silent; None waits for ever. Object stores have times of their own.
        max_size: bytes that are taken at most; None is LOCAL for a local file, REMOTE for others.
        schemes: what the uri, and each redirect, may begin with, instead of SCHEMES; '' is a path.

    Raises:
        BadUri: it is empty, malformed, of another scheme, leads to more than `max_size` bytes, or to no file.
        FileNotFoundError, IsADirectoryError, PermissionError: as `open`.
        FetchError: it is not to be had: no such host, an answer other than 200, silence, an end before the end.
        MissingExtra: a URL of fsspec needs a package.

    Memory: the bytes once, and while they come an eighth more.

    >>> read('data:text/plain;base64,dGVh')
    b'tea'
    """
    return _read(uri, timeout, max_size, schemes).data


def _read(uri: str, timeout: float | None, max_size: int | None, schemes: Collection[str] | None) -> _Found:
    _check_numbers(timeout, max_size)
    scheme = _allowed(uri, schemes)
    if scheme == "data":
        return _decoded(uri, max_size)
    if scheme in ("", "file"):
        with _local(uri, scheme, LOCAL if max_size is None else max_size) as stream:
            return _Found(stream.read())
    gathered = io.BytesIO()
    said = _fill(gathered, uri, scheme, timeout, max_size, schemes)
    return _Found(gathered.getvalue(), said.media_type, said.charset)


@contextmanager
def opened(
    uri: str,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Collection[str] | None = None,
) -> Generator[BinaryIO]:
    """What a uri leads to as a binary file that one can seek in, for the time of a `with` block; see `read`.

    A local file is the file itself, of any size unless `max_size` is given. All else was read to its end before the
    block begins: what is more than 8 MiB is in a temporary file.

    >>> with opened('data:,tea') as stream:
    ...     stream.read(1), stream.tell()
    (b't', 1)
    """
    _check_numbers(timeout, max_size)
    scheme = _allowed(uri, schemes)
    if scheme == "data":
        yield io.BytesIO(_decoded(uri, max_size).data)
    elif scheme in ("", "file"):
        with _local(uri, scheme, max_size) as stream:
            yield stream
    else:
        from tempfile import SpooledTemporaryFile  # with modules that local files do not need

        with SpooledTemporaryFile(_IN_MEMORY) as gathered:
            target = cast("BinaryIO", gathered)
            _fill(target, uri, scheme, timeout, max_size, schemes)
            target.seek(0)
            yield target


def _check_numbers(timeout: object, max_size: object) -> None:
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0
    ):
        raise BadValue(f"timeout={timeout!r}: it is a number of seconds above 0, or None to wait for ever")
    if max_size is not None and (isinstance(max_size, bool) or not isinstance(max_size, int) or max_size < 0):
        raise BadValue(f"max_size={max_size!r}: it is None or a number of bytes, 0 or more")


def _too_large(uri: str, limit: int, size: int | None = None) -> BadUri:
    count = "more" if size is None else f"{size} bytes"
    return BadUri(
        f"the uri {shortened(uri)!r} leads to {count}{' than' if size is None else ', more than'} the {limit} bytes "
        "that are taken: give max_size= if that is meant"
    )


def _decoded(uri: str, limit: int | None) -> _Found:
    found = datauri.decode(uri)
    if limit is not None and len(found.data) > limit:
        raise _too_large(uri, limit, len(found.data))
    return _Found(found.data, found.media_type, found.charset)


@contextmanager
def _local(uri: str, scheme: str, limit: int | None) -> Generator[BinaryIO]:
    path = _path(uri) if scheme else uri
    try:
        about = os.stat(path)
    except ValueError as error:  # letters that no path has
        raise BadUri(f"the uri {shortened(uri)!r} is no path: {error}") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # it would quote all of it
            raise BadUri(f"the uri {shortened(uri)!r} is longer than any path") from None
        raise
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        # A pipe would be waited for, a device might never end. A folder is refused by `open`.
        raise BadUri(f"the uri {shortened(uri)!r} leads to a pipe, a socket or a device, not to a file")
    if limit is not None and about.st_size > limit:
        raise _too_large(uri, limit, about.st_size)
    with open(path, "rb") as stream:
        yield stream


def _path(uri: str) -> str:
    """The path that a uri of scheme 'file' names."""
    rest = uri[len("file:") :]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost") or not slash:
            raise BadUri(
                f"the uri {shortened(uri)!r} names the host {host!r}: only files of this machine are read"
            )
        rest = f"/{rest}"
    if not rest.startswith("/"):
        raise BadUri(f"the uri {shortened(uri)!r} holds no absolute path, as in 'file:///data/a.png'")
    path = files.path_of(f"file://{rest}")
    if path is None or _CONTROL.search(path):
        raise BadUri(f"the uri {shortened(uri)!r} is not followed: it holds a control character")
    return path


# ------------------------------------------------------------------------------------------------ the network


def _fill(
    target: BinaryIO,
    uri: str,
    scheme: str,
    timeout: float | None,
    max_size: int | None,
    schemes: Collection[str] | None,
) -> _Said:
    """Writes what a remote uri leads to into a file."""
    limit = REMOTE if max_size is None else max_size
    try:
        if scheme in ("http", "https"):
            return _from_web(target, uri, timeout, limit, schemes)
        with files.reading(uri) as stream:
            size = getattr(stream, "size", None)
            _pour(stream, target, uri, limit, size if isinstance(size, int) else None)
        return _Said()
    except (DocArrayError, OSError):
        raise
    except Exception as error:  # the drivers of object stores raise what they like
        raise _unreachable(uri, f"{type(error).__name__}: {error}") from error


def _pour(source: Any, target: BinaryIO, uri: str, limit: int, size: int | None) -> int:
    """Writes all of a stream into a file, and gives the number of bytes."""
    if size is not None and size > limit:
        raise _too_large(uri, limit, size)
    count = 0
    while piece := source.read(min(_PIECE, limit - count + 1)):
        count += len(piece)
        if count > limit:
            raise _too_large(uri, limit)
        target.write(piece)
    return count


def _unreachable(url: str, why: str, status: int | None = None) -> FetchError:
    shown = shortened(url)
    error = FetchError(f"{shown!r} is not to be had: {' '.join(why.split())}")
    error.url = _USER.sub(r"\1\2", url)
    error.status = status
    return error


def _from_web(
    target: BinaryIO, uri: str, timeout: float | None, limit: int, schemes: Collection[str] | None
) -> _Said:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.parse import quote, urljoin

    url = uri
    for _ in range(_MOST_REDIRECTS + 1):
        try:
            with _answer(url, timeout) as response:
                return _body(response, target, url, limit)
        except HTTPError as error:
            with error:
                location = error.headers.get("Location") if error.code in _REDIRECTS else None
            if location is None:
                raise _unreachable(
                    url, f"the server answered {error.code} {error.reason}", error.code
                ) from None
            try:
                # Headers are read as Latin-1; what is not ASCII goes on as the bytes that it was.
                following = urljoin(url, quote(location, safe=string.punctuation + " ", encoding="latin-1"))
            except ValueError:
                raise BadUri(
                    f"{shortened(url)!r} leads on to {location!r:.80}, which is no address"
                ) from None
            if scheme_of(following) not in ("http", "https"):
                raise BadUri(
                    f"{shortened(url)!r} leads on to {shortened(following)!r}: a server may lead to web addresses only"
                ) from None
            _allowed(following, schemes)
            url = following
        except URLError as error:
            raise _unreachable(url, _why(error.reason, timeout)) from error
        except (OSError, HTTPException) as error:
            raise _unreachable(url, _why(error, timeout)) from error
    raise _unreachable(url, f"there is no end of redirects after {_MOST_REDIRECTS}, from {shortened(uri)!r}")


def _why(reason: object, timeout: float | None) -> str:
    if isinstance(reason, TimeoutError):
        return f"the server was silent for {timeout:g} s" if timeout is not None else "the server was silent"
    return str(reason) or type(reason).__name__


def _answer(url: str, timeout: float | None) -> Any:
    """The answer of a web server, which may be a redirect: that is an HTTPError here."""
    import urllib.request as web

    address, user = _address(url)
    # Not `urlopen`, which follows redirects by itself, reads their bodies whole, and knows file: and ftp: too.
    opener = web.OpenerDirector()
    handlers: list[web.BaseHandler] = [
        web.ProxyHandler(),
        web.HTTPHandler(),
        web.HTTPDefaultErrorHandler(),
        web.HTTPErrorProcessor(),
    ]
    if scheme_of(url) == "https" or web.getproxies():  # which reads all certificates: milliseconds
        handlers.append(web.HTTPSHandler())
    for handler in handlers:
        opener.add_handler(handler)
    request = web.Request(address, headers={"User-Agent": _AGENT, "Accept": "*/*"})
    if user is not None:
        request.add_header("Authorization", f"Basic {user}")
    return opener.open(request, timeout=timeout)


def _address(url: str) -> tuple[str, str | None]:
    """A URL as it is sent, in ASCII and without password, and the password as it is sent."""
    from base64 import b64encode
    from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if not host:
            raise ValueError("it names no host")
        name = host if host.isascii() else host.encode("idna").decode("ascii")
        if re.search(r"[\s%<>\"\\^`{|}]", name) or not name.isprintable():
            raise ValueError("this is no name of a host")
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~[]")
        query = quote(parts.query, safe="/?%:@!$&'()*+,;=~[]")
    except ValueError as error:  # UnicodeError is of it
        raise BadUri(f"the uri {shortened(url)!r} is malformed: {error}") from None
    place = (f"[{name}]" if ":" in name else name) + ("" if port is None else f":{port}")
    user = None
    if parts.username is not None:
        pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        user = b64encode(pair).decode("ascii")
    return urlunsplit((parts.scheme, place, path or "/", query, "")), user


def _body(response: Any, target: BinaryIO, url: str, limit: int) -> _Said:
    headers = response.headers
    length = headers.get("Content-Length")
    size = int(length) if length is not None and length.strip().isdecimal() else None
    packing = (headers.get("Content-Encoding") or "identity").strip().lower()
    if packing in ("gzip", "x-gzip"):  # not asked for, and sent all the same by stores that keep it so
        _pour(compression.reader(response, "gzip"), target, url, limit, None)
    elif packing in ("identity", ""):
        count = _pour(response, target, url, limit, size)
        if size is not None and count < size:
            raise _unreachable(url, f"the server broke off after {count} of {size} bytes")
    else:
        raise _unreachable(url, f"the server sent it packed by {packing!r}, which was not asked for")
    said = headers.get_content_type() if headers.get("Content-Type") else None
    return _Said(None if said == "application/octet-stream" else said, headers.get_content_charset())


# ------------------------------------------------------------------------------------------------ documents


@contextmanager
def naming(doc: Document, damaged: tuple[type[BaseException], ...] = ()) -> Generator[None]:
    """Errors of what is done within name the document and its uri.

    Args:
        damaged: what a library raises that cannot decode the bytes; it becomes CorruptData, with the first as cause.

    Errors of this library stay what they are, and so do OSErrors, with `errno` and `filename`; others get a note.

    >>> from docarray import Document
    >>> with naming(Document(id='a', uri='a.png'), (EOFError,)):
    ...     raise EOFError('no more')
    Traceback (most recent call last):
    docarray.errors.CorruptData: document 'a' (a.png): no more
    """
    try:
        yield
    except MissingExtra:
        raise  # it is no matter of the document
    except DocArrayError as error:
        _prefix(error, doc)
        raise
    except Exception as error:
        is_of_system = isinstance(error, OSError) and error.errno is not None
        if isinstance(error, damaged) and not (is_of_system and type(error).__module__ == "builtins"):
            raise CorruptData(f"{_called(doc, '')}: {_first_line(error)}") from error
        if isinstance(error, OSError) and error.strerror and is_of_system:
            mark = f"document {doc.id!r}"
            if mark not in str(error.strerror):
                error.strerror = f"{error.strerror} ({mark})"
        else:
            error.add_note(f"This is about {_called(doc, '')}.")
        raise


def _called(doc: Document, message: str) -> str:
    shown = shortened(doc.uri)
    return f"document {doc.id!r}" + (f" ({shown})" if shown and shown not in message else "")


def _prefix(error: DocArrayError, doc: Document) -> None:
    if (
        len(error.args) == 1
        and isinstance(error.args[0], str)
        and f"document {doc.id!r}" not in error.args[0]
    ):
        error.args = (f"{_called(doc, error.args[0])}: {error.args[0]}",)


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__


def _of(
    doc: Document, timeout: float | None, max_size: int | None, schemes: Collection[str] | None
) -> _Found:
    if not doc.uri:
        raise BadUri(f"document {doc.id!r} has no uri: there is nothing to read")
    return _read(doc.uri, timeout, max_size, schemes)


def of_document(
    doc: Document,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Collection[str] | None = None,
) -> bytes:
    """All bytes of what the uri of a document leads to; options and errors as of `read`, naming the document.

    >>> from docarray import Document
    >>> of_document(Document(uri='data:,tea'))
    b'tea'
    """
    with naming(doc):
        return _of(doc, timeout, max_size, schemes).data


def load_uri_to_blob(
    doc: Document,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
) -> None:
    """Sets `blob`, and `mime_type` where it is unset and what sends the bytes says it; options as of `read`."""
    with naming(doc):
        found = _of(doc, timeout, max_size, schemes)
    doc.blob = found.data
    _learn(doc, found)


def load_uri_to_text(
    doc: Document,
    charset: str | None = None,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
) -> None:
    """Sets `text`, and `mime_type` where it is unset and what sends the bytes says it; options as of `read`.

    Args:
        charset: None is what a byte order mark, or what sends the bytes, says; else UTF-8.

    Raises:
        CorruptData: it is no text of that charset. UnknownName: there is no such charset. Others: see `read`.
    """
    with naming(doc, (UnicodeError,)):
        if charset is not None:
            _codec(charset)
        found = _of(doc, timeout, max_size, schemes)
        text = _text(found, charset)
    doc.text = text
    _learn(doc, found)


def _learn(doc: Document, found: _Found) -> None:
    if found.media_type is not None and not doc.mime_type:
        doc.mime_type = found.media_type


def _codec(charset: str) -> str:
    try:
        codec = codecs.lookup(charset)
    except LookupError:
        raise UnknownName(f"no charset is called {charset!r}; the most common one is 'utf-8'") from None
    if not getattr(codec, "_is_text_encoding", True):
        raise UnknownName(
            f"{charset!r} is no charset, but a conversion of bytes; the most common one is 'utf-8'"
        )
    return codec.name


def _text(found: _Found, charset: str | None) -> str:
    if charset is None:
        if found.data.startswith(codecs.BOM_UTF8):
            charset = "utf-8-sig"
        elif found.data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            charset = "utf-16"
        else:
            charset = "utf-8" if found.charset is None else _codec(found.charset)
    return found.data.decode(charset)


def _blob_of(doc: Document) -> bytes:
    content = doc._content
    if not isinstance(content, bytes):
        kind = doc.content_type
        what = f"its content is in {kind!r}" if kind else "it has no content; load_uri_to_blob() gets some"
        raise BadValue(f"document {doc.id!r} has no blob: {what}")
    return content


def convert_blob_to_datauri(doc: Document, charset: str | None = "utf-8", base64: bool = False) -> None:
    """Sets the uri to a data URI of the blob, of media type `mime_type`; the charset is what text in it is in.

    Raises:
        BadValue: there is no blob, or `mime_type` is unset: it is not guessed from the bytes.
    """
    with naming(doc):
        doc.uri = datauri.encode(_blob_of(doc), _media_type(doc, None), charset, base64)


def _media_type(doc: Document, otherwise: str | None) -> str:
    found = doc.mime_type or otherwise
    if not found:
        raise BadValue("a data URI needs a media type: set mime_type, to 'image/png' for example")
    return found


def convert_text_to_datauri(doc: Document, charset: str | None = "utf-8", base64: bool = False) -> None:
    """Sets the uri to a data URI of the text, in that charset; of media type text/plain unless `mime_type` is set.

    Raises:
        BadValue: there is no text, or it has characters that the charset has not.
    """
    with naming(doc):
        if not isinstance(doc._content, str):
            raise BadValue(f"document {doc.id!r} has no text: {_instead(doc)}")
        codec = _codec(charset or "utf-8")
        try:
            data = doc.text.encode(codec)
        except UnicodeEncodeError as error:
            raise BadValue(f"its text cannot be written in {charset!r}: {error}") from None
        doc.uri = datauri.encode(data, _media_type(doc, "text/plain"), charset, base64)


def convert_uri_to_datauri(
    doc: Document,
    charset: str | None = "utf-8",
    base64: bool = False,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
) -> None:
    """Replaces the uri by a data URI of what it leads to; a data URI stays as it is. Options as of `read`.

    Raises:
        BadValue: neither `mime_type` nor what sends the bytes says what they are. Others: see `read`.
    """
    if datauri.is_datauri(doc.uri):
        return
    with naming(doc):
        found = _of(doc, timeout, max_size, schemes)
        doc.uri = datauri.encode(found.data, _media_type(doc, found.media_type), charset, base64)


def convert_content_to_datauri(doc: Document, charset: str | None = "utf-8", base64: bool = False) -> None:
    """Sets the uri to a data URI of the text or blob; nothing happens where there is neither.

    Raises:
        Unsupported: the content is a tensor.
    """
    kind = doc.content_type
    if kind == "text":
        convert_text_to_datauri(doc, charset, base64)
    elif kind == "blob":
        convert_blob_to_datauri(doc, charset, base64)
    elif kind is not None:
        raise Unsupported(
            f"document {doc.id!r}: a tensor has no media type; convert_image_tensor_to_uri() makes it an image, "
            "convert_tensor_to_blob() bytes"
        )


def convert_blob_to_tensor(
    doc: Document, dtype: npt.DTypeLike | None = None, count: int = -1, offset: int = 0
) -> None:
    """Sets the tensor to the numbers in the blob: (n,), in its memory and so not to be written to.

    Args:
        dtype: float64 unless given.
        count: how many numbers; -1 is all.
        offset: bytes before the first of them.

    Raises:
        ShapeError: the blob has not so many bytes, or not whole numbers of them. BadValue: there is no blob.
    """
    import numpy as np

    with naming(doc):
        data = _blob_of(doc)
        try:
            tensor = np.frombuffer(data, dtype=float if dtype is None else dtype, count=count, offset=offset)
        except (TypeError, ValueError) as error:
            raise ShapeError(
                f"a blob of {len(data)} bytes is no array of dtype={dtype!r}, count={count}, offset={offset}: {error}"
            ) from None
    doc.tensor = tensor


def convert_tensor_to_blob(doc: Document) -> None:
    """Sets the blob to the bytes of the tensor, in C order; its dtype and shape are not among them.

    Raises:
        BadValue: there is no tensor.
    """
    tensor = doc.tensor
    if tensor is None:
        raise BadValue(f"document {doc.id!r} has no tensor: {_instead(doc)}")
    doc.blob = tensors.to_numpy(tensor).tobytes()


def save_blob_to_file(doc: Document, file: Any) -> None:
    """Writes the blob to a path, a URL or a file opened in binary mode; a local file is replaced when all is written.

    Raises:
        BadValue: there is no blob. OSError: as `open`.
    """
    with naming(doc):
        data = _blob_of(doc)
        with files.writing(file) as target:
            target.write(data)


def save_uri_to_file(
    doc: Document,
    file: Any,
    *,
    timeout: float | None = 10.0,
    max_size: int | None = None,
    schemes: Sequence[str] | None = None,
) -> None:
    """Writes what the uri leads to to a path, a URL or a file opened in binary mode; options as of `read`."""
    import shutil

    with naming(doc):
        if not doc.uri:
            raise BadUri(f"document {doc.id!r} has no uri: there is nothing to read")
        with (
            opened(doc.uri, timeout=timeout, max_size=max_size, schemes=schemes) as source,
            files.writing(file) as target,
        ):
            shutil.copyfileobj(source, target, _PIECE)


def _instead(doc: Document) -> str:
    kind = doc.content_type
    return f"its content is in {kind!r}" if kind else "it has no content"

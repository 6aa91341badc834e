"""Data URIs (RFC 2397): bytes and their media type written into a uri, and read back.

Rule 1: what is read came from strangers: it decodes, or it is a BadUri; never half of it.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from docarray.errors import BadUri, BadValue

__all__ = ["Decoded", "decode", "encode", "is_datauri"]

_NAME: Final = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"
_MEDIA_TYPE: Final = re.compile(f"{_NAME}/{_NAME}")
_CHARSET: Final = re.compile(r"[A-Za-z0-9._:+-]+")


class Decoded(NamedTuple):
    """What a data URI holds."""

    data: bytes
    media_type: str | None
    """None where it says none; by the letter of the RFC that is text/plain."""
    charset: str | None


def is_datauri(uri: str) -> bool:
    """Whether a uri begins as a data URI does.

    >>> is_datauri('data:,tea'), is_datauri('data/tea.txt')
    (True, False)
    """
    return uri[:5].lower() == "data:"


def encode(data: bytes, media_type: str, charset: str | None = None, base64: bool = False) -> str:
    """A data URI of bytes.

    Args:
        media_type: such as 'image/png'.
        charset: what the bytes, if they are text, are encoded in; None leaves it unsaid.
        base64: a third longer than the bytes; without, each byte that is no plain letter or digit takes three.

    Raises:
        BadValue: this is no media type, or no name of a charset.

    >>> encode('grün'.encode(), 'text/plain', 'utf-8')
    'data:text/plain;charset=utf-8,gr%C3%BCn'
    """
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise BadValue(f"{media_type!r:.80} is no media type; one looks like 'image/png'")
    if charset is not None and not _CHARSET.fullmatch(charset):
        raise BadValue(f"{charset!r:.80} is no name of a charset; one looks like 'utf-8'")
    said = "" if charset is None else f";charset={charset}"
    if base64:
        return f"data:{media_type}{said};base64,{b64encode(data).decode('ascii')}"
    return f"data:{media_type}{said},{quote(data)}"


def decode(uri: str) -> Decoded:
    """What a data URI holds. Base64 may lack its padding, and may be broken into lines.

    Raises:
        BadUri: it is malformed; the message says where.

    Memory: what is in it, and once more while it is decoded.

    >>> decode('data:text/plain;charset=utf-8;base64,Z3LDvG4=').data.decode()
    'grün'
    """
    if not is_datauri(uri):
        raise BadUri(f"{uri!r:.60} is no data URI: those begin with 'data:'")
    comma = uri.find(",")
    if comma < 0:
        raise BadUri(f"the data URI {uri!r:.60} has no comma, behind which its data would stand")
    media_type, *parameters = (part.strip() for part in uri[5:comma].split(";"))
    if media_type and not _MEDIA_TYPE.fullmatch(media_type):
        raise BadUri(f"the data URI {uri[:comma]!r:.60} says {media_type!r:.60}, which is no media type")
    is_base64 = bool(parameters) and parameters[-1].lower() == "base64"
    charset = None
    for parameter in parameters[: len(parameters) - is_base64]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and _CHARSET.fullmatch(value := value.strip().strip("\"'")):
            charset = value
    try:
        payload = uri[comma + 1 :]
        data = _of_base64(payload) if is_base64 else unquote_to_bytes(payload)
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are of it
        raise BadUri(f"the data URI {uri[: comma + 1]!r:.60}... cannot be decoded: {error}") from None
    return Decoded(data, media_type.lower() or None, charset)


def _of_base64(payload: str) -> bytes:
    try:
        return b64decode(payload, validate=True)
    except binascii.Error:
        plain = b"".join(unquote_to_bytes(payload).split())
        return b64decode(plain + b"=" * (-len(plain) % 4), validate=True)

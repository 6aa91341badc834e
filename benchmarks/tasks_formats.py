"""The work of bench_formats.py: documents out and in, by each format, under both libraries; see tasks.py."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tasks import TASKS, array, clock, columns, heard, said

ALL = ("text", "tags", "embedding")
PROTOCOLS = {
    "protobuf_array": "protobuf-array",
    "protobuf": "protobuf",
    "pickle_array": "pickle-array",
    "pickle": "pickle",
}
COMPRESSIONS = ("lz4", "gzip", "bz2", "lzma", "zlib")


def of_bytes(name: str, protocol: str, compress: str | None) -> None:
    def write(n: int):
        yield from said(n, array(n, *ALL), protocol, compress)

    def read(n: int):
        yield from heard(n, array(n, *ALL), protocol, compress)

    def touched(n: int):
        yield from heard(n, array(n, *ALL), protocol, compress, touch=True)

    TASKS[f"{name}_write"], TASKS[f"{name}_read"], TASKS[f"{name}_read_touched"] = write, read, touched


for name, protocol in PROTOCOLS.items():
    of_bytes(name, protocol, None)
for compress in COMPRESSIONS:
    of_bytes(f"protobuf_{compress}", "protobuf", compress)


def each(
    name: str, fields: tuple[str, ...], there: Callable[[Any], Any], back: Callable[[Any], Any] | None
) -> None:
    """Tasks NAME_write and NAME_read of a pair of calls; times are a document."""

    def write(n: int):
        da = array(n, *fields)
        while True:
            with clock:
                found = there(da)
            yield clock.seconds / n, n
            del found

    def read(n: int):
        given = there(array(n, *fields))
        while True:
            with clock:
                da = back(given)
            yield clock.seconds / n, [len(da), da[-1].text]
            del da

    TASKS[f"{name}_write"] = write
    if back is not None:
        TASKS[f"{name}_read"] = read


def of_class(method: str, *args: Any) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        from docarray import DocumentArray

        return getattr(DocumentArray, method)(value, *args)

    return call


def csv_file(da: Any) -> str:
    path = str(Path(tempfile.gettempdir(), "docarray-benchmark.csv"))
    da.save_csv(path)
    return path


each("json", ALL, lambda da: da.to_json(), of_class("from_json"))
each("list", ALL, lambda da: da.to_list(), None)
each("list_plain", ("text", "tags"), lambda da: da.to_list(), None)
each("dataframe", ALL, lambda da: da.to_dataframe(), of_class("from_dataframe"))
each("csv", ("text", "tags"), csv_file, of_class("load_csv"))
each("base64", ALL, lambda da: da.to_base64(), of_class("from_base64"))


def base64_write_columns(n: int):
    da = columns(n, *ALL)
    while True:
        with clock:
            text = da.to_base64()
        yield clock.seconds / n, n
        del text


TASKS["base64_write_columns"] = base64_write_columns


def one(name: str, there: Callable[[Any], Any], back: Callable[[Any], Any]) -> None:
    """The same of documents one by one."""

    def write(n: int):
        docs = list(array(n, *ALL))
        while True:
            with clock:
                for doc in docs:
                    there(doc)
            yield clock.seconds / n, n

    def read(n: int):
        given = [there(doc) for doc in array(n, *ALL)]
        while True:
            with clock:
                for data in given:
                    doc = back(data)
            yield clock.seconds / n, [doc.id, float(np.sum(doc.embedding))]

    TASKS[f"{name}_write"], TASKS[f"{name}_read"] = write, read


def document_from_bytes(data: bytes) -> Any:
    from docarray import Document

    return Document.from_bytes(data, "protobuf")


one("document_protobuf", lambda doc: doc.to_bytes("protobuf"), document_from_bytes)

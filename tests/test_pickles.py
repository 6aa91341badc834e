"""Pickles: those of the old library are read, those written are read by it, and no pickle does anything else."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import os
import pickle
import pickletools
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
from everything import (
    alike_array,
    cells,
    difference,
    everything,
    everything_array,
    everything_in_tags,
    rows_of,
    sparse_row,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docarray.columns import column_of
from docarray.errors import BadValue, CorruptData, FieldTypeError, FormatError, Unsupported, UnsupportedFormat
from docarray.records import records_of, table_of
from docarray.serialization import container, pickles
from docarray.serialization.pickles import PICKLE, PICKLE_ARRAY, STREAM, _Reader
from docarray.serialization.unpickling import NAMES, Machine
from docarray.table import Table

INSTALL_TORCH = "pip install torch==2.13.0"
GOLDEN = Path(__file__).parent / "data" / "old"
OLD = Path(__file__).parent.parent / ".venv-old" / "bin" / "python"
VERSIONS = ("0.13.3", "0.21.0")
old_library = pytest.mark.skipif(not OLD.exists(), reason="the old library is not here: make .venv-old")

# Run by the old library; wrote the golden files.
MAKE = """
import collections, datetime, decimal, uuid
import numpy as np
from docarray import Document, DocumentArray
from docarray.score import NamedScore
zone = datetime.timezone(datetime.timedelta(hours=5, minutes=45))
def array():
    tags = {
        'int': 1, 'text': 'z', 'ordered': collections.OrderedDict(b=1, a=2), 'long': 10**40,
        'default': collections.defaultdict(int, {'q': 1}),
        'moment': datetime.datetime(2020, 1, 2, 3, 4, 5, 6, zone),
        'date': datetime.date(2020, 1, 1), 'time': datetime.time(1, 2, 3), 'span': datetime.timedelta(1, 2, 3),
        'decimal': decimal.Decimal('1.10'), 'uuid': uuid.UUID(int=5), 'set': {1}, 'frozen': frozenset(['a']),
        'complex': 1j, 'bytearray': bytearray(b'x'), 'scalar': np.float32(1.5), 'str': np.str_('x'),
        'bool': np.bool_(True), 'day': np.datetime64('2020-01-01'), 'array': np.arange(3, dtype='i2'),
        'keys': {1: 'one', (1, 'a'): 'pair', None: 'none'}, 'tuple': (1, (2.0, None)),
    }
    docs = [
        Document(id='a', text='h\\u00ed \\ud800', tags=tags, weight=.5, embedding=np.arange(2, dtype='f4')),
        Document(id='b', tensor=np.array([[1, 2], [3, 4]]), scores={'cosine': NamedScore(value=.25, op_name='cosine')},
                 chunks=[Document(id='c', blob=b'\\0\\1', matches=[Document(id='d')])],
                 matches=[Document(id='m', uri='a.png', mime_type='image/png')], location=[1., 2.]),
        Document(id='e', blob=b'x' * 300, modality='image', offset=1.0),
        Document(id='f', tensor=np.asfortranarray(np.arange(6.).reshape(2, 3)), embedding=[1, 2.5]),
    ]
    docs[0].scores['bm25'].value = 3
    docs[1].evaluations['recall'] = NamedScore(value=1., ref_id='q', description='d')
    docs[2].text, docs[2].weight, docs[2].chunks, docs[2].scores  # to read makes the old library set defaults
    docs[2].blob = b'x' * 300
    docs[3].own = 'an attribute that is no field'
    for i, code in enumerate('? i1 u2 <i8 f2 f8 c8 c16 U3 S2 M8[ns] m8[D]'.split()):
        docs.append(Document(id=code, embedding=np.zeros((2, i % 3), dtype=code)))
    return DocumentArray(docs)
"""
WRITE = """
import docarray, sys
folder = sys.argv[1]
da = array()
open(f'{folder}/{docarray.__version__}.pickle-array', 'wb').write(da.to_bytes('pickle-array'))
open(f'{folder}/{docarray.__version__}.pickle', 'wb').write(da[1].to_bytes('pickle'))
try:
    import torch, scipy.sparse as sp
except ImportError:
    sys.exit()
docs = []
for form in 'csr csc coo bsr lil dok dia'.split():
    for style in ('matrix', 'array'):
        made = getattr(sp, f'{form}_{style}')(np.array([[0, 3.], [4., 0]]))
        docs.append(Document(id=f'{form}_{style}', embedding=made))
docs += [
    Document(id='torch', embedding=torch.arange(6.).reshape(2, 3).T),
    Document(id='gradient', embedding=torch.arange(3, dtype=torch.int16)),
    Document(id='sparse', tensor=torch.eye(3).to_sparse()),
    Document(id='parameter', tensor=torch.nn.Parameter(torch.eye(2))),
    Document(id='bfloat16', tags={'x': torch.ones(2, dtype=torch.bfloat16)}),
]
open(f'{folder}/{docarray.__version__}-tensors.pickle-array', 'wb').write(DocumentArray(docs).to_bytes('pickle-array'))
"""

ZONE = datetime.timezone(datetime.timedelta(hours=5, minutes=45))
NESTED = [
    {"id": "c", "parent_id": "b", "granularity": 1, "blob": b"\0\1", "matches": [{"id": "d", "adjacency": 1}]}
]


def expected() -> list[dict[str, Any]]:
    """The documents of MAKE as records."""
    tags = {
        "int": 1, "text": "z", "ordered": {"b": 1, "a": 2}, "long": 10**40,
        "default": {"q": 1}, "moment": datetime.datetime(2020, 1, 2, 3, 4, 5, 6, ZONE),
        "date": datetime.date(2020, 1, 1), "time": datetime.time(1, 2, 3), "span": datetime.timedelta(1, 2, 3),
        "decimal": decimal.Decimal("1.10"), "uuid": uuid.UUID(int=5), "set": {1}, "frozen": frozenset(["a"]),
        "complex": 1j, "bytearray": bytearray(b"x"), "scalar": np.float32(1.5), "str": np.str_("x"),
        "bool": np.bool_(True), "day": np.datetime64("2020-01-01"), "array": np.arange(3, dtype="i2"),
        "keys": {1: "one", (1, "a"): "pair", None: "none"}, "tuple": (1, (2.0, None)),
    }  # fmt: skip
    records = [
        {"id": "a", "text": "hí \ud800", "weight": 0.5, "tags": tags, "embedding": np.arange(2, dtype="f4"),
         "scores": {"bm25": {"value": 3.0}}},
        {"id": "b", "tensor": np.array([[1, 2], [3, 4]]), "location": [1.0, 2.0],
         "evaluations": {"recall": {"value": 1.0, "description": "d", "ref_id": "q"}},
         "scores": {"cosine": {"value": 0.25, "op_name": "cosine"}}, "chunks": NESTED,
         "matches": [{"id": "m", "adjacency": 1, "mime_type": "image/png", "uri": "a.png"}]},
        {"id": "e", "blob": b"x" * 300, "offset": 1.0, "modality": "image"},
        {"id": "f", "tensor": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "embedding": [1, 2.5]},
    ]  # fmt: skip
    for i, code in enumerate("? i1 u2 <i8 f2 f8 c8 c16 U3 S2 M8[ns] m8[D]".split()):
        records.append({"id": code, "embedding": np.zeros((2, i % 3), dtype=code)})
    return records


def plain(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without what is set to nothing: the old library sets defaults when it reads, here or there."""
    made = []
    for record in records:
        held = {
            k: v for k, v in record.items() if type(v) in (list, np.ndarray) or v not in ("", 0, {}, None)
        }
        for name in ("chunks", "matches"):
            if name in held:
                held[name] = plain(held[name])
        made.append(held)
    return made


def read(data: bytes, **options: Any) -> list[dict[str, Any]]:
    return records_of(PICKLE_ARRAY.loads(memoryview(data), **options))


def old(script: str, data: bytes, *args: str) -> bytes:
    """What the old library prints, as bytes, to a script that is given bytes."""
    done = subprocess.run(
        [OLD, "-W", "ignore", "-c", "import sys\n" + textwrap.dedent(script), *args],
        input=data,
        cwd=GOLDEN,
        capture_output=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout


# ---------------------------------------------------------------------------------------------- the old library


class TestOld:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_arrays_of_each_line_are_read(self, version):
        data = (GOLDEN / f"{version}.pickle-array").read_bytes()

        assert difference(expected(), plain(read(data))) is None

    @pytest.mark.parametrize("version", VERSIONS)
    def test_documents_of_each_line_are_read(self, version):
        data = (GOLDEN / f"{version}.pickle").read_bytes()

        assert difference(expected()[1], plain([PICKLE.loads_record(memoryview(data))])[0]) is None
        assert 1 == len(PICKLE_ARRAY.loads(memoryview(data)))

    @pytest.mark.parametrize("version", VERSIONS)
    def test_sparse_arrays_and_tensors_are_read(self, version):
        torch = pytest.importorskip("torch", reason=INSTALL_TORCH)
        docs = {doc["id"]: doc for doc in read((GOLDEN / f"{version}-tensors.pickle-array").read_bytes())}

        for form in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia"):
            for style in ("matrix", "array"):
                made = getattr(sparse, f"{form}_{style}")(np.array([[0, 3.0], [4.0, 0]]))
                assert difference(made, docs[f"{form}_{style}"]["embedding"]) is None
        assert difference(torch.arange(6.0).reshape(2, 3).T.contiguous(), docs["torch"]["embedding"]) is None
        assert difference(torch.arange(3, dtype=torch.int16), docs["gradient"]["embedding"]) is None
        assert difference(torch.eye(3).to_sparse(), docs["sparse"]["tensor"]) is None
        assert difference(torch.eye(2), docs["parameter"]["tensor"]) is None
        assert difference(torch.ones(2, dtype=torch.bfloat16), docs["bfloat16"]["tags"]["x"]) is None

    @pytest.mark.parametrize("version", VERSIONS)
    def test_trusted_reads_the_same(self, version):
        data = (GOLDEN / f"{version}.pickle-array").read_bytes()
        tags = {"ordered": collections.OrderedDict, "default": collections.defaultdict}

        safe, trusted = read(data), read(data, trusted=True)

        for name, kind in tags.items():
            assert type(trusted[0]["tags"][name]) is kind
            trusted[0]["tags"][name] = dict(trusted[0]["tags"][name])
        assert difference(safe, trusted) is None

    @pytest.mark.parametrize("protocol", range(5))
    def test_other_protocols_are_read(self, protocol):
        """Old files may be of any Python: the same objects, pickled again."""
        pytest.importorskip("torch", reason=INSTALL_TORCH)  # some of which are its
        for name in ("0.21.0.pickle-array", "0.21.0-tensors.pickle-array"):
            data = (GOLDEN / name).read_bytes()
            assert difference(read(data), read(again(data, protocol))) is None

    @old_library
    def test_what_is_written_is_read_by_the_old_library(self):
        """And what that writes of it is the same again, to the last bit of each number."""
        docs = expected()
        ours = PICKLE_ARRAY.dumps(table_of(docs))

        again = old(
            """
            from docarray import DocumentArray
            da = DocumentArray.from_bytes(sys.stdin.buffer.read(), protocol='pickle-array')
            assert type(da).__name__ == 'DocumentArrayInMemory' and len(da) == 16
            assert da['b'].chunks[0].matches[0].id == 'd' and da['b'].chunks.reference_doc is da['b']
            da['b'].scores['new'].value = 1  # and it can be worked with
            assert da['a'].summary is not None and da[:, 'id'][1] == 'b' and da['@c'][0].parent_id == 'b'
            del da['b'].scores['new']
            da.append(type(da[0])(id='last')); da.pop()
            sys.stdout.buffer.write(da.to_bytes('pickle-array'))
            """,
            ours,
        )

        assert difference(docs, read(ours)) is None
        assert difference(docs, plain(read(again))) is None

    @old_library
    def test_a_document_that_is_written_is_read_by_the_old_library(self):
        for record in expected():
            data = PICKLE.dumps_record(record)
            if record["id"] in "ab":
                out = old(
                    """
                    from docarray import Document
                    d = Document.from_bytes(sys.stdin.buffer.read(), protocol='pickle')
                    sys.stdout.buffer.write(d.to_bytes('pickle'))
                    """,
                    data,
                )
                assert difference(record, plain([PICKLE.loads_record(memoryview(out))])[0]) is None
            assert difference(record, PICKLE.loads_record(memoryview(data))) is None

    @old_library
    def test_golden_files_are_what_the_old_library_writes(self):
        data = old(MAKE + "sys.stdout.buffer.write(array().to_bytes('pickle-array'))", b"")

        assert difference(expected(), plain(read(data))) is None

    def test_what_is_written_does_not_change(self):
        """Bytes that the old library was seen to read."""
        table = table_of([{"id": "a", "text": "hi", "tags": {"x": 1}}])
        written = PICKLE_ARRAY.dumps(table)
        golden = GOLDEN / "ours.pickle-array"

        assert golden.read_bytes() == written
        assert "a" == read(golden.read_bytes())[0]["id"]


class _Inert:
    """Stands for any class of a pickle that is only pickled again."""


def again(data: bytes, protocol: int) -> bytes:
    """A pickle in another protocol, by stand-ins that pickle as what they stand for."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if module.startswith("docarray") and name != "_raise_attribute_error":
                kind = type(name, (_Inert,), {"__module__": module, "__qualname__": name})
                sys_modules.setdefault(module, {})[name] = kind
                return classes.setdefault((module, name), kind)
            if name == "_raise_attribute_error":
                return classes.setdefault(
                    (module, name), type(name, (), {"__module__": module, "__qualname__": name})
                )
            return super().find_class(module, name)

    class Pickler(pickle._Pickler):  # the one in Python: it can be told how to say a class
        def save_global(self, obj, name=None):
            if (obj.__module__, obj.__qualname__) in classes:
                self.write(pickle.GLOBAL + f"{obj.__module__}\n{obj.__qualname__}\n".encode())
                self.memoize(obj)
            else:
                super().save_global(obj, name)

        def save_type(self, obj):
            self.save_global(obj)

        dispatch = {**pickle._Pickler.dispatch, type: save_type}  # noqa: RUF012

    import io

    classes: dict[tuple[str, str], type] = {}
    sys_modules: dict[str, Any] = {}
    found = Unpickler(io.BytesIO(data)).load()
    out = io.BytesIO()
    Pickler(out, protocol).dump(found)
    return out.getvalue()


# ---------------------------------------------------------------------------------------------- round trips


class TestRoundTrip:
    def test_everything(self):
        table = everything_array()._slots.table()

        assert difference(table, PICKLE_ARRAY.loads(memoryview(PICKLE_ARRAY.dumps(table)))) is None

    def test_columns_alike(self):
        table = alike_array(200)._slots.table()

        assert difference(table, PICKLE_ARRAY.loads(memoryview(PICKLE_ARRAY.dumps(table)))) is None

    def test_no_documents(self):
        assert [] == read(PICKLE_ARRAY.dumps(table_of([])))

    def test_each_document_alone(self):
        for doc in everything_array():
            (record,) = records_of(Table.concat([doc_table(doc)]))
            assert difference(record, PICKLE.loads_record(memoryview(PICKLE.dumps_record(record)))) is None

    @pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
    def test_sparse(self, form):
        docs = [
            {"id": "a", "embedding": sparse_row(form)},
            {"id": "b", "tensor": sparse.coo_matrix(sparse_row())},
        ]

        assert difference(docs, read(PICKLE_ARRAY.dumps(table_of(docs)))) is None

    @pytest.mark.filterwarnings("ignore:Sparse CSR")
    def test_torch(self):
        torch = pytest.importorskip("torch", reason=INSTALL_TORCH)
        kinds = [torch.float32, torch.bfloat16, torch.int8, torch.bool, torch.complex64]
        docs = [{"id": str(k), "tensor": torch.ones((2, 3), dtype=k).T[:2]} for k in kinds]
        docs.append({"id": "s", "tensor": torch.eye(3).to_sparse_csr()})
        docs.append({"id": "e", "tensor": torch.zeros((0, 3))})

        for doc, found in zip(docs, read(PICKLE_ARRAY.dumps(table_of(docs))), strict=True):
            assert difference({**doc, "tensor": doc["tensor"].clone()}, found) is None

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_any_table(self, data):
        n = data.draw(st.integers(0, 5))
        kinds = {"tags": "json", "_metadata": "json", "tensor": "tensor", "embedding": "tensor"}
        names = data.draw(st.sets(st.sampled_from(sorted(kinds)), max_size=3))
        columns = {name: column_of(kinds[name], data.draw(cells(kinds[name], n))) for name in sorted(names)}
        table = Table(columns, n)
        found = PICKLE_ARRAY.loads(memoryview(PICKLE_ARRAY.dumps(table)))

        assert difference(records_of(table), records_of(found)) is None

    def test_arrays_can_be_written_to(self):
        docs = read(PICKLE_ARRAY.dumps(table_of([{"tensor": np.zeros(2)}, {"tensor": np.zeros((2, 3))}])))

        for doc in docs:
            doc["tensor"] += 1

    def test_nothing_stays_shared(self):
        tags: dict[str, Any] = {"a": [1]}
        one, two = read(PICKLE_ARRAY.dumps(table_of([{"tags": tags}, {"tags": tags}])))
        one["tags"]["a"].append(2)

        assert {"a": [1]} == two["tags"]

    def test_subclasses_are_their_bases(self):
        import enum

        pair = collections.namedtuple("pair", "a b")(1, 2)
        number = enum.IntEnum("number", {"ONE": 1}).ONE
        tags = {"pair": pair, "number": number, "count": collections.Counter("aab"), "keys": {pair: 1}}
        ((found),) = read(PICKLE_ARRAY.dumps(table_of([{"id": "a", "tags": tags}])))

        assert {"pair": (1, 2), "number": 1, "count": {"a": 2, "b": 1}, "keys": {(1, 2): 1}} == found["tags"]
        assert (tuple, int, dict) == tuple(type(found["tags"][k]) for k in ("pair", "number", "count"))

    def test_zones_are_offsets(self):
        import zoneinfo

        moment = datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
        (found,) = read(PICKLE_ARRAY.dumps(table_of([{"id": "a", "tags": {"at": moment}}])))

        assert datetime.timezone(datetime.timedelta(hours=2)) == found["tags"]["at"].tzinfo
        assert moment == found["tags"]["at"]

    def test_what_is_no_data_is_not_written(self):
        for value in (
            object(),
            os.system,
            print,
            lambda: 0,
            range(3),
            np.array([object()]),
            np.ma.zeros(2),
            type,
        ):
            with pytest.raises(FieldTypeError, match="document 'b'"):
                PICKLE_ARRAY.dumps(table_of([{"id": "a"}, {"id": "b", "tags": {"x": [value]}}]))

    def test_too_deep_is_not_written(self):
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        endless: list[Any] = []
        endless.append(endless)
        for value in (deep,):
            with pytest.raises(BadValue, match="nested too deep"):
                PICKLE_ARRAY.dumps(table_of([{"id": "a", "tags": {"x": value}}]))
        data = PICKLE_ARRAY.dumps(table_of([{"id": "a", "tags": {"x": endless}}]))
        with pytest.raises(UnsupportedFormat, match="hold themselves"):
            read(data)

    def test_nested_a_hundred_deep(self):
        record: dict[str, Any] = {"id": "0"}
        for i in range(1, 100):
            record = {"id": str(i), "chunks" if i % 2 else "matches": [record]}

        assert difference(record, PICKLE.loads_record(memoryview(PICKLE.dumps_record(record)))) is None

    def test_only_one_document_is_pickled_alone(self):
        with pytest.raises(Unsupported, match="got 2"):
            PICKLE.dumps(table_of([{}, {}]))
        with pytest.raises(CorruptData, match="2 documents"):
            PICKLE.loads_record(memoryview(PICKLE_ARRAY.dumps(table_of([{}, {}]))))
        assert ["a"] == PICKLE.loads(memoryview(PICKLE.dumps(table_of([{"id": "a"}])))).ids

    @pytest.mark.parametrize("compress", [None, "gzip", "zlib"])
    def test_a_stream_of_documents(self, compress):
        table = everything_array()._slots.table()
        data = STREAM.dumps(table, compress=compress)

        assert (
            difference(records_of(table), records_of(STREAM.loads(memoryview(data), compress=compress)))
            is None
        )

    @old_library
    def test_a_stream_is_read_by_the_old_library(self):
        script = """
            from docarray import DocumentArray
            da = DocumentArray.from_bytes(sys.stdin.buffer.read(), protocol='pickle')
            sys.stdout.buffer.write(da.to_bytes('pickle'))
            """
        again = old(script, STREAM.dumps(table_of(expected())))

        assert difference(expected(), plain(records_of(STREAM.loads(memoryview(again))))) is None

    def test_unknown_options_are_refused(self):
        with pytest.raises(TypeError):
            PICKLE_ARRAY.loads(memoryview(b"N."), trust=True)


def doc_table(doc: Any) -> Table:
    return type(everything_array())([doc])._slots.table()


class TestOurs:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_pickled_arrays_and_documents_are_read(self, protocol):
        array = everything_array()
        doc = everything(2)

        assert (
            difference(array._slots.table(), PICKLE_ARRAY.loads(memoryview(pickle.dumps(array, protocol))))
            is None
        )
        found = PICKLE.loads_record(memoryview(pickle.dumps(doc, protocol)))
        assert difference(rows_of(doc_table(doc))[0]["tags"], found["tags"]) is None
        both = PICKLE_ARRAY.loads(memoryview(pickle.dumps([doc, doc], protocol)))
        assert [doc.id] * 2 == both.ids

    def test_trusted_reads_the_same(self):
        array = everything_array()
        data = memoryview(pickle.dumps(array))

        assert difference(PICKLE_ARRAY.loads(data), PICKLE_ARRAY.loads(data, trusted=True)) is None

    def test_a_damaged_container_is_said(self):
        data = pickle.dumps(alike_array(3)).replace(container.MAGIC, b"\x89DOX\r\n\x1a\n")
        with pytest.raises(FormatError):
            PICKLE_ARRAY.loads(memoryview(data))


# ---------------------------------------------------------------------------------------------- the machine


class TestMachine:
    @pytest.mark.parametrize("protocol", range(6))
    def test_plain_values_read_as_python_reads_them(self, protocol):
        tags = everything_in_tags()
        tags["array"] = tags["array"].astype("<i2")  # numpy itself turns the bytes round
        if protocol < 2:
            del tags["longest"]  # Python refuses to write so many digits
        values = [
            tags,
            (),
            [[]] * 3,
            {"a": {1: b"x" * 5000}},
            "x" * 300,
            b"y" * 300,
            -(1 << 3000),
        ]
        values += [
            True,
            None,
            -1,
            255,
            256,
            1 << 31,
            1.5,
            "\ud800\n\\",
            (1, 2, 3, 4),
            bytearray(b"z" * 9),
            {},
            {3},
        ]
        for value in values:
            data = pickle.dumps(value, protocol)
            found = _Reader(Machine(data), trusted=False).value(Machine(data).run(), 0)
            assert difference(pickle.loads(data), found) is None

    @settings(max_examples=200, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
        st.integers(0, 5),
    )
    def test_any_plain_value(self, value, protocol):
        data = pickle.dumps(value, protocol)
        found = _Reader(Machine(data), trusted=False).value(Machine(data).run(), 0)

        assert difference(value, found) is None

    def test_optimized_pickles_are_read(self):
        for name in ("0.21.0.pickle-array", "0.13.3.pickle"):
            data = (GOLDEN / name).read_bytes()
            assert difference(read(data), read(pickletools.optimize(data))) is None

    def test_short_cuts_change_nothing(self):
        """A pickle whose memo numbers all take four bytes is read without any of them."""
        for name in ("0.21.0.pickle-array", "0.13.3.pickle-array"):
            data = (GOLDEN / name).read_bytes()
            assert difference(read(data), read(long_numbers(data))) is None


def long_numbers(data: bytes) -> bytes:
    """The same pickle with each BINGET as a LONG_BINGET, and no frames."""
    ops = [(op.name, arg, at) for op, arg, at in pickletools.genops(data)]
    ends = [at for *_, at in ops[1:]] + [len(data)]
    out = b""
    for (name, arg, at), end in zip(ops, ends, strict=True):
        if name == "BINGET":
            out += b"j" + arg.to_bytes(4, "little")
        elif name != "FRAME":
            out += data[at:end]
    return out


# ---------------------------------------------------------------------------------------------- the hostile


def op_text(text: str) -> bytes:
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


def name(module: str, attribute: str) -> bytes:
    return op_text(module) + op_text(attribute) + b"\x93"


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.reduced = call, args

    def __reduce__(self) -> Any:
        return self.reduced


DOCUMENT = name("docarray.document", "Document")
FLAT = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"  # no fields, no size of its own
NDARRAY = name("numpy.core.multiarray", "_reconstruct") + b"(" + name("numpy", "ndarray") + b"K\0\x85C\x01btR"
OBJECTS = name("numpy", "dtype") + op_text("O8") + b"\x89\x88\x87R(K\x03" + op_text("|") + FLAT + b"K\x3ftb"
FLOATS = name("numpy", "dtype") + op_text("f8") + b"\x89\x88\x87R(K\x03" + op_text("<") + FLAT + b"K\0tb"

EXPLOITS: dict[str, bytes] = {
    "os.system": pickle.dumps(Runs(os.system, "touch run")),
    "os.system, protocol 0": b"cos\nsystem\n(S'touch run'\ntR.",
    "eval": pickle.dumps(Runs(eval, "open('run', 'w')")),
    "exec, protocol 2": pickle.dumps(Runs(exec, "open('run', 'w')"), 2),
    "getattr": pickle.dumps(Runs(getattr, "", "join")),
    "an import": pickle.dumps(Runs(__import__, "antigravity")),
    "open": pickle.dumps(Runs(open, "run", "w")),
    "subprocess": pickle.dumps(Runs(subprocess.run, "touch run")),
    "inside a document": DOCUMENT + b")\x81}" + op_text("_data")
    + pickle.dumps(Runs(os.system, "touch run"), 3)[2:-1] + b"sb.",
    "a dotted name": name("docarray.document", "Document.__init__.__globals__") + b".",
    "a dotted name of numpy": name("numpy", "ndarray.__class__") + b".",
    "a private name of ours": name("docarray.serialization.pickles", "_Trusting") + b".",
    "numpy.load": name("numpy", "load") + op_text("run") + b"\x85R.",
    "numpy.ndarray itself": name("numpy", "ndarray") + b"(J\0\0\0\x7f\x85\x85R.",
    "torch.load": name("torch", "load") + op_text("run") + b"\x85R.",
    "runpy": name("runpy", "run_path") + op_text("run") + b"\x85R.",
    "pickle.loads": name("pickle", "loads") + b"C\x02N.\x85R.",
    "a state for a function": name("datetime", "datetime") + b"}" + op_text("__call__") + b"Nsb.",
    "a state for a class": DOCUMENT + b"}" + op_text("build") + b"Nsb.",
    "a state of slots for a class": DOCUMENT + b"N}" + op_text("_make") + b"Ns\x86b.",
    "a state for a dict": b"}}" + op_text("x") + b"Nsb.",
    "a state for a list": b"]" + b"Nb.",
    "a class with arguments": DOCUMENT + b"K\x01\x85\x81.",
    "a class that is called": DOCUMENT + b")R.",
    "a class with names": DOCUMENT + b")}\x92.",
    "a class made of no class": b"N)\x81.",
    "a call of a text": b"X\x01\0\0\0x)R.",
    "object": name("builtins", "object") + b")\x81.",
    "an extension": b"\x82\x01.",
    "a persistent id": b"Prun\n.",
    "a binary persistent id": b"K\x01Q.",
    "a buffer from elsewhere": b"\x97.",
    "INST": b"(S'touch run'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch run'\no.",
    "objects in an array": NDARRAY + b"(K\x01K\x01\x85" + OBJECTS + b"\x89]Natb.",
    "an array of more than there is": NDARRAY + b"(K\x01J\xff\xff\xff\x7f\x85" + FLOATS + b"\x89C\0tb.",
    "an array of too many axes": NDARRAY + b"(K\x01(" + b"K\x01" * 100 + b"t" + FLOATS
    + b"\x89C\x08\0\0\0\0\0\0\0\0tb.",
    "an array of a negative size": NDARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + FLOATS + b"\x89C\0tb.",
    "a bytearray by number": name("builtins", "bytearray") + b"\x8a\x06\0\0\0\0\0\x7f\x85R.",
    "a range": name("builtins", "range") + b"J\xff\xff\xff\x7f\x85R.",
    "a text as bytes": name("_codecs", "encode") + op_text("x") + op_text("zip") + b"\x86R.",
    "a month that is none": name("datetime", "datetime") + b"C\x0a\x07\xe4\x7f\x01\xff\xff\xff\xff\xff\xff\x85R.",
    "a zone that is none": name("datetime", "time") + b"C\x06\0\0\0\0\0\0N}\x87R.",
    "a far memo": b"Nr\xff\xff\xff\xff0N.",
    "a far memo in words": b"Np99999999999\n0N.",
    "a memo that is empty": b"j\xff\xff\xff\xff.",
    "lying bytes": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a lying text": b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a lying bytearray": b"\x96\0\0\0\0\0\x01\0\0.",
    "a lying long": b"\x8b\xff\xff\xff\x7f.",
    "a negative long": b"\x8b\xff\xff\xff\xff.",
    "a lying frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
    "a long of many digits": b"L" + b"9" * 100_000 + b"L\n.",
    "protocol 6": b"\x80\x06N.",
    "two objects": b"NN.",
    "an open mark": b"(N.",
    "no object": b".",
    "nothing": b"",
    "bytes behind it": b"N.N.",
    "no documents": b"K\x01.",
    "a name": DOCUMENT + b".",
    "a document without a state": DOCUMENT + b")\x81.",
    "a document of a text": DOCUMENT + b")\x81" + op_text("x") + b"b.",
    "a document of nothing": DOCUMENT + b")\x81}b.",
    "a key that has no hash": b"}]Ns.",
    "a key of a document": b"}" + DOCUMENT + b")\x81Ns.",
    "a list as a dict": b"](NNu.",
    "a dict as a list": b"}(Ne.",
    "a set of lists": b"\x8f(]\x90.",
    "an odd number of keys": b"}(Nu.",
    "a storage of torch that is a pickle": name("torch.storage", "_load_from_bytes")
    + b"B\x24\0\0\0" + b"cos\nsystem\n(S'touch run'\ntR." + b"\0" * 6 + b"\x85R.",
    "a deep key": b"})" + b"\x85" * 100_000 + b"Ns.",
    "a key that doubles": b"})" + b"".join(b"\x94h%c\x86" % i for i in range(60)) + b"Ns.",
    "a deep list": b"]" + b"]" * 100_000 + b"a" * 100_000 + b".",
    "keys of one hash": b"}("
    + b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(1, 5000)) + b"u.",
}  # fmt: skip


def document_of(tags: bytes) -> bytes:
    """A pickle of a document with these tags, an object's opcodes."""
    data = name("docarray.document.data", "DocumentData") + b")\x81}" + op_text("tags") + tags + b"sb"
    return b"\x80\x04" + DOCUMENT + b")\x81}" + op_text("_data") + data + b"sb."


def chunked(deep: int) -> bytes:
    """A document in whose chunks it is itself, twice: memo 0 is the document."""
    data = name("docarray.document.data", "DocumentData") + b")\x81}" + op_text("chunks") + b"](h\0h\0esb"
    return b"\x80\x04" + DOCUMENT + b")\x81\x94}" + op_text("_data") + data + b"sb."


BOMBS: dict[str, bytes] = {
    "a list of itself": document_of(b"}" + op_text("x") + b"]\x94h\0as"),
    "lists that double": document_of(
        b"}" + op_text("x") + b"]\x94" + b"".join(b"](h%ch%ce\x94" % (i, i) for i in range(60)) + b"s"
    ),
    "a document in its chunks, twice": chunked(2),
    "a text many times": document_of(
        b"}" + op_text("x") + b"]X\0\0\x10\0" + b"x" * (1 << 20) + b"\x94a(" + b"h\0" * 5000 + b"es"
    ),
    "deep values": document_of(b"}" + op_text("x") + b"]" * 5000 + b"a" * 4999 + b"s"),
    "an array many times": document_of(
        b"}" + op_text("x") + b"](" + NDARRAY + b"(K\x01J\0\0\1\0\x85" + FLOATS
        + b"\x89B\0\0\x08\0" + bytes(1 << 19) + b"tb\x94" + b"h\0" * 5000 + b"es"
    ),
    "a tensor of stride 0": document_of(
        b"}" + op_text("x") + pickle.dumps(Runs(len), 3)[2:2] + b"Ns"
    ),
}  # fmt: skip
del BOMBS["a tensor of stride 0"]


ARGUMENTS = [
    *(
        b"N",
        b"K\x01",
        b"\x88",
        b")",
        b"]",
        b"}",
        b"C\x01b",
        b"C\0",
        op_text("f4"),
        op_text("latin1"),
        b"\x8f",
    ),
    *(
        b"G" + bytes(8),
        b"J\xff\xff\xff\xff",
        b"K\0\x85",
        FLOATS,
        OBJECTS,
        NDARRAY,
        DOCUMENT,
        name("numpy", "ndarray"),
    ),
    *(b"C\x08" + bytes(8), b"]K\x01a", b"}" + op_text("int") + b"K\x01s", name("builtins", "object")),
    b"(K\x01K\x01\x85" + FLOATS + b"\x89C\x08" + bytes(8) + b"t",
]


class TestHostile:
    @pytest.mark.parametrize("what", EXPLOITS)
    def test_is_refused_and_does_nothing(self, what, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for read_it in (PICKLE_ARRAY.loads, PICKLE.loads_record):
            with pytest.raises((CorruptData, UnsupportedFormat)):
                read_it(memoryview(EXPLOITS[what]))

        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("what", ["os.system", "eval", "an import", "numpy.load", "pickle.loads"])
    def test_a_name_that_is_refused_is_said(self, what):
        with pytest.raises(
            UnsupportedFormat, match=r"names \w+\.\w+, which is not on the list.*trusted=True"
        ):
            PICKLE_ARRAY.loads(memoryview(EXPLOITS[what]))

    @pytest.mark.parametrize("what", BOMBS)
    def test_what_grows_is_refused(self, what):
        with pytest.raises((CorruptData, UnsupportedFormat)):
            PICKLE_ARRAY.loads(memoryview(BOMBS[what]))

    def test_the_classes_of_the_machine_stay_as_they_are(self):
        before = {k: dict(vars(v)) for k, v in vars(pickles).items() if isinstance(v, type)}
        for data in EXPLOITS.values():
            with pytest.raises(FormatError):
                PICKLE_ARRAY.loads(memoryview(data))

        assert before == {k: dict(vars(v)) for k, v in vars(pickles).items() if isinstance(v, type)}

    def test_trusted_runs_code(self, tmp_path, monkeypatch):
        """That is what the word means."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FormatError):
            PICKLE_ARRAY.loads(memoryview(EXPLOITS["os.system"]), trusted=True)

        assert (tmp_path / "run").exists()

    @pytest.mark.parametrize("golden", ["0.21.0.pickle", "0.13.3-tensors.pickle-array"])
    def test_cut_off_anywhere(self, golden):
        data = (GOLDEN / golden).read_bytes()
        for end in range(0, len(data), 1 if len(data) < 2000 else 13):
            with pytest.raises((CorruptData, UnsupportedFormat)):
                PICKLE_ARRAY.loads(memoryview(data[:end]))

    @pytest.mark.filterwarnings("ignore:Sparse")
    @pytest.mark.parametrize("golden", ["0.21.0.pickle", "0.21.0-tensors.pickle-array", "ours.pickle-array"])
    def test_any_byte_changed(self, golden):
        """It is read, as what else it may say, or it is refused."""
        if "tensors" in golden:
            pytest.importorskip("torch", reason=INSTALL_TORCH)
        data = (GOLDEN / golden).read_bytes()
        refused = 0
        for at in range(0, len(data), 3 if len(data) < 2000 else 11):
            for flip in (1, 0x80, 0xFF):
                changed = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
                try:
                    PICKLE_ARRAY.loads(memoryview(changed))
                except (CorruptData, UnsupportedFormat):
                    refused += 1

        assert refused > len(data) / 20

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.sampled_from([bytes([op]) for op in range(40, 153)])
            | st.sampled_from(
                [
                    b"K\x01",
                    b"h\0",
                    b"h\x01",
                    b"C\x01b",
                    b"M\0\x10",
                    b"(",
                    b")",
                    b"}",
                    b"]",
                    b"\x94",
                    b"R",
                    b"b",
                ]
            )
            | st.sampled_from([op_text("x"), DOCUMENT, NDARRAY, FLOATS, OBJECTS, name("builtins", "set")])
            | st.sampled_from(sorted(NAMES)).map(lambda pair: name(*pair)),
            max_size=30,
        )
    )
    def test_any_opcodes(self, ops):
        for data in (b"".join(ops) + b".", document_of(b"}" + op_text("x") + b"".join(ops) + b"s")):
            with contextlib.suppress(CorruptData, UnsupportedFormat):
                PICKLE_ARRAY.loads(memoryview(data))

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(sorted(NAMES)), st.lists(st.sampled_from(ARGUMENTS), max_size=4), st.booleans())
    def test_any_name_with_any_arguments(self, pair, arguments, made):
        """No function of the list raises anything else, whatever it is given."""
        call = name(*pair) + (b")\x81" if made else b"(") + b"".join(arguments) + (b"b" if made else b"tR")
        with contextlib.suppress(CorruptData, UnsupportedFormat):
            PICKLE_ARRAY.loads(memoryview(document_of(b"}" + op_text("x") + call + b"s")))

    @pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are kept on Linux")
    def test_memory_is_bounded(self):
        """All of these in a process of 1 GiB more than what Python itself takes."""
        script = f"""
            import resource, sys
            sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}
            import test_pickles as t
            from docarray.errors import FormatError
            used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), -1))
            many = {{'sets': b'\\x8f' * (1 << 23), 'lists': b']' * (1 << 24)}}
            for what, data in {{**t.EXPLOITS, **t.BOMBS, **many}}.items():
                try:
                    t.PICKLE_ARRAY.loads(memoryview(data))
                except (t.CorruptData, t.UnsupportedFormat) as error:
                    assert 'MemoryError' not in str(error), what
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=100
        )

        assert 0 == done.returncode, done.stderr[-2000:]

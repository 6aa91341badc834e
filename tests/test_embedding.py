from __future__ import annotations

import datetime
import hashlib
import inspect
import math
import os
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
    """A model that remembers the batches it saw."""

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
    with pytest.raises(FieldTypeError, match=r"torch\.nn\.Module, or a function of a batch"):
        with_tensors().embed(model)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, None])
def test_batch_size_is_an_int_above_zero(batch_size):
    for da in (with_tensors(), DocumentArray()):
        with pytest.raises(BadValue, match="batch_size"):
            da.embed(ten_times, batch_size=batch_size)


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

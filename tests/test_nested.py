"""Chunks and matches know where they are, however they came in and at whatever depth."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from docarray import ChunkArray, Document, DocumentArray, MatchArray
from docarray.errors import FieldTypeError, LengthError, MissingDocument, OutOfRange


def tree(name="n"):
    """A document with nested ones three deep, along chunks and matches."""
    return Document(
        id=name,
        chunks=[
            Document(id=f"{name}c", chunks=[Document(id=f"{name}cc")], matches=[Document(id=f"{name}cm")])
        ],
        matches=[
            Document(id=f"{name}m", matches=[Document(id=f"{name}mm")], chunks=[Document(id=f"{name}mc")])
        ],
    )


def check(doc):
    """The law: every nested document says where it is, to any depth."""
    for chunk in doc.chunks:
        assert (doc.id, doc.granularity + 1) == (chunk.parent_id, chunk.granularity)
        check(chunk)
    for match in doc.matches:
        assert doc.adjacency + 1 == match.adjacency
        check(match)


def ids(docs):
    return [doc.id for doc in docs]


def set_first(array, docs):
    array[0] = docs[0]


def set_by_id(array, docs):
    array["old"] = docs[0]


def set_slice(array, docs):
    array[0:1] = docs


def set_end(array, docs):
    array[len(array) :] = docs


def set_list(array, docs):
    array[[0]] = docs[:1]


def set_mask(array, docs):
    array[[True]] = docs[:1]


def set_pair(array, docs):
    array.append(docs[1])
    array[0, 1] = [docs[0], docs[1]]


def add_in_place(array, docs):
    array += docs


def reduce(array, docs):
    array.reduce(DocumentArray(docs))


WAYS = {
    "append": lambda array, docs: [array.append(doc) for doc in docs],
    "extend": lambda array, docs: array.extend(docs),
    "extend from a generator": lambda array, docs: array.extend(doc for doc in docs),
    "extend from an array": lambda array, docs: array.extend(DocumentArray(docs)),
    "extend from columns": lambda array, docs: array.extend(
        DocumentArray.from_columns(
            id=ids(docs),
            chunks=[list(doc.chunks) for doc in docs],
            matches=[list(doc.matches) for doc in docs],
        )
    ),
    "insert": lambda array, docs: [array.insert(0, doc) for doc in docs],
    "insert at the end": lambda array, docs: [array.insert(99, doc) for doc in docs],
    "+=": add_in_place,
    "[0] =": set_first,
    "[id] =": set_by_id,
    "[0:1] =": set_slice,
    "[end:] =": set_end,
    "[[0]] =": set_list,
    "[mask] =": set_mask,
    "[0, 1] =": set_pair,
    "reduce": reduce,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["chunks", "matches"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_bookkeeping_holds_for_every_way_of_adding(way, name, depth):
    root = Document(id="root", granularity=2, adjacency=3)
    parent = root
    for level in range(depth):
        parent.chunks.append(Document(id=f"level{level}"))
        parent = parent.chunks[0]
    nested = getattr(parent, name)
    nested.append(Document(id="old"))

    WAYS[way](nested, [tree("x"), tree("y")])

    assert "x" in nested
    assert getattr(parent, name) is nested
    check(root)


CONSTRUCTED = {
    "a document": lambda: tree("x"),
    "a list": lambda: [tree("x"), tree("y")],
    "a tuple": lambda: (tree("x"), tree("y")),
    "a generator": lambda: (tree(name) for name in "xy"),
    "an array": lambda: DocumentArray([tree("x"), tree("y")]),
    "chunks of another": lambda: Document(chunks=[tree("x")]).chunks,
    "matches of another": lambda: Document(matches=[tree("x")]).matches,
    "columns": lambda: DocumentArray.from_columns(id=["x"], chunks=[[tree("y")]]),
}


@pytest.mark.parametrize("made", CONSTRUCTED)
@pytest.mark.parametrize("name", ["chunks", "matches"])
@pytest.mark.parametrize("way", ["keyword", "dict", "attribute", "item"])
def test_bookkeeping_holds_for_every_construction(made, name, way):
    docs = CONSTRUCTED[made]()
    if way == "keyword":
        root = Document(id="root", granularity=1, **{name: docs})
    elif way == "dict":
        root = Document({name: docs, "granularity": 1, "id": "root"})
    else:
        root = Document(id="root", granularity=1)
        if way == "attribute":
            setattr(root, name, docs)
        else:
            DocumentArray([root])[0, name] = docs

    assert "x" == getattr(root, name)[0].id
    check(root)


def test_nested_construction():
    root = Document(chunks=[Document(chunks=[Document(chunks=[Document()])])])

    check(root)
    assert [1, 2, 3] == [
        doc.granularity for path in ("c", "cc", "ccc") for doc in DocumentArray([root])[f"@{path}"]
    ]


def test_nested_matches_count_along_matches():
    root = Document(matches=[Document(matches=[Document()])])

    assert [1, 2] == [root.matches[0].adjacency, root.matches[0].matches[0].adjacency]


def test_matches_of_chunks_and_chunks_of_matches():
    root = tree("r")

    assert (2, 0) == (root.chunks[0].chunks[0].granularity, root.chunks[0].chunks[0].adjacency)
    assert (1, 0) == (root.chunks[0].matches[0].adjacency, root.chunks[0].matches[0].granularity)
    assert ("rm", 1) == (root.matches[0].chunks[0].parent_id, root.matches[0].chunks[0].granularity)


def test_nested_columns_are_told_where_they_are():
    da = DocumentArray.from_columns(
        id=["a", "b", "c"], granularity=[0, 4, 0], adjacency=[5, 0, 0],
        chunks=[[tree("x")], [tree("y"), tree("z")], None], matches=[[tree("m")], None, []],
    )  # fmt: skip

    assert ["a", "b", "b"] == da["@c", "parent_id"]
    assert ([1, 5, 5], [6]) == (da["@c", "granularity"], da["@m", "adjacency"])
    for doc in da:
        check(doc)


def test_nested_columns_without_ids_are_told_the_ids_that_are_drawn():
    da = DocumentArray.from_columns(chunks=[[Document()], [Document(), Document()]])

    assert [da[0].id, da[1].id, da[1].id] == da["@c", "parent_id"]


def test_a_new_id_is_told():
    root = Document(id="a", chunks=[tree("x")], matches=[tree("y")])

    root.id = "b"
    root.chunks[0].id = "c"

    check(root)
    assert ("b", "c") == (root.chunks[0].parent_id, root.chunks[0].chunks[0].parent_id)


def test_a_new_id_is_told_by_rows_too():
    da = DocumentArray.from_columns(id=["a"], chunks=[[tree("x")]])

    da[0].id = "b"

    check(da[0])
    assert ["b"] == da["@c", "parent_id"]


def test_an_id_that_was_drawn_late_is_told():
    root = Document()
    root.chunks.append(Document())

    assert root.id == root.chunks[0].parent_id


@pytest.mark.parametrize(
    "make", [lambda: tree("r"), lambda: DocumentArray.from_columns(id=["r"], chunks=[[tree("x")]])[0]]
)
def test_a_new_depth_is_told(make):
    root = make()

    root.granularity = 3
    root.adjacency = 2

    check(root)
    root.granularity = None
    check(root)
    assert 1 == root.chunks[0].granularity


def test_what_moves_says_where_it_is_now():
    a, b = Document(id="a", chunks=[tree("x")]), Document(id="b", chunks=[Document(id="y")])

    b.chunks[0].chunks.append(a.chunks.pop(0))

    check(a)
    check(b)
    assert ("y", 2) == (b.chunks[0].chunks[0].parent_id, b.chunks[0].chunks[0].granularity)


def test_reading_an_empty_array_sets_nothing():
    root = Document(id="a", chunks=[tree("x")])

    for doc in DocumentArray([root])[...]:
        assert (doc.chunks.reference_doc, doc.matches.reference_doc) == (doc, doc)

    assert ("id", "chunks") == root.non_empty_fields


# --- documents that are nested in themselves ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["chunks", "matches"])
def test_a_document_nested_in_itself_stays_where_it_is(name):
    doc = Document(id="d")

    getattr(doc, name).append(doc)
    getattr(doc, name).extend([Document(id="e"), doc])

    assert ["d", "e", "d"] == ids(getattr(doc, name))
    assert ("", 0, 0) == (doc.parent_id, doc.granularity, doc.adjacency)
    assert 1 == getattr(doc, name)[1].granularity + getattr(doc, name)[1].adjacency


def test_a_circle_of_documents_comes_to_an_end():
    a, b = Document(id="a"), Document(id="b")
    a.chunks.append(b)

    b.chunks.append(a)

    assert (["b"], ["a"]) == (ids(a.chunks), ids(b.chunks))


# --- the arrays ---------------------------------------------------------------------------------------------


def test_types_and_reference():
    root = tree("r")

    assert (ChunkArray, MatchArray) == (type(root.chunks), type(root.matches))
    assert isinstance(root.chunks, DocumentArray)
    assert root.chunks.reference_doc is root
    assert root.matches.reference_doc is root
    assert (1, 1) == (root.chunks.granularity, root.matches.adjacency)
    assert (2, 2) == (root.chunks[0].chunks.granularity, root.matches[0].matches.adjacency)


def test_arrays_made_by_hand():
    root = Document(id="r", granularity=1, adjacency=2)

    chunks = ChunkArray([tree("x")], reference_doc=root)
    matches = MatchArray([tree("y")], root)

    assert ("r", 2, 2) == (chunks[0].parent_id, chunks[0].granularity, chunks.granularity)
    assert (3, 3) == (matches[0].adjacency, matches.adjacency)
    chunks.append(tree("z"))
    assert "r" == chunks[1].parent_id


def test_arrays_without_a_document():
    chunks = ChunkArray([Document(id="x")])

    chunks.append(Document(id="y"))

    assert (None, ["x", "y"], "") == (chunks.reference_doc, ids(chunks), chunks[0].parent_id)
    assert (1, 1) == (chunks.granularity, MatchArray().adjacency)


@pytest.mark.parametrize("kind", [ChunkArray, MatchArray])
def test_constructors_of_the_class(kind):
    assert (kind, 3) == (type(kind.empty(3)), len(kind.empty(3)))
    found = kind.from_columns(text=["a", "b"])
    assert (kind, ["a", "b"]) == (type(found), found.texts)


def test_the_list_that_was_given_stays_apart():
    given = DocumentArray([Document(id="x")])
    root = Document(chunks=given)

    root.chunks.append(Document(id="y"))
    given.append(Document(id="z"))

    assert (["x", "y"], ["x", "z"]) == (ids(root.chunks), ids(given))
    assert root.chunks[0] is given[0]


def test_setting_the_array_itself_changes_nothing():
    root = tree("r")
    chunks = root.chunks

    root.chunks = chunks

    assert root.chunks is chunks


def test_a_second_array_of_chunks_is_a_list_of_its_own():
    root = tree("r")

    other = DocumentArray(root.chunks)
    other.append(Document(id="outside"))

    assert ["rc"] == ids(root.chunks)
    assert "" == other[-1].parent_id
    assert other[0] is root.chunks[0]


def test_sums_and_slices_are_plain_arrays():
    root = tree("r")

    for found in (
        root.chunks + [Document(id="x")],  # noqa: RUF005
        [Document(id="x")] + root.chunks,  # noqa: RUF005
        root.chunks[:1],
        root.chunks.copy(),
    ):
        assert type(found) is DocumentArray
        found.append(Document(id="y"))

    assert ["rc"] == ids(root.chunks)


def test_list_methods_work_on_chunks():
    root = Document(chunks=[Document(id=i, weight=w) for i, w in zip("abc", (3, 1, 2), strict=True)])
    chunks = root.chunks

    chunks.sort("weight")
    assert ["b", "c", "a"] == ids(chunks)
    chunks.reverse()
    assert ["a", "c", "b"] == ids(root.chunks)
    assert "c" == chunks.pop(1).id
    chunks.remove("a")
    assert (["b"], True, False) == (ids(chunks), "b" in chunks, "a" in chunks)
    chunks.clear()
    assert [] == ids(root.chunks)


def test_columns_of_chunks():
    root = Document(chunks=[Document(text="a"), Document(text="b")])

    root.chunks.embeddings = np.eye(2)
    root.chunks[:, "tags__x"] = [1, 2]

    assert ([1, 0], 2) == (root.chunks[0].embedding.tolist(), root.chunks[1].tags["x"])
    assert ["b"] == root.chunks.find({"text": "b"}).texts


def test_copies_of_an_array_have_no_document():
    root = tree("r")

    for fresh in (
        copy.copy(root.chunks),
        copy.deepcopy(root.chunks),
        pickle.loads(pickle.dumps(root.chunks)),
    ):
        assert (ChunkArray, None) == (type(fresh), fresh.reference_doc)
        assert fresh == root.chunks
        fresh.append(Document())

    assert 1 == len(root.chunks)


def test_bytes_keep_the_bookkeeping():
    da = DocumentArray([tree("a"), tree("b")])

    back = DocumentArray.from_bytes(da.to_bytes())

    assert da == back
    for doc in back:
        check(doc)
        doc.chunks.append(tree("new"))
        check(doc)


def test_chunks_of_rows_are_told_of_what_is_added():
    da = DocumentArray.from_columns(id=["a", "b"], chunks=[[Document(id="x")], []])

    da[0].chunks.insert(0, tree("n"))
    da[1].chunks += [tree("m")]
    da["@c"][1].chunks.append(tree("deep"))

    assert ["n", "x", "m"] == ids(da["@c"])
    for doc in da:
        check(doc)


# --- bad input ----------------------------------------------------------------------------------------------

BAD = {
    "append": (lambda array: array.append(3), FieldTypeError),
    "append a list": (lambda array: array.append([Document()]), FieldTypeError),
    "extend": (lambda array: array.extend([tree("x"), 3]), FieldTypeError),
    "extend no list": (lambda array: array.extend(3), FieldTypeError),
    "extend a text": (lambda array: array.extend("ab"), FieldTypeError),
    "insert": (lambda array: array.insert(0, "x"), FieldTypeError),
    "insert nowhere": (lambda array: array.insert("x", tree("x")), FieldTypeError),
    "[0] =": (lambda array: array.__setitem__(0, 3), FieldTypeError),
    "[9] =": (lambda array: array.__setitem__(9, tree("x")), OutOfRange),
    "[id] =": (lambda array: array.__setitem__("none", tree("x")), MissingDocument),
    "[:] =": (lambda array: array.__setitem__(slice(None), [tree("x"), 3]), FieldTypeError),
    "[::2] =": (lambda array: array.__setitem__(slice(None, None, 2), [tree("x"), tree("y")]), LengthError),
    "[[0]] =": (lambda array: array.__setitem__([0], [tree("x"), tree("y")]), LengthError),
    "+": (lambda array: array + 3, FieldTypeError),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", ["chunks", "matches"])
def test_after_an_error_all_is_as_it_was(case, name):
    root = tree("r")
    before = copy.deepcopy(root)
    action, error = BAD[case]

    with pytest.raises(error):
        action(getattr(root, name))

    assert before == root
    check(root)


def test_documents_that_were_refused_keep_their_place():
    root, doc = tree("r"), Document(id="x", chunks=[Document()])

    with pytest.raises(FieldTypeError):
        root.chunks.extend([doc, "no document"])
    with pytest.raises(LengthError):
        root.chunks[[0]] = [doc, doc]

    assert ("", 0, 1) == (doc.parent_id, doc.granularity, doc.chunks[0].granularity)

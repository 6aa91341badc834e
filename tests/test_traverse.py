"""Paths over nested documents, for three kinds of array that behave alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray import ChunkArray, Document, DocumentArray, MatchArray
from docarray.errors import BadPath, BadValue, FieldTypeError, OutOfRange, Unsupported

KINDS = ["objects", "columns", "touched"]


def leaf(name):
    return Document(id=name, text=f"text of {name}")


def branches():
    """Chunks of three roots: two (the first with three of its own, and a match), none, three."""
    first = Document(id="ac0", text="text of ac0", chunks=[leaf("ac0c0"), leaf("ac0c1"), leaf("ac0c2")])
    first.matches.append(leaf("ac0m0"))
    return [[first, leaf("ac1")], [], [leaf("cc0"), leaf("cc1"), leaf("cc2")]]


def neighbours():
    """Matches of three roots: one (with a chunk and a match), two, none."""
    return [[Document(id="am0", text="text of am0", chunks=[leaf("am0c0")], matches=[leaf("am0m0")])],
            [leaf("bm0"), leaf("bm1")], []]  # fmt: skip


def make(kind):
    texts = ["text of a", "text of b", "text of c"]
    if kind == "objects":
        parts = zip("abc", texts, branches(), neighbours(), strict=True)
        return DocumentArray(Document(id=i, text=t, chunks=c, matches=m) for i, t, c, m in parts)
    da = DocumentArray.from_columns(id=list("abc"), text=texts, chunks=branches(), matches=neighbours())
    if kind == "touched":
        da[0].weight = 1.0
        da[0].weight = None
        assert da["c"].chunks[1].text == "text of cc1"
    return da


@pytest.fixture(params=KINDS)
def da(request):
    return make(request.param)


def ids(found):
    assert isinstance(found, DocumentArray)
    return [doc.id for doc in found]


def unchanged(da):
    assert make("objects") == da


PATHS = [
    ("r", "a b c"),
    ("r0", "a"),
    ("r[0]", "a"),
    ("r-1", "c"),
    ("r[-1]", "c"),
    ("r[1:]", "b c"),
    ("r:2", "a b"),
    ("r::2", "a c"),
    ("r[::-1]", "c b a"),
    ("r-2:", "b c"),
    ("r9", ""),
    ("c", "ac0 ac1 cc0 cc1 cc2"),
    ("m", "am0 bm0 bm1"),
    ("cc", "ac0c0 ac0c1 ac0c2"),
    ("cm", "ac0m0"),
    ("mc", "am0c0"),
    ("mm", "am0m0"),
    ("ccc", ""),
    ("c[0]", "ac0 cc0"),
    ("c0", "ac0 cc0"),
    ("c[-1]", "ac1 cc2"),
    ("c-1", "ac1 cc2"),
    ("c[-1:]", "ac1 cc2"),
    ("c[1:3]", "ac1 cc1 cc2"),
    ("c[::-1]", "ac1 ac0 cc2 cc1 cc0"),
    ("c[9]", ""),
    ("c[-2:-1]", "ac0 cc1"),
    ("r[:2]c", "ac0 ac1"),
    ("r[:2]c[1:3]", "ac1"),
    ("r[1:]c", "cc0 cc1 cc2"),
    ("r[::-1]c[0]", "cc0 ac0"),
    ("c[0]c[1:]", "ac0c1 ac0c2"),
    ("cr[:2]", "ac0 ac1"),
    ("rc", "ac0 ac1 cc0 cc1 cc2"),
    ("m,c", "am0 bm0 bm1 ac0 ac1 cc0 cc1 cc2"),
    ("c,r", "ac0 ac1 cc0 cc1 cc2 a b c"),
    ("r,r", "a b c a b c"),
    ("c[0],c[0]", "ac0 cc0 ac0 cc0"),
    (" r [ : 2 ] c [ 0 ] , m ", "ac0 am0 bm0 bm1"),
    ("r[0]m[0]c", "am0c0"),
]


@pytest.mark.parametrize(("path", "wanted"), PATHS)
def test_paths_reach_documents_in_order(da, path, wanted):
    found = da[f"@{path}"]

    assert wanted.split() == ids(found) == found[:, "id"]
    assert [f"text of {one}" for one in wanted.split()] == found.texts
    assert wanted.split() == ids(da.traverse_flat(path))


@pytest.mark.parametrize(("path", "wanted"), PATHS)
def test_what_is_reached_are_the_documents_themselves(da, path, wanted):
    for doc in da[f"@{path}"]:
        doc.tags["seen"] = True

    assert {*wanted.split()} == {doc.id for doc in da[...] if doc.tags}


def test_the_root_path_gives_the_array_itself(da):
    assert da["@r"] is da
    assert da.traverse_flat("r") is da
    assert [da] == list(da.traverse_flat_per_path("r"))


def test_a_path_over_nothing(da):
    assert [] == ids(DocumentArray()["@c"]) == ids(DocumentArray()["@r"]) == ids(da[:0]["@c,m"])


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "c[",
        "c]",
        "c[a]",
        "[0]",
        ",c",
        "c,",
        "c,,m",
        "c::::",
        "c[0",
        ".image",
        ".[",
        ".[]",
        ".[a.b]",
        "c[::0]",
        "R",
    ],
)
def test_a_path_that_cannot_be_read(da, path):
    with pytest.raises(BadPath, match="traversal path") as caught:
        da[f"@{path}"]
    assert isinstance(caught.value, ValueError)
    for walk in (da.traverse_flat, da.traverse, da.traverse_flat_per_path):
        with pytest.raises(ValueError):
            list(walk(path))
    unchanged(da)


@pytest.mark.parametrize("path", [3, None, ["c"], b"c"])
def test_a_path_is_text(da, path):
    for walk in (da.traverse_flat, da.traverse, da.traverse_flat_per_path):
        with pytest.raises(FieldTypeError):
            list(walk(path))


# --- the ways to walk ---------------------------------------------------------------------------------------


def test_traverse_gives_the_containers(da):
    assert [["a", "b", "c"]] == [ids(part) for part in da.traverse("r")]
    assert [["ac0", "ac1"], ["cc0", "cc1", "cc2"]] == [ids(part) for part in da.traverse("c") if part]
    assert [["ac1"], ["cc1", "cc2"]] == [ids(part) for part in da.traverse("c[1:]") if part]
    assert [["am0"], ["bm0", "bm1"], ["am0c0"]] == [ids(part) for part in da.traverse("m,mc") if part]
    assert [["ac0", "ac1"]] == [ids(part) for part in da.traverse("cr[:2]")]


def test_what_is_added_to_a_container_is_added_to_its_document(da):
    for part in da.traverse("c"):
        part.append(Document(id="new"))
    for part in da.traverse("m"):
        part.insert(0, Document(id="hit"))
    for part in da.traverse("r"):
        part.append(Document(id="root"))

    assert ["ac0", "ac1", "new"] == ids(da[0].chunks)
    assert ("a", 1) == (da[0].chunks[-1].parent_id, da[0].chunks[-1].granularity)
    assert ("hit", 1) == (da[0].matches[0].id, da[0].matches[0].adjacency)
    assert "root" == da[-1].id
    assert {ChunkArray} == {type(part) for part in da.traverse("c")}
    assert {MatchArray} == {type(part) for part in da.traverse("m")}


def test_traverse_flat_per_path_gives_one_array_a_path(da):
    found = [ids(part) for part in da.traverse_flat_per_path("r[0],c[0],cc,x"[:-2])]

    assert [["a"], ["ac0", "cc0"], ["ac0c0", "ac0c1", "ac0c2"]] == found


def odd(doc):
    return doc.id[-1] in "13579"


def test_filter_fn_leaves_out(da):
    assert ["ac1", "cc1"] == ids(da.traverse_flat("c", odd))
    assert ["ac1", "cc1", "bm1"] == ids(da.traverse_flat("c,m", filter_fn=odd))
    assert [["ac1"], ["cc1"]] == [ids(part) for part in da.traverse("c", odd) if part]
    assert [["ac1", "cc1"], ["bm1"]] == [ids(part) for part in da.traverse_flat_per_path("c,m", odd)]
    assert [] == ids(da.traverse_flat("r", odd))
    assert [[]] == [ids(part) for part in da.traverse("r", odd)]
    unchanged(da)


def test_what_a_path_gives_is_an_array_of_its_own(da):
    for path in ("c", "c[0]", "r[:1]", "m,c", "cc"):
        part = da[f"@{path}"]
        part.append(Document())
        del part[:]

    unchanged(da)


# --- flatten ------------------------------------------------------------------------------------------------

FLAT = "ac0c0 ac0c1 ac0c2 ac0m0 ac0 ac1 am0c0 am0m0 am0 a bm0 bm1 b cc0 cc1 cc2 c".split()


def test_flatten_gives_leaves_first_and_the_document_last(da):
    assert FLAT == ids(da.flatten()) == ids(da[...]) == da[..., "id"]
    assert [f"text of {one}" for one in FLAT] == da[..., "text"]
    assert da[0] is da[...][9]


def test_flattening_twice_is_flattening_once(da):
    assert FLAT == ids(da.flatten().flatten()) == ids(da[...][...][...])


def test_flattening_sees_what_was_added_since(da):
    flat = da.flatten()

    flat.append(Document(id="n", chunks=[Document(id="nc")]))
    assert [*FLAT, "nc", "n"] == ids(flat.flatten())

    da[1].chunks.append(Document(id="late"))
    again = ids(flat.flatten())
    assert ["late"] == [one for one in again if one == "late"]


def test_flattening_a_part(da):
    assert FLAT[-4:] == ids(da[2:].flatten())
    assert [*FLAT[-4:], *FLAT[:10]] == ids(da[[2, 0]].flatten())
    assert [] == ids(da[:0].flatten())


def test_a_document_that_is_met_again_is_given_again_and_not_entered(da):
    assert ["cc0", "cc1", "cc2", "c", "c"] == ids(da[[2, 2]].flatten())


def test_a_document_that_is_its_own_match_is_flattened():
    doc = Document(id="d")
    doc.matches.append(doc)

    assert ["d", "d"] == ids(DocumentArray([doc]).flatten())


def test_flatten_makes_no_nested_arrays():
    da = DocumentArray([Document(id="a"), Document(id="b")])

    assert ["a", "b"] == ids(da.flatten())
    assert [(None, None)] * 2 == [(doc._chunks, doc._matches) for doc in da]


def test_a_flat_array_is_an_array_of_its_own(da):
    flat = da[...]
    flat.pop()
    flat.append(Document())

    unchanged(da)


# --- setting and deleting along paths -----------------------------------------------------------------------


@pytest.mark.parametrize(("path", "wanted"), [one for one in PATHS if "," not in one[0]])
def test_attributes_are_set_and_unset_along_paths(da, path, wanted):
    names = wanted.split()

    da[f"@{path}", "uri"] = [f"uri of {one}" for one in names]
    assert {one: f"uri of {one}" for one in names} == {doc.id: doc.uri for doc in da[...] if doc.uri}

    del da[f"@{path}", "uri"]
    unchanged(da)


@pytest.mark.parametrize(("path", "wanted"), [one for one in PATHS if "," not in one[0]])
def test_documents_are_set_along_paths(da, path, wanted):
    places = {doc.id: (doc.parent_id, doc.granularity, doc.adjacency) for doc in da[...]}

    da[f"@{path}"] = [Document(id=one, text="new", tags={"k": one}) for one in wanted.split()]

    found = da[f"@{path}"]
    assert (["new"] * len(found), wanted.split()) == (found.texts, found[:, "tags__k"])
    assert all(places[doc.id] == (doc.parent_id, doc.granularity, doc.adjacency) for doc in da[...])


def test_documents_set_along_a_path_are_copies_of_no_array(da):
    vector = np.ones(2)

    da["@c[0]"] = [Document(id="ac0", embedding=vector), Document(id="cc0")]

    assert da["@c[0]"][0].embedding is vector


@pytest.mark.parametrize(("path", "wanted"), PATHS)
def test_what_a_path_reaches_is_deleted(da, path, wanted):
    gone = {*wanted.split()}

    del da[f"@{path}"]

    left = ids(da[...])
    assert not gone & {*left}
    # What was nested in them is gone with them, and nothing else.
    assert {one for one in FLAT if not any(one.startswith(out) for out in gone)} == {*left}
    assert all(doc.parent_id in left for doc in da["@c,cc,ccc"])


@pytest.mark.parametrize("path", ["c", "m", "r[:2]c"])
def test_ids_that_differ_are_refused_along_paths(da, path):
    docs = [Document(id=doc.id) for doc in da[f"@{path}"]]
    docs[-1].id = "other"

    with pytest.raises(BadValue, match="other"):
        da[f"@{path}"] = docs
    unchanged(da)


# --- multimodal fields --------------------------------------------------------------------------------------


def page(name, images=2):
    """As a dataclass document is laid out: a chunk for each field, and the schema in the private data."""
    panels = [Document(id=f"{name}-panel{i}", text=f"panel {i}") for i in range(images)]
    return Document(
        id=name,
        tags={"title": "t"},
        chunks=[
            Document(id=f"{name}-image"), Document(id=f"{name}-list", chunks=panels), Document(id=f"{name}-text"),
        ],
        _metadata={
            "multi_modal_schema": {
                "title": {"attribute_type": "primitive", "type": "str"},
                "image": {"attribute_type": "document", "type": "Image", "position": 0},
                "panels": {"attribute_type": "iterable_document", "type": "List[Image]", "position": 1},
                "caption": {"attribute_type": "document", "type": "Text", "position": 2},
                "lost": {"attribute_type": "document", "type": "Text", "position": 9},
            }
        },
    )  # fmt: skip


@pytest.fixture(params=KINDS)
def pages(request):
    docs = [page("p"), page("q", 1), Document(id="plain"), page("e", 0)]
    if request.param == "objects":
        return DocumentArray(docs)
    da = DocumentArray.from_columns(
        id=[doc.id for doc in docs], tags=[doc.tags for doc in docs], chunks=[list(doc.chunks) for doc in docs],
        _metadata=[doc._metadata for doc in docs],
    )  # fmt: skip
    if request.param == "touched":
        assert da[1].chunks[0].id == "q-image"
    return da


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (".[image]", "p-image q-image e-image"),
        (".[caption]", "p-text q-text e-text"),
        (".[panels]", "p-panel0 p-panel1 q-panel0"),
        (".[caption,image]", "p-text p-image q-text q-image e-text e-image"),
        (".[ image , panels ]", "p-image p-panel0 p-panel1 q-image q-panel0 e-image"),
        (".[panels][0]", "p-panel0 q-panel0"),
        (".[panels][-1]", "p-panel1 q-panel0"),
        (".[image]r[:2]", "p-image q-image"),
        ("r[1:].[image]", "q-image e-image"),
        (".[title]", ""),
        (".[nothing]", ""),
        (".[panels]c", ""),
        (".[image],.[caption]", "p-image q-image e-image p-text q-text e-text"),
    ],
)
def test_fields_of_multimodal_documents(pages, path, wanted):
    assert wanted.split() == ids(pages[f"@{path}"])
    assert wanted.split() == [doc.id for part in pages.traverse(path) for doc in part]


def test_nested_fields_of_multimodal_documents():
    inner = page("i")
    outer = Document(
        id="o", chunks=[inner],
        _metadata={"multi_modal_schema": {"page": {"attribute_type": "nested", "position": 0}}},
    )  # fmt: skip

    assert ["i-panel0", "i-panel1"] == ids(DocumentArray([outer])["@.[page].[panels]"])


def test_a_field_whose_document_is_missing(pages):
    with pytest.raises(OutOfRange):
        pages["@.[lost]"]


def test_attributes_of_multimodal_fields_are_set(pages):
    pages["@.[panels]", "text"] = ["x", "y", "z"]

    assert ["x", "y"] == pages[0].chunks[1].chunks.texts


def test_documents_of_a_list_field_are_deleted_and_others_stay(pages):
    del pages["@.[panels][0]"]

    assert ["p-panel1"] == ids(pages["@.[panels]"])
    assert ["p-image", "q-image", "e-image"] == ids(pages["@.[image]"])
    del pages["@.[panels]"]
    assert [] == ids(pages["@.[panels]"])


def test_a_single_field_cannot_be_deleted(pages):
    with pytest.raises(Unsupported, match="'p'"):
        del pages["@.[panels],.[image]"]

    assert ["p-panel0", "p-panel1", "q-panel0"] == ids(pages["@.[panels]"])
    assert ["p-image", "q-image", "e-image"] == ids(pages["@.[image]"])


# --- laws ---------------------------------------------------------------------------------------------------

trees = st.recursive(
    st.just({}),
    lambda inner: st.fixed_dictionaries(
        {"chunks": st.lists(inner, max_size=3), "matches": st.lists(inner, max_size=2)}
    ),
    max_leaves=12,
)


def built(tree, name):
    nested = {kind: [built(one, f"{name}{kind[0]}{i}") for i, one in enumerate(tree[kind])] for kind in tree}
    return Document(id=name, **nested)


def flat(tree, name):
    for kind in ("chunks", "matches"):
        for i, one in enumerate(tree.get(kind, ())):
            yield from flat(one, f"{name}{kind[0]}{i}")
    yield name


def as_columns(docs):
    names = {"chunks": [list(doc.chunks) for doc in docs], "matches": [list(doc.matches) for doc in docs]}
    return DocumentArray.from_columns(id=[doc.id for doc in docs], **names)


@given(st.lists(trees, min_size=1, max_size=3))
def test_flatten_is_the_walk_over_objects_and_columns(forest):
    wanted = [one for at, tree in enumerate(forest) for one in flat(tree, str(at))]

    for kind in (DocumentArray, as_columns):
        da = kind([built(tree, str(at)) for at, tree in enumerate(forest)])

        assert wanted == da[..., "id"] == ids(da[...]) == ids(da[...][...])


@given(
    st.lists(trees, max_size=3),
    st.sampled_from(["c", "m", "cc", "cm", "r[1:]c", "c[0]c", "m[-1],c", "c[::-1]m"]),
)
def test_paths_are_the_same_over_objects_and_columns(forest, path):
    objects, columns = (
        kind([built(tree, str(at)) for at, tree in enumerate(forest)]) for kind in (list, as_columns)
    )

    assert ids(DocumentArray(objects)[f"@{path}"]) == columns[f"@{path}", "id"]

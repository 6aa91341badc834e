"""Documents that a dataclass made: their fields by name and by path; named embeddings; content that waits."""

import copy
import threading

import numpy as np
import pytest
from everything import difference

from docarray import Document, DocumentArray
from docarray.document import Pending
from docarray.errors import BadValue, FieldTypeError, MissingEmbedding, OutOfRange, UnknownField

SCHEMA = "multi_modal_schema"


def entry(kind, type_, position=None):
    found = {"attribute_type": kind, "type": type_}
    return found if position is None else {**found, "position": position}


def page(number, parts=2, at=int):
    """A page with a title, a list of paragraphs, a nested cover and a price, as a dataclass lays it out."""
    cover = Document(
        id=f"cover{number}",
        chunks=[Document(id=f"head{number}", text=f"head {number}")],
        _metadata={SCHEMA: {"head": entry("document", "Text", at(0))}},
    )
    return Document(
        id=f"page{number}",
        tags={"price": number},
        chunks=[
            Document(id=f"title{number}", text=f"title {number}"),
            Document(
                id=f"list{number}",
                chunks=[Document(id=f"part{number}.{i}", text=f"part {number}.{i}") for i in range(parts)],
            ),
            cover,
        ],
        _metadata={
            SCHEMA: {
                "title": entry("document", "Text", at(0)),
                "price": entry("primitive", "float"),
                "parts": entry("iterable_document", "List[Text]", at(1)),
                "cover": entry("nested", "Cover", at(2)),
            }
        },
    )


def shelf():
    return DocumentArray([*(page(n, parts=n) for n in range(4)), Document(id="plain", text="no page")])


def as_rows(array):
    return DocumentArray.from_bytes(array.to_bytes())


@pytest.fixture(params=["memory", "rows", "sqlite"])
def kept(request, tmp_path):
    """A way to keep an array, and the array as it is kept."""

    def keep(array):
        if request.param == "sqlite":
            return DocumentArray(array, storage="sqlite", config={"connection": str(tmp_path / "pages.db")})
        return as_rows(array) if request.param == "rows" else array

    return keep


class TestFields:
    def test_a_field_is_a_document_and_a_list_an_array(self, kept):
        doc = kept(shelf())["page1"]

        assert doc.is_multimodal
        assert "title 1" == doc.title.text
        assert "head 1" == doc.cover.head.text
        assert ["part 1.0"] == doc.parts.texts  # a list of one is a list

    def test_a_field_is_set_by_name(self, kept):
        array = kept(shelf())
        doc = array["page2"]

        doc.title = Document(id="new", text="another")
        doc.parts = [Document(id="only", text="one")]
        doc.cover.head = Document(text="hat")

        again = array["page2"]
        assert (["another"], ["one"], "hat") == (
            again.get_multi_modal_attribute("title").texts,
            array["page2"].parts.texts,
            again.cover.head.text,
        )
        assert again.title.parent_id == "page2"
        assert 1 == again.title.granularity
        assert [] == array["page0"].parts.texts  # the neighbours are as they were
        assert "title 3" == array["page3"].title.text

    def test_set_multi_modal_attribute_takes_documents_only(self):
        doc = page(1)

        with pytest.raises(FieldTypeError, match="Document"):
            doc.title = "text"
        with pytest.raises(FieldTypeError):
            doc.parts = [Document(), 3]

        assert ("title 1", 2) == (doc.title.text, len(doc.parts))

    @pytest.mark.parametrize("name", ["price", "titel"])
    def test_what_is_no_document_is_told(self, name):
        with pytest.raises(BadValue, match=name):
            page(1).get_multi_modal_attribute(name)
        with pytest.raises(BadValue, match="not multimodal"):
            Document(text="x").get_multi_modal_attribute(name)
        with pytest.raises(BadValue, match=name):
            page(1).set_multi_modal_attribute(name, Document())

    def test_an_unknown_name_shows_the_closest(self):
        with pytest.raises(UnknownField, match="Did you mean 'title'"):
            _ = page(1).titel
        with pytest.raises(BadValue, match=r"tags\['price'\]"):
            _ = page(1).price
        with pytest.raises(AttributeError):
            page(1).titel = Document()

    def test_a_field_named_like_an_attribute_keeps_out_of_its_way(self):
        doc = Document(
            chunks=[Document(text="body")], _metadata={SCHEMA: {"text": entry("document", "Text", 0)}}
        )

        doc.text = "own"

        assert ("own", ["body"]) == (doc.text, doc.get_multi_modal_attribute("text").texts)
        assert ["body"] == DocumentArray([doc])["@.[text]"].texts

    def test_positions_may_have_become_floats(self):
        doc = page(2, at=float)

        assert ("title 2", 2, "head 2") == (doc.title.text, len(doc.parts), doc.cover.head.text)
        assert ["head 2"] == DocumentArray([doc])["@.[cover].[head]"].texts
        assert ["head 2"] == as_rows(DocumentArray([doc]))["@.[cover].[head]"].texts

    @pytest.mark.parametrize("position", [7, -1, float("nan"), "1", None, [0]])
    def test_a_schema_from_a_stranger_is_not_believed(self, position):
        doc = Document(id="odd", chunks=[Document()], _metadata={SCHEMA: {"title": {"position": position}}})

        for array in (DocumentArray([doc]), as_rows(DocumentArray([doc]))):
            for ask in (lambda a=array: a["@.[title]"], lambda a=array: a["@.[title,other][0]"]):
                if position in (7, -1):
                    with pytest.raises(OutOfRange, match=f"'odd' is said to be chunk {position}"):
                        ask()
                else:
                    assert 0 == len(ask())
            with pytest.raises((BadValue, OutOfRange)):
                array[0].get_multi_modal_attribute("title")

    @pytest.mark.parametrize("schema", [[1], "text", {"title": 3}, {"title": None}])
    def test_a_schema_that_is_none_has_no_fields(self, schema):
        doc = Document(chunks=[Document()], _metadata={SCHEMA: schema})

        for array in (DocumentArray([doc]), as_rows(DocumentArray([doc]))):
            assert 0 == len(array["@.[title]"])

    def test_copies_and_second_names_have_the_fields_too(self):
        doc = page(1)

        for other in (copy.copy(doc), copy.deepcopy(doc), Document(doc, copy=True), Document(doc)):
            assert "title 1" == other.title.text
            assert doc == other
            assert Document is type(other) or "Document" in repr(other)
        Document(doc).title = Document(text="through the second name")
        assert "through the second name" == doc.title.text

    @pytest.mark.parametrize("protocol", ["binary", "protobuf", "json", "pickle"])
    def test_fields_survive_every_trip(self, protocol):
        array = shelf()
        again = DocumentArray.from_bytes(array.to_bytes(protocol), protocol)

        assert difference(array[1], again[1]) is None
        assert "title 1" == again[1].title.text
        again[1].title = Document(text="set")
        assert ["set", "title 2"] == again[1:3]["@.[title]"].texts


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("@.[title]", ["title0", "title1", "title2", "title3"]),
            ("@r[1:3].[title]", ["title1", "title2"]),
            ("@.[parts]", ["part1.0", "part2.0", "part2.1", "part3.0", "part3.1", "part3.2"]),
            ("@.[parts][-1]", ["part1.0", "part2.1", "part3.2"]),
            ("@.[cover].[head]", ["head0", "head1", "head2", "head3"]),
            ("@.[title,cover]", [f"{name}{n}" for n in range(4) for name in ("title", "cover")]),
            ("@.[cover,title][0]", ["cover0", "cover1", "cover2", "cover3"]),
            ("@.[parts,title][-1]", ["title0", "title1", "title2", "title3"]),
            ("@.[price]", []),
            ("@.[nothing]", []),
            ("@.[title],.[cover]c", [f"title{n}" for n in range(4)] + [f"head{n}" for n in range(4)]),
        ],
    )
    def test_documents_rows_and_stores_give_the_same(self, kept, path, expected):
        assert expected == kept(shelf())[path][:, "id"]

    def test_rows_make_no_document(self):
        array = as_rows(shelf())

        texts = array["@.[parts]", "text"]

        assert 6 == len(texts)
        assert len(array) == len(array._slots.untouched)

    def test_columns_of_a_field_are_read_and_set(self, kept):
        array = kept(shelf())

        array["@.[title]", "text"] = ["a", "b", "c", "d"]

        assert ["a", "b", "c", "d"] == array["@.[title]", "text"]
        assert "b" == array["page1"].title.text

    def test_a_path_may_begin_at_some_documents(self, kept):
        array = kept(shelf())

        assert ["title 1", "title 2"] == array[1:3, "@.[title]", "text"]
        assert ["part2.0", "part2.1"] == array["page2", "@.[parts]"][:, "id"]
        assert ["title 3"] == array[[3, 4], "@.[title]", "text"]
        array[:2, "@.[title]", "text"] = ["a", "b"]
        del array[2:, "@.[title]", "text"]

        assert ["a", "b", "", ""] == array[:, "@.[title]", "text"]

    def test_a_field_is_searched_and_gives_its_root(self, kept):
        array = kept(shelf())
        array["@.[title]", "embedding"] = np.eye(4)

        found = array.find(np.eye(4)[2], on="@.[title]", limit=1)
        roots = array.find(np.eye(4)[2], on="@.[title]", limit=1, return_root=True)

        assert (["title2"], ["page2"]) == (found[:, "id"], roots[:, "id"])
        assert ["part 2.1"] == array.find("2.1", on="@.[parts]", limit=1).texts

    @pytest.mark.parametrize("storage", ["sqlite", "hnswlib"])
    def test_a_sub_index_on_a_field_follows(self, storage, tmp_path):
        if storage == "hnswlib":
            pytest.importorskip("hnswlib", reason="needs hnswlib: pip install 'docarray[hnsw]'")
        place = (
            {"connection": str(tmp_path / "a.db")}
            if storage == "sqlite"
            else {"data_path": str(tmp_path / "a")}
        )
        docs = shelf()[:4]
        docs["@.[title]", "embedding"] = np.eye(4)
        docs["@.[parts]", "embedding"] = np.eye(6)
        config = place if storage == "sqlite" else {**place, "n_dim": 4}
        subs = {"@.[title]": None if storage == "sqlite" else {"n_dim": 4}}
        with DocumentArray(docs, storage=storage, config=config, subindex_configs=subs) as array:
            assert ["page3"] == array.find(np.eye(4)[3], on="@.[title]", limit=1, return_root=True)[:, "id"]
            array["page3"].title = Document(id="moved", embedding=np.eye(4)[0])
            del array["page0"]

            found = array.find(np.eye(4)[0], on="@.[title]", limit=1)

            assert ["moved"] == found[:, "id"]


class TestNamedEmbeddings:
    def docs(self):
        rng = np.random.default_rng(3)
        return DocumentArray(
            [
                Document(
                    id=str(n),
                    text=f"word{n} all",
                    embeddings={"text": rng.random(3).astype("f4"), "image": rng.random(5)}
                    if n % 3
                    else None,
                    number=n,
                )
                for n in range(12)
            ]
        )

    def test_search_says_which(self, kept):
        docs = self.docs()
        for name in ("text", "image"):
            have = [doc for doc in docs if doc.embeddings]
            for doc in have:
                doc.embedding = np.asarray(doc.embeddings[name], np.float64)
            expected = DocumentArray(have).find(docs["4"].embedding, limit=4)

            found = kept(docs).find(docs["4"].embeddings[name], embedding=name, limit=4)

            assert expected[:, "id"] == found[:, "id"]
            assert np.allclose(
                expected[:, "scores__cosine__value"], found[:, "scores__cosine__value"], atol=1e-6
            )

    def test_query_documents_bring_their_own(self, kept):
        array = kept(self.docs())

        alike = array.find(array[[1, 5]], embedding="image", limit=2, metric="euclidean")
        others = array.find(array["5"], embedding="text", limit=3, exclude_self=True)[0]

        assert [["1", "5"], 2] == [[hits[0].id for hits in alike], len(alike[0])]
        assert "5" not in others[:, "id"]

    def test_filters_words_and_match_go_with_it(self, kept):
        array = kept(self.docs())
        vector = array["7"].embeddings["image"]

        kept_ones = array.find(vector, embedding="image", filter={"tags__number": {"$lt": 3}})
        both = array.find(vector, embedding="image", text="word8", limit=2)
        queries = DocumentArray([Document(id="q", embeddings={"image": vector})])
        queries.match(array, embedding="image", limit=1)

        assert {"1", "2"} == set(kept_ones[:, "id"])
        assert {"7", "8"} == set(both[:, "id"])
        assert ["7"] == queries[0].matches[:, "id"]

    def test_changes_are_seen(self, kept):
        array = kept(self.docs())
        vector = np.array([9.0, -9.0, 9.0])
        assert "3" not in array.find(vector, embedding="text", limit=3)[:, "id"]

        array["3"].embeddings["text"] = vector
        array["6"].embeddings = {"text": vector}
        del array["7"]

        found = array.find(vector, embedding="text", limit=None)[:, "id"]
        assert ({"3", "6"}, 9) == (set(found[:2]), len(found))

    def test_columns_by_path(self, kept):
        array = kept(self.docs())

        array[:, "embeddings__extra"] = np.eye(12)

        assert np.array_equal(np.eye(12), np.stack(array[:, "embeddings__extra"]))
        assert {"extra", "image", "text"} == set(array["1"].embeddings)

    def test_what_is_missing_is_told(self, kept):
        array = kept(self.docs())

        with pytest.raises(MissingEmbedding, match="imge"):
            array.find(np.ones(5), embedding="imge")
        with pytest.raises(MissingEmbedding, match="'q'"):
            array.find(Document(id="q", embedding=np.ones(5)), embedding="image")
        assert 0 == len(array.find(np.ones(5), embedding="image", filter={"tags__number": {"$gt": 99}}))

    def test_reading_them_makes_none(self):
        doc = Document(id="a")

        assert {} == doc.embeddings
        assert ("id",) == doc.non_empty_fields
        held = doc.embeddings
        held["x"] = [1.0]
        held.update(y=[2.0])
        held.setdefault("z", [3.0])
        assert {"x": [1.0], "y": [2.0], "z": [3.0]} == doc.embeddings

    def test_only_vectors_by_name_are_taken(self):
        doc = Document(id="a", embeddings={"x": [1.0]})

        with pytest.raises(FieldTypeError, match="'a'"):
            doc.embeddings = {"x": "text"}
        with pytest.raises(FieldTypeError, match="embeddings"):
            doc.embeddings = [1.0]

        assert {"x": [1.0]} == doc.embeddings
        doc.embeddings = None
        assert ("id",) == doc.non_empty_fields or {} == doc.embeddings


class TestPending:
    def doc(self, log, fail=False):
        def load(doc):
            log.append(doc.id)
            doc.tags["seen"] = True
            if fail:
                raise BadValue("it cannot be read")
            doc.tensor = np.arange(3)

        return Pending.of(Document(id="late", uri="a.png", modality="image"), load)

    def test_looking_around_loads_nothing(self):
        log = []
        doc = self.doc(log)
        array = DocumentArray([doc, Document(id="other")])

        seen = doc.uri, doc.id, doc.modality, doc.embedding, array[:, "uri"], "late" in array
        found = array.find({"uri": "a.png"})
        copies = copy.copy(doc), copy.deepcopy(doc), array[0:1], copy.deepcopy(array)

        assert "pending" in repr(doc)
        assert ("a.png", 4, ["late"]) == (seen[0], len(copies), found[:, "id"])
        assert [] == log
        assert [0, 1, 2] == copies[0].tensor.tolist()  # a copy loads for itself
        assert ["late"] == log

    @pytest.mark.parametrize(
        "ask",
        [
            lambda doc: doc.tensor,
            lambda doc: doc.content,
            lambda doc: doc.text,
            lambda doc: doc.tags["seen"],
            lambda doc: doc.chunks,
            lambda doc: doc.to_bytes(),
            lambda doc: doc == Document(id="late"),
            lambda doc: DocumentArray([doc]).tensors,
            lambda doc: DocumentArray([doc]).to_json(),
            lambda doc: DocumentArray([doc], storage="sqlite"),
        ],
    )
    def test_asking_loads_once(self, ask):
        log = []
        doc = self.doc(log)

        ask(doc)

        assert ["late"] == log
        assert [0, 1, 2] == doc.tensor.tolist()
        assert type(doc) is Document
        assert ["late"] == log

    def test_a_load_that_fails_changes_nothing_and_is_tried_again(self):
        log = []
        doc = self.doc(log, fail=True)

        for _ in range(2):
            with pytest.raises(BadValue, match="cannot be read"):
                _ = doc.tensor

        assert ["late", "late"] == log
        assert "a.png" == doc.uri

    def test_what_is_set_comes_in_its_place(self):
        log = []
        doc = self.doc(log)

        doc.text = "instead"

        assert ("instead", []) == (doc.text, log)

    def test_it_travels_loaded(self):
        log = []
        array = DocumentArray([self.doc(log)])

        again = DocumentArray.from_bytes(array.to_bytes())

        assert [0, 1, 2] == again[0].tensor.tolist()
        assert {"seen": True} == again[0].tags

    def test_threads_that_ask_at_once_all_see_it_loaded_once(self):
        log, seen, is_loading = [], [], threading.Event()

        def load(doc):
            log.append(doc.id)
            doc.tags["seen"] = True
            is_loading.set()
            for thread in others:  # they ask now
                thread.join(0.05)
            doc.tensor = np.arange(3)
            assert doc.tensor is not None

        def ask(what):
            is_loading.wait(10)
            seen.append(what(doc))

        doc = Pending.of(Document(id="late"), load)
        asked = (
            lambda doc: doc.tensor.tolist(),
            lambda doc: doc.content.tolist(),
            lambda doc: doc.tags["seen"],
        )
        others = [threading.Thread(target=ask, args=(what,)) for what in asked]
        for thread in others:
            thread.start()

        assert [0, 1, 2] == doc.tensor.tolist()
        for thread in others:
            thread.join(10)

        assert ["late"] == log
        assert [True, [0, 1, 2], [0, 1, 2]] == sorted(seen, key=str)
        assert type(doc) is Document


@pytest.mark.parametrize("value", [None, "just text"])
def test_a_field_that_is_set_to_no_document_is_named(value):
    schema = {"title": {"attribute_type": "document", "type": "Text", "position": 0}}
    doc = Document(id="page", chunks=[Document(text="a")], _metadata={SCHEMA: schema})

    with pytest.raises(FieldTypeError, match="field 'title' of document 'page': an array holds Documents"):
        doc.title = value

    assert "a" == doc.title.text

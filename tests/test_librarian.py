from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from docarray import DocumentArray, librarian, models
from docarray.errors import BadFilter, BadValue, CorruptData, MissingExtra, UnknownName, UnsupportedFormat

ROOT = Path(__file__).resolve().parents[1]

TEXTS = {
    "tea.md": "# Tea\n\nGreen tea is made of leaves.\n\n## Brewing\n\nWait three minutes, and no longer.",
    "coffee.txt": "Coffee is roasted beans. The grinder makes powder of them.",
    "sub/größe 茶.txt": "Ein Text über Schuhe und ihre Größe.",
    "sub/boats.html": "<title>Boats</title><p>A sailing boat needs wind.",
}


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    put(folder, TEXTS)
    return folder


@pytest.fixture
def at(tmp_path):
    return tmp_path / "notes.db"


@pytest.fixture(params=["hnswlib", "sqlite"])
def storage(request):
    return request.param


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def index(path, to, **kwargs):
    return librarian.index(path, to, **{"model": "hashing", **kwargs})


def counts(report):
    return report.added, report.changed, report.unchanged, report.gone


def rows(at):
    """What a file holds: ids, texts, paths and vectors."""
    with librarian.opened(at) as da:
        found = [(doc.id, doc.text, dict(doc.tags), doc.embedding.tobytes()) for doc in da]
    da.close()
    return found


def paths(at):
    return sorted({tags["path"] for _, _, tags, _ in rows(at)})


# --- what has changed -----------------------------------------------------------------------------------------------


def test_two_runs_change_nothing(notes, at, storage):
    first = index(notes, at, storage=storage)
    before = rows(at)

    again = index(notes, at)

    assert ((4, 0, 0, 0), (0, 0, 4, 0)) == (counts(first), counts(again))
    assert (storage, storage, "hashing") == (first.storage, again.storage, again.model)
    assert before == rows(at)
    assert first.passages == again.passages == len(before)


def test_a_file_that_was_touched_is_as_before(notes, at):
    index(notes, at)
    ids = [row[0] for row in rows(at)]
    os.utime(notes / "tea.md", ns=(1, 10**18))

    assert (0, 0, 4, 0) == counts(index(notes, at))
    assert ids == [row[0] for row in rows(at)]
    assert {10**18} == {tags["mtime_ns"] for _, _, tags, _ in rows(at) if tags["path"] == "tea.md"}


def test_a_file_that_changed_is_replaced(notes, at):
    put(notes, {"long.txt": "Many words about horses. " * 400})
    index(notes, at)
    put(notes, {"long.txt": "Few words about zebras."})

    assert (0, 1, 4, 0) == counts(index(notes, at))
    assert ["Few words about zebras."] == [r[1] for r in rows(at) if r[2]["path"] == "long.txt"]
    assert [] == list(librarian.search(at, "horses", mode="text"))
    assert "long.txt" == librarian.search(at, "zebras")[0].tags["path"]


def test_files_that_have_gone_go(notes, at):
    index(notes, at)
    (notes / "tea.md").unlink()
    shutil.rmtree(notes / "sub")

    assert (0, 0, 1, 3) == counts(index(notes, at))
    assert ["coffee.txt"] == paths(at)


def test_a_file_of_another_name_is_another(notes, at):
    index(notes, at)
    (notes / "tea.md").rename(notes / "sub" / "chai.md")

    assert (1, 0, 3, 1) == counts(index(notes, at))
    assert "sub/chai.md" == librarian.search(at, "green tea leaves")[0].tags["path"]


def test_a_folder_in_a_folder_alone(notes, at):
    index(notes, at)
    (notes / "tea.md").unlink()
    (notes / "sub" / "boats.html").unlink()
    put(notes, {"sub/new.txt": "New words"})

    assert (1, 0, 1, 1) == counts(index(notes / "sub", at))
    assert ["coffee.txt", "sub/größe 茶.txt", "sub/new.txt", "tea.md"] == paths(at)
    assert (0, 0, 1, 0) == counts(index(notes / "coffee.txt", at))


def test_several_folders_in_one_file(notes, at, tmp_path):
    put(tmp_path / "other", {"tea.md": "Black tea."})
    index(notes, at)

    assert (1, 0, 0, 0) == counts(index(tmp_path / "other", at))
    assert 4 == len(paths(at))
    shutil.rmtree(notes / "sub")
    assert (0, 0, 2, 2) == counts(index(notes, at))
    assert {"Black tea."} < {row[1] for row in rows(at)}


def test_a_folder_takes_over_from_those_in_it(notes, at):
    index(notes / "sub", at)
    assert ["boats.html", "größe 茶.txt"] == paths(at)

    index(notes, at)
    assert sorted(TEXTS) == paths(at)


def test_the_index_may_stand_in_the_folder(notes):
    at = notes / "notes.db"
    index(notes, at)

    assert (0, 0, 4, 0) == counts(index(notes, at))
    assert sorted(TEXTS) == paths(at)


# --- what cannot be read --------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_told_of(notes, at):
    put(notes, {"junk.bin": bytes(range(256)), "broken.pdf": b"%PDF-1.4 and no more", "empty.txt": ""})
    put(notes, {"broken.png": b"\x89PNG\r\n\x1a\n"})

    for report in (index(notes, at), index(notes, at)):
        assert 4 == report.added + report.unchanged
        told = {one.path.name: one.is_fault for one in report.unreadable}
        assert {"broken.pdf": True, "broken.png": True, "empty.txt": False, "junk.bin": False} == told
        assert {"path", "reason", "fault"} == {*report.to_dict()["unreadable"][0]}


def test_a_file_that_is_damaged_now_is_no_longer_found(notes, at):
    index(notes, at)
    put(notes, {"coffee.txt": b"\0\1\2 binary"})

    report = index(notes, at)
    assert ["coffee.txt"] == [one.path.name for one in report.unreadable]
    assert "coffee.txt" not in paths(at)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_is_out_of_reach_stays_known(notes, at):
    index(notes, at)
    os.chmod(notes / "tea.md", 0)
    os.utime(notes / "tea.md", ns=(1, 1))

    assert ["tea.md"] == [one.path.name for one in index(notes, at).unreadable]
    assert "tea.md" in paths(at)


def test_an_index_is_made_in_place_of_nothing_else(notes, tmp_path):
    put(tmp_path, {"other.txt": "mine"})

    with pytest.raises(BadValue, match="stays as it is"):
        index(notes, tmp_path / "other.txt")
    assert "mine" == (tmp_path / "other.txt").read_text()
    with pytest.raises(IsADirectoryError, match="name a file in it"):
        index(notes, tmp_path)
    with pytest.raises(NotADirectoryError, match="no such folder"):
        index(notes, tmp_path / "no" / "x.db")
    with pytest.raises(FileNotFoundError, match="check the path"):
        index(tmp_path / "no", tmp_path / "x.db")
    assert not (tmp_path / "x.db").exists()


# --- models and storages --------------------------------------------------------------------------------------------


def test_a_file_keeps_to_its_model(notes, at):
    index(notes, at)

    assert "hashing" == index(notes, at, model="auto").model
    with pytest.raises(BadValue, match="index into another file"):
        index(notes, at, model="wordllama")
    with pytest.raises(BadValue, match="cannot be compared"):
        librarian.search(at, "tea", model="wordllama")
    with pytest.raises(UnknownName, match="wordllama"):
        index(notes, at, model="wordlama")
    with pytest.raises(UnknownName, match="sqlite"):
        index(notes, at, storage="sqlit")


def test_a_model_that_is_not_installed_is_named(notes, at):
    pytest.importorskip("wordllama")
    index(notes, at, model="wordllama")
    code = f"""
import sys
sys.modules["wordllama"] = None
from docarray import librarian
print(librarian.search({str(at)!r}, "tea", mode="text")[0].tags["path"])
try:
    librarian.search({str(at)!r}, "tea")
except {MissingExtra.__name__ and "ImportError"} as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    path, error = done.stdout.splitlines()
    assert "tea.md" == path
    assert f'{at}: the model wordllama is not installed: pip install "docarray[demo]"' == error


def test_without_an_engine_the_storage_is_sqlite(notes, at):
    code = f"""
import sys
sys.modules["hnswlib"] = sys.modules["usearch"] = sys.modules["usearch.index"] = None
from docarray import librarian
print(librarian.index({str(notes)!r}, {str(at)!r}, model="hashing").storage)
print(librarian.search({str(at)!r}, "roasted beans")[0].tags["path"])
try:
    librarian.index({str(notes)!r}, {str(at)!r}, storage="hnswlib")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    storage, path, error = done.stdout.splitlines()
    assert ("sqlite", "coffee.txt") == (storage, path)
    assert "pip install" in error


# --- searching ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", librarian.MODES)
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("how long do I wait for the tea?", "tea.md"),
        ("what do roasted beans become?", "coffee.txt"),
        ("Größe der Schuhe", "sub/größe 茶.txt"),
        ("wind for sailing", "sub/boats.html"),
    ],
)
def test_the_right_file_comes_first(mode, question, expected, notes, at):
    index(notes, at)

    assert expected == librarian.search(at, question, mode=mode)[0].tags["path"]


def test_hits_say_where_they_stand_and_how_well_they_fit(notes, at):
    index(notes, at)

    hit = librarian.search(at, "wait three minutes")[0]
    assert ("Tea > Brewing", 5, "Tea") == (hit.tags["section"], hit.tags["line"], hit.tags["title"])
    assert {"rrf", "cosine", "bm25"} == {*hit.scores}
    assert librarian.score(hit) == pytest.approx(1)


def test_filters_limits_and_modes(notes, at, storage):
    index(notes, at, storage=storage)
    question = "tea coffee boat Schuhe"

    assert 2 == len(librarian.search(at, question, limit=2))
    for mode in librarian.MODES:
        found = librarian.search(at, question, {"tags__path": {"$endswith": ".md"}}, mode=mode)
        assert {"tea.md"} == {hit.tags["path"] for hit in found}
    with pytest.raises(BadFilter):
        librarian.search(at, question, {"tags__path": {"$ends": ".md"}})
    with pytest.raises(UnknownName, match="hybrid"):
        librarian.search(at, question, mode="hybrids")
    with pytest.raises(BadValue, match="no words"):
        librarian.search(at, " ")


def test_what_has_nothing_in_common_is_no_answer(notes, at):
    index(notes, at)

    for question in ("xylophone", "???", "what is it"):
        assert [] == list(librarian.search(at, question, mode="vector"))
    assert [] == list(librarian.search(at, "xylophone"))


def test_what_is_no_index_is_named(tmp_path):
    put(tmp_path, {"a.txt": "words", "bad.db": b"SQLite format 3\0" + b"\xff" * 5000, "empty.db": ""})
    with pytest.raises(FileNotFoundError, match="docarray index FOLDER"):
        librarian.search(tmp_path / "no.db", "tea")
    assert not (tmp_path / "no.db").exists()
    for name in ("a.txt", "empty.db"):
        with pytest.raises(BadValue, match="no index"):
            librarian.search(tmp_path / name, "tea")
    with pytest.raises(CorruptData, match=r"bad\.db"):
        librarian.search(tmp_path / "bad.db", "tea")


def test_any_array_can_be_asked_by_words(at):
    da = DocumentArray(storage="sqlite", config={"connection": str(at)})
    da.extend(DocumentArray.from_columns(text=["green tea", "coffee"]))
    da.close()

    assert "green tea" == librarian.search(at, "tea", mode="text")[0].text
    with pytest.raises(BadValue, match="mode 'text'"):
        librarian.search(at, "tea")


# --- documents of one's own -----------------------------------------------------------------------------------------


def test_shelve_replaces_what_it_put_there(at):
    model, docs = models.model("hashing"), DocumentArray.from_columns(text=["a red boat", "a green tea"])
    docs.embeddings = model.vectors(docs.texts)

    for _ in range(2):
        librarian.shelve(docs, at, model)
        with librarian.Library(at) as library:
            assert 2 == len(library)
            assert "a red boat" == library.search("red boats on a boat")[0].text


def test_documents_of_another_source_stay_as_they_are(notes, at, tmp_path):
    """Nobody loses an index to a demo, or an array of their own to an index."""
    docs, model = DocumentArray.from_columns(text=["a red boat"]), models.model("hashing")
    mine, shelved, foreign = (tmp_path / name for name in ("mine.db", "shelved.db", "foreign.db"))
    index(notes, at)
    DocumentArray(docs, storage="sqlite", config={"connection": str(mine)}).close()
    librarian.shelve(docs, shelved, model)
    with contextlib.closing(sqlite3.connect(foreign)) as link:
        link.execute("CREATE TABLE places (name)")
        link.commit()
    files = {path: path.read_bytes() for path in (mine, shelved, foreign, at)}

    for path in (mine, shelved, foreign):
        with pytest.raises(BadValue, match="stays as it is; name another file"):
            index(notes, path)
    for path in (mine, foreign, at):
        with pytest.raises(BadValue, match="stays as it is; name another file"):
            librarian.shelve(docs, path, model)
    assert files == {path: path.read_bytes() for path in files}


def test_an_index_without_a_word_can_be_asked(tmp_path, at):
    put(tmp_path / "notes", {"a.txt": "??? !!!"})
    index(tmp_path / "notes", at)

    for mode in librarian.MODES:
        assert [] == list(librarian.search(at, "tea", mode=mode))


def test_arrays_in_a_file(tmp_path):
    import sqlite3

    at = tmp_path / "two.db"
    for name in ("films", "books"):
        da = DocumentArray(storage="sqlite", config={"connection": str(at), "table_name": name})
        da.extend(DocumentArray.from_columns(text=[name]))
        da.close()

    assert ["books", "films"] == librarian.arrays(at)
    assert ["books"] == librarian.opened(at).texts
    assert ["films"] == librarian.opened(at, "films").texts
    with pytest.raises(UnknownName, match="films"):
        librarian.opened(at, "film")
    other = tmp_path / "other.db"
    link = sqlite3.connect(other)
    link.execute("CREATE TABLE t (x)")
    link.close()
    with pytest.raises(UnsupportedFormat, match="without an array"):
        librarian.arrays(other)


# --- snippets -------------------------------------------------------------------------------------------------------


def test_a_snippet_shows_the_words_that_were_asked_for():
    text = "Words without end. " * 50 + "The needle is here.\n\nAnd needles there. " + "More of it. " * 50

    found = librarian.snippet(text, "where is the needle?", 80)
    assert ["needle", "needles"] == [found.text[low:high] for low, high in found.marks]
    assert len(found.text) <= 82
    assert found.text.startswith("…")
    assert found.text.endswith("…")
    assert "\n" not in found.text


@pytest.mark.parametrize("text", ["", "short", "x" * 500, "no word of it " * 40])
def test_a_snippet_of_any_text(text):
    found = librarian.snippet(text, "needle", 60)

    assert [] == found.marks
    assert found.text.rstrip("…") == " ".join(text.split())[: len(found.text.rstrip("…"))]

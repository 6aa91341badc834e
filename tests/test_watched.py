"""Watched dicts, lists and scores: every change is told, a refused one is taken back, copies are plain."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docarray.score import NamedScore, Scores
from docarray.watched import WatchedDict, WatchedList, WatchedScores, plain

DATA = {"a": {"b": [1, {"c": 2}]}, "d": [3, [4]], "e": 5}

DICT_CHANGES = {
    "set": lambda d: d.__setitem__("e", 6),
    "set new": lambda d: d.__setitem__("new", {"x": 1}),
    "delete": lambda d: d.__delitem__("e"),
    "pop": lambda d: d.pop("a"),
    "pop with default": lambda d: d.pop("e", None),
    "popitem": lambda d: d.popitem(),
    "clear": lambda d: d.clear(),
    "update": lambda d: d.update({"e": 7}, f=8),
    "setdefault": lambda d: d.setdefault("g", []),
    "|=": lambda d: d.__ior__({"h": 9}),
    "nested": lambda d: d["a"]["b"][1].__setitem__("c", 3),
    "through get": lambda d: d.get("a").update(z=1),
    "through values": lambda d: next(iter(d.values())).clear(),
    "after setting": lambda d: (d.__setitem__("n", {"m": {}}), d["n"]["m"].__setitem__("o", 1)),
}
LIST_CHANGES = {
    "set": lambda v: v.__setitem__(0, 9),
    "slice": lambda v: v.__setitem__(slice(0, 1), [7, 8]),
    "delete": lambda v: v.__delitem__(0),
    "append": lambda v: v.append({"x": 1}),
    "extend": lambda v: v.extend([1, [2]]),
    "insert": lambda v: v.insert(0, 5),
    "pop": lambda v: v.pop(),
    "remove": lambda v: v.remove(3),
    "clear": lambda v: v.clear(),
    "reverse": lambda v: v.reverse(),
    "sort": lambda v: v.sort(key=repr),
    "+=": lambda v: v.__iadd__([1]),
    "*=": lambda v: v.__imul__(2),
    "nested": lambda v: v[1].append(6),
}


class Told:
    """Counts; refuses when told to."""

    def __init__(self):
        self.count, self.refuse = 0, False

    def __call__(self):
        if self.refuse:
            raise OSError("no room")
        self.count += 1


@pytest.mark.parametrize("name", DICT_CHANGES)
def test_every_change_of_a_dict_is_made_and_told(name):
    told = Told()
    mine, theirs = WatchedDict(DATA, told), copy.deepcopy(DATA)

    DICT_CHANGES[name](mine)
    DICT_CHANGES[name](theirs)

    assert theirs == mine
    assert told.count >= 1


@pytest.mark.parametrize("name", LIST_CHANGES)
def test_every_change_of_a_list_is_made_and_told(name):
    told = Told()
    mine, theirs = WatchedList(DATA["d"], told), copy.deepcopy(DATA["d"])

    LIST_CHANGES[name](mine)
    LIST_CHANGES[name](theirs)

    assert theirs == mine
    assert told.count >= 1


@pytest.mark.parametrize("name", DICT_CHANGES)
def test_a_change_of_a_dict_that_is_refused_is_taken_back(name):
    told = Told()
    mine = WatchedDict(DATA, told)
    told.refuse = True

    with pytest.raises(OSError, match="no room"):
        DICT_CHANGES[name](mine)

    assert mine == DATA


@pytest.mark.parametrize("name", LIST_CHANGES)
def test_a_change_of_a_list_that_is_refused_is_taken_back(name):
    told = Told()
    mine = WatchedList(DATA["d"], told)
    told.refuse = True

    with pytest.raises(OSError, match="no room"):
        LIST_CHANGES[name](mine)

    assert DATA["d"] == mine


def test_a_change_that_python_refuses_is_told_to_nobody():
    told = Told()
    mine = WatchedDict(DATA, told)

    with pytest.raises(KeyError):
        del mine["zz"]
    with pytest.raises(ValueError):
        mine["d"].remove(99)

    assert (0, DATA) == (told.count, mine)


def test_what_is_put_in_is_copied():
    told, given = Told(), {"x": [1]}
    mine = WatchedDict({}, told)
    mine["given"] = given

    given["x"].append(2)

    assert {"given": {"x": [1]}} == mine


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, plain, WatchedDict.copy])
def test_a_copy_is_plain(way):
    told = Told()
    mine = WatchedDict(DATA, told)

    fresh = way(mine)

    assert (dict, DATA) == (type(fresh), fresh)
    fresh["e"] = 0
    assert 0 == told.count


def test_a_pickle_and_json_know_nothing_of_it():
    mine = WatchedDict(DATA, Told())

    again = pickle.loads(pickle.dumps(mine))

    assert (dict, dict, list) == (type(again), type(again["a"]), type(again["a"]["b"]))
    assert json.dumps(DATA) == json.dumps(mine)


@given(
    st.recursive(
        st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
    )
)
def test_plain_of_watched_is_what_it_was(value):
    assert {"v": value} == plain(WatchedDict({"v": value}, Told()))


def test_scores_tell_of_each_change():
    told = Told()
    scores = WatchedScores({"a": 1}, told)

    scores["a"].value = 2
    scores["b"].op_name = "made by reading"
    scores["c"] = {"value": 3}
    scores.update(d=4)
    del scores["a"]

    assert 5 == told.count
    assert Scores(b=NamedScore(op_name="made by reading"), c=3, d=4) == scores
    assert Scores is type(copy.deepcopy(scores)) is type(pickle.loads(pickle.dumps(scores)))


def test_a_score_that_is_refused_stays_as_it_was():
    told = Told()
    scores = WatchedScores({"a": 1}, told)
    told.refuse = True

    with pytest.raises(OSError, match="no room"):
        scores["a"].value = 2
    with pytest.raises(OSError, match="no room"):
        scores["b"] = 2

    assert {"a": NamedScore(value=1)} == scores

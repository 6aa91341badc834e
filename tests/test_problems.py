import logging

import pytest

from docarray import errors
from docarray.web.limits import TooMuch
from docarray.web.problems import TITLES, Busy, NotAllowed, TimedOut, Unauthorised, problem_of

CASES = {
    errors.MissingDocument: 404,
    errors.DuplicateDocument: 409,
    errors.StaleDocument: 409,
    errors.BadFilter: 422,
    errors.FieldTypeError: 422,
    errors.UnknownField: 422,
    errors.ShapeError: 422,
    errors.Unsupported: 422,
    errors.StoreLocked: 503,
    errors.ClosedStore: 503,
    TooMuch: 422,
    Busy: 503,
    TimedOut: 504,
    NotAllowed: 403,
    Unauthorised: 401,
}


@pytest.mark.parametrize(
    ("kind", "status"), CASES.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_an_error_of_ours_is_told_with_its_status(kind, status):
    problem = problem_of(kind("document 'x' is not so"))

    assert (status, "document 'x' is not so") == (problem.status, problem.detail)
    assert TITLES[status] == problem.title
    assert ("Retry-After" in problem.headers) == (status == 503)


def test_each_error_of_the_library_has_a_status():
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and kind is not errors.DocArrayError:
            expected = 500 if kind in (errors.MissingExtra, errors.WorkerError) else range(400, 504)
            status = problem_of(kind("so")).status
            assert status == expected or (isinstance(expected, range) and status in expected), name


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("/etc/secret"), errors.WorkerError("/etc/secret"), errors.MissingExtra("/etc/secret"),
     KeyError("/etc/secret")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_any_other_error_is_logged_and_not_told(error, caplog):
    with caplog.at_level(logging.ERROR, "docarray.web"):
        problem = problem_of(error, "f00")

    assert 500 == problem.status
    assert "secret" not in problem.detail
    assert "f00" in problem.detail
    assert "secret" in caplog.text
    assert "f00" in caplog.text


def test_a_store_that_fails_is_not_described(caplog):
    problem = problem_of(errors.StoreError("no such file: /var/lib/docs.db"))

    assert (503, "the documents cannot be reached now") == (problem.status, problem.detail)
    assert "/var/lib/docs.db" in caplog.text


def test_the_body_has_the_members_of_rfc_9457():
    problem = problem_of(errors.MissingDocument("no 'x'"))

    assert {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no 'x'",
        "instance": "f00",
        "id": "x",
    } == problem.body("f00", id="x")


def test_who_has_no_key_is_told_how_to_show_one():
    assert 'Bearer realm="docarray"' == problem_of(Unauthorised("no key")).headers["WWW-Authenticate"]

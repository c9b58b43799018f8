"""A result is whole JSON of at most 4,096 bytes, whatever is in it: the kubelet would cut it anywhere."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.core.exposure import Exposure
from fluxbase_migrations.core.result import LIMIT, AppliedFile, ErrorInfo, Outcome, Result
from fluxbase_migrations.core.text import cut

LONG = st.text(max_size=20) | st.sampled_from(
    ["x" * 5000, "ü" * 3000, "🙂" * 2000, '"' * 3000, "\n" * 3000, "\ud800"]
)
MAYBE = st.none() | LONG
ERRORS = st.builds(
    ErrorInfo,
    message=LONG,
    file=MAYBE,
    statement=MAYBE,
    line=st.none() | st.integers(1, 10**9),
    detail=MAYBE,
    hint=MAYBE,
    effect=MAYBE,
)
APPLIED = st.builds(AppliedFile, st.integers(0, 2**63 - 1), LONG, st.just("up"), st.floats(0, 1e6))
EXPOSURES = st.builds(
    Exposure,
    kind=LONG,
    name=LONG,
    roles=st.lists(LONG, max_size=3).map(tuple),
    privileges=st.lists(LONG, max_size=3).map(tuple),
    statement=MAYBE,
)
RESULTS = st.builds(
    Result,
    outcome=st.sampled_from(Outcome),
    version=st.none() | st.integers(0, 2**63 - 1),
    dirty=st.booleans(),
    observed=st.booleans(),
    latest=st.none() | st.integers(0, 2**63 - 1),
    pending=st.integers(0, 10**6),
    source_digest=st.none() | st.just("sha256:" + "0" * 64),
    applied=st.lists(APPLIED, max_size=30).map(tuple),
    applied_count=st.integers(0, 10**6),
    skipped_versions=st.lists(st.integers(0, 2**63 - 1), max_size=400).map(tuple),
    warnings=st.lists(LONG, max_size=30).map(tuple),
    exposed=st.none() | st.integers(0, 10**6),
    exposures=st.lists(EXPOSURES, max_size=30).map(tuple),
    recovered=MAYBE,
    owner=MAYBE,
    owner_uid=st.none() | st.just("3f0c7f6e-0000-0000-0000-000000000000"),
    error=st.none() | ERRORS,
)


@given(RESULTS)
def test_it_fits_and_says_what_counts(result: Result) -> None:
    text = result.to_json()
    assert len(text.encode()) <= LIMIT
    read = Result.from_json(text)
    kept = (
        "outcome",
        "version",
        "dirty",
        "observed",
        "latest",
        "pending",
        "source_digest",
        "applied_count",
        "exposed",
    )
    assert {name: getattr(read, name) for name in kept} == {name: getattr(result, name) for name in kept}
    assert (read.error is None) == (result.error is None)
    assert len(read.applied) <= len(result.applied)
    assert [one.version for one in read.applied] == [
        one.version for one in result.applied[len(result.applied) - len(read.applied) :]
    ], "the last ones are kept"


def test_what_fits_is_kept_whole() -> None:
    error = ErrorInfo("syntax error", file="005_x.up.sql", line=3, detail="d" * 700)
    result = Result(Outcome.SQL_ERROR, version=5, dirty=True, observed=True, warnings=("w",) * 5, error=error)
    assert Result.from_json(result.to_json()) == result


def test_texts_are_cut_as_little_as_is_needed() -> None:
    error = ErrorInfo("m" * 5000)
    read = Result.from_json(Result(Outcome.SQL_ERROR, error=error).to_json())
    assert read.error is not None
    assert len(read.error.message) >= 500
    assert read.error.message.endswith("…")


@pytest.mark.parametrize(
    ("text", "chars", "made"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("", 3, ""), ("ab", 1, "…")],
)
def test_a_cut_shows(text: str, chars: int, made: str) -> None:
    assert cut(text, chars) == made


BROKEN: list[Any] = [
    "",
    "{",
    "[]",
    "null",
    "7",
    json.dumps({"outcome": "Perhaps"}),
    json.dumps({"version": 1}),
]


@pytest.mark.parametrize("text", [*BROKEN, json.dumps({"outcome": "Applied", "unknown": 1})])
def test_anything_else_is_no_result(text: str) -> None:
    with pytest.raises(ValueError, match="not a result"):
        Result.from_json(text)

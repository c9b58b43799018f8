"""What of a secret is replaced, and where."""

import pytest

from fluxbase_migrations.runner.connection import dsn
from fluxbase_migrations.runner.connection.masking import scrub, scrub_connection_error


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("app", 'relation "my_app" does not exist', 'relation "my_app" does not exist'),
        ("app", 'relation "app" does not exist', 'relation "app" does not exist'),
        ("password", "column my_password, passwords", "column my_password, passwords"),
        ("password", "is 'password'", "is '***'"),
        ("hunter2-secret", "no hunter2-secret!", "no ***!"),
        ("$%&/()=?", "x$%&/()=?y", "x***y"),
    ],
)
def test_only_a_whole_secret_of_some_length_is_replaced(secret: str, text: str, masked: str) -> None:
    assert scrub(text, [secret]) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [("password=app host=app1", "password=*** host=app1"), ("my_app", "my_app"), ("'app'", "'***'")],
)
def test_a_short_one_is_replaced_where_a_connection_string_may_stand(text: str, masked: str) -> None:
    assert scrub_connection_error(text, ["app"]) == masked


def test_a_password_that_is_also_the_users_name_is_no_secret() -> None:
    assert dsn.read({}, "postgres://fluxbase:fluxbase@h/d").hidden == []
    assert dsn.read({}, "postgres://fluxbase:other-secret@h/d").hidden == ["other-secret"]

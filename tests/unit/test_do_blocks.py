"""What the text of a DO statement shows about COMMIT and ROLLBACK in it."""

import pytest

from fluxbase_migrations.runner.sql.do_blocks import cannot_end_transactions, ends_transactions

HANDLER = "EXCEPTION WHEN unique_violation THEN NULL;"

REFUSED = {
    "in the outermost block": f"DO $$ BEGIN COMMIT; {HANDLER} END $$",
    "in an inner block": f"DO $$ BEGIN INSERT INTO a VALUES (1); BEGIN COMMIT; {HANDLER} END; END $$",
    "in a block of that block": f"DO $x$ BEGIN BEGIN BEGIN ROLLBACK; END; {HANDLER} END; END $x$",
    "in a loop": f"DO $$ BEGIN LOOP BEGIN IF a THEN COMMIT; END IF; {HANDLER} END; END LOOP; END $$",
    "behind a CASE expression": f"DO $$ BEGIN PERFORM CASE WHEN true THEN 1 END; COMMIT; {HANDLER} END $$",
    "in a CASE statement": f"DO $$ BEGIN CASE 1 WHEN 1 THEN BEGIN COMMIT; {HANDLER} END; END CASE; END $$",
    "AND CHAIN": f"DO $$ BEGIN COMMIT AND CHAIN; {HANDLER} END $$",
    "in quotes": "DO 'BEGIN COMMIT; EXCEPTION WHEN others THEN RAISE ''x''; END'",
    "a comment with a quote before": f"DO /* it's */ $$ BEGIN COMMIT; {HANDLER} END $$",
    "the language behind": f"DO $$ BEGIN COMMIT; {HANDLER} END $$ LANGUAGE plpgsql",
}
NOT_SHOWN = {
    "no handler": "DO $$ BEGIN COMMIT; END $$",
    "in the handler": "DO $$ BEGIN BEGIN NULL; EXCEPTION WHEN others THEN COMMIT; END; END $$",
    "one more outside": f"DO $$ BEGIN COMMIT; BEGIN COMMIT; {HANDLER} END; END $$",
    "a CALL": f"DO $$ BEGIN CALL p(); BEGIN COMMIT; {HANDLER} END; END $$",
    "RAISE EXCEPTION": "DO $$ BEGIN RAISE EXCEPTION 'x'; COMMIT; END $$",
    "in a comment": f"DO $$ BEGIN -- COMMIT;\n /* COMMIT; */ NULL; {HANDLER} END $$",
    "in a string": f"DO $$ BEGIN PERFORM 'x; COMMIT;', $q$ COMMIT; $q$; {HANDLER} END $$",
    "a column of that name": f"DO $$ BEGIN SELECT commit; {HANDLER} END $$",
    "another language": f"DO LANGUAGE plpython3u $$ BEGIN COMMIT; {HANDLER} END $$",
    "another statement": "SELECT 1",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_block_in_which_nothing_can_be_committed_is_seen(text: str) -> None:
    assert cannot_end_transactions(text.encode())
    assert ends_transactions(text.encode())


@pytest.mark.parametrize("text", NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_in_doubt_only_running_it_tells(text: str) -> None:
    assert not cannot_end_transactions(text.encode())


ENDS = {
    "COMMIT": ("DO $$ BEGIN COMMIT; END $$", True),
    "ROLLBACK": ("DO $$ BEGIN ROLLBACK; END $$", True),
    "CALL": ("DO $$ BEGIN CALL p(); END $$", True),
    "another language": ("DO LANGUAGE plpython3u $$plpy.commit()$$", True),
    "a string": ("DO $$ BEGIN PERFORM 'COMMIT'; END $$", False),
    "nothing": ("DO $$ BEGIN PERFORM 1; END $$", False),
    "another statement": ("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$", False),
}


@pytest.mark.parametrize(("text", "ends"), ENDS.values(), ids=ENDS)
def test_what_may_end_a_transaction_is_seen(text: str, ends: bool) -> None:
    assert ends_transactions(text.encode()) is ends

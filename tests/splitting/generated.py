"""Files of SQL at random: whatever a splitter could take for something else, in valid statements."""

from collections.abc import Sequence

from hypothesis import strategies as st

Text = st.SearchStrategy[str]

BLANK = st.sampled_from(
    [
        *([" "] * 6),
        "\n",
        "\r\n",
        "\t ",
        "\f",
        " /**/ ",
        "/* ; */",
        "/* a /* b; ' */ c */",
        "/* ' \" $$ */",
        "/*/**/*/",
        "/***/",
        " -- ; ' $$\n",
        "--/* \r\n",
        "--\n",
        "/* end; é */",
    ]
)
IDENTIFIER = st.sampled_from(
    [
        *"abxyz",
        "t1",
        "_u",
        "a$b$",
        "é",
        "名前",
        "begin_",
        "atomic",
        '"end"',
        '"case"',
        '"a;b"',
        '"a""b;"',
        '"begin atomic"',
        '"--"',
        '"/*"',
        '"$$"',
        'U&"d\\0061t;"',
        "Atomic",
        "e",
        "u",
        "n",
    ]
)
# After a dot and after AS any keyword is a name.
LABEL = st.one_of(
    IDENTIFIER,
    st.sampled_from(
        ["end", "case", "begin", "END", "Case", "atomic", "when", "select", "function", "rule", "commit"]
    ),
)
# Without AS, most may be.
BARE_LABEL = st.sampled_from(["end", "case", "END", "e", '"end"', "begin", "atomic", "then", "else"])
TAG = st.sampled_from(["", "a", "_", "tag1", "é", "do", "BODY", "e"])
INSIDE = st.sampled_from(
    ["", "x", ";", " ; ", "it", "--", "/*", "*/", "end;", '"', "é;", "\n", "\r\n", "$1", "a$", "BEGIN ATOMIC"]
)
INSIDES = st.lists(INSIDE, max_size=4).map("".join)


def _dollar(tag: str, inside: str) -> str:
    return f"${tag}${inside} ${tag}$"


STRING = st.one_of(
    INSIDES.map("'{}'".format),
    st.lists(INSIDE, min_size=1, max_size=3).map("''".join).map("'{}'".format),
    st.lists(st.one_of(INSIDE, st.sampled_from(["\\'", "\\\\", "''", "\\n"])), max_size=4)
    .map("".join)
    .map("E'{}'".format),
    INSIDES.map("e'{}\\\\'".format),
    INSIDES.map("U&'{}'".format),
    INSIDES.map("N'{}'".format),
    st.sampled_from(["B'01'", "X'1F'", "b'0'", "'a'\n'b;'", "'a' \n\t 'b'", "'\\'", "'\\\\'"]),
    st.builds(_dollar, TAG, INSIDES),
    st.sampled_from(["$a$ $$ ; $b$ $a$", "$$ $a$ ; $$", "$a$;$aa$;$a$", "$$'$$", "$e$\\$e$"]),
)
BODY = st.one_of(st.builds(_dollar, TAG, INSIDES), INSIDES.map("'{}'".format))
"""Of DO and of functions, which take no string of another kind."""
NUMBER = st.one_of(
    st.sampled_from(["0", "1", "42", "$1", "$12", "1_000", "0x1F"]),
    st.sampled_from(["1.5", ".5", "2.", "1e5", "1E-3", "1.5e+3"]),
)
OPERATOR = st.one_of(
    st.sampled_from("+-*/%<^@?"),
    st.sampled_from([">=", "<>", "!=", "||", "&&", "@>", "->", "->>", "#>", "~*", "!~", "|/|", "<->"]),
)


def _joined(pieces: Sequence[str], blanks: Sequence[str]) -> str:
    """Pieces with a blank between any two; the blanks are repeated as far as they are needed."""
    text = pieces[0]
    for number, piece in enumerate(pieces[1:]):
        text += blanks[number % len(blanks)] + piece
    return text


def joined(*pieces: str | Text) -> Text:
    """Pieces, fixed or drawn, in this order, with blanks drawn between them."""
    drawn = [piece if isinstance(piece, st.SearchStrategy) else st.just(piece) for piece in pieces]
    return st.builds(_joined, st.tuples(*drawn), st.lists(BLANK, min_size=1, max_size=6))


def _operation(left: str, operator: str, blank: str, right: str) -> str:
    # Right behind the operator comments begin; a blank keeps signs and operators from growing together.
    return f"{left} {operator}{blank}{right}" if blank.strip() else f"{left} {operator} {right}"


def _case(pairs: Sequence[tuple[str, str]], other: str | None, blank: str) -> str:
    words = ["CASE", *(f"WHEN {when} THEN {then}" for when, then in pairs)]
    return blank.join([*words, *([f"ELSE {other}"] if other else []), "END"])


ATOM = st.one_of(
    STRING,
    NUMBER,
    IDENTIFIER,
    st.builds("{}.{}".format, IDENTIFIER, LABEL),
    st.builds("{}{}.{}{}".format, IDENTIFIER, BLANK, BLANK, LABEL),
    st.builds("({}).{}".format, IDENTIFIER, LABEL),
)


def _wider(inner: Text) -> Text:
    return st.one_of(
        st.builds(_operation, inner, OPERATOR, BLANK, inner),
        st.builds("({})".format, inner),
        st.builds("- {}".format, inner),
        st.builds("f({}, {})".format, inner, inner),
        st.builds("ARRAY[{}, {}]".format, inner, inner),
        st.builds("({})::text".format, inner),
        st.builds("(SELECT {} AS {})".format, inner, LABEL),
        st.builds(_case, st.lists(st.tuples(inner, inner), min_size=1, max_size=2), st.none() | inner, BLANK),
        st.builds("CASE {} WHEN {} THEN {} END".format, IDENTIFIER, inner, inner),
    )


EXPRESSION = st.recursive(ATOM, _wider, max_leaves=5)
COLUMN = st.one_of(
    EXPRESSION,
    joined(EXPRESSION, "AS", LABEL),
    st.builds("({}) {}".format, EXPRESSION, BARE_LABEL),
    st.builds("o.{} AS {}".format, LABEL, LABEL),
)
COLUMNS = st.lists(COLUMN, min_size=1, max_size=3).map(", ".join)
QUERY = st.one_of(
    joined("SELECT", COLUMNS),
    joined("SELECT", COLUMNS, "FROM", IDENTIFIER, "AS o"),
    joined("SELECT", COLUMNS, "FROM t o WHERE", EXPRESSION, "ORDER BY", EXPRESSION),
    joined("WITH q AS (SELECT", COLUMNS, ")", "SELECT * FROM q"),
    joined("VALUES (", EXPRESSION, ")"),
)
CHANGE = st.one_of(
    joined("INSERT INTO", IDENTIFIER, "VALUES (", EXPRESSION, ")", "RETURNING", COLUMNS),
    joined("UPDATE", IDENTIFIER, "AS o SET", IDENTIFIER, "=", EXPRESSION, "WHERE", EXPRESSION),
    joined("DELETE FROM", IDENTIFIER, "WHERE", EXPRESSION),
)
HEAD = st.one_of(
    joined("CREATE FUNCTION", IDENTIFIER, "() RETURNS int"),
    joined(
        "create or replace function", IDENTIFIER, "(a int DEFAULT", EXPRESSION, ") RETURNS int LANGUAGE sql"
    ),
    joined(
        "CREATE OR REPLACE FUNCTION s.",
        IDENTIFIER,
        "(",
        IDENTIFIER,
        "int) RETURNS TABLE (",
        IDENTIFIER,
        "int)",
    ),
    joined("CREATE PROCEDURE", IDENTIFIER, "(INOUT atomic int) LANGUAGE SQL"),
    joined("Create Or Replace Procedure", IDENTIFIER, "()"),
)


def _body(head: str, blanks: Sequence[str], statements: Sequence[str]) -> str:
    inner = "".join(f"{one};{blanks[0]}" for one in statements)
    return f"{head}{blanks[1]}BEGIN{blanks[2]}ATOMIC{blanks[3]}{inner}{blanks[4]}END"


def _atomic(statement: Text) -> Text:
    blanks = st.lists(BLANK, min_size=5, max_size=5)
    return st.builds(_body, HEAD, blanks, st.lists(statement, max_size=4))


# No body within a body: the grammar has it, but every server refuses it ("not yet supported").
ROUTINE = st.one_of(
    _atomic(QUERY | CHANGE | joined("RETURN", EXPRESSION)),
    joined(HEAD, "RETURN", EXPRESSION),
    joined(HEAD, "LANGUAGE plpgsql AS", BODY),
)
ACTIONS = st.lists(QUERY | CHANGE, min_size=1, max_size=3)


def _rule(name: str, blank: str, actions: Sequence[str], last: str) -> str:
    head = f"CREATE OR REPLACE RULE {name} AS ON UPDATE TO t WHERE new.x > 1{blank}DO"
    if len(actions) == 1 and not last:
        return f"{head} {actions[0]}"
    return f"{head} ALSO{blank}({f';{blank}'.join(actions)}{last})"


RULE = st.builds(_rule, IDENTIFIER, BLANK, ACTIONS, st.sampled_from(["", ";", " ; "]))
OTHER = st.one_of(
    joined("CREATE TABLE", IDENTIFIER, "(", IDENTIFIER, "int DEFAULT", ATOM, ", CHECK (", EXPRESSION, "))"),
    joined("CREATE VIEW", IDENTIFIER, "AS", QUERY),
    joined("CREATE INDEX CONCURRENTLY ON", IDENTIFIER, "((", EXPRESSION, "))"),
    joined("DO", BODY),
    joined("COMMENT ON TABLE", IDENTIFIER, "IS", st.builds(_dollar, TAG, INSIDES)),
    joined("MERGE INTO t AS o USING u ON true WHEN MATCHED THEN UPDATE SET x =", EXPRESSION),
    joined("PREPARE p AS", QUERY),
    joined("EXPLAIN (COSTS off)", QUERY),
    joined(
        "CREATE TRIGGER",
        IDENTIFIER,
        "BEFORE INSERT ON t FOR EACH ROW WHEN (",
        EXPRESSION,
        ") EXECUTE FUNCTION f()",
    ),
    st.sampled_from(
        [
            "BEGIN",
            "COMMIT",
            "END",
            "START TRANSACTION READ ONLY",
            "SAVEPOINT a",
            "ROLLBACK TO a",
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
            "END WORK",
        ]
    ),
)
STATEMENT = st.one_of(QUERY, CHANGE, ROUTINE, RULE, OTHER)
SEPARATOR = st.builds(
    "{};{}".format, BLANK, st.sampled_from(["", "\n", "\r\n", " ", ";", "\n\n-- ;\n", "/* ; */", ";;\n"])
)


def _file(statements: Sequence[str], separators: Sequence[str], first: str, last: str) -> str:
    text = first
    for number, statement in enumerate(statements):
        text += (separators[number % len(separators)] if number else "") + statement
    return text + last


FILE = st.builds(
    _file,
    st.lists(STATEMENT, min_size=1, max_size=8),
    st.lists(SEPARATOR, min_size=1, max_size=3),
    BLANK,
    st.sampled_from(["", ";", ";\n", "\n", ";;", "; -- end", "\n/* end */\n"]),
)
"""A migration file."""

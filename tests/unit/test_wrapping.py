"""Lines of a plan are as textwrap makes them, whether or not they need it."""

import textwrap

from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.lookahead.wrapping import WIDTH, wrapped

TEXTS = st.text(st.sampled_from("ab- \t\n\u00e9\u202e"), max_size=3 * WIDTH)


@given(TEXTS, st.integers(0, 8))
def test_a_text_is_wrapped_as_textwrap_does(text: str, indent: int) -> None:
    first = " " * indent
    assert wrapped(text, indent) == textwrap.wrap(
        visible(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=first + "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )

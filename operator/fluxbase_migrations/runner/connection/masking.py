"""No password in what is logged, stored or reported."""

import re
from typing import Final

SHORTEST: Final = 8
"""A shorter password is a word that may stand in any message of the server's."""


def scrub(text: str, hidden: list[str], *, shortest: int = SHORTEST) -> str:
    """Replace every secret in ``text`` where it stands as a whole, not as a part of a longer word.

    A secret of less than ``shortest`` characters stays: messages of a server hold none of ours, unless a file
    quotes it, and with the password ``app`` every relation of that name would be blanked.
    """
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        if len(secret) >= shortest and secret in text:
            left = r"(?<!\w)" if re.match(r"\w", secret) else ""
            right = r"(?!\w)" if re.search(r"\w\Z", secret) else ""
            text = re.sub(left + re.escape(secret) + right, "***", text)
    return text


def scrub_connection_error(text: str, hidden: list[str]) -> str:
    """The same for a text that may hold a connection string: short secrets are replaced, too."""
    return scrub(text, hidden, shortest=1)

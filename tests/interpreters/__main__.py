"""The command line: ``python -m tests.interpreters image|pythons [PYTEST ARGUMENTS]``."""

import sys

from dev.localcluster.report import ClusterError, Progress
from tests.interpreters import image, pythons

COMMANDS = {"image": image.run, "pythons": pythons.run}


def main(words: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        return COMMANDS[words[0]](words[1:], Progress())
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

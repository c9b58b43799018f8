"""``kubectl fluxbase``: does by name what the resource's fields and annotations do."""

import argparse
import os
import sys
from collections.abc import Sequence

from fluxbase_migrations.cli import completion
from fluxbase_migrations.cli.kubectl import completing, set_view, versions
from fluxbase_migrations.cli.kubectl.arguments import parser
from fluxbase_migrations.cli.kubectl.cluster import Cluster
from fluxbase_migrations.cli.kubectl.commands import COMMANDS, DONE, FAILED, dry_run, error
from fluxbase_migrations.cli.usage import parse
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.extras import Extra, missing
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.commands.process import prepare_streams
from fluxbase_migrations.runner.log import silence_stdout

__all__ = ["COMMANDS", "main", "parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 failed, 2 usage. A closed output (``| head``) is no failure."""
    prepare_streams()
    try:
        try:
            return _command(arguments)
        finally:  # also where argparse ends the program
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return DONE
    except OSError as error:
        silence_stdout()
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return FAILED


def _command(arguments: Sequence[str] | None) -> int:
    if completion.ASKED in os.environ:
        completing.answer_shell()
    options = parse(parser(), arguments)
    try:
        return _alone(options) if _needs_no_cluster(options) else _with_cluster(options)
    except ModuleNotFoundError as problem:
        return error(missing(problem, Extra.KUBECTL))
    except InvalidSource as problem:
        return error(str(problem))
    except KeyboardInterrupt:
        return 130


def _needs_no_cluster(options: argparse.Namespace) -> bool:
    match options.command:
        case "create":
            return bool(options.dry_run == "client")
        case "version":
            return bool(options.client)
        case "completion":
            return True
        case _:
            return False


def _alone(options: argparse.Namespace) -> int:
    if options.command == "create":
        return dry_run(options)
    if options.command == "completion":
        return completion.script(completing.PROGRAM, options.shell, Extra.KUBECTL)
    print(versions.client())
    return DONE


def _with_cluster(options: argparse.Namespace) -> int:
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException
    from urllib3 import disable_warnings
    from urllib3.exceptions import HTTPError, InsecureRequestWarning

    disable_warnings(
        InsecureRequestWarning
    )  # insecure-skip-tls-verify is the choice of the user; kubectl does not warn, either
    if options.command == "version":  # also where no cluster answers
        print(versions.client(), flush=True)
    try:
        cluster = Cluster(options)
        return COMMANDS[options.command](cluster, options)
    except ConfigException as problem:
        return error(f"no cluster to talk to: {problem}; give --kubeconfig or set KUBECONFIG")
    except HTTPError as problem:
        return error(f"the API server does not answer: {problem}")
    except ApiException as problem:
        if problem.status == 404 and "name" in options and options.command != "create":
            return error(
                f"there is no FluxbaseMigrationSet {options.name} in namespace {cluster.namespace};"
                " kubectl fluxbase list -A shows those of all namespaces"
            )
        return error(f"the API server refused: {set_view.api_message(problem.body, problem.reason)}")


if __name__ == "__main__":
    sys.exit(main())

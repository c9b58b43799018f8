"""``python -m fluxbase_migrations.controller``: the operator."""

import asyncio
import logging
import os
import signal
import sys

from fluxbase_migrations.core.extras import Extra, missing

try:
    from fluxbase_migrations.controller import app
    from fluxbase_migrations.controller.client.kube import KubeError
    from fluxbase_migrations.controller.process.logs import configure
    from fluxbase_migrations.controller.process.settings import Settings
except ModuleNotFoundError as error:  # the command line was installed, or this is the image of the Jobs
    sys.exit(missing(error, Extra.OPERATOR))

logger = logging.getLogger("fluxbase_migrations.controller")


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await app.main(settings, stop)


def main() -> int:
    """Run until a signal. Returns the exit code."""
    try:
        settings = Settings.from_environment(os.environ, user=os.getuid())
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(settings.log_format)
    where = ", ".join(settings.namespaces) or "all namespaces"
    logger.info("starting in %s, Jobs run %s", where, settings.image)
    try:
        asyncio.run(_run(settings))
    except (KubeError, RuntimeError) as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

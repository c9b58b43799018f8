"""``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from fluxbase_migrations.controller.process.metrics import Metrics

Check = Callable[[], str | None]
"""Returns what is wrong; None if nothing is."""


async def serve(port: int, metrics: Metrics, health_error: Check, readiness_error: Check) -> web.AppRunner:
    """Listen on ``port`` until the runner is cleaned up.

    ``health_error`` tells what a restart may solve; ``readiness_error``, what an administrator should check.
    """

    def answer(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def respond(_: web.Request) -> web.Response:
            error = check()
            return web.Response(text=error or "ok", status=503 if error else 200)

        return respond

    async def render(_: web.Request) -> web.Response:
        # In a thread: thousands of sets take a second, in which the Lease would not be renewed.
        return web.Response(
            body=await asyncio.to_thread(metrics.render), content_type="text/plain", charset="utf-8"
        )

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", answer(health_error)),
            web.get("/readyz", answer(readiness_error)),
            web.get("/metrics", render),
        ]
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner

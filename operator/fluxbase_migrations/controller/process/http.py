"""``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from fluxbase_migrations.controller.process.metrics import Metrics

Check = Callable[[], str | None]
"""Says what is wrong, if anything is."""


async def serve(port: int, metrics: Metrics, health_error: Check, readiness_error: Check) -> web.AppRunner:
    """Listen on ``port`` until the runner is cleaned up.

    ``trouble`` is what a restart may help against; ``unready`` is what somebody should look at.
    """

    def answer(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answered(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(text=wrong or "ok", status=503 if wrong else 200)

        return answered

    async def render(_: web.Request) -> web.Response:
        # Thousands of sets take a second of work, in which sets, and the Lease, would not be looked at.
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

"""``/healthz`` and ``/metrics``."""

from collections.abc import Callable

from aiohttp import web

from fluxbase_migrations.controller.metrics import Metrics


async def serve(port: int, metrics: Metrics, trouble: Callable[[], str | None]) -> web.AppRunner:
    """Listen on ``port`` until the runner is cleaned up. ``trouble`` says what is wrong, if anything is."""

    async def healthz(_: web.Request) -> web.Response:
        wrong = trouble()
        return web.Response(text=wrong or "ok", status=503 if wrong else 200)

    async def render(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", render)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner

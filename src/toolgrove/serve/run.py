"""The server as a process: listens, and on SIGTERM finishes what is going on."""

from __future__ import annotations

import logging
import signal
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI

_log = logging.getLogger("toolgrove.serve")


class Place(NamedTuple):
    """Where to listen, and how long running replies may take when the server is to end."""

    host: str = "127.0.0.1"
    port: int = 8000
    shutdown_s: float = 60.0


def serve(app: FastAPI, place: Place) -> int:
    """Serves until SIGTERM or SIGINT; 0 when it ended in good order, 1 when it could not listen.

    At the first signal no more connections are taken and running requests go on to their end, for
    up to ``shutdown_s`` seconds; a second one ends them at once.
    """
    config = uvicorn.Config(
        app,
        host=place.host,
        port=place.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(1, round(place.shutdown_s)),
        timeout_keep_alive=75,
        backlog=2048,
        server_header=False,
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)  # uvicorn raises the signal again when it is done
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        return 1
    _log.info("the server has stopped")
    return 0

"""The server as a process: listens, and on SIGTERM finishes what is going on."""

from __future__ import annotations

import logging
import signal
import socket

import uvicorn
from fastapi import FastAPI

from toolgrove.core.errors import ConfigError

_log = logging.getLogger("toolgrove.serve")

BACKLOG = 2048
"""How many connections wait before they are turned away."""


def bound(host: str, port: int) -> socket.socket:
    """A socket that has this address, though nobody can connect before the server runs; port 0
    takes one that is free. ConfigError when the address is taken or not this machine's."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise _no_place(host, port, error) from error
    return listening


def _no_place(host: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot listen there: {error.strerror}",
        where=f"{host}:{port}",
        hint="choose another --port (0 takes one that is free) or --host",
    )


def serve(app: FastAPI, listening: socket.socket, shutdown_s: float) -> int:
    """Serves on a bound socket until SIGTERM or SIGINT; 0 when it ended in good order, 1 when it
    could not begin. ConfigError when another server has begun there since the socket was bound.

    At the first signal no more connections are taken and running requests go on to their end, for
    up to ``shutdown_s`` seconds; a second one ends them at once.
    """
    try:
        listening.listen(BACKLOG)
    except OSError as error:
        host, port, *_ = listening.getsockname()
        raise _no_place(host, port, error) from error
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(1, round(shutdown_s)),
        timeout_keep_alive=75,
        backlog=BACKLOG,
        server_header=False,
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)  # uvicorn raises the signal again when it is done
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    if not server.started:
        return 1
    _log.info("the server has stopped")
    return 0

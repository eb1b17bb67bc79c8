"""The server as a process: listens, and on SIGTERM finishes what is going on."""

from __future__ import annotations

import logging
import signal
import socket
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI

from toolgrove.core.errors import ConfigError

_log = logging.getLogger("toolgrove.serve")


class Place(NamedTuple):
    """Where to listen, and how long running replies may take when the server is to end."""

    listening: socket.socket
    shutdown_s: float = 60.0


def bound(host: str, port: int) -> socket.socket:
    """A socket that has this address, though nobody can connect before the server runs; port 0
    takes one that is free. ConfigError when the address is taken or not this machine's."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen there: {error.strerror}",
            where=f"{host}:{port}",
            hint="choose another --port (0 takes one that is free) or --host",
        ) from error
    return listening


def serve(app: FastAPI, place: Place) -> int:
    """Serves until SIGTERM or SIGINT; 0 when it ended in good order, 1 when it could not begin.

    At the first signal no more connections are taken and running requests go on to their end, for
    up to ``shutdown_s`` seconds; a second one ends them at once.
    """
    config = uvicorn.Config(
        app,
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
    server.run(sockets=[place.listening])
    if not server.started:
        return 1
    _log.info("the server has stopped")
    return 0

"""An MCP server over stdio or HTTP with tools that work, and tools that do not."""

import os
import sys
import time

from mcp.server import MCPServer
from mcp_types import ImageContent, TextContent, ToolAnnotations

server = MCPServer("town")
READS = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READS)
def weather(city: str, days: int = 1) -> str:
    """Tells the weather of a city."""
    return f"{city}: {12 + days} °C"


@server.tool()
def book(hotel: str, nights: int) -> dict:
    """Books a room."""
    return {"booked": hotel, "nights": nights}


@server.tool(annotations=READS)
def hang() -> str:
    """Never returns."""
    time.sleep(60)
    return "late"


@server.tool(annotations=READS)
def die() -> str:
    """Takes the server down."""
    os._exit(7)


@server.tool(annotations=READS)
def large() -> str:
    """Returns two megabytes."""
    return "x" * 2_000_000


@server.tool(annotations=READS)
def picture() -> list:
    """Returns a picture and a word."""
    return [
        ImageContent(type="image", data="AAAA" * 1000, mime_type="image/png"),
        TextContent(text="a map"),
    ]


@server.tool(annotations=READS)
def broken() -> str:
    """Raises."""
    raise ValueError("no such street")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        print("town is up", file=sys.stderr)
        server.run()

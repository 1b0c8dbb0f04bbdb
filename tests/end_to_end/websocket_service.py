"""A WebSocket service: echoes what it gets, and serves a page that talks to it. Usage: PORT."""

import asyncio
import sys
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

PAGE = b"""<!doctype html><title>waiting</title><p id=said></p><script>
const socket = new WebSocket(`ws://${location.host}/echo`);
const said = document.getElementById("said");
socket.onopen = () => { socket.send("from the browser"); socket.send(new Uint8Array([1, 2, 3]).buffer); };
socket.binaryType = "arraybuffer";
socket.onmessage = event => {
  said.textContent += typeof event.data === "string" ? event.data : ` and ${event.data.byteLength} bytes`;
  if (typeof event.data !== "string") socket.close(1000, "done");
};
socket.onclose = event => { document.title = `closed ${event.code} ${event.reason}`; };
</script>"""


def page(_connection: ServerConnection, request: Request) -> Response | None:
    """The page at ``/``; a handshake everywhere else."""
    if request.path != "/":
        return None
    fields = Headers({"Content-Type": "text/html", "Content-Length": str(len(PAGE))})
    return Response(HTTPStatus.OK.value, "OK", fields, PAGE)


async def echo(connection: ServerConnection) -> None:
    """Everything back, as it came."""
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    """Serve until killed."""
    async with serve(echo, "127.0.0.1", port, process_request=page, max_size=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

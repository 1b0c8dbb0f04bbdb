"""A service that accepts and reads, and never says a word. Argument: its port on 127.0.0.1."""

import asyncio
import sys


class Silence(asyncio.Protocol):
    """Forgets what it is told, and leaves when the peer does."""


async def main() -> None:
    """Listen until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Silence, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

"""Sockets that our servers listen on."""

import asyncio
import socket

import pytest

from events.errors import ConfigError
from ingest.listening import listen, url


def test_small_answers_are_not_held_back() -> None:
    """Nagle's algorithm and the other side's delayed acknowledgement together cost 40 ms an answer."""

    async def asked() -> int:
        found: list[int] = []

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            found.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listen("127.0.0.1", 0, "[console]", "nothing can be served")
        server = await asyncio.start_server(serve, sock=listener)
        async with server:
            reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            await reader.read()
            writer.close()
        return found[0]

    assert asyncio.run(asked())


def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0, "[console]", "nothing can be served") as one:
        port = one.getsockname()[1]
        assert url("http", "127.0.0.1", one) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match=rf"127.0.0.1:{port}.*\[console\]"):
            listen("127.0.0.1", port, "[console]", "nothing can be served")

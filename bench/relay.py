#!/usr/bin/env python3
"""A plain WebSocket relay with its two clients, for bench/compare: what a small script of this kind does.

    relay.py serve PORT              every message of a sender goes to every receiver, as it comes
    relay.py receive PORT FILE       writes the pieces of one file, and ends with it
    relay.py send PORT FILE          sends one file in pieces of 1 MiB, and an empty one for its end
"""

import asyncio
import sys

import websockets

PIECE = 1 << 20


async def serve(port):
    receivers = set()

    async def handle(socket):
        path = getattr(socket, "path", None) or socket.request.path  # of releases before 14, and since
        if path == "/receive":
            receivers.add(socket)
            try:
                await socket.wait_closed()
            finally:
                receivers.discard(socket)
        else:
            async for message in socket:
                await asyncio.gather(*(receiver.send(message) for receiver in receivers), return_exceptions=True)
            await socket.close()

    async with websockets.serve(handle, "127.0.0.1", port, max_size=None, compression=None):
        await asyncio.Future()


async def receive(port, path):
    async with websockets.connect(f"ws://127.0.0.1:{port}/receive", max_size=None, compression=None) as socket:
        with open(path, "wb") as file:
            while piece := await socket.recv():
                file.write(piece)


async def send(port, path):
    async with websockets.connect(f"ws://127.0.0.1:{port}/send", max_size=None, compression=None) as socket:
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                await socket.send(piece)
        await socket.send(b"")


if __name__ == "__main__":
    command, arguments = sys.argv[1], [sys.argv[2], *sys.argv[3:]]
    asyncio.run({"serve": serve, "receive": receive, "send": send}[command](*arguments))

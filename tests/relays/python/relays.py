"""Clients of hostdir's two older relays, written from docs/WEB.md, section 10, alone.

    relays.py URL subscribe TOPIC FOLDER COUNT     relay A: stores COUNT files, and prints the type and name of each
    relays.py URL publish TOPIC MIME FILE...       relay A
    relays.py URL receive FOLDER COUNT             relay B
    relays.py URL send FILE...                     relay B

Whoever listens prints "listening" as soon as the server has heard so.
"""

import asyncio
import base64
import pathlib
import sys

from websockets.asyncio.client import connect

PIECE = 64 * 1024


async def listening(socket):
    """A pong says that what was sent before its ping was dealt with."""
    await (await socket.ping())
    print("listening", flush=True)


async def subscribe(url, topic, folder, count):
    async with connect(url + "/", max_size=None) as socket:
        await socket.send(f"subscribe:{topic}")
        await listening(socket)
        for _ in range(int(count)):
            mime, name, content = (await socket.recv()).split(":", 2)
            (pathlib.Path(folder) / name).write_bytes(base64.b64decode(content, validate=True))
            print(mime, name, sep="\t", flush=True)


async def publish(url, topic, mime, *files):
    async with connect(url + "/", max_size=None) as socket:
        for file in map(pathlib.Path, files):
            content = base64.b64encode(file.read_bytes()).decode("ascii")
            await socket.send(f"message:{topic}:{mime}:{file.name}:{content}")


async def receive(url, folder, count):
    # The library's own limit on a message stays.
    async with connect(url + "/receiver") as socket:
        await listening(socket)
        for _ in range(int(count)):
            kind, name = (await socket.recv()).split(":", 1)
            assert kind == "START", kind
            with (pathlib.Path(folder) / name).open("wb") as file:
                while isinstance(message := await socket.recv(), bytes):
                    file.write(message)
            assert message == "END", message
            print(name, flush=True)


async def send(url, *files):
    async with connect(url + "/sender") as socket:
        for path in map(pathlib.Path, files):
            await socket.send(path.name)
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    await socket.send(piece)
            await socket.send(b"__end__")
            answer = await socket.recv()
            assert answer == "File transfer successful", answer
            print(answer, flush=True)


if __name__ == "__main__":
    commands = {"subscribe": subscribe, "publish": publish, "receive": receive, "send": send}
    asyncio.run(commands[sys.argv[2]](sys.argv[1], *sys.argv[3:]))

#!/usr/bin/env python3
"""A throwaway client, written from docs/PROTOCOL.md alone, to show that the page is enough.

Section numbers in the comments are those of the page. Exit codes: 0 done, 1 refused or failed (one line on stderr says
why), 2 wrong usage, 3 stopped early because --stop-after said so.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import socket
import ssl
import struct
import sys

import cbor2
from blake3 import blake3

PREAMBLE = b"\x8ahostdir"  # section 1
HELLO, LIST, GET, RECEIPT, PUT, BEGIN, FINISH, ABANDON, PING, SUBSCRIBE, RECEIVERS = range(0x01, 0x0C)  # section 2
DATA = 0x10
WELCOME, ENTRIES, LISTED, FILE, END, OFFER, STORED, PONG, ERROR = *range(0x81, 0x89), 0x8F
LIVE, RECEIVED = 0x89, 0x8A
SUBSCRIBED, ARRIVING, ARRIVED, ABANDONED, GAP, POSITION, PAUSED = EVENTS = range(0x90, 0x97)
SERVER_KINDS = {WELCOME, ENTRIES, LISTED, FILE, END, OFFER, STORED, PONG, ERROR, DATA, LIVE, RECEIVED, *EVENTS}
MAX_BEFORE_WELCOME, MAX_CONTROL, MAX_DATA = 1024, 65_536, 1_048_576
CHUNK = 256 * 1024
SILENCE = 60  # seconds; section 12

ERRORS = {  # section 10
    1: "protocol", 2: "unsupported-version", 3: "busy", 4: "timeout", 5: "shutting-down", 6: "bad-path",
    7: "not-found", 8: "not-a-file", 9: "changed", 10: "out-of-range", 11: "exists", 12: "read-only",
    13: "forbidden", 14: "too-large", 15: "no-space", 16: "mismatch", 17: "abandoned", 18: "superseded",
    19: "unavailable", 20: "bad-name",
}
OUTCOMES = {0: "new", 1: "renamed", 2: "overwritten", 3: "identical", 4: "skipped"}  # section 8
CONFLICTS = {"rename": 0, "skip": 1, "fail": 2, "overwrite": 3}
VERIFIED, MISMATCH, NOT_STORED, GIVEN_UP = range(4)  # section 9
STATES = {0: "verified", 1: "fetching", 2: "failed", 3: "gone"}  # section 16


class Failure(Exception):
    """What ends the program with exit code 1."""


class Refused(Failure):
    """ERROR from the server."""

    def __init__(self, body):
        self.code = ERRORS.get(Connection.field(body, 0, int), "unavailable")
        super().__init__(f"{self.code}: {shown(body.get(1, ''))}")


class Violation(Failure):
    """The server broke a rule of the page (section 13)."""


class Stopped(Exception):
    """--stop-after was reached."""


def shown(text):
    """Names and messages of the other side, harmless on a terminal."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_valid_path(path):
    """Section 4."""
    names = path.split(b"/")
    return (
        1 <= len(path) <= 1024
        and len(names) <= 64
        and b"\0" not in path
        and b"\\" not in path
        and all(1 <= len(name) <= 255 and name not in (b".", b"..") and name.lower() != b".hostdir" for name in names)
    )


def public_key(certificate):
    """The SubjectPublicKeyInfo of a certificate, both in DER (section 1)."""

    def element(at):
        """Where the content of the element at `at` begins and ends."""
        length, at = certificate[at + 1], at + 2
        if length >= 0x80:
            count, at = length & 0x7F, at + (length & 0x7F)
            length = int.from_bytes(certificate[at - count:at], "big")
        return at, at + length

    at, _ = element(element(0)[0])  # into Certificate, into TBSCertificate
    if certificate[at] == 0xA0:  # the version may be absent
        at = element(at)[1]
    for _ in ("serial number", "signature", "issuer", "validity", "subject"):
        at = element(at)[1]
    return certificate[at:element(at)[1]]


def secure(plain, host, fingerprint):
    """TLS with the server whose key has this fingerprint, and no other: section 1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        secured = context.wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)
    except OSError as error:
        raise Failure(f"no TLS: {error}") from error
    key = hashlib.sha256(public_key(secured.getpeercert(binary_form=True))).digest()
    shown_key = "sha256//" + base64.b64encode(key).decode()
    if shown_key != fingerprint:
        raise Failure(f"the server's key is {shown_key}, not {fingerprint}")
    return secured


class Connection:
    """A session: sections 1, 2, 3 and 5."""

    def __init__(self, host, port, fingerprint=None):
        try:
            self.socket = socket.create_connection((host, port), timeout=10)
        except OSError as error:
            raise Failure(f"cannot reach {host}:{port}: {error}") from error
        self.socket.settimeout(SILENCE)
        if fingerprint:
            self.socket = secure(self.socket, host, fingerprint)
        self.limit = MAX_BEFORE_WELCOME
        try:
            self.greet()
        except Exception:
            self.close()
            raise

    def greet(self):
        self.socket.sendall(PREAMBLE)
        self.send(HELLO, {0: 1, 1: 1, 2: "hostdir_client.py"})
        if self.exactly(len(PREAMBLE), "preamble") != PREAMBLE:
            raise Failure("not a hostdir server")
        self.welcome = self.expect(WELCOME)
        if self.field(self.welcome, 0, int) != 1:
            raise Violation("the server chose a version that was not offered")
        self.limit = MAX_CONTROL

    def close(self):
        self.socket.close()

    def send(self, kind, body):
        self.send_frame(kind, cbor2.dumps(body))

    def send_frame(self, kind, body):
        try:
            self.socket.sendall(struct.pack(">IB", len(body), kind) + body)
        except OSError as error:
            raise Failure(f"the connection broke: {error}") from error

    def exactly(self, count, what):
        received = bytearray()
        while len(received) < count:
            try:
                piece = self.socket.recv(count - len(received))
            except TimeoutError as error:
                raise Failure(f"the server sent nothing for {SILENCE} s") from error
            except OSError as error:
                raise Failure(f"the connection broke: {error}") from error
            if not piece:
                raise Failure(f"the connection ended within {what}")
            received += piece
        return bytes(received)

    def receive(self):
        """The next frame that is not ignorable: its kind and its body, decoded unless it is DATA."""
        while True:
            length, kind = struct.unpack(">IB", self.exactly(5, "an answer"))
            ignorable = kind >= 0xC0
            if kind not in SERVER_KINDS and not ignorable:
                raise Violation(f"a frame of unknown kind {kind:#x}")
            if length > (MAX_DATA if kind == DATA else self.limit) or (kind == DATA and length == 0):
                raise Violation(f"a frame of kind {kind:#x} with {length} bytes")
            body = self.exactly(length, "a frame")
            if kind == DATA:
                return kind, body
            if not ignorable:
                return kind, self.decode(kind, body)

    @staticmethod
    def decode(kind, body):
        try:
            stream = io.BytesIO(body)
            message = cbor2.load(stream)
            if stream.tell() != len(body):
                raise ValueError("bytes after the map")
        except Exception as error:
            raise Violation(f"a malformed frame of kind {kind:#x}: {error}") from error
        if not isinstance(message, dict):
            raise Violation(f"a frame of kind {kind:#x} that is no map")
        return message

    @staticmethod
    def field(message, key, kind, default=None):
        value = message.get(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise Violation(f"field {key} is missing or of the wrong type")
        return value

    def expect(self, *kinds):
        """The body of the next frame, which must be of one of these kinds; with several, the kind too."""
        kind, body = self.receive()
        if kind == ERROR:
            raise Refused(body)
        if kind not in kinds:
            raise Violation(f"a frame of kind {kind:#x} where none is due")
        return body if len(kinds) == 1 else (kind, body)


def list_entries(connection, arguments):
    """Section 6."""
    request = {0: os.fsencode(arguments.path)} if arguments.path else {}
    if arguments.recursive:
        request[1] = True
    connection.send(LIST, request)
    count = 0
    while True:
        kind, body = connection.expect(ENTRIES, LISTED)
        if kind == LISTED:
            break
        folder = connection.field(body, 0, bytes, b"")
        for entry in connection.field(body, 1, list):
            count += 1
            if not isinstance(entry, list) or [type(value) for value in entry[:4]] != [bytes, int, int, int]:
                raise Violation("an entry that is not [name, kind, size, modified]")
            name, entry_kind, size, modified = entry[:4]
            path = folder + b"/" + name if folder else name
            if entry_kind not in (0, 1):
                raise Violation("an entry of unknown kind")
            if b"/" in name or not is_valid_path(path):
                print(f"left out: {shown(path)}", file=sys.stderr)
                continue
            print("folder" if entry_kind else "file", size, modified, shown(path), sep="\t")
    if connection.field(body, 0, int, 0) != count:
        raise Violation("the listing has not as many entries as it says")
    for key, what in (1, "skipped"), (2, "unreadable"):
        if body.get(key):
            print(f"{what}: {body[key]}", file=sys.stderr)


class Partial:
    """The first bytes of a file on their way in, and the version that they are of."""

    def __init__(self, target):
        self.path = target + ".part"
        self.note = target + ".part.json"
        self.version = None
        try:
            with open(self.note, encoding="utf-8") as note:
                self.version = bytes.fromhex(json.load(note)["version"])
        except (OSError, ValueError, KeyError):
            self.discard()

    def size(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def discard(self):
        self.version = None
        for path in self.path, self.note:
            if os.path.exists(path):
                os.remove(path)

    def begin(self, version):
        self.version = version
        with open(self.note, "w", encoding="utf-8") as note:
            json.dump({"version": version.hex()}, note)

    def digest(self):
        return blake3_of(self.path, self.size())


def blake3_of(path, count):
    """BLAKE3 of a file's first bytes."""
    hasher = blake3()
    with open(path, "rb") as file:
        while count > 0 and (piece := file.read(min(CHUNK, count))):
            hasher.update(piece)
            count -= len(piece)
    return hasher.digest()


def get(connection, arguments):
    """Section 7. A file that is there is not replaced; what was kept of an earlier attempt is resumed."""
    target = arguments.output
    if os.path.lexists(target):
        raise Failure(f"{target} is there already")
    partial = Partial(target)
    try:
        receive_file(connection, arguments, partial)
    except Refused as refusal:
        if refusal.code != "changed" or partial.version is None:
            raise
        print("changed: starting over", file=sys.stderr)
        partial.discard()
        receive_file(connection, arguments, partial)


def receive_file(connection, arguments, partial):
    offset = partial.size() if partial.version else 0
    request = {0: os.fsencode(arguments.path)}
    if partial.version:
        request |= {1: offset, 3: partial.version}
    connection.send(GET, request)
    file = connection.expect(FILE)
    transfer, size, modified = (connection.field(file, key, int) for key in (0, 1, 2))
    version, length = connection.field(file, 3, bytes), connection.field(file, 5, int)
    if connection.field(file, 4, int, 0) != offset or offset + length != size:
        raise Violation("FILE does not fit the request")
    if partial.version not in (None, version):
        raise Violation("FILE has another version than was asked for")
    partial.begin(version)
    try:
        digest = receive_bytes(connection, partial, length, arguments.stop_after)
    except Refused:
        partial.discard()  # the last frame was perhaps padding, and after `changed` nothing is worth keeping
        raise
    if partial.digest() != digest:
        connection.send(RECEIPT, {0: transfer, 1: MISMATCH})
        partial.discard()
        raise Failure(f"{arguments.path}: the digest does not match")
    os.utime(partial.path, ns=(modified, modified))
    try:
        os.link(partial.path, arguments.output)  # unlike a rename, this never replaces
    except OSError as error:
        connection.send(RECEIPT, {0: transfer, 1: NOT_STORED})
        raise Failure(f"{arguments.output}: {error}") from error
    partial.discard()
    connection.send(RECEIPT, {0: transfer, 1: VERIFIED})
    print(f"got\t{size}\tfrom {offset}\t{digest.hex()}")


def receive_bytes(connection, partial, length, stop_after):
    """Appends the DATA frames to what is there; returns the digest that END gives."""
    received = 0
    with open(partial.path, "ab") as output:
        while True:
            kind, body = connection.expect(DATA, END)
            if kind == END:
                break
            received += len(body)
            if received > length:
                raise Violation("more bytes than announced")
            if stop_after is not None and received >= stop_after:
                output.write(body[: len(body) - (received - stop_after)])
                raise Stopped
            output.write(body)
    if received != length:
        raise Violation("fewer bytes than announced")
    return connection.field(body, 0, bytes)


def upload_id(arguments):
    """The same on every attempt to put this file there."""
    status = os.stat(arguments.file)
    identity = [os.path.abspath(arguments.file), arguments.path, status.st_size, status.st_mtime_ns, status.st_ino]
    return blake3(json.dumps(identity).encode()).digest(length=16)


def put(connection, arguments):
    """Section 8."""
    status = os.stat(arguments.file)
    request = {0: os.fsencode(arguments.path), 2: status.st_size, 3: status.st_mtime_ns}
    if arguments.on_conflict != "rename":
        request[4] = CONFLICTS[arguments.on_conflict]
    request[5] = upload_id(arguments)
    offset = 0
    if arguments.ask:
        request[6] = blake3_of(arguments.file, status.st_size)
        request[7] = True
        connection.send(PUT, request)
        kind, answer = connection.expect(OFFER, STORED)
        if kind == STORED:
            return stored(connection, answer, "nothing sent")
        offset = accepted_offset(connection, arguments.file, status.st_size, answer)
        connection.send(BEGIN, {0: offset} if offset else {})
    else:
        connection.send(PUT, request)
    send_bytes(connection, arguments, offset, status.st_size)
    return stored(connection, connection.expect(STORED), f"from {offset}")


def accepted_offset(connection, path, size, offer):
    """The offered offset, if what the server holds is the beginning of this file; otherwise 0."""
    offset = connection.field(offer, 1, int, 0)
    if offset == 0 or offset > size:
        return 0
    if blake3_of(path, offset) == connection.field(offer, 2, bytes):
        return offset
    print("the server holds other bytes: starting over", file=sys.stderr)
    return 0


def send_bytes(connection, arguments, offset, size):
    hasher = blake3()
    with open(arguments.file, "rb") as file:
        position = 0
        while position < size:
            # What the server holds already is only hashed.
            count = min(CHUNK, (offset if position < offset else size) - position)
            piece = file.read(count)
            hasher.update(piece)
            if position >= offset:
                # A frame that was announced is completed (section 2, padding).
                connection.send_frame(DATA, piece.ljust(count, b"\0"))
            if len(piece) < count:
                connection.send(ABANDON, {0: True})
                connection.expect()
            position += count
            if arguments.stop_after is not None and position - offset >= arguments.stop_after:
                raise Stopped
    connection.send(FINISH, {0: hasher.digest()})


def stored(connection, answer, how):
    outcome = OUTCOMES.get(connection.field(answer, 2, int))
    path = connection.field(answer, 1, bytes)
    if outcome is None or not is_valid_path(path):
        raise Violation("STORED with an unknown outcome or an invalid path")
    print(f"{outcome}\t{shown(path)}\t{how}")


class Follower:
    """Section 16, on one connection: told of a file, it asks for it, and follows again from where it was told to."""

    def __init__(self, connection, arguments):
        self.connection, self.arguments = connection, arguments
        self.folder = os.fsencode(arguments.folder)
        self.after = arguments.after
        self.journal = bytes.fromhex(arguments.journal) if arguments.journal else None
        self.subscriber = os.urandom(16)
        self.left = arguments.count
        self.here = set()  # numbers of arrivals that came live, and may still be told
        self.tried = set()  # live ids

    def run(self):
        while self.left:
            self.subscribe()
            wanted = self.listen()
            self.fetch(*wanted)
        print(f"position\t{self.after}\t{self.journal.hex()}")

    def subscribe(self):
        request = {0: [self.folder], 3: self.subscriber}
        if self.after is not None:
            request[1] = self.after
        if self.journal and self.after:
            request[2] = self.journal
        self.connection.send(SUBSCRIBE, request)
        answer = self.connection.expect(SUBSCRIBED)
        self.journal = self.connection.field(answer, 0, bytes)
        self.after = self.connection.field(answer, 2, int)
        self.connection.field(answer, 1, int)
        print("following", file=sys.stderr, flush=True)

    def listen(self):
        """Up to something to fetch: the request for it, and what is known of it."""
        while True:
            kind, body = self.connection.expect(*EVENTS[1:6])
            if kind == ARRIVING:
                live, path = self.connection.field(body, 0, bytes), self.checked(self.connection.field(body, 1, bytes))
                if live not in self.tried:
                    self.tried.add(live)
                    return {0: path, 5: live}, None
            elif kind == ARRIVED:
                number, path = self.connection.field(body, 0, int), self.checked(self.connection.field(body, 1, bytes))
                size, digest = self.connection.field(body, 2, int), self.connection.field(body, 3, bytes)
                self.after = number
                if number not in self.here:
                    return {0: path, 4: False}, (number, path, size, digest)
            elif kind == ABANDONED:
                print(f"abandoned\t{shown(self.checked(self.connection.field(body, 1, bytes)))}", flush=True)
            else:
                self.after = self.connection.field(body, 0, int)
                if kind == GAP:
                    print(f"gap\t{body.get(1, 'unknown')}", flush=True)

    def checked(self, path):
        """A server that could name other files could choose what is written."""
        if not is_valid_path(path) or (self.folder and not path.startswith(self.folder + b"/")):
            raise Violation("an event of a folder that was not asked for")
        return path

    def fetch(self, request, arrival):
        self.connection.send(GET, request)
        # What is told until the server has seen the request is told again after the next SUBSCRIBE.
        while self.connection.expect(*EVENTS[1:])[0] != PAUSED:
            pass
        try:
            header, content, end = self.receive(LIVE if arrival is None else FILE)
        except Refused as refusal:
            print(f"refused\t{refusal.code}\t{shown(request[0])}", flush=True)
            return
        transfer = self.connection.field(header, 0, int)
        if arrival is None:
            number = end.get(2)
            path = self.checked(self.connection.field(end, 1, bytes))
            arrival = number, path, len(content), self.connection.field(end, 0, bytes)
        number, path, size, digest = arrival
        if len(content) != size or blake3(content).digest() != digest:
            self.connection.send(RECEIPT, {0: transfer, 1: MISMATCH})
            return
        if number is None:  # the content was there already, and is no arrival
            return
        target = os.path.join(self.arguments.output, os.fsdecode(path))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb") as file:
            file.write(content)
        self.here.add(number)
        self.left -= 1
        self.connection.send(RECEIPT, {0: transfer, 1: VERIFIED, 2: number, 3: self.subscriber})
        how = "live" if 5 in request else "whole"
        print(f"received\t{number}\t{shown(path)}\t{size}\t{how}\t{digest.hex()}", flush=True)

    def receive(self, header_kind):
        """The whole answer. The last frame before an ERROR is perhaps padding: nothing of it is kept here."""
        header = self.connection.expect(header_kind)
        if self.connection.field(header, 4, int, 0) != 0:
            raise Violation("another part than was asked for")
        content = bytearray()
        while True:
            kind, body = self.connection.expect(DATA, END)
            if kind == END:
                return header, bytes(content), body
            content += body


def follow(connection, arguments):
    Follower(connection, arguments).run()


def receivers(connection, arguments):
    """Section 16: who received an arrival."""
    connection.send(RECEIVERS, {0: arguments.number, 1: arguments.wait})
    answer = connection.expect(RECEIVED)
    for receiver in connection.field(answer, 0, list):
        if not isinstance(receiver, list) or [type(value) for value in receiver[:2]] != [str, int]:
            raise Violation("a receiver that is not [name, state]")
        if receiver[1] not in STATES:
            raise Violation("a receiver in an unknown state")
        print(f"{STATES[receiver[1]]}\t{shown(receiver[0])}")


def ping(connection, _arguments):
    """Section 9."""
    connection.send(PING, {})
    connection.expect(PONG)
    print("pong")


def parse(arguments):
    parser = argparse.ArgumentParser(description="A throwaway client for a hostdir server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--fingerprint", metavar="KEY", help="speak TLS, with the server that has this key")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("list", help="list a folder")
    command.add_argument("-R", "--recursive", action="store_true")
    command.add_argument("path", nargs="?", default="")
    command.set_defaults(run=list_entries)

    command = commands.add_parser("get", help="download a file")
    command.add_argument("path")
    command.add_argument("-o", "--output", required=True)
    command.add_argument("--stop-after", type=int, metavar="BYTES", help="break the connection then")
    command.set_defaults(run=get)

    command = commands.add_parser("put", help="upload a file")
    command.add_argument("file")
    command.add_argument("path")
    command.add_argument("--ask", action="store_true", help="ask where to resume before sending")
    command.add_argument("--on-conflict", choices=CONFLICTS, default="rename")
    command.add_argument("--stop-after", type=int, metavar="BYTES", help="break the connection then")
    command.set_defaults(run=put)

    command = commands.add_parser("follow", help="receive what arrives in a folder")
    command.add_argument("folder", nargs="?", default="")
    command.add_argument("-o", "--output", required=True, metavar="DIR")
    command.add_argument("--after", type=int, metavar="NUMBER")
    command.add_argument("--journal", metavar="HEX")
    command.add_argument("--count", type=int, required=True, metavar="N")
    command.set_defaults(run=follow)

    command = commands.add_parser("receivers", help="who received an arrival")
    command.add_argument("number", type=int)
    command.add_argument("--wait", type=int, default=0, metavar="S")
    command.set_defaults(run=receivers)

    commands.add_parser("ping", help="see whether the server answers").set_defaults(run=ping)
    return parser.parse_args(arguments)


def main(arguments=None):
    arguments = parse(arguments)
    connection = None
    try:
        connection = Connection(arguments.host, arguments.port, arguments.fingerprint)
        arguments.run(connection, arguments)
    except Stopped:
        print("stopped early", file=sys.stderr)
        return 3
    except (Failure, OSError) as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 1
    finally:
        if connection:
            connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

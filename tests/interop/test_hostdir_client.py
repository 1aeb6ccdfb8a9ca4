"""The throwaway client against a fake server that says what a real one never would."""

import contextlib
import io
import os
import socket
import struct
import tempfile
import threading
import unittest

import cbor2
import hostdir_client as client
from blake3 import blake3

CONTENT = bytes(range(256)) * 40
VERSION = b"v1"


class FakeServer:
    """Answers one connection after another with `answer(kind, body)`, which returns frames to send."""

    def __init__(self, answer, preamble=client.PREAMBLE):
        self.answer, self.preamble = answer, preamble
        self.received = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(60)

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            # Outermost: closing the stream flushes what a client that hung up did not take.
            with contextlib.suppress(OSError, struct.error), connection, connection.makefile("rwb") as stream:
                self.session(stream)

    def session(self, stream):
        assert stream.read(8) == client.PREAMBLE
        stream.write(self.preamble)
        while True:
            length, kind = struct.unpack(">IB", stream.read(5))
            body = stream.read(length)
            body = body if kind == client.DATA else cbor2.loads(body)
            self.received.append((kind, body))
            if kind == client.HELLO:
                replies = [(client.WELCOME, {0: 1})]
            else:
                replies = self.answer(kind, body)
            for kind, body in replies:
                body = body if isinstance(body, bytes) else cbor2.dumps(body)
                stream.write(struct.pack(">IB", len(body), kind) + body)
            stream.flush()

    def bodies(self, kind):
        return [body for received, body in self.received if received == kind]


def sends(content=CONTENT, digest=None, version=VERSION, length=None):
    """Answers GET as a server that holds this content."""
    digest = digest or blake3(content).digest()

    def answer(kind, body):
        if kind != client.GET:
            return []
        offset = body.get(1, 0)
        if body.get(3, version) != version:
            return [(client.ERROR, {0: 9})]
        file = {0: 1, 1: len(content), 2: 1_000_000_000, 3: version, 4: offset, 5: length or len(content) - offset}
        data = [(client.DATA, content[at : at + 1000]) for at in range(offset, len(content), 1000)]
        return [(client.FILE, file), *data, (0xC0, {}), (client.END, {0: digest})]

    return answer


class ClientTest(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.target = os.path.join(self.folder, "target")

    def run_client(self, server, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = client.main(["--port", str(server.port), *arguments])
        return code, out.getvalue(), err.getvalue()

    def source(self, content=CONTENT):
        path = os.path.join(self.folder, "source")
        with open(path, "wb") as file:
            file.write(content)
        return path

    def read_target(self):
        with open(self.target, "rb") as file:
            return file.read()

    def test_a_file_arrives_and_is_receipted(self):
        with FakeServer(sends()) as server:
            code, _, err = self.run_client(server, "get", "f", "-o", self.target)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(self.read_target(), CONTENT)
        self.assertEqual(os.stat(self.target).st_mtime_ns, 1_000_000_000)
        self.assertEqual(os.listdir(self.folder), ["target"])
        self.assertEqual(server.bodies(client.RECEIPT), [{0: 1, 1: client.VERIFIED}])

    def test_a_wrong_digest_is_detected_and_receipted_and_leaves_nothing(self):
        with FakeServer(sends(digest=bytes(32))) as server:
            code, _, err = self.run_client(server, "get", "f", "-o", self.target)
        self.assertEqual(code, 1)
        self.assertIn("digest does not match", err)
        self.assertEqual(os.listdir(self.folder), [])
        self.assertEqual(server.bodies(client.RECEIPT), [{0: 1, 1: client.MISMATCH}])

    def test_more_or_fewer_bytes_than_announced_are_refused(self):
        for length in len(CONTENT) - 1, len(CONTENT) + 1:
            with FakeServer(sends(length=length)) as server:
                code, _, _ = self.run_client(server, "get", "f", "-o", self.target)
            self.assertEqual(code, 1)
            self.assertFalse(os.path.exists(self.target))

    def test_a_download_is_resumed_by_version_and_offset(self):
        with FakeServer(sends()) as server:
            self.assertEqual(self.run_client(server, "get", "f", "-o", self.target, "--stop-after", "2500")[0], 3)
            code, out, _ = self.run_client(server, "get", "f", "-o", self.target)
        self.assertEqual(code, 0)
        self.assertIn("from 2500", out)
        self.assertEqual(self.read_target(), CONTENT)
        self.assertEqual(server.bodies(client.GET)[1], {0: b"f", 1: 2500, 3: VERSION})

    def test_a_download_starts_over_when_the_file_changed(self):
        other = CONTENT[::-1]
        with FakeServer(sends()) as server:
            self.assertEqual(self.run_client(server, "get", "f", "-o", self.target, "--stop-after", "2500")[0], 3)
            server.answer = sends(content=other, version=b"v2")
            code, out, err = self.run_client(server, "get", "f", "-o", self.target)
        self.assertEqual(code, 0, err)
        self.assertIn("from 0", out)
        self.assertEqual(self.read_target(), other)

    def test_a_file_that_is_there_is_not_replaced(self):
        with FakeServer(sends()) as server:
            code, _, err = self.run_client(server, "get", "f", "-o", self.source(b"mine"))
        self.assertEqual(code, 1)
        self.assertIn("already", err)

    def test_an_error_is_told_and_made_harmless(self):
        with FakeServer(lambda *_: [(client.ERROR, {0: 7, 1: "f\x1b[2J"})]) as server:
            code, _, err = self.run_client(server, "get", "f", "-o", self.target)
        self.assertEqual((code, err), (1, "get: not-found: f\\x1b[2J\n"))

    def test_an_unknown_error_code_is_unavailable(self):
        with FakeServer(lambda *_: [(client.ERROR, {0: 999})]) as server:
            code, _, err = self.run_client(server, "list")
        self.assertEqual((code, err), (1, "list: unavailable: \n"))

    def test_another_preamble_is_not_a_server(self):
        with FakeServer(sends(), preamble=b"HTTP/1.1") as server:
            code, _, err = self.run_client(server, "ping")
        self.assertEqual((code, err), (1, "ping: not a hostdir server\n"))

    def test_an_unknown_kind_is_a_violation_and_an_ignorable_one_is_skipped(self):
        with FakeServer(lambda *_: [(0x89, {}), (client.PONG, {})]) as server:
            self.assertEqual(self.run_client(server, "ping")[0], 1)
            server.answer = lambda *_: [(0xC0, {}), (0xFF, b"not even CBOR"), (client.PONG, {})]
            self.assertEqual(self.run_client(server, "ping")[:2], (0, "pong\n"))

    def test_hostile_names_are_left_out_of_a_listing(self):
        names = [b"good", b"..", b"a/b", b".HostDir", b"", b"x\\y"]
        page = {1: [[name, 0, 1, 2, "from later"] for name in names]}
        with FakeServer(lambda *_: [(client.ENTRIES, page), (client.LISTED, {0: len(names)})]) as server:
            code, out, err = self.run_client(server, "list")
        self.assertEqual((code, out), (0, "file\t1\t2\tgood\n"))
        self.assertEqual(err.count("left out"), len(names) - 1)

    def stores(self, offered):
        """Answers PUT as a server that holds `offered` of the upload."""

        def answer(kind, body):
            if kind == client.PUT and body.get(7):
                held = {1: len(offered), 2: blake3(offered).digest()} if offered else {}
                return [(client.OFFER, {0: 1} | held)]
            if kind == client.FINISH:
                return [(client.STORED, {0: 1, 1: b"there", 2: 0})]
            return []

        return answer

    def test_an_upload_at_once_waits_for_nothing(self):
        with FakeServer(self.stores(b"")) as server:
            code, out, _ = self.run_client(server, "put", self.source(), "there")
        self.assertEqual((code, out), (0, "new\tthere\tfrom 0\n"))
        self.assertEqual(b"".join(server.bodies(client.DATA)), CONTENT)
        self.assertEqual(server.bodies(client.FINISH), [{0: blake3(CONTENT).digest()}])
        self.assertEqual(server.bodies(client.BEGIN), [])

    def test_an_upload_begins_where_the_offer_ends_if_the_bytes_are_the_same(self):
        with FakeServer(self.stores(CONTENT[:3000])) as server:
            code, out, _ = self.run_client(server, "put", "--ask", self.source(), "there")
        self.assertEqual((code, out), (0, "new\tthere\tfrom 3000\n"))
        self.assertEqual(server.bodies(client.BEGIN), [{0: 3000}])
        self.assertEqual(b"".join(server.bodies(client.DATA)), CONTENT[3000:])
        self.assertEqual(server.bodies(client.FINISH), [{0: blake3(CONTENT).digest()}])

    def test_an_upload_starts_over_if_the_offered_bytes_are_others(self):
        for offered in CONTENT[1:3000], CONTENT + b"more":
            with FakeServer(self.stores(offered)) as server:
                code, out, _ = self.run_client(server, "put", "--ask", self.source(), "there")
            self.assertEqual((code, out), (0, "new\tthere\tfrom 0\n"))
            self.assertEqual(server.bodies(client.BEGIN), [{}])
            self.assertEqual(b"".join(server.bodies(client.DATA)), CONTENT)

    def test_every_attempt_has_the_same_upload_id(self):
        source = self.source()
        with FakeServer(self.stores(b"")) as server:
            for _ in range(2):
                self.run_client(server, "put", "--ask", source, "there")
            self.run_client(server, "put", "--ask", source, "elsewhere")
        first, again, other = (body[5] for body in server.bodies(client.PUT))
        self.assertEqual(len(first), 16)
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_malformed_answers_are_violations(self):
        answers = [
            (client.ERROR, {}),
            (client.ERROR, {0: "7"}),
            (client.PONG, b""),
            (client.PONG, b"\xa0\x00"),
            (client.PONG, b"\x80"),
            (client.LISTED, {}),
            (client.DATA, b""),
            (client.PONG, b"\xa0" + bytes(client.MAX_CONTROL)),
        ]
        for answer in answers:
            with FakeServer(lambda *_, answer=answer: [answer]) as server:
                code, _, err = self.run_client(server, "ping")
            self.assertEqual(code, 1, answer)
            self.assertTrue(err.startswith("ping: "), err)

    def follows(self, events, answers, *arguments):
        """A server that tells `events` at each SUBSCRIBE and gives one of `answers` to each GET."""
        answers = iter(answers)

        def answer(kind, body):
            if kind == client.SUBSCRIBE:
                return [(client.SUBSCRIBED, {0: bytes(16), 1: 1, 2: body.get(1, 0)}), *events]
            if kind == client.GET:
                return [(client.PAUSED, {0: 0}), *next(answers)]
            return []

        with FakeServer(answer) as server:
            result = self.run_client(server, "follow", "chat", "-o", self.folder, "--count", "1", *arguments)
        return *result, server

    def test_live_bytes_that_are_not_what_was_announced_are_fetched_by_the_path(self):
        live, digest = bytes(range(16)), blake3(CONTENT).digest()
        arrived = {0: 1, 1: b"chat/f", 2: len(CONTENT), 3: digest, 4: 0, 5: 0, 6: live}
        wrong = [
            (client.LIVE, {0: 5, 3: b"v"}), (client.DATA, b"wrong"), (client.END, {0: digest, 1: b"chat/f", 2: 1}),
        ]
        right = [(client.FILE, {0: 6, 1: len(CONTENT), 2: 0, 3: b"v", 5: len(CONTENT)}), (client.DATA, CONTENT), (client.END, {})]
        events = [(client.ARRIVING, {0: live, 1: b"chat/f"}), (0xC1, {}), (client.ARRIVED, arrived)]
        code, out, err, server = self.follows(events, [wrong, right])
        self.assertEqual((code, err.replace("following\n", "")), (0, ""))
        self.assertIn(f"received\t1\tchat/f\t{len(CONTENT)}\twhole\t", out)
        receipts = server.bodies(client.RECEIPT)
        self.assertEqual([receipt[1] for receipt in receipts], [client.MISMATCH, client.VERIFIED])
        self.assertEqual((receipts[1][2], len(receipts[1][3])), (1, 16))

    def test_an_event_of_another_folder_ends_it(self):
        for path in b"other/f", b"chat/../f", b"chatter/f":
            arrived = {0: 1, 1: path, 2: 1, 3: bytes(32), 4: 0, 5: 0}
            code, _, err, _ = self.follows([(client.ARRIVED, arrived)], [])
            self.assertEqual((code, "not asked for" in err), (1, True), err)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    unittest.main()

"""A forwarder between the gateway and a simulated provider that writes down what the provider was sent.

It is an observer of its own: what it says does not depend on the gateway's books or on the simulator's. It knows just
enough HTTP/1.1 to cut a connection into requests (Content-Length bodies, which is what providers are sent).
"""

import json
import socket
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Connection:
    """One upstream connection; `closed` is the moment its client (the gateway) ended it."""

    closed: float | None = None


@dataclass
class Request:
    """One request as it went to the provider."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: Connection
    arrived: float = field(default_factory=time.monotonic)

    def json(self):
        return json.loads(self.body)


class Tap:
    """Listens on a free loopback port and forwards to `port`."""

    def __init__(self, port: int):
        self.target = port
        self.requests: list[Request] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def chats(self) -> list[Request]:
        """Chat requests so far: model lists and probes are not counted as work."""
        return [request for request in self.requests if request.target.endswith("/chat/completions")]

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket):
        server = socket.create_connection(("127.0.0.1", self.target))
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._answer, args=(server, client), daemon=True).start()
        connection, unread = Connection(), b""
        while data := receive(client):
            unread = self._cut(unread + data, connection)
            try:
                server.sendall(data)
            except OSError:
                break
        connection.closed = time.monotonic()
        hang_up(server)

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket):
        while data := receive(server):
            try:
                client.sendall(data)
            except OSError:
                break
        hang_up(client)

    def _cut(self, unread: bytes, connection: Connection) -> bytes:
        """Takes whole requests off the front and returns the rest."""
        while b"\r\n\r\n" in unread:
            head, rest = unread.split(b"\r\n\r\n", 1)
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                break
            self.requests.append(Request(method, target, headers, rest[:length], connection))
            unread = rest[length:]
        return unread


def receive(source: socket.socket) -> bytes:
    """The next bytes; nothing when the other side is gone, in whichever way it went."""
    try:
        return source.recv(65536)
    except OSError:
        return b""


def hang_up(connection: socket.socket):
    """Ends both directions, so that a thread which reads from it wakes up."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()

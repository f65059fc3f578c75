#!/usr/bin/env python3
"""A line that adds a round trip and takes no bandwidth: what arrives is sent on half of it later, in either direction; one whole
round trip is charged for the connection itself.

    bench/delay.py MILLISECONDS PORT...    prints a port of its own for each PORT of 127.0.0.1; ends with its standard input"""
import collections, selectors, socket, sys, time

QUEUED_MAX = 128 << 20  # bytes on their way in one direction; then nothing more is read
READ_BYTES = 256 << 10


class Way:
    """One direction of a connection."""

    def __init__(self, reader, writer, begins):
        self.reader, self.writer, self.begins = reader, writer, begins
        self.queue, self.queued, self.ended, self.done, self.full = collections.deque(), 0, False, False, False

    def read(self, half):
        try:
            data = self.reader.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        self.queue.append((max(time.monotonic(), self.begins) + half, data))
        self.queued += len(data)
        self.ended = not data

    def write(self, now):
        """Send what is due; the time at which more will be, or None."""
        self.full = False
        while self.queue and self.queue[0][0] <= now:
            due, data = self.queue[0]
            try:
                sent = self.writer.send(data) if data else self.writer.shutdown(socket.SHUT_WR) or 0
            except BlockingIOError:
                sent, self.full = 0, True
                return None
            except OSError:
                sent, self.ended, self.done = len(data), True, True
            self.queued -= sent
            if sent < len(data):
                self.queue[0] = (due, memoryview(data)[sent:])
            else:
                self.queue.popleft()
                self.done |= not data
        return self.queue[0][0] if self.queue else None


def watch(selector, ways):
    """Each socket is read by one way and written by the other."""
    for way, back in (ways, ways[::-1]):
        wanted = (selectors.EVENT_READ if not way.ended and way.queued < QUEUED_MAX else 0) | (selectors.EVENT_WRITE if back.full else 0)
        known = selector.get_map().get(way.reader)
        if wanted and not known:
            selector.register(way.reader, wanted, ways)
        elif known and not wanted:
            selector.unregister(way.reader)
        elif known and known.events != wanted:
            selector.modify(way.reader, wanted, ways)


def accept(listener, port, half):
    client, _ = listener.accept()
    server = socket.create_connection(('127.0.0.1', port))
    for s in (client, server):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.setblocking(False)
    begins = time.monotonic() + 2 * half
    return Way(client, server, begins), Way(server, client, begins)


def main():
    half, selector, lines = float(sys.argv[1]) / 2000, selectors.DefaultSelector(), []
    for port in sys.argv[2:]:
        listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        selector.register(listener, selectors.EVENT_READ, int(port))
        print(listener.getsockname()[1], flush=True)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    wake = None
    while True:
        for key, events in selector.select(None if wake is None else max(0, wake - time.monotonic())):
            if key.data is None:
                return
            if isinstance(key.data, int):
                lines.append(accept(key.fileobj, key.data, half))
            elif events & selectors.EVENT_READ:
                next(way for way in key.data if way.reader is key.fileobj).read(half)
        now, wake = time.monotonic(), None
        for ways in lines[:]:
            due = [at for at in (way.write(now) for way in ways) if at is not None]
            wake = min(due + ([wake] if wake is not None else [])) if due else wake
            watch(selector, ways)
            if all(way.done for way in ways):
                for way in ways:
                    way.reader.close()
                lines.remove(ways)


main()

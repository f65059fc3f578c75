#!/usr/bin/env python3
"""A proxy of both kinds for tests: proxy.py KIND [--login USER:PASSWORD] [--map NAME=ADDRESS] with KIND socks5 or http. Prints its
port on loopback, serves until its standard input ends, and tells each CONNECT as a JSON line: what it was asked for and who asked.
A host is looked up here, by --map first, so names that only the proxy knows can be connected to. Not for anything but tests."""
import argparse, base64, ipaddress, json, select, socket, socketserver, struct, sys, threading

lock = threading.Lock()


def tell(**facts):
    with lock:
        print(json.dumps(facts), flush=True)


def exactly(stream, n):
    got = stream.read(n)
    if len(got) != n:
        raise EOFError
    return got


class Handler(socketserver.StreamRequestHandler):
    rbufsize = 0  # what comes behind the request is the tunnel's

    def handle(self):
        try:
            self.socks5() if self.server.options.kind == 'socks5' else self.http()
        except (EOFError, OSError):
            pass

    def socks5(self):
        version, count = exactly(self.rfile, 2)
        methods, login = exactly(self.rfile, count), self.server.options.login
        if version != 5 or (2 if login else 0) not in methods:
            self.wfile.write(b'\x05\xff')
            return
        self.wfile.write(b'\x05\x02' if login else b'\x05\x00')
        if login:
            exactly(self.rfile, 1)
            user = exactly(self.rfile, exactly(self.rfile, 1)[0])
            password = exactly(self.rfile, exactly(self.rfile, 1)[0])
            good = (user + b':' + password).decode() == login
            self.wfile.write(b'\x01\x00' if good else b'\x01\x01')
            if not good:
                return
        _, command, _, kind = exactly(self.rfile, 4)
        if kind == 3:
            host = exactly(self.rfile, exactly(self.rfile, 1)[0]).decode()
        else:
            host = str(ipaddress.ip_address(exactly(self.rfile, 4 if kind == 1 else 16)))
        port, = struct.unpack('>H', exactly(self.rfile, 2))
        target = self.connect(host, port)
        self.wfile.write((b'\x05\x00' if target else b'\x05\x05') + b'\x00\x01' + bytes(6))
        self.carry(target)

    def http(self):
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            head += exactly(self.rfile, 1)
        lines = head.decode().split('\r\n')
        login = self.server.options.login
        if login and 'Proxy-Authorization: Basic ' + base64.b64encode(login.encode()).decode() not in lines:
            self.wfile.write(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="test"\r\n\r\n')
            return
        method, authority, _ = lines[0].split(' ')
        host, _, port = authority.rpartition(':')
        target = self.connect(host.strip('[]'), int(port)) if method == 'CONNECT' else None
        self.wfile.write(b'HTTP/1.1 200 Connection established\r\n\r\n' if target else b'HTTP/1.1 502 Bad Gateway\r\n\r\n')
        self.carry(target)

    def connect(self, host, port):
        tell(host=host, port=port, client=self.client_address[0])
        try:
            return socket.create_connection((self.server.names.get(host, host), port), 20)
        except OSError:
            return None

    def carry(self, target):
        if not target:
            return
        others = {self.connection: target, target: self.connection}
        while others:
            for end in select.select(list(others), [], [], 60)[0] or list(others):
                data = end.recv(65536)
                if not data:
                    target.close()
                    return
                others[end].sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, request_queue_size = True, 64


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('kind', choices=('socks5', 'http'))
    parser.add_argument('--login')
    parser.add_argument('--map', action='append', default=[])
    with Server(('127.0.0.1', 0), Handler) as server:
        server.options = parser.parse_args()
        server.names = dict(entry.split('=') for entry in server.options.map)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()


main()

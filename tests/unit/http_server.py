"""An HTTP/1.1 server of another make for http_python_test.c: http_server.py CERTIFICATE KEY. Prints its port and pid. PUT takes a
body of a length or in chunks and answers with its SHA-256; GET /N has N bytes, all or a range of them, /chunks/N in chunks with a
trailer. The byte at offset i is i * 31 % 251. /close ends the connection behind the answer, /refuse answers before the body is read."""
import hashlib, http.server, os, re, ssl, sys, threading

LIFE_SECONDS = 120


def content(first, last):
    return bytes(i * 31 % 251 for i in range(first, last + 1))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self, status, body=b'', **fields):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        for name, value in fields.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def handle_expect_100(self):
        return self.path == '/refuse' or super().handle_expect_100()

    def take_chunks(self):
        body = b''
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            assert self.rfile.readline() == b'\r\n'
        trailers = b''.join(iter(self.rfile.readline, b'\r\n'))
        return body, trailers.decode().replace('\r\n', ';')

    def do_PUT(self):
        if self.path == '/refuse':
            self.close_connection = True
            return self.answer(403, b'no', Connection='close')
        if self.headers.get('Transfer-Encoding') == 'chunked':
            body, trailers = self.take_chunks()
        else:
            body, trailers = self.rfile.read(int(self.headers['Content-Length'])), ''
        self.close_connection = self.path == '/close'
        self.answer(200, hashlib.sha256(body).hexdigest().encode(), X_Trailers=trailers,
                    Connection='close' if self.close_connection else 'keep-alive')

    def do_GET(self):
        number = int(self.path.split('/')[-1])
        asked = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range', ''))
        if self.path.startswith('/chunks/'):
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            for at in range(0, number, 7777):
                piece = content(at, min(at + 7777, number) - 1)
                self.wfile.write(b'%x;x=y\r\n%s\r\n' % (len(piece), piece))
            self.wfile.write(b'0\r\nX-Count: %d\r\n\r\n' % number)
        elif asked:
            self.answer(206, content(int(asked[1]), int(asked[2])))
        else:
            self.answer(200, content(0, number - 1))

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(*sys.argv[1:3])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Timer(LIFE_SECONDS, os._exit, (1,)).start()  # whoever started it may have died
print(server.server_address[1], os.getpid(), flush=True)
server.serve_forever()

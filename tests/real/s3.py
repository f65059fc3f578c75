#!/usr/bin/env python3
"""An S3 client of the tests' own, of Python's library alone: it signs requests (AWS Signature Version 4) as told, rightly or wrongly, so
tests can ask a server anything, and see what lies in a bucket without the product. And the server that they ask, tests/real/radosgw.

    s3.py DIR make BUCKET [versioned | locked]     for the owner of the server below DIR"""
import atexit, base64, collections, configparser, datetime, hashlib, hmac, http.client, os, re, socket, ssl, subprocess, sys, urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
REGION, SERVICE, PATIENCE = 'us-east-1', 's3', 60
NOTHING = hashlib.sha256(b'').hexdigest()


class Answer(collections.namedtuple('Answer', 'status headers body')):
    """headers: names in lower case."""
    @property
    def code(self):
        found = re.search(rb'<Code>([^<]*)</Code>', self.body)
        return found.group(1).decode() if found else ''

    def all(self, element):
        return [text.decode() for text in re.findall(rb'<%b>([^<]*)</%b>' % ((element.encode(),) * 2), self.body)]


class Line(http.client.HTTPSConnection):
    """To 127.0.0.1 whatever the name: names of buckets resolve nowhere."""
    def connect(self):
        self.sock = self._context.wrap_socket(socket.create_connection(('127.0.0.1', self.port), PATIENCE), server_hostname=self.host)


def escaped(text, safe=''):
    return urllib.parse.quote(text, safe='-_.~' + safe)


def hashed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def md5(data):
    """As Content-MD5 wants it."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def signature(secret, day, text, service=SERVICE):
    key = ('AWS4' + secret).encode()
    for step in (day, REGION, service, 'aws4_request'):
        key = hashed(key, step)
    return hashed(key, text).hex()


class S3:
    """A user's requests to the server below `directory`, each on a connection of its own."""
    def __init__(self, directory, user='default'):
        known = configparser.ConfigParser()
        known.read(directory + '/credentials')
        self.key, self.secret = known[user]['aws_access_key_id'], known[user]['aws_secret_access_key']
        self.port = int(open(directory + '/port').read())
        self.tls = ssl.create_default_context(cafile=directory + '/tls/ca.pem')

    def ask(self, method, path, query=(), headers=(), body=b'', *, host='localhost', at=None, payload=None, key=None, secret=None, spoil=(), signed=True):
        """path: /BUCKET/KEY, not escaped; at: the time it is signed at; payload: what is said of the body, instead of its SHA-256;
        spoil: headers put there after signing."""
        when = (at or datetime.datetime.now(datetime.timezone.utc)).strftime('%Y%m%dT%H%M%SZ')
        send = {name.lower(): value for name, value in dict(headers).items()}
        send.update({'host': '%s:%d' % (host, self.port), 'x-amz-date': when, 'x-amz-content-sha256': payload or hashlib.sha256(body).hexdigest()})
        target, text = escaped(path, '/'), '&'.join('%s=%s' % (escaped(k), escaped(v)) for k, v in sorted(dict(query).items()))
        if signed:
            names = ';'.join(sorted(send))
            lines = ''.join('%s:%s\n' % (name, send[name].strip()) for name in sorted(send))
            request = '\n'.join([method, target, text, lines, names, send['x-amz-content-sha256']])
            scope = '%s/%s/%s/aws4_request' % (when[:8], REGION, SERVICE)
            proof = signature(secret or self.secret, when[:8], '\n'.join(['AWS4-HMAC-SHA256', when, scope, hashlib.sha256(request.encode()).hexdigest()]))
            send['authorization'] = 'AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s' % (key or self.key, scope, names, proof)
        send.update(spoil)
        return self.send(method, target + ('?' + text if text else ''), send, body, host)

    def send(self, method, target, headers, body, host):
        line = Line(host, self.port, context=self.tls)
        try:
            line.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                line.putheader(name, value)
            if body or method in ('PUT', 'POST'):
                line.putheader('content-length', str(len(body)))
            line.endheaders(body or None)
            got = line.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            line.close()

    def make(self, bucket, kind=None):
        headers = {'x-amz-bucket-object-lock-enabled': 'true'} if kind == 'locked' else {}
        made = [self.ask('PUT', '/' + bucket, headers=headers)]
        if kind == 'versioned':
            text = b'<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'
            made.append(self.ask('PUT', '/' + bucket, {'versioning': ''}, {'content-md5': md5(text)}, text))
        if any(answer.status != 200 for answer in made):
            raise RuntimeError('the bucket %s cannot be made: %s' % (bucket, made))


class Gateway:
    """The server. skip: what to raise where it cannot be had."""
    def __init__(self, directory, skip, *buckets):
        self.dir, self.ca, self.credentials = directory, directory + '/tls/ca.pem', directory + '/credentials'
        if subprocess.run([HERE + '/radosgw', 'unpack'], capture_output=True, timeout=600).returncode:
            raise skip('Ceph\'s gateway cannot be unpacked here: no Debian packages of it to be had')
        atexit.register(self.stop)
        subprocess.run([HERE + '/radosgw', 'start', directory, *buckets], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=300)
        self.port = int(open(directory + '/port').read())
        self.url = 'https://localhost:%d' % self.port

    def stop(self):
        subprocess.run([HERE + '/radosgw', 'stop', self.dir], timeout=60)


if __name__ == '__main__':
    if len(sys.argv) < 4 or sys.argv[2] != 'make':
        sys.exit(__doc__)
    S3(sys.argv[1]).make(*sys.argv[3:])

"""Who gives AWS keys, as AWS's services do it, on loopback: STS (AssumeRole, AssumeRoleWithWebIdentity) behind TLS; instance metadata (version 2), a
container's endpoint and what a credential_process may ask, without. Each set of keys is told to the stand-in for S3 (s3_standin.py), which
takes them until their end. For tests; knows one user, and no policies."""
import collections, hashlib, http.server, json, os, ssl, threading, time, urllib.parse

from s3 import REGION, signature

ROLES = '/latest/meta-data/iam/security-credentials/'


class Issuer:
    """life: of each set of keys, in seconds. given: {how: [(access key, secret, token)]}; how is the role's name for STS, else "instance", "container" or what a
    credential_process asked for. once: those that get a second set only when this is forgotten."""
    def __init__(self, standin, key, secret, life):
        self.standin, self.key, self.secret, self.life = standin, key, secret, life
        self.given, self.once, self.refused, self.lock = collections.defaultdict(list), set(), collections.Counter(), threading.Lock()
        self.asked, self.container_token, self.identity_token = [], 'Bearer for-the-container', 'a.web.identity'
        self.https, self.http = self.listen(True), self.listen(False)
        self.sts, self.local = 'https://localhost:%d' % self.https.server_address[1], 'http://127.0.0.1:%d' % self.http.server_address[1]

    def listen(self, with_tls):
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), type('Bound', (Handler,), {'issuer': self}))
        server.daemon_threads, server.handle_error = True, lambda *_: None
        if with_tls:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self.standin.dir + '/tls/server.pem', self.standin.dir + '/tls/server.key')
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def give(self, how):
        """(access key, secret, token, their end), or None: not again."""
        with self.lock:
            if how in self.once and self.given[how]:
                self.refused[how] += 1
                return None
            number = os.urandom(8).hex().upper()
            keys = 'ASIA' + number, 'secret-of-' + number, 'token-of-' + number
            self.given[how].append(keys)
        self.standin.tell('user %s %s token=%s life=%d' % (*keys, self.life))
        return (*keys, time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + self.life)))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def say(self, status, text, kind='application/json'):
        body = (text if isinstance(text, str) else json.dumps(text)).encode()
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    # ---- STS ----

    def is_signed(self, body):
        """AWS Signature Version 4, by the one user that there is."""
        fields = dict(part.strip().split('=', 1) for part in self.headers.get('Authorization', '').removeprefix('AWS4-HMAC-SHA256 ').split(',') if '=' in part)
        if not fields:
            return False
        names, when = fields['SignedHeaders'].split(';'), self.headers['X-Amz-Date']
        lines = ''.join('%s:%s\n' % (name, self.headers[name].strip()) for name in names)
        request = '\n'.join(['POST', '/', '', lines, ';'.join(names), hashlib.sha256(body).hexdigest()])
        scope = '%s/%s/sts/aws4_request' % (when[:8], REGION)
        proof = signature(self.issuer.secret, when[:8], '\n'.join(['AWS4-HMAC-SHA256', when, scope, hashlib.sha256(request.encode()).hexdigest()]), 'sts')
        return fields['Credential'] == self.issuer.key + '/' + scope and fields['Signature'] == proof and 'host' in names

    def refuse(self, status, code, text):
        self.say(status, '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>'
                 '<RequestId>1-2-3</RequestId></ErrorResponse>' % (code, text), 'text/xml')

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        self.issuer.asked.append(form)
        role, action = form['RoleArn'].split('/')[-1], form['Action']
        if action == 'AssumeRole' and not self.is_signed(body):
            return self.refuse(403, 'SignatureDoesNotMatch', 'The request signature we calculated does not match the signature you provided.')
        if action == 'AssumeRoleWithWebIdentity' and form['WebIdentityToken'] != self.issuer.identity_token:
            return self.refuse(400, 'InvalidIdentityToken', 'No OpenIDConnect provider found in your account')
        keys = self.issuer.give(role)
        if not keys:
            return self.refuse(403, 'AccessDenied', 'User: arn:aws:iam::111122223333:user/mover is not authorized to perform: sts:%s' % action)
        self.say(200, '<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/x/y'
                 '</Arn></AssumedRoleUser><Credentials><AccessKeyId>{1}</AccessKeyId><SecretAccessKey>{2}</SecretAccessKey><SessionToken>{3}</SessionToken><Expiration>'
                 '{4}</Expiration></Credentials></{0}Result><ResponseMetadata><RequestId>1-2-3</RequestId></ResponseMetadata></{0}Response>'.format(action, *keys), 'text/xml')

    # ---- instance metadata, a container's endpoint, programs ----

    def do_PUT(self):
        if self.path != '/latest/api/token' or not self.headers.get('X-aws-ec2-metadata-token-ttl-seconds', '').isdigit():
            return self.say(400, '')
        self.say(200, 'token-of-metadata', 'text/plain')

    def do_GET(self):
        from_program = self.path.startswith('/process/')
        if self.path.startswith('/latest/') and self.headers.get('X-aws-ec2-metadata-token') != 'token-of-metadata':
            return self.say(401, '')  # version 1 is switched off
        if self.path == '/container' and self.headers.get('Authorization') != self.issuer.container_token:
            return self.say(401, {'code': 'Unauthorized', 'message': 'no'})
        if self.path == ROLES:
            return self.say(200, 'mover', 'text/plain')
        if self.path not in (ROLES + 'mover', '/container') and not from_program:
            return self.say(404, '')
        keys = self.issuer.give(self.path.split('/')[-1] if from_program else 'container' if self.path == '/container' else 'instance')
        if not keys:
            return self.say(403, {'code': 'AccessDenied', 'message': 'no'})
        said = {'AccessKeyId': keys[0], 'SecretAccessKey': keys[1], 'SessionToken' if from_program else 'Token': keys[2], 'Expiration': keys[3]}
        self.say(200, dict(said, Version=1) if from_program else dict(said, Code='Success', Type='AWS-HMAC'))

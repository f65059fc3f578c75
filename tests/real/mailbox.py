#!/usr/bin/env python3
"""Fills a mailbox of a test server with generated mail and says what it put there.

usage: mailbox.py PORT CA_FILE PASSWORD_FILE USER [--set demo|test] [--seed N] [--list FILE]

Same seed, same bytes. FILE gets one JSON line a message: folder, uid, sha256, size, flags, date (as
INTERNALDATE), kind. The demo set has attachments up to 20 MB; the test set is small but has everything
that is odd."""
import argparse, base64, hashlib, imaplib, json, random, ssl

WORDS = ('the of and to in is you that it he was for on are as with his they be this have from one had by word but not what all '
         'were we when your can said there use an each which she do how their if will up other about out many then invoice meeting '
         'project schedule quarter budget attached regards please review contract delivery customer archive mailbox report').split()
FOLDERS = ['INBOX', 'Sent', 'Projekte/Köln/Straßenbau', '日本語/メール', 'Archive/2009', 'Lists/kernel', 'R&D', 'a b "quoted" \\ back',
           'percent%star*', 'case', 'CASE', 'Empty']
MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split()


def utf7(name):
    """Modified UTF-7, RFC 3501 section 5.1.3."""
    out, run = '', ''
    for c in name + '\0':
        if ' ' <= c <= '~' or c == '\0':
            if run:
                out += '&' + base64.b64encode(run.encode('utf-16-be')).decode().rstrip('=').replace('/', ',') + '-'
                run = ''
            out += '&-' if c == '&' else c.rstrip('\0')
        else:
            run += c
    return out


def quoted(name):
    return '"' + utf7(name).replace('\\', '\\\\').replace('"', '\\"') + '"'


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def lines(self, n):
        text = ''
        while len(text) < n:
            text += ' '.join(self.r.choice(WORDS) for _ in range(self.r.randrange(5, 12))) + '\r\n'
        return text

    def head(self, number, extra=''):
        d = self.r
        return ('Return-Path: <sender%d@example.org>\r\nReceived: from mx.example.org by mail.example.com; Tue, 3 Mar 2015 10:%02d:00 +0100\r\n'
                'Message-ID: <%d.%d@example.org>\r\nFrom: Sender %d <sender%d@example.org>\r\nTo: alice@mail.example.com\r\n'
                'Subject: =?utf-8?q?Bericht_%d?= %s\r\nDate: Tue, 3 Mar 2015 10:%02d:00 +0100\r\nMIME-Version: 1.0\r\n%s'
                % (number, d.randrange(60), number, d.randrange(1 << 40), number, number, number, d.choice(WORDS), d.randrange(60), extra))

    def plain(self, number, size):
        return (self.head(number, 'Content-Type: text/plain; charset=utf-8\r\n') + '\r\n' + self.lines(size)).encode()

    def attachment(self, number, size):
        body = base64.b64encode(self.r.randbytes(size * 3 // 4))
        wrapped = b'\r\n'.join(body[i:i + 76] for i in range(0, len(body), 76))
        b = 'b%08x' % self.r.randrange(1 << 32)
        return ((self.head(number, 'Content-Type: multipart/mixed; boundary="%s"\r\n' % b) +
                 '\r\n--%s\r\nContent-Type: text/plain\r\n\r\n%s--%s\r\nContent-Type: application/octet-stream; name="data.bin"\r\n'
                 'Content-Transfer-Encoding: base64\r\n\r\n' % (b, self.lines(300), b)).encode() + wrapped + ('\r\n--%s--\r\n' % b).encode())

    def sealed(self, number, kind):
        content = {
            'smime-signed': 'multipart/signed; protocol="application/pkcs7-signature";\r\n micalg=sha-256; boundary="s"',
            'smime-encrypted': 'application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m',
            'pgp-signed': 'multipart/signed; micalg=pgp-sha256;\r\n\tprotocol="application/pgp-signature"; boundary="s"',
            'pgp-encrypted': 'multipart/encrypted; protocol="application/pgp-encrypted"; boundary="s"',
        }[kind]
        return (self.head(number, 'Content-Type: %s\r\n' % content) + '\r\n--s\r\n\r\n' + self.lines(900) + '--s--\r\n').encode()

    def date(self):
        d = self.r
        return '%2d-%s-%d %02d:%02d:%02d %s' % (d.randrange(1, 29), d.choice(MONTHS), d.choice([1998, 2004, 2009, 2015, 2020, 2025]),
                                                d.randrange(24), d.randrange(60), d.randrange(60), d.choice(['+0000', '+0100', '-0330', '+0545', '-0800']))

    def flags(self):
        chosen = [f for f in ('\\Seen', '\\Answered', '\\Flagged', '\\Draft', '\\Deleted', '$Forwarded', 'work')
                  if self.r.random() < 0.25]
        return ' '.join(chosen)


def messages(maker, which):
    """(folder, bytes, kind)"""
    sizes = [1000, 3000, 6000, 20000, 60000]
    count = 240 if which == 'demo' else 120
    for n in range(count):
        folder = maker.r.choice(FOLDERS[:-1])
        yield folder, maker.plain(n, maker.r.choice(sizes)), 'plain'
    big = [1000, 10000, 100000, 400000, 1000000, 3000000, 8000000, 20000000] if which == 'demo' else [1000, 70000, 1100000, 2500000]
    for n, size in enumerate(big):
        yield FOLDERS[n % 6], maker.attachment(count + n, size), 'plain'
    for n, kind in enumerate(['smime-signed', 'smime-encrypted', 'pgp-signed', 'pgp-encrypted']):
        yield 'INBOX', maker.sealed(count + 100 + n, kind), kind
    twin = maker.plain(count + 200, 2000)
    for _ in range(3):
        yield 'INBOX', twin, 'plain'
    yield 'INBOX', b'\r\n', 'plain'
    yield 'INBOX', b'\r\nno header at all, only a body\r\n', 'plain'
    yield 'Sent', b'Subject: only a header\r\n\r\n', 'plain'
    yield 'Sent', 'From: Jürgen <j@example.org>\r\nSubject: gr\xfc\xdfe aus k\xf6ln\r\n\r\nraw 8-bit header\r\n'.encode('latin-1'), 'plain'


def fill(port, ca, password, user, which, seed, listing):
    maker = Maker(seed)
    imap = imaplib.IMAP4_SSL('localhost', port, ssl_context=ssl.create_default_context(cafile=ca))
    imap.login(user, password)
    for name in FOLDERS:
        if name != 'INBOX':
            kind, answer = imap.create(quoted(name))
            if kind != 'OK':
                raise SystemExit('cannot create %s: %s' % (name, answer))
        imap.subscribe(quoted(name))
    count = {}
    with open(listing, 'w') as out:
        for folder, data, kind in messages(maker, which):
            flags, date = maker.flags(), maker.date()
            ok, answer = imap.append(quoted(folder), '(%s)' % flags if flags else None, '"%s"' % date, data)
            if ok != 'OK':
                raise SystemExit('cannot append to %s: %s' % (folder, answer))
            count[folder] = count.get(folder, 0) + 1
            out.write(json.dumps({'folder': folder, 'uid': count[folder], 'sha256': hashlib.sha256(data).hexdigest(), 'size': len(data),
                                  'flags': sorted(flags.split()), 'date': date, 'kind': kind}) + '\n')
    imap.logout()
    print('%d messages in %d folders' % (sum(count.values()), len(FOLDERS)))


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('port', type=int), p.add_argument('ca'), p.add_argument('password_file'), p.add_argument('user')
    p.add_argument('--set', default='test', choices=['demo', 'test'])
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--list', default='/dev/null')
    a = p.parse_args()
    imaplib._MAXLINE = 10000000
    fill(a.port, a.ca, open(a.password_file).read().strip(), a.user, a.set, a.seed, a.list)

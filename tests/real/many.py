#!/usr/bin/env python3
"""Fills the mailboxes of many users of a test server, each with mail of its own, and says what it put there.

usage: many.py PORT CA_FILE PASSWORD_FILE USERS MESSAGES [--list FILE]

Users are user000, user001 and so on, with one password. Same numbers, same bytes. FILE gets one JSON line a
message, as mailbox.py writes it, with the user. A user's mail goes out at once (RFC 7888 literals, RFC 3502
MULTIAPPEND), so 200 users take seconds."""
import argparse, concurrent.futures, hashlib, json, random, re, socket, ssl

FOLDERS = ['INBOX', 'Sent', 'Archive/2009']
MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split()
FLAGS = ['$Forwarded', '\\Answered', '\\Flagged', '\\Seen', 'work']


def messages_of(user, count):
    """[(folder, flags, date, bytes)]"""
    r = random.Random(user)
    for number in range(count):
        head = 'From: a@example.org\r\nTo: %s@example.org\r\nMessage-ID: <%d.%s@example.org>\r\nSubject: message %d\r\n\r\n' % (user, number, user, number)
        lines = ''.join('%076x\r\n' % r.getrandbits(300) for _ in range(r.choice([1, 10, 40, 200])))
        date = '%2d-%s-%d %02d:%02d:%02d +0000' % (r.randrange(1, 29), r.choice(MONTHS), r.choice([1998, 2009, 2020]), r.randrange(24), r.randrange(60), r.randrange(60))
        yield r.choice(FOLDERS), [f for f in FLAGS if r.random() < 0.25], date, (head + lines).encode()


def commands(found):
    out = b''
    for i, folder in enumerate(FOLDERS):
        if folder != 'INBOX':
            out += b'c%d CREATE "%s"\r\n' % (i, folder.encode())
        mine = [m for m in found if m[0] == folder]
        if mine:
            out += b'm%d APPEND "%s"' % (i, folder.encode())
            for _, flags, date, data in mine:
                out += b' (%s) "%s" {%d+}\r\n' % (' '.join(flags).encode(), date.encode(), len(data)) + data
            out += b'\r\n'
    return out + b'z LOGOUT\r\n'


def tell(connection, said, tag):
    """Say it and hear all that is answered; nothing may be refused."""
    heard = b''
    connection.sendall(said)
    while not re.search(rb'^%s (OK|NO|BAD)[^\n]*\n' % tag, heard, re.M):
        more = connection.recv(65536)
        if not more:
            raise SystemExit('the server ended: %s' % heard[-300:])
        heard += more
    refused = re.findall(rb'^\w+ (?:NO|BAD) [^\r]*', heard, re.M)
    if refused:
        raise SystemExit(refused[0].decode())


def fill(port, context, user, password, count):
    """Its list."""
    found = list(messages_of(user, count))
    with context.wrap_socket(socket.create_connection(('127.0.0.1', port), timeout=60), server_hostname='localhost') as s:
        # Before it knows the user, Dovecot takes only a small piece of what comes next.
        tell(s, b'a LOGIN "%s" "%s"\r\n' % (user.encode(), password.encode()), b'a')
        tell(s, commands(found), b'z')
    numbers, rows = {}, []
    for folder, flags, date, data in found:
        numbers[folder] = numbers.get(folder, 0) + 1
        rows.append({'user': user, 'folder': folder, 'uid': numbers[folder], 'sha256': hashlib.sha256(data).hexdigest(), 'size': len(data),
                     'flags': flags, 'date': date})
    return rows


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('port', type=int), p.add_argument('ca'), p.add_argument('password_file'), p.add_argument('users', type=int), p.add_argument('messages', type=int)
    p.add_argument('--list', default='/dev/null')
    a = p.parse_args()
    context, password = ssl.create_default_context(cafile=a.ca), open(a.password_file).read().strip()
    with concurrent.futures.ThreadPoolExecutor(8) as pool, open(a.list, 'w') as out:
        for rows in pool.map(lambda i: fill(a.port, context, 'user%03d' % i, password, a.messages), range(a.users)):
            out.writelines(json.dumps(row) + '\n' for row in rows)
    print('%d messages of %d users' % (a.users * a.messages, a.users))

"""What tests between two real servers share (pairs_test, courier_test, tests/torture/pairs_test): servers of three kinds, an
awkward mailbox, what a server holds, what must have become of it on another (docs/FOLDERS.md and what each server is known
to do to a message), a line that eats answers, a copy that is right, and the product."""
import atexit, base64, collections, datetime, hashlib, imaplib, json, os, random, re, select, shutil, socket, ssl, subprocess, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
MAILHAUL = os.path.abspath(os.environ.get('MAILHAUL', TOP + '/build/gcc/mailhaul'))
LIMIT_SECONDS = 600  # of machines that do much else
imaplib._MAXLINE = 10000000
imaplib.MapCRLF = re.compile(rb'\r\n')  # APPEND shall send what it is given


class Skip(Exception):
    pass


def check(condition, *seen):
    if not condition:
        raise AssertionError('\n  '.join(str(s)[-3000:] for s in seen))


def run(*arguments, ok=(0,), timeout=LIMIT_SECONDS, **more):
    """A command to its end, which must be one of the exit codes `ok` (None: any)."""
    done = subprocess.run([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=timeout, text=True, errors='replace', **more)
    check(ok is None or done.returncode in ok, ' '.join(map(str, arguments)), 'exit %d, not %s' % (done.returncode, ok), done.stdout, done.stderr)
    return done


# ---- names ----

def utf7(name):
    """Modified UTF-7, RFC 3501 section 5.1.3."""
    coded = lambda m: '&' + base64.b64encode(m.group().encode('utf-16-be')).decode().rstrip('=').replace('/', ',') + '-'
    return re.sub('[^ -~]+', coded, name.replace('&', '&-'))


def from_utf7(raw):
    def plain(m):
        coded = m.group(1).replace(',', '/')
        return base64.b64decode(coded + '=' * (-len(coded) % 4)).decode('utf-16-be') if coded else '&'
    return re.sub('&([^-]*)-', plain, raw)


def quoted(name):
    return '"' + utf7(name).replace('\\', '\\\\').replace('"', '\\"') + '"'


def date_of(text):
    return datetime.datetime.strptime(text.strip(), '%d-%b-%Y %H:%M:%S %z')


def must(answer):
    check(answer[0] == 'OK', answer)
    return answer[1]


# ---- servers ----

class Server:
    """kind: dovecot, cyrus or courier. Users other than these are nobody's (Dovecot takes any)."""
    LAYOUT = {'dovecot': ('/', ''), 'cyrus': ('/', ''), 'courier': ('.', 'INBOX.')}

    def __init__(self, kind, directory, users, **environment):
        self.kind, self.dir, self.users = kind, directory, users
        self.separator, self.prefix = self.LAYOUT[kind]
        environment = dict(os.environ, **environment)
        if run(HERE + '/' + kind, 'unpack', ok=None, timeout=300, env=environment).returncode:
            raise Skip('%s cannot be unpacked here: no Debian packages of it to be had' % kind.capitalize())
        run(HERE + '/' + kind, 'start', directory, *([] if kind == 'dovecot' else users), env=environment)
        atexit.register(self.stop)
        self.port = int(open(directory + '/port').read())
        self.ca, self.password = directory + '/tls/ca.pem', directory + '/password'

    def stop(self):
        run(HERE + '/' + self.kind, 'stop', self.dir, ok=None)

    def login(self, user):
        imap = imaplib.IMAP4_SSL('localhost', self.port, ssl_context=ssl.create_default_context(cafile=self.ca), timeout=60)
        imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        imap.login(user, open(self.password).read().strip())
        return imap

    def set_quota(self, user, kib):
        """So much room for all of the user's mail, from the next login on; None: no bound. Dovecot must have been started with QUOTA=yes, Cyrus with a user `cyrus`."""
        if self.kind == 'cyrus':
            imap = self.login('cyrus')
            must(imap.setquota('user/' + user, '(STORAGE %d)' % kib if kib else '()'))
            imap.logout()
            return
        home, owner = '%s/mail/%s' % (self.dir, user), os.stat(self.dir + '/mail')
        path = home + '/Maildir/maildirsize' if self.kind == 'courier' else self.dir + '/quota'
        with open(path + '.new', 'w') as f:
            if self.kind == 'courier':
                f.write('%dS\n' % (1024 * kib if kib else 1 << 40))
            elif kib:
                f.write('%s::%d:%d::%s::userdb_quota_rule=*:storage=%dK\n' % (user, owner.st_uid, owner.st_gid, home, kib))
        os.chmod(path + '.new', 0o644)
        os.chown(path + '.new', owner.st_uid, owner.st_gid)
        os.rename(path + '.new', path)
        if self.kind == 'dovecot':
            time.sleep(1.1)  # it does not look at the file twice in one second

    def name(self, path):
        """['INBOX', 'a'] and ['a', 'b'] as this server spells them."""
        return self.separator.join(path) if path[0] == 'INBOX' else self.prefix + self.separator.join(path)


# ---- what a server holds ----

Message = collections.namedtuple('Message', 'data flags date uid')  # data: the bytes' SHA-256, of which Dump has the bytes


class Folder:
    def __init__(self):
        self.attributes, self.subscribed, self.messages = set(), False, []
        self.uidvalidity = self.uidnext = 0
        self.keywords = None  # those that it takes; None: any


class Dump:
    """All of a mailbox. folders: {name: Folder}; bytes: {SHA-256: the message}."""
    def __init__(self, server, user):
        self.kind, self.separator, self.prefix = server.kind, server.separator, server.prefix
        self.folders, self.bytes = {}, {}
        imap = server.login(user)
        for name, attributes in listed(imap, 'LIST'):
            self.folders[name] = Folder()
            self.folders[name].attributes = attributes
        for name, _ in listed(imap, 'LSUB'):
            if name in self.folders:
                self.folders[name].subscribed = True
        for name, folder in self.folders.items():
            if '\\noselect' not in folder.attributes and '\\nonexistent' not in folder.attributes:
                # What a killed run sent may still be stored, so that more is fetched than SELECT said.
                for _ in range(10):
                    count = self.read(imap, name, folder)
                    if len(folder.messages) <= count:
                        break
                check(len(folder.messages) == count, '%s: %d messages fetched of %d' % (name, len(folder.messages), count))
        imap.logout()

    def read(self, imap, name, folder):
        """How many messages there were before they were fetched."""
        # SELECT, because only that tells which flags can be kept; nothing is asked that changes any.
        count = int(must(imap.select(quoted(name)))[0])
        told = lambda what: imap.untagged_responses.get(what, [b''])[-1].decode()
        folder.uidvalidity, folder.uidnext, folder.messages = int(told('UIDVALIDITY') or 0), int(told('UIDNEXT') or 0), []
        permanent = told('PERMANENTFLAGS').strip('()').split()
        folder.keywords = None if '\\*' in permanent else {f.lower() for f in permanent if f[0] != '\\'}
        for item in must(imap.uid('FETCH', '1:*', '(UID FLAGS INTERNALDATE BODY.PEEK[])')) if count else []:
            if not isinstance(item, tuple):
                check(b'BODY[]' not in item, 'an item without a literal', item)
                continue
            found = lambda pattern: re.search(pattern, item[0]).group(1).decode()
            flags = frozenset(f.lower() for f in found(rb'FLAGS \(([^)]*)\)').split()) - {'\\recent'}
            data = hashlib.sha256(item[1]).hexdigest()
            self.bytes[data] = item[1]
            folder.messages.append(Message(data, flags, date_of(found(rb'INTERNALDATE "([^"]*)"')), int(found(rb'UID (\d+)'))))
        return count

    def count(self):
        return sum(len(f.messages) for f in self.folders.values())

    def state(self):
        """What may not change while nothing is changed."""
        return {n: (f.uidvalidity, f.uidnext, f.subscribed, sorted(f.messages, key=lambda m: m.uid)) for n, f in self.folders.items()}


def listed(imap, command):
    """(name, attributes in small letters) of LIST or LSUB, names in any of their spellings."""
    for item in must(imap._simple_command(command, '""', '"*"')) and imap._untagged_response('OK', [None], command)[1]:
        if item in (None, b''):
            continue
        head, name = item if isinstance(item, tuple) else (item, None)
        parts = re.match(rb'\(([^)]*)\) (?:"(?:\\.|[^"])*"|NIL) (?:"((?:\\.|[^"])*)"|(.*))', head, re.S)
        raw = name if name is not None else re.sub(rb'\\(.)', rb'\1', parts.group(2)) if parts.group(2) is not None else parts.group(3)
        raw = raw.decode()
        yield 'INBOX' if raw.upper() == 'INBOX' else from_utf7(raw), set(parts.group(1).decode().lower().split())


# ---- an awkward mailbox ----

PATHS = [['INBOX'], ['Sent'], ['Gesendete Elemente'], ['Drafts'], ['Trash'], ['Projekte', 'Köln', 'Straßenbau'], ['日本語', 'メール'], ['R&D'], ['&'],
         ['a b "quoted" \\ back'], ["it's {5} (p) #h"], ['trail '], [' lead'], ['percent%star*'], ['percent_star_'], ['case'], ['CASE'], ['v1.0'],
         ['\U0001f600 astral'], ['&AOk-'], ['mere', 'level'], ['X'], ['INBOX', 'X'], ['INBOX', 'kids', 'Küken'], ['Empty']]
UTF8_PATHS = [['Größe in UTF-8'], ['&AOk-', 'in UTF-8 & raw']]  # made by a client that writes UTF-8 (RFC 6855), where a server has that
FLAGS = ['\\Seen', '\\Answered', '\\Flagged', '\\Draft', '\\Deleted', '$Forwarded', 'Arbeit']
DATES = ['17-Jul-1996 02:44:25 -0700', '01-Jan-1970 00:00:00 +0000', '01-Jan-1970 12:00:00 +0000', '19-Jan-2038 03:14:08 +0000', '01-Jan-2040 00:00:00 +1345',
         '31-Dec-1999 23:59:59 -1130', '29-Feb-2024 12:00:00 +0545']


def text(dice, size):
    return b''.join(b'%076x\r\n' % dice.getrandbits(300) for _ in range(1 + size // 78))


def awkward(dice, count=2, large=2500000):
    """(path, flags, date or None, bytes): `count` plain ones in each folder, and one of everything that is odd."""
    some = lambda: [f for f in FLAGS if dice.random() < 0.3]
    for path in PATHS[:-1] + UTF8_PATHS:
        for n in range(count):
            head = b'From: a@example.org\r\nMessage-ID: <%x@example.org>\r\nSubject: %d\r\n\r\n' % (dice.getrandbits(60), n)
            yield path, some(), dice.choice(DATES[:1] + DATES[5:]), head + text(dice, dice.choice([10, 700, 5000, 60000]))
    twin = b'From: a@example.org\r\nMessage-ID: <twin@example.org>\r\nSubject: twin\r\n\r\n' + text(dice, 3000)
    for flags in ([], [], [], ['\\Seen'], ['\\Seen', 'Arbeit']):
        yield ['INBOX'], flags, DATES[0], twin
    yield ['Sent'], [], DATES[0], twin
    for date in DATES:
        yield ['INBOX'], [], date, b'Subject: dated %s\r\n\r\nno Message-ID\r\n' % date.encode()
    yield ['INBOX'], FLAGS, DATES[0], b'Subject: all flags\r\n\r\nx\r\n'
    for data in odd(dice):
        yield ['INBOX'], some(), DATES[0], data
    yield ['INBOX'], ['\\Seen'], DATES[0], b'Subject: large\r\n\r\n' + text(dice, large)


def odd(dice):
    yield b'Subject: bare LF\n\nin\nall\nlines\n'
    yield b'Subject: one bare LF\r\n\r\nhere\nand there\r\n'
    yield b'Subject: bare CR\r\n\r\nhere\rthere\r\n'
    yield b'Subject: CR CR LF\r\n\r\nhere\r\r\nthere\r\n'
    yield b'Subject: NUL\r\n\r\nhere\0there\r\n'
    yield b'Subject: no end of line\r\n\r\nhere'
    yield b'Subject: gr\xfc\xdfe\r\nFrom: J\xc3\xbcrgen <j@example.org>\r\n\r\n8-bit \xff header\r\n'
    yield b'\r\nno header at all, only a body\r\n'
    yield b'no header and no empty line \xfc\r\nbut two lines\r\n'
    yield b'Subject: only a header\r\n\r\n'
    yield b'Subject: only a header, without its end\r\n'
    yield b'\r\n'
    yield b''
    yield b'Subject: long line\r\n\r\n' + b'x' * 100000 + b'\r\n'
    yield b'Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n'
    yield b'From here on\r\nSubject: mbox\r\n\r\nFrom a\r\n>From b\r\n'


def create(imap, server, path):
    """False: this server has no such names."""
    return path == ['INBOX'] or imap.create(quoted(server.name(path)))[0] == 'OK'


def create_in_utf8(server, user):
    """Folders that are made in the other encoding of names, as those of PATHS are in modified UTF-7; what there is of them then."""
    imap = server.login(user)
    there = [] if 'UTF8=ACCEPT' not in imap.capabilities or imap._simple_command('ENABLE', 'UTF8=ACCEPT')[0] != 'OK' else UTF8_PATHS
    for path in there:
        must(imap._simple_command('CREATE', '"{}"'.format(server.name(path)).encode()))
    imap.logout()
    return there


def append(imap, folder, flags, date, data):
    """False: this server stores no such message."""
    try:
        if b'\0' in data and 'BINARY' in imap.capabilities:  # literal8 (RFC 3516), which imaplib cannot say
            tag = imap._new_tag()
            imap.tagged_commands[tag] = None
            said = 'APPEND %s (%s) %s ~{%d+}' % (quoted(folder), ' '.join(flags), '"%s"' % date if date else '', len(data))
            imap.send(tag + b' ' + said.replace('  ', ' ').encode() + b'\r\n' + data + b'\r\n')
            return imap._command_complete('APPEND', tag)[0] == 'OK'
        return imap.append(quoted(folder), '(%s)' % ' '.join(flags), '"%s"' % date if date else None, data)[0] == 'OK'
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:  # BAD
        return False


def fill(server, user, seed=1, maildir=None, **size):
    """The awkward mailbox, as far as the server takes it; into Dovecot's Maildir also what it would not keep as it is."""
    imap, dice = server.login(user), random.Random(seed)
    there = [path for path in PATHS if create(imap, server, path)] + create_in_utf8(server, user)
    check(len(there) > len(PATHS) // 2, 'hardly any folder could be created', there)
    for path, flags, date, data in awkward(dice, **size):
        if path in there:
            append(imap, server.name(path), flags, date, data)
    for path in there[1::2]:
        must(imap.subscribe(quoted(server.name(path))))
    must(imap.select('INBOX'))
    must(imap.store('2:3', '+FLAGS', '(\\Deleted)'))
    must(imap.uid('EXPUNGE', '2:3') if server.kind != 'courier' else imap.expunge())  # holes in the numbers
    imap.logout()
    if maildir:
        for number, data in enumerate(odd(dice)):
            path = '%s/cur/%d.written%d:2,%s' % (maildir, 1500000000 + number, number, 'S' * (number % 2))
            with open(path, 'wb') as f:
                f.write(data)
            os.chown(path, os.stat(maildir).st_uid, os.stat(maildir).st_gid)
            seconds = (0, 43200, 951782400, 2208988800)[number % 4]
            os.utime(path, (seconds, seconds))


# ---- what must become of it ----

NAMES_OF_USE = {'sent': ['Sent', 'Gesendete Elemente', 'Versendet'], 'drafts': ['Drafts'], 'trash': ['Trash']}
FORBIDDEN = {'dovecot': '', 'cyrus': r'"\\{}', 'courier': '/\U00010000-\U0010ffff'}  # inside [] of a pattern
NOW = 'now'


def levels(dump, name):
    """['INBOX', ...] or the levels below the prefix."""
    parts = name.split(dump.separator)
    if dump.prefix and name != 'INBOX' and name.startswith(dump.prefix):
        return parts[1:]
    return ['INBOX'] + parts[1:] if parts[0].upper() == 'INBOX' else parts


def use_of(folder, path):
    declared = [use for use in NAMES_OF_USE if '\\' + use in folder.attributes]
    named = [use for use, names in NAMES_OF_USE.items() if path[-1] in names[:2] and (len(path) == 1 or path[:-1] == ['INBOX'])]
    return (declared, named)


def expected_places(source, before):
    """{folder of the source: folder of the destination}, docs/FOLDERS.md applied by another hand: rules 1, 2, 3, 6 and 7 for the names of PATHS."""
    server = Server.LAYOUT[before.kind]
    replaced = lambda level: re.sub('[%%*%s%s]' % (re.escape(server[0]), FORBIDDEN[before.kind]), '_', level)
    spelled = lambda path: server[0].join(path) if path[0] == 'INBOX' else server[1] + server[0].join(path)
    places, taken, made = {}, set(), {}
    of_source = {name: levels(source, name) for name, f in source.folders.items() if '\\noselect' not in f.attributes}
    for use, names in NAMES_OF_USE.items():
        there = [n for n, f in before.folders.items() if '\\' + use in f.attributes] or [n for n in map(lambda x: spelled([x]), names[:2]) if n in before.folders]
        rank = lambda n: (use not in use_of(source.folders[n], of_source[n])[0], spelled(of_source[n]) != (there or [None])[0], names.index(of_source[n][-1]))
        having = sorted((n for n in of_source if any(use in u for u in use_of(source.folders[n], of_source[n]))), key=rank)
        if having and there:
            places[having[0]] = there[0]
            taken.add(there[0])
    def place(path):
        """Of a path, its parents first."""
        if tuple(path) in made:
            return made[tuple(path)]
        name = [n for n, p in of_source.items() if p == path]
        if name and name[0] in places:
            here = levels(before, places[name[0]])
        elif path == ['INBOX']:
            here = path
        else:
            parent = place(path[:-1]) if path[:-1] else []
            here, number = parent + [replaced(path[-1])], 2
            while spelled(here) in taken:
                here, number = parent + ['%s (%d)' % (replaced(path[-1]), number)], number + 1
        taken.add(spelled(here))
        made[tuple(path)] = here
        return here
    for path in sorted(of_source.values(), key=lambda p: (p != ['INBOX'], len(p), [replaced(x) for x in p] != p, p)):
        place(path)
    return {name: spelled(made[tuple(path)]) for name, path in of_source.items()}


def names_refused(kind, dump):
    """Folders that this server cannot have under their own names."""
    return {n for n in dump.folders if FORBIDDEN[kind] and any(re.search('[%s]' % FORBIDDEN[kind], level) for level in levels(dump, n))}


def stored(kind, data):
    """What this server makes of the bytes of a message; None: it refuses it, or it cannot be told to it (NUL without BINARY). Found by asking them."""
    if kind == 'courier' and b'\0' in data:
        return None
    if kind == 'courier':  # keeps LF alone, drops each CR, and ends the last line
        lines = data.replace(b'\r', b'')
        return (lines if lines.endswith(b'\n') else lines + b'\n').replace(b'\n', b'\r\n')
    if not data:
        return None
    if kind == 'dovecot':
        inside = data.replace(b'\0', b'\x80').replace(b'\r\n', b'\n')
        return re.sub(rb'(?<!\r)\n', b'\r\n', inside[:-1] if inside.endswith(b'\r') else inside)
    if re.search(rb'(?<!\r)\n', data):
        return None
    head, end, body = data.partition(b'\r\n\r\n')
    if data.startswith(b'\r\n'):
        return data
    if any(not re.match(rb'[ \t]|[^\x00-\x20:\x7f]+[ \t]*:|>?From ', line) for line in head.removesuffix(b'\r\n').split(b'\r\n')):
        return None
    return re.sub(rb'[\x80-\xff]', b'X', head) + end + body


def dated(kind, date):
    """What this server makes of a date; NOW: the present; None: it refuses the message."""
    if kind == 'dovecot':
        return NOW if date.timestamp() > time.time() + 2 * 86400 else date
    return None if date.year < 1970 else NOW if date.timestamp() == 0 else date


def expected_message(kind, folder, message, data):
    """(bytes' SHA-256, flags, date), or None where the server does not take it."""
    data, date = stored(kind, data), dated(kind, message.date)
    if data is None or date is None:
        return None
    flags = message.flags if folder is None or folder.keywords is None else frozenset(f for f in message.flags if f[0] == '\\' or f in folder.keywords)
    return hashlib.sha256(data).hexdigest(), flags, date


def differences(source, before, after, began, partial=False, told=()):
    """What is wrong with `after`, a destination that was `before` and to which `source` was copied since `began`: ['kind: what']. partial: less
    than all may have come, but nothing else. told: folders of the source that were said to be refused, so they need not be there."""
    wrong, places = [], expected_places(source, before)
    back = collections.defaultdict(list)
    for name, place in places.items():
        back[place].append(name)
    for name, folder in before.folders.items():
        now = after.folders.get(name)
        gone = set(folder.messages) - set(now.messages if now else ())
        if now is None or now.uidvalidity != folder.uidvalidity or gone:
            wrong.append('touched: %s, which was there before: %d messages lost or changed' % (name, len(gone)))
    allowed = {levels_above for place in places.values() for levels_above in above(after, place)}
    for name, folder in after.folders.items():
        old = {m.uid for m in before.folders[name].messages} if name in before.folders else set()
        new = [m for m in folder.messages if m.uid not in old]
        if name not in places.values():
            if new or name not in before.folders and name not in allowed:
                wrong.append('folder: %s is of nobody, with %d messages' % (name, len(new)))
            continue
        wanted = [w for n in back[name] for m in source.folders[n].messages if (w := expected_message(after.kind, folder, m, source.bytes[m.data]))]
        wrong += of_folder(name, wanted, new, began, partial)
    for name, place in places.items():
        if partial:
            break
        if place not in after.folders:
            if name in told or not any(expected_message(after.kind, None, m, source.bytes[m.data]) for m in source.folders[name].messages) and source.folders[name].messages:
                continue
            wrong.append('folder: %s is not there, which %s should have become; it holds %d messages' % (place, name, len(source.folders[name].messages)))
        elif source.folders[name].subscribed and not after.folders[place].subscribed:
            wrong.append('subscription: %s, as %s was' % (place, name))
    return wrong


def above(dump, name):
    parts = name.split(dump.separator)
    return {dump.separator.join(parts[:n]) for n in range(1, len(parts) + 1)}


def of_folder(name, wanted, new, began, partial):
    """A folder's multiset of messages against what it should be; the most telling word for each difference."""
    agree = lambda want, date: -5 <= (date - began).total_seconds() <= 3600 if want == NOW else want == date
    left, found = list(wanted), []
    for how in (lambda w, m: w[0] == m.data and w[1] == m.flags and agree(w[2], m.date), lambda w, m: w[0] == m.data and agree(w[2], m.date),
                lambda w, m: w[0] == m.data and w[1] == m.flags, lambda w, m: w[0] == m.data):
        kind, rest = ('', 'flags', 'date', 'flags and date')[len(found)], []
        found.append(kind)
        wrong = [] if kind == '' else wrong
        index = collections.defaultdict(list)
        for w in left:
            index[w[0]].append(w)
        for m in new:
            same = next((w for w in index[m.data] if how(w, m)), None)
            if same is None:
                rest.append(m)
                continue
            index[m.data].remove(same)
            left.remove(same)
            if kind:
                wrong.append('%s: %s UID %d: %s %s, should be %s %s' % (kind, name, m.uid, sorted(m.flags), m.date, sorted(same[1]), same[2]))
        new = rest
    digests = {w[0] for w in wanted}
    for m in new:
        wrong.append('%s: %s UID %d, %s' % ('doubled' if m.data in digests else 'altered', name, m.uid, m.data[:12]))
    if left and not partial:
        wrong.append('lost: %d messages of %s, %s' % (len(left), name, ', '.join(w[0][:12] for w in left[:3])))
    return wrong


# ---- a copy that is right, without the product ----

def carry(source_server, source_user, target_server, target_user, before):
    """Copies by the rules above; says what it copied, for tests of `differences` itself."""
    source = Dump(source_server, source_user)
    imap, places = target_server.login(target_user), expected_places(source, before)
    for name, place in places.items():
        if place not in before.folders:
            imap.create(quoted(place))
        for m in source.folders[name].messages:
            if expected_message(before.kind, None, m, source.bytes[m.data]):
                append(imap, place, sorted(m.flags), m.date.strftime('%d-%b-%Y %H:%M:%S %z'), source.bytes[m.data])
        if source.folders[name].subscribed:
            imap.subscribe(quoted(place))
    imap.logout()
    return source


# ---- a line that eats answers ----

class Line:
    """A proxy in front of a server. It counts what went to the server (`sent`), calls `at_bytes[1]` once when that reaches `at_bytes[0]`, and as long as
    `appetite` is not used up, ends connections in the one way that leaves the client in the dark: from a moment in which a message is on its way (dice say
    which; bytes are TLS, so by their amount since the server spoke last) nothing of the server comes through any more, all of the client still does, and
    when the client has been silent the connection ends. `eaten` counts them."""
    def __init__(self, port, dice, appetite=0):
        self.to, self.dice, self.appetite, self.eaten, self.sent, self.at_bytes = port, dice, appetite, 0, 0, None
        self.lock, self.listener = threading.Lock(), socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(('127.0.0.1', self.to))
            except OSError:
                return
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(near, far), daemon=True).start()

    def pump(self, near, far):
        burst, bursts, wanted, least, eating = 0, 0, self.dice.choice([1, 1, 2, 3, 5, 9]), self.dice.choice([1500, 3000, 20000]), False
        try:
            while True:
                ready, _, _ = select.select([near, far], [], [], 0.2 if eating else 60)
                if eating and near not in ready and far not in ready:
                    break
                if far in ready:
                    data = far.recv(65536)
                    if not data:
                        break
                    burst = 0
                    if not eating:
                        near.sendall(data)
                if near in ready:
                    data = near.recv(65536)
                    if not data:
                        break
                    bursts += burst < least <= burst + len(data)
                    burst += len(data)
                    if not eating and bursts >= wanted and burst >= least:
                        with self.lock:
                            eating = self.appetite > 0
                            self.appetite -= eating
                            self.eaten += eating
                    far.sendall(data)
                    self.count(len(data))
        except OSError:
            pass
        for s in (near, far):
            s.close()

    def count(self, more):
        with self.lock:
            self.sent += more
            act = None
            if self.at_bytes and self.sent >= self.at_bytes[0]:
                act, self.at_bytes = self.at_bytes[1], None
        if act:
            act()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Ear:
    """A proxy in front of a server that speaks TLS on both sides, as the server does, and so hears what is said. It ends connections in two exact ways.
    As long as `appetite` is not used up, a server's tagged OK to an APPEND is waited for, taken away, and both sides are closed: `eaten` counts these. Which of a
    connection's APPENDs that is, dice say, up to the `deep`th. `strike` = (n, offset, act): at the nth message (from 1) of those that are not the first of
    their APPEND (a MULTIAPPEND, then), when `offset` of its bytes have gone to the server (at most all), `act` is called, once; what comes after that of the same connection goes on or not, as
    the dice say. `begun` counts such messages. `answered` is how many APPENDs the server was seen to accept, `at_once` the most messages in one of them."""
    def __init__(self, server, dice, deep=4):
        self.to, self.ca, self.dice, self.deep = server.port, server.ca, dice, deep
        self.appetite = self.eaten = self.answered = self.begun = self.at_once = 0
        self.strike, self.struck, self.lock = None, [], threading.Lock()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(server.dir + '/tls/server.pem', server.dir + '/tls/server.key')
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def carry(self, near):
        far = None
        try:
            near.settimeout(60)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near = self.tls.wrap_socket(near, server_side=True)
            far = ssl.create_default_context(cafile=self.ca).wrap_socket(socket.create_connection(('localhost', self.to), 60), server_hostname='localhost')
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pump(near, far, Said(), Answered(), self.dice.randint(1, self.deep))
        except (OSError, ValueError):
            pass
        for s in (near, far):
            if s:
                s.close()

    def pump(self, near, far, said, answered, left):
        while True:
            ready = [s for s in (near, far) if s.pending()] or select.select([near, far], [], [], 300)[0]
            if not ready:
                return
            if far in ready:
                data = heard(far)
                if data == b'':
                    return
                for piece, tag in answered.feed(data or b''):
                    if tag in said.appends:
                        said.appends.discard(tag)
                        left -= 1
                        with self.lock:
                            self.answered += 1
                            eaten = self.appetite > 0 and left <= 0
                            self.appetite -= eaten
                            self.eaten += eaten
                        if eaten:
                            return
                    near.sendall(piece)
            if near in ready:
                data = heard(near)
                if data == b'' or not self.listen(far, said, data or b''):
                    return

    def listen(self, far, said, data):
        """Passes on what the client says; False: no more of it."""
        while data:
            with self.lock:
                used, further = said.take(data, self.strike[1] if self.strike and said.number == self.strike[0] else None)
                self.at_once = max(self.at_once, said.messages)
                if further:
                    self.begun += 1
                    said.number = self.begun
                act = self.strike[2] if said.at_offset and self.strike else None
                if act:
                    self.strike = None
                    self.struck.append((said.messages, said.literal))
            far.sendall(data[:used])
            data = data[used:]
            if act:
                act()
                if self.dice.random() < 0.5:
                    return False
        return True

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def heard(tls):
    """What there is to read, b'' at the end, None: nothing of the conversation yet."""
    tls.settimeout(0)
    try:
        return tls.recv(65536)
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError:  # an end without TLS's own
        return b''
    finally:
        tls.settimeout(60)


class Said:
    """What a client says: commands, of which only APPEND (RFC 3501, RFC 3502, RFC 7888 literals) is looked into. `appends`: tags; `messages` of the one that goes on,
    `literal`: bytes to come of the one before us; `number` of it among those that are not the first of theirs."""
    def __init__(self):
        self.line, self.appends, self.tag, self.messages, self.literal, self.gone, self.number, self.at_offset = b'', set(), None, 0, 0, 0, 0, False

    def take(self, data, offset):
        """How much of `data` to go through now: as far as the kind of thing does not change, or to `offset` of a literal. And: is now before a further message."""
        self.at_offset = False
        if offset is not None and self.gone == min(offset, self.gone + self.literal):
            self.at_offset = True
            return 0, False
        if self.literal:
            used = min(len(data), self.literal)
            if offset is not None and offset > self.gone:
                used = min(used, offset - self.gone)
            self.literal -= used
            self.gone += used
            return used, False
        used = data.find(b'\n') + 1 or len(data)
        self.line += data[:used]
        if not self.line.endswith(b'\n'):
            check(len(self.line) < 1000000, 'a client says a line without end')
            return used, False
        line, self.line, self.number = self.line.rstrip(b'\r\n'), b'', 0
        words = line.split(b' ', 2)
        if self.tag is None and len(words) == 3 and words[1].upper() == b'APPEND':
            self.tag, self.messages = words[0], 0
        literal = re.search(rb'\{(\d+)\+?\}$', line)
        if literal:
            self.literal, self.gone = int(literal.group(1)), 0
            self.messages += self.tag is not None and (self.messages > 0 or not re.search(rb' APPEND ~?\{\d+\+?\}$', line))  # else it is the folder's name
            if self.tag is not None:
                self.appends.add(self.tag)
        else:
            self.tag = None
        return used, bool(literal) and self.tag is not None and self.messages > 1


class Answered:
    """What a server says, in pieces: (bytes, the tag of a tagged OK that they are, or None)."""
    def __init__(self):
        self.line, self.literal = b'', 0

    def feed(self, data):
        while data:
            if self.literal:
                piece, data = data[:self.literal], data[self.literal:]
                self.literal -= len(piece)
                yield piece, None
                continue
            used = data.find(b'\n') + 1 or len(data)
            self.line, data = self.line + data[:used], data[used:]
            if self.line.endswith(b'\n'):
                line, self.line = self.line, b''
                literal = re.search(rb'\{(\d+)\}\r?\n$', line)
                self.literal = int(literal.group(1)) if literal else 0
                words = line.split(b' ', 2)
                yield line, words[0] if len(words) > 1 and words[1].strip().upper() == b'OK' else None


# ---- the product between two servers ----

class Haul:
    """One source mailbox, one target mailbox, a ledger. `began` and `before` are of the moment it was made."""
    def __init__(self, work, name, source, source_user, target, target_user, settle='1s', archive=None):
        """archive: copy from this directory instead, into which the source was copied."""
        self.archive = archive
        self.dir, self.source, self.target, self.users, self.settle, self.runs = work + '/' + name, source, target, (source_user, target_user), settle, 0
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        with open(self.dir + '/ca.pem', 'w') as f:
            f.write(open(source.ca).read() + open(target.ca).read())
        target.login(target_user).logout()
        self.before, self.began = Dump(target, target_user), datetime.datetime.now(datetime.timezone.utc)

        self.more = []  # further options
        self.port = target.port  # of the target as the product knows it: with another it would be another mailbox

    def command(self):
        source = ['file://' + self.archive] if self.archive else ['--source-password-file', self.source.password, 'imaps://%s@localhost:%d/' % (self.users[0], self.source.port)]
        return [MAILHAUL, 'copy', '--destination-password-file', self.target.password, '--ca-file', self.dir + '/ca.pem', '--state', self.dir + '/state',
                '--settle', self.settle, '--json', *self.more, *source, 'imaps://%s@localhost:%d/' % (self.users[1], self.port)]

    def start(self):
        self.runs += 1
        with open(self.dir + '/out', 'w') as out, open(self.dir + '/err', 'w') as err:
            return subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def end(self, child, ok):
        """Its exit code, which must be one of `ok`; it may not take for ever."""
        try:
            child.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            check(False, 'run %d hangs: no end after %d s' % (self.runs, LIMIT_SECONDS), self.said())
        check(child.returncode in ok, 'run %d: exit %d, not %s' % (self.runs, child.returncode, ok), self.said())
        return child.returncode

    def said(self):
        return open(self.dir + '/err').read() + open(self.dir + '/out').read()[-1500:]

    def run(self, ok):
        """Its report."""
        self.end(self.start(), ok)
        return json.load(open(self.dir + '/out'))


class Batch:
    """`mailhaul run` of several mailboxes: pairs is [(source, its user, target, its user, their ports as the product knows them)]. `began` and each one's
    `before` are of the moment it was made."""
    def __init__(self, work, name, pairs, settle='1s', options=''):
        self.dir, self.pairs, self.runs = work + '/' + name, pairs, 0
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        with open(self.dir + '/ca.pem', 'w') as f:
            f.write(''.join(open(ca).read() for ca in sorted({s.ca for p in pairs for s in (p[0], p[2])})))
        row = lambda source, user, target, to, source_port, port: json.dumps({
            'source': 'imaps://localhost:%d/' % source_port, 'source_user': user, 'password': 'file:' + source.password,
            'target': 'imaps://localhost:%d/' % port, 'target_user': to, 'target_password': 'file:' + target.password})
        with open(self.dir + '/job.yaml', 'w') as f:
            f.write('state: state\nsource: {ca_file: ca.pem}\noptions: {settle: %s}\nlog: run.log\n%smailboxes:\n  list:\n' % (settle, options))
            f.write(''.join('    - %s\n' % row(*pair) for pair in pairs))
        for _, _, target, to, *_ in pairs:
            target.login(to).logout()
        self.before, self.began = [Dump(p[2], p[3]) for p in pairs], datetime.datetime.now(datetime.timezone.utc)

    def start(self):
        self.runs += 1
        with open(self.dir + '/out', 'w') as out, open(self.dir + '/err', 'w') as err:
            return subprocess.Popen([MAILHAUL, 'run', '--json', self.dir + '/job.yaml'], stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    end = Haul.end
    said = Haul.said
    run = Haul.run

"""What tests/torture/fire_test throws at the product and how it judges the end: a real Dovecot that can be killed, a
wire that can be cut, a disk that fills up or fails, moments to strike at, and a place (ledger and archive) with its judge."""
import collections, ctypes, datetime, errno, functools, glob, hashlib, json, os, select, shutil, signal, socket, sqlite3, struct, subprocess, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../real'))
import rig
from rig import MAILHAUL, TOP, Skip, check

REAL = TOP + '/tests/real/'
WORK = os.path.abspath(os.environ.get('WORK', TOP + '/build/fire-test'))
LIMIT_SECONDS = 120  # no run may take longer, whatever is done to it
USERS, MESSAGES = 6, 30
libc = ctypes.CDLL(None, use_errno=True)
run = functools.partial(rig.run, timeout=LIMIT_SECONDS)


# ---- the server ----

class Server:
    """A Dovecot with the mailboxes alice (odd names, twins, large messages) and user000 and so on."""
    def __init__(self, directory):
        self.dir = directory
        run(REAL + 'dovecot', 'start', directory)
        self.port = int(open(directory + '/port').read())
        self.ca, self.password = directory + '/tls/ca.pem', directory + '/password'
        run(REAL + 'mailbox.py', self.port, self.ca, self.password, 'alice', '--list', directory + '/alice.ndjson')
        run(REAL + 'dovecot', 'fill', directory, USERS, MESSAGES)
        rows = [dict(json.loads(line), user='alice') for line in open(directory + '/alice.ndjson')]
        self.messages = rows + [json.loads(line) for line in open(directory + '/many.ndjson')]

    def stop(self):
        run(REAL + 'dovecot', 'stop', self.dir, ok=None)

    def again(self):
        run(REAL + 'dovecot', 'again', self.dir)

    def children(self, name=None):
        """Its processes called `name`, by their parent: other servers on this machine are none of ours."""
        master = open(self.dir + '/run/master.pid').read().strip()
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                parent = open('/proc/%s/stat' % pid).read().rsplit(')', 1)[1].split()[1]
                if parent == master and name in (None, os.path.basename(os.readlink('/proc/%s/exe' % pid))):
                    yield int(pid)
            except OSError:
                pass

    def kill(self, name, dice):
        """One process of that name with kill -9, or the master with all. How many died."""
        if name == 'master':
            victims = [int(open(self.dir + '/run/master.pid').read()), *self.children()]
        else:
            victims = list(self.children(name))
            victims = [dice.choice(victims)] if victims else []
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until = time.monotonic() + 10
        while any(os.path.exists('/proc/%d' % pid) for pid in victims) and time.monotonic() < until:
            time.sleep(0.005)
        return len(victims)


class Wire:
    """A proxy. `fate` is asked for each connection and says None, or how it ends: (how, bytes, towards the client or
    not), with how one of fin, rst, stall. `rate` bytes a second go to the client."""
    def __init__(self, port, rate=None):
        self.to, self.rate, self.fate, self.made, self.pairs = port, rate, lambda: None, collections.Counter(), []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(('127.0.0.1', self.to))
            except OSError:
                near.close()
                continue
            pair = {'near': near, 'far': far, 'fate': self.fate(), 'ended': threading.Event()}
            self.pairs.append(pair)
            threading.Thread(target=self.pump, args=(pair, near, far, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(pair, far, near, True), daemon=True).start()

    def pump(self, pair, a, b, to_client):
        fate, passed = pair['fate'], 0
        try:
            while not pair['ended'].is_set():
                data = a.recv(16384)
                if not data:
                    break
                if pair['ended'].is_set():
                    return
                if fate and fate[2] == to_client and passed + len(data) >= fate[1]:
                    b.sendall(data[:fate[1] - passed])
                    return self.end(pair, fate[0])
                b.sendall(data)
                passed += len(data)
                if self.rate and to_client:
                    time.sleep(len(data) / self.rate)
        except OSError:
            pass
        if not (fate and fate[0] == 'stall' and pair['ended'].is_set()):
            self.end(pair, None)

    def end(self, pair, how):
        first = not pair['ended'].is_set()
        pair['ended'].set()
        if how and first:
            self.made[how] += 1
        for s in (pair['near'], pair['far']) if how != 'stall' else ():
            try:
                if how == 'rst':  # a TCP socket that connects to "nowhere" resets its peer at once
                    libc.connect(s.fileno(), b'\0' * 16, 16)
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for pair in self.pairs:
            self.end(pair, None)


# ---- a disk ----

class Disk:
    """A small ext4 of its own, on a loop device, in the test's mount namespace."""
    def __init__(self, name, mib=32):
        self.image, self.dir = '%s/%s.image' % (WORK, name), '%s/%s' % (WORK, name)
        if os.getuid() != 0:
            raise Skip('mounting a disk of its own needs root')
        os.makedirs(self.dir, exist_ok=True)
        with open(self.image, 'wb') as f:
            f.truncate(mib << 20)
        run('mkfs.ext4', '-q', '-m', '0', self.image)
        self.mount()

    def mount(self):
        done = run('mount', '-o', 'loop,errors=remount-ro', self.image, self.dir, ok=None)
        if done.returncode != 0:
            raise Skip('no loop device to be had: ' + done.stderr.strip())

    def fill(self):
        """Not a block stays free."""
        fd = os.open(self.dir + '/filler', os.O_RDWR | os.O_CREAT, 0o600)
        at = 0
        for piece in (1 << 22, 1 << 18, 1 << 14, 1 << 12):
            try:
                while True:
                    os.posix_fallocate(fd, at, piece)
                    at += piece
            except OSError as e:
                check(e.errno == errno.ENOSPC, e)
        os.close(fd)

    def free(self):
        os.unlink(self.dir + '/filler')

    def fail(self):
        """As when the device fails: the kernel makes it read-only under those who write, and what was not forced to disk is lost."""
        device = os.path.basename(run('df', '--output=source', self.dir).stdout.split()[-1])
        with open('/sys/fs/ext4/%s/trigger_fs_error' % device, 'w') as f:
            try:
                f.write('1')
                f.flush()
            except OSError:
                pass  # it says EROFS, having done it

    def mend(self):
        run('umount', self.dir)
        run('e2fsck', '-fp', self.image, ok=(0, 1))
        self.mount()

    def close(self):
        run('umount', self.dir, ok=None)
        os.unlink(self.image)


# ---- moments ----

IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_ISDIR = 0x2, 0x80, 0x100, 0x200, 0x40000000


def kind_of(path, mask):
    """What a change below a place means, in the order of a run (docs/FORMAT.md section 5); None: nothing of interest."""
    name, folder = os.path.basename(path), path.split('/')
    if name == 'ledger.db-wal':
        return 'ledger closed' if mask & IN_DELETE else 'ledger written'
    if name == 'ledger.db':
        return 'checkpoint' if mask & IN_MODIFY else 'ledger made'
    if mask & IN_DELETE:
        return None
    if '.tmp' in folder:
        return 'bytes written' if mask & IN_MODIFY else 'temporary file'
    for part in ('packs', 'index', 'manifest'):
        if part in folder and mask & (IN_MOVED_TO | IN_CREATE):
            return part + ' renamed'
    return 'marker' if name in ('mailhaul-archive.json', 'mailbox.json') else None


class Watch:
    """Sees what a run does to the files below some directories, as it does it."""
    def __init__(self, *roots):
        self.fd, self.paths, self.counts = libc.inotify_init1(0x80800), {}, {}
        for root in roots:
            self.add(root)

    def add(self, directory):
        wd = libc.inotify_add_watch(self.fd, directory.encode(), IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE)
        if wd < 0:
            return
        self.paths[wd] = directory
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                self.add(entry.path)

    def read(self):
        """The kinds that were seen since the last call."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            wd, mask, _, length = struct.unpack_from('iIII', data, at)
            path = self.paths.get(wd, '') + '/' + data[at + 16:at + 16 + length].rstrip(b'\0').decode()
            at += 16 + length
            if mask & IN_ISDIR and mask & IN_CREATE:
                try:
                    self.add(path)
                except FileNotFoundError:
                    pass
            elif (kind := kind_of(path, mask)):
                self.counts[kind] = self.counts.get(kind, 0) + 1
                yield kind

    def follow(self, child, kind=None, ordinal=0, seconds=LIMIT_SECONDS):
        """Until the ordinal-th change of that kind (None: of any): True; False: the process ended, or the time is over, before."""
        pidfd, end, seen = os.pidfd_open(child.pid), time.monotonic() + seconds, 0
        try:
            while time.monotonic() < end:
                ready, _, _ = select.select([self.fd, pidfd], [], [], max(0, end - time.monotonic()))
                for found in self.read():
                    seen += kind in (None, found)
                    if seen >= ordinal > 0:
                        return True
                if pidfd in ready:
                    return False
            return False
        finally:
            os.close(pidfd)

    def close(self):
        os.close(self.fd)


class Moments:
    """Random moments of a run, spread over everything that an undisturbed one was seen to do, and over time."""
    def __init__(self, dice, counts, seconds):
        self.dice, self.counts, self.seconds = dice, counts, seconds

    def strike(self, place, child, act):
        """Do `act` at a moment; says at which one. None: the process came to its end before."""
        kind = self.dice.choice(['start', 'any time', *sorted(self.counts)])
        if place.runs > 1 and self.dice.random() < 0.5:
            kind = 'recovery'
        watch = Watch(*place.roots())
        try:
            if kind in self.counts or kind == 'recovery':
                wanted, most = (None, 10) if kind == 'recovery' else (kind, self.counts[kind] // place.runs)
                if not watch.follow(child, wanted, self.dice.randint(1, max(1, most))):
                    return None
                time.sleep(self.dice.choice([0, 0, self.dice.expovariate(1 / 0.0005)]))
            else:
                watch.follow(child, seconds=self.dice.uniform(0, 0.04 if kind == 'start' else self.seconds))
        finally:
            watch.close()
        if child.poll() is not None:
            return None
        act()
        return kind


# ---- a place ----

JOB = '''name: fire
state: %(state)s
source: {url: "imaps://localhost:%(port)d/", ca_file: %(ca)s, password: "file:%(password)s", connections_per_mailbox: 2}
target: {url: "file://%(archive)s"}
mailboxes: {list: [%(users)s]}
limits: {workers: 2%(limits)s}
options: {pack_size: 256KiB, io_timeout: %(timeout)s, connect_timeout: %(timeout)s}
'''


class Place:
    """A ledger and an archive. shape: `copy` moves alice, `run` moves everybody with two workers."""
    def __init__(self, name, server, shape, port=None, timeout='60s', limits='', archive=None, state=None):
        self.dir, self.server, self.shape = '%s/%s' % (WORK, name), server, shape
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.archive, self.state = archive or self.dir + '/archive', state or self.dir + '/state'
        self.url, self.runs, self.before, self.environment = 'file://' + self.archive, 0, [], {}
        self.expected = [m for m in server.messages if shape == 'run' or m['user'] == 'alice']
        port = port or server.port
        if shape == 'copy':
            self.command = ['copy', 'imaps://alice@localhost:%d/' % port, self.url, '--source-password-file', server.password, '--ca-file', server.ca,
                            '--state', self.state, '--pack-size', '256KiB', '--io-timeout', timeout, '--connect-timeout', timeout, '--json']
        else:
            users = ', '.join('{user: %s}' % user for user in sorted({m['user'] for m in self.expected}))
            with open(self.dir + '/job.yaml', 'w') as f:
                f.write(JOB % {'state': self.state, 'port': port, 'ca': server.ca, 'password': server.password, 'archive': self.archive,
                               'users': users, 'limits': limits, 'timeout': timeout})
            self.command = ['run', '--json', self.dir + '/job.yaml']

    def roots(self):
        return {os.path.dirname(self.archive), os.path.dirname(self.state)}

    def start(self):
        self.runs += 1
        with open(self.dir + '/out', 'w') as out, open(self.dir + '/err', 'w') as err:
            return subprocess.Popen([MAILHAUL, *self.command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **self.environment})

    def end(self, child, ok=None):
        """Its exit code, which must be one of `ok`; it may not take for ever."""
        try:
            child.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            check(False, 'run %d hangs: no end after %d s' % (self.runs, LIMIT_SECONDS), self.said())
        check(ok is None or child.returncode in ok, 'run %d: exit %d, not %s' % (self.runs, child.returncode, ok), self.said())
        return child.returncode

    def said(self):
        return open(self.dir + '/err').read()

    def run(self, ok=(0,)):
        return self.end(self.start(), ok)

    def moved(self):
        """Messages that the last run says it moved."""
        report = json.load(open(self.dir + '/out'))
        return report['run']['messages_moved'] if self.shape == 'copy' else report['totals']['messages']['moved']

    def ledger(self):
        """A copy of the ledger, log and all: to look at the real one would be to recover it."""
        aside = self.dir + '/ledger-copy'
        shutil.rmtree(aside, ignore_errors=True)
        os.makedirs(aside)
        for file in ('ledger.db', 'ledger.db-wal'):
            if os.path.exists(self.state + '/' + file):
                shutil.copy(self.state + '/' + file, aside)
        return sqlite3.connect(aside + '/ledger.db')

    def check_ledger(self):
        """It is whole and its sums are true, at any moment. Messages moved; self.seals counts the seals that are open."""
        self.seals = 0
        with self.ledger() as db:
            check(db.execute('PRAGMA integrity_check').fetchall() == [('ok',)], 'the ledger is damaged')
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'box'").fetchone():
                return 0
            for column, fate in (('moved', 1), ('skipped', 2), ('doubtful', 3)):
                wrong = db.execute('SELECT name, %s, (SELECT count(*) FROM settled s WHERE s.box_no = box.box_no AND fate & 7 = %d) AS n FROM box WHERE n <> %s'
                                   % (column, fate, column)).fetchall()
                check(not wrong, 'sums of the ledger are wrong', wrong)
            wrong = db.execute('SELECT name, bytes_moved, (SELECT ifnull(sum(size_bytes), 0) FROM settled s WHERE s.box_no = box.box_no AND fate & 7 = 1) AS n '
                               'FROM box WHERE n <> bytes_moved').fetchall()
            check(not wrong, 'sums of the ledger are wrong', wrong)
            self.seals = db.execute('SELECT count(*) FROM seal').fetchone()[0]
            return db.execute('SELECT count(*) FROM settled WHERE fate & 7 = 1').fetchone()[0]

    def check_cut(self):
        """What must hold right after the process is gone: the ledger is whole, every visible pack sound, and what the ledger calls moved is there."""
        moved = self.check_ledger()
        stored = 0
        if os.path.exists(self.archive + '/mailhaul-archive.json'):
            stored = json.loads(run(MAILHAUL, 'verify', '--json', self.url).stdout.splitlines()[-1])['messages']
        check(stored >= moved, 'the ledger says %d were moved, the archive holds %d' % (moved, stored))

    def judge(self):
        """Exactly what the server holds, every byte, flag and date once; and one more run has nothing to do."""
        count = len(self.expected)
        sound = json.loads(run(MAILHAUL, 'verify', '--json', self.url).stdout.splitlines()[-1])
        check(sound['messages'] == count and sound['sound'] and not sound['leftovers'] and not sound['packs_unlisted'], sound, 'expected %d' % count)
        self.check_messages()
        self.check_bytes()
        left = [f for f in glob.glob(self.archive + '/**', recursive=True, include_hidden=True) if '/.tmp/' in f and os.path.isfile(f)]
        check(not left, 'temporary files are left', left)
        before = self.tree()
        self.run()
        check(self.moved() == 0, 'another run moved %d messages' % self.moved())
        check(self.tree() == before, 'another run changed the archive', set(self.tree()) ^ set(before))
        check(self.check_ledger() == count, 'the ledger counts other than the archive')
        with self.ledger() as db:
            for what in ("range WHERE state <> 'done'", 'seal', 'exception', 'run WHERE ended_s = 0 AND run_no = (SELECT max(run_no) FROM run)'):
                check(db.execute('SELECT count(*) FROM ' + what).fetchone() == (0,), 'the ledger has rows in: ' + what)
        check(set(os.listdir(self.state)) <= {'ledger.db', 'ledger.lock', 'log.salt'}, os.listdir(self.state))

    def check_messages(self):
        rows = [m for m in map(json.loads, run(MAILHAUL, 'list', self.url, '--messages', '--json').stdout.splitlines()) if m['kind'] == 'message']
        found = {(m['mailbox'].split('@')[0], m['folder'], m['uid']): m for m in rows}
        check(len(found) == len(rows) == len(self.expected), '%d listed, %d distinct, %d expected' % (len(rows), len(found), len(self.expected)))
        for m in self.expected:
            h = found.get((m['user'], m['folder'], m['uid']))
            check(h and h['size'] == m['size'], m, h)
            flags = sorted(['\\' + f.capitalize() for f in h['flags']] + h['keywords'].split())
            check(flags == sorted(m['flags']), m, h)
            date = datetime.datetime.strptime(m['date'].strip(), '%d-%b-%Y %H:%M:%S %z')
            check(datetime.datetime.fromisoformat(h['date']) == date, m, h)

    def check_bytes(self):
        target = self.dir + '/extracted'
        shutil.rmtree(target, ignore_errors=True)
        run(MAILHAUL, 'extract', self.url, '--to', target)
        found = sorted((os.path.relpath(d, target).split('@')[0], file.split('.')[0], hashlib.sha256(open(os.path.join(d, file), 'rb').read()).hexdigest())
                       for d, _, files in os.walk(target) for file in files)
        expected = sorted((m['user'], str(m['uid']), m['sha256']) for m in self.expected)
        check(found == expected, '%d extracted, %d expected' % (len(found), len(expected)), sorted(set(found) ^ set(expected))[:5])

    def tree(self):
        return sorted((os.path.join(d, f), os.stat(os.path.join(d, f)).st_size, os.stat(os.path.join(d, f)).st_mtime_ns)
                      for d, _, files in os.walk(self.archive) for f in files)

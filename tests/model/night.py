"""A model server, a job over its users, and the nights in which `mailhaul run` works on it; for tests/model/run_test.
What the product shows of a night (output, log, reports, ledger) is searched for passwords when the Night is left."""
import collections, csv, hashlib, json, os, re, shutil, socket, subprocess, time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAILHAUL = os.environ.get('MAILHAUL', TOP + '/build/mailhaul')
MODEL_SERVER = os.environ.get('MODEL_SERVER', TOP + '/build/gcc/tests/model/model_server')
WORK = os.environ.get('WORK', TOP + '/build/run-test')
LIMIT_SECONDS = 120
PASSWORD = re.compile(rb'pw-user\d')


def check(condition, *seen):
    if not condition:
        raise AssertionError('\n'.join(str(s)[-6000:] for s in seen))


def until(condition, what):
    """Until `condition` holds; a bounded wait."""
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        check(time.monotonic() < end, 'this never happened: ' + what)
        time.sleep(0.01)


def model(*arguments):
    out = subprocess.run([MODEL_SERVER, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def dead_port():
    """A port that is taken and that nobody listens on; keep the socket."""
    s = socket.socket()
    s.bind(('127.0.0.1', 0))
    return s, s.getsockname()[1]


class Done:
    """A program that has ended."""
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return 'exit %s\n--- stdout\n%s\n--- stderr\n%s' % (self.code, self.out, self.err)


class Night:
    def __init__(self, name, *shape, **job):
        self.place = os.path.join(WORK, name)
        self.shape = [str(s) for s in shape]
        self.job = {'name': name, 'state': 'state', 'target': {'url': 'file://%s/archive' % self.place}, 'mailboxes': 'mail.csv',
                    'report': {kind: 'report.' + kind for kind in ('text', 'json', 'csv', 'html')}, 'log': {'file': 'run.log', 'level': 'info'}, **job}
        self.shown, self.counts = [], None
        self.before = []  # in front of every command of the product

    def path(self, *parts):
        return os.path.join(self.place, *parts)

    def __enter__(self):
        shutil.rmtree(self.place, ignore_errors=True)
        os.makedirs(self.place)
        self.server = subprocess.Popen([MODEL_SERVER, '--ca', self.path('ca.pem'), '--life', '5m', *self.shape], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        self.ports = [int(port) for port in self.server.stdout.readline().split()]
        self.users = {u['user']: u for u in model('--list', *self.shape)}
        self.job.setdefault('source', {'url': 'imaps://localhost:%d/' % self.ports[0], 'ca_file': 'ca.pem'})
        self.list_mailboxes()
        return self

    def __exit__(self, kind, *_):
        self.end_server()
        if kind:
            return
        check(self.counts['changes'] == 0 and self.counts['unknown'] == 0, self.counts)
        for text in self.shown:
            check(not PASSWORD.search(text), 'a password is shown', text)
        for folder, folders, files in os.walk(self.place):
            folders[:] = [f for f in folders if f not in ('archive', 'out', 'pw', 'rows')]
            for file in files:
                if file.startswith(('run.log', 'report.')) or 'state' in folder[len(self.place):]:
                    with open(os.path.join(folder, file), 'rb') as f:
                        check(not PASSWORD.search(f.read()), 'a password stands in', file)

    def end_server(self):
        """What the server saw; from now on nobody listens."""
        if self.counts is None:
            out, _ = self.server.communicate(timeout=30)
            self.counts = json.loads(out)
        return self.counts

    # ---- the list and the job ----

    def rows(self, **more):
        """Rows of mail.csv as dictionaries, `more` in each."""
        return [{'source': 'imaps://localhost:%d/' % self.ports[u['host']], 'source_user': u['user'], 'source_auth': 'plain:' + u['password'], **more}
                for u in self.users.values()]

    def list_mailboxes(self, rows=None, mark='', separator=',', end='\n'):
        rows = self.rows() if rows is None else rows
        with open(os.open(self.path('mail.csv'), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', newline='') as f:
            f.write(mark)
            writer = csv.DictWriter(f, list(rows[0]), delimiter=separator, lineterminator=end)
            writer.writeheader()
            writer.writerows(rows)

    def write_job(self):
        with open(self.path('job.yaml'), 'w') as f:
            json.dump(self.job, f, indent=1)  # JSON is YAML

    # ---- runs ----

    def start(self, *words, before=(), env={}):
        self.write_job()
        return subprocess.Popen([*self.before, *before, MAILHAUL, 'run', *words, 'job.yaml'], cwd=self.place, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env})

    def end(self, process, code=None):
        """The end of a run, its report read; `code` is expected."""
        try:
            out, err = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError('no end after %d s\n%s\n%s' % (LIMIT_SECONDS, out.decode(), err.decode()))
        self.shown += [out, err]
        done = Done(process.returncode, out.decode(), err.decode())
        check(code is None or done.code == code, done, 'expected: %s' % code)
        return done

    def run(self, *words, code=None, **more):
        return self.end(self.start(*words, **more), code)

    def report(self):
        with open(self.path('report.json')) as f:
            report = json.load(f)
        for row in report['mailboxes']:
            row['user'] = row['source'].split('//')[1].rsplit('@', 1)[0]
        return report

    def log(self, name='run.log'):
        if not os.path.exists(self.path(name)):
            return []
        with open(self.path(name)) as f:
            return [json.loads(line) for line in f if line.endswith('\n')]

    def ended(self, name='run.log'):
        """Log lines of mailboxes that came to their end."""
        return [line for line in self.log(name) if line['event'] == 'mailbox.end' and line['final']]

    def wait_for_mailboxes(self, process, count):
        until(lambda: process.poll() is not None or len(self.ended()) >= count, '%d mailboxes at their end' % count)
        check(process.poll() is None, 'the run ended before it could be disturbed')

    # ---- what must be ----

    def all_as_listed(self, moved_before=False):
        """Every mailbox of the model ended as the model says it must."""
        report = self.report()
        rows = {row['user']: row for row in report['mailboxes'] if row['user'] in self.users}
        wrong = []
        for user, expected in self.users.items():
            row = rows.get(user)
            messages = row and row['messages']['moved'] + (row['messages']['before'] if moved_before else 0)
            if (not row or (row['state'], row['error'] or '', row['folders_skipped'], messages) !=
                    (expected['state'], expected['error'], expected['folders_skipped'], expected['messages_moved'])):
                wrong.append((expected, row))
            elif not moved_before and row['bytes']['moved'] != expected['bytes_moved']:
                wrong.append((expected, row))
        check(not wrong, '%d of %d are not as listed' % (len(wrong), len(self.users)), *wrong[:3])
        return report

    def tool(self, *words, code=0):
        done = subprocess.run([*self.before, MAILHAUL, *words], cwd=self.place, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_SECONDS)
        self.shown += [done.stdout, done.stderr]
        done = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        check(done.code == code, words, done)
        return done

    def held(self):
        """How often each (user, digest) is in the archive."""
        shutil.rmtree(self.path('out'), ignore_errors=True)
        self.tool('extract', self.job['target']['url'], '--to', 'out')
        found = collections.Counter()
        for folder, _, files in os.walk(self.path('out')):
            user = os.path.relpath(folder, self.path('out')).split('@')[0]
            for file in files:
                with open(os.path.join(folder, file), 'rb') as f:
                    found[user, hashlib.sha256(f.read()).hexdigest()] += 1
        return found

    def held_exactly(self):
        """The archive holds what the server has, byte for byte, each message once."""
        found = self.held()
        moved = {user for user, u in self.users.items() if u['messages_moved']}
        expected = collections.Counter((m['user'], m['sha256']) for m in model('--list-messages', 'all', *self.shape) if m['user'] in moved)
        check(found == expected, '%d too many: %s' % (len(found - expected), list(found - expected)[:3]),
              '%d missing: %s' % (len(expected - found), list(expected - found)[:3]))
        # Two records of one message would be one file: verify, which finds no fault, counts what is stored.
        check(self.stored() == sum(expected.values()), self.stored(), sum(expected.values()))

    def stored(self):
        """Messages in the archive, as verify counts them."""
        lines = self.tool('verify', '--json', self.job['target']['url']).out.splitlines()
        return json.loads(lines[-1])['messages']

"""What tests of archives in buckets share (bucket_test, bucket_aws_test): the product among servers of the test's own and nothing else of AWS's,
what a mailbox must have become in an archive, and a bucket seen from outside."""
import collections, datetime, hashlib, json, os, signal, subprocess, sys, time, traceback

from rig import LIMIT_SECONDS, MAILHAUL, Dump, Skip, check, run
from s3 import S3

HOST = os.uname().nodename


def environment(**more):
    """Nothing of AWS's but what is said here, so nobody but the test's own servers is asked."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(('AWS_', 'XDG_'))}
    return dict(clean, HOME='/nonexistent', AWS_EC2_METADATA_DISABLED='true', **more)


class Tool:
    """The product as one user of one server. `dir` has its ledgers and what it makes; `env` may be changed."""
    def __init__(self, directory, mail, s3, **more):
        """mail: a Dovecot; s3: has url, ca, credentials."""
        self.dir, self.mail, self.password, self.ca = directory, mail, mail.password, directory + '/ca.pem'
        os.makedirs(directory)
        with open(self.ca, 'w') as f:
            f.write(open(mail.ca).read() + open(s3.ca).read())
        self.env = environment(AWS_ENDPOINT_URL_S3=s3.url, AWS_REGION='us-east-1', AWS_CA_BUNDLE=s3.ca, AWS_SHARED_CREDENTIALS_FILE=s3.credentials, **more)

    def imap(self, user):
        return 'imaps://%s@localhost:%d/' % (user, self.mail.port)

    def command(self, source, target, state='state', more=()):
        begun_with = ['--digest', 'sha-256', '--pack-size', '256KiB'] if not target.startswith('imaps:') else ['--settle', '0s']
        login = [word for side, where in (('source', source), ('destination', target)) if where.startswith('imaps:')
                 for word in ('--%s-password-file' % side, self.password)]
        return [MAILHAUL, 'copy', source, target, '--ca-file', self.ca, '--state', self.dir + '/' + state, '--json', *begun_with, *login, *more]

    def copy(self, source, target, *more, ok=(0,), state='state', **env):
        """Its report, in which `said` is what it wrote to stderr."""
        done = run(*self.command(source, target, state, more), ok=ok, env=dict(self.env, **env))
        return dict(json.loads(done.stdout), said=done.stderr) if done.stdout.startswith('{') else {'said': done.stderr}

    def start(self, arguments, **env):
        """The product in the background; its words in DIR/out and DIR/err."""
        with open(self.dir + '/out', 'w') as out, open(self.dir + '/err', 'w') as err:
            return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=dict(self.env, **env))

    def end(self, child, ok=(0,)):
        try:
            child.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            check(False, 'no end after %d s' % LIMIT_SECONDS, self.said())
        check(child.returncode in ok, 'exit %d, not %s' % (child.returncode, ok), self.said())
        return child.returncode

    def said(self):
        return open(self.dir + '/err').read() + open(self.dir + '/out').read()

    def ask(self, command, where, *more, ok=(0,), **env):
        """list, verify or extract."""
        return run(MAILHAUL, command, where, *more, *(['--ca-file', self.ca] if where.startswith('s3:') else []), ok=ok, env=dict(self.env, **env))

    def job(self, target, users, name='job', s3='', **options):
        """A job file: these users' mailboxes into `target`."""
        path = '%s/%s.yaml' % (self.dir, name)
        with open(path, 'w') as f:
            f.write('state: %s-state\nsource: {url: "imaps://localhost:%d/", ca_file: ca.pem, password: "file:%s"}\n' % (name, self.mail.port, self.password))
            f.write('target: {url: "%s", s3: {ca_file: ca.pem%s}}\noptions: {digest: sha-256, pack_size: 256KiB}\n' % (target, s3))
            f.write(''.join('%s: %s\n' % option for option in options.items()))
            f.write('report: {json: %s.json}\nlog: {file: %s.log}\nmailboxes: {list: [%s]}\n' % (name, name, ', '.join('{user: %s}' % user for user in users)))
        return path

    def run_job(self, path, ok=(0,), **env):
        """The report's totals."""
        run(MAILHAUL, 'run', path, ok=ok, env=dict(self.env, **env))
        return json.load(open(path[:-5] + '.json'))['totals']


# ---- what must be in an archive ----

def wanted(dumps):
    """{(user, folder, UID): (SHA-256, flags, date)} of {user: what its server holds}."""
    return {(user, name, m.uid): (m.data, m.flags, m.date) for user, dump in dumps.items() for name, folder in dump.folders.items() for m in folder.messages}


def archived(tool, where, *more, **env):
    """The same of what `list` says; each once."""
    found = {}
    for row in map(json.loads, tool.ask('list', where, '--json', '--messages', *more, **env).stdout.splitlines()):
        if row['kind'] == 'message':
            key = row['mailbox'].split('@')[0], row['folder'], row['uid']
            check(key not in found, 'a message is there twice', row)
            flags = {'\\' + flag for flag in row['flags']} | set(row['keywords'].lower().split())
            found[key] = row['sha-256'], frozenset(flags), datetime.datetime.fromisoformat(row['date'])
    return found


def check_archive(tool, where, dumps, **env):
    """Every message of these mailboxes, once, and nothing else; its bytes are what they are said to be."""
    have, want = archived(tool, where, **env), wanted(dumps)
    wrong = [(key, want.get(key), have.get(key)) for key in want.keys() | have.keys() if want.get(key) != have.get(key)]
    check(not wrong, '%d of %d messages differ' % (len(wrong), len(want)), *wrong[:5])
    said = tool.ask('verify', where, **env).stdout
    check(' 0 faults' in said, said)


def check_extract(tool, where, dumps, to, **env):
    """The messages as files, byte for byte as the servers held them."""
    tool.ask('extract', where, '--to', to, **env)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(to) for name in names]
    have = collections.Counter(hashlib.sha256(open(path, 'rb').read()).hexdigest() for path in files)
    want = collections.Counter(row[0] for row in wanted(dumps).values())
    check(have == want, 'extracted: %d lost, %d altered or doubled' % (sum((want - have).values()), sum((have - want).values())))


def moved(report):
    run_of = report['run']
    return tuple(run_of['messages_' + what] for what in ('moved', 'reflagged', 'vanished', 'renumbered', 'skipped'))


NOTHING_DONE = (0, 0, 0, 0, 0)


# ---- a bucket from outside ----

class Bucket:
    def __init__(self, directory, name, user='default'):
        self.s3, self.name = S3(directory, user), name

    def ask(self, method, key='', query=(), status=200, **how):
        answer = self.s3.ask(method, '/%s/%s' % (self.name, key) if key else '/' + self.name, query, **how)
        check(answer.status == status, method, key, answer)
        return answer

    def objects(self, prefix=''):
        """{key: ETag}"""
        found, more = {}, {}
        while True:
            answer = self.ask('GET', '', {'list-type': '2', 'prefix': prefix, **more})
            found.update(zip(answer.all('Key'), answer.all('ETag')))
            more = {'continuation-token': text for text in answer.all('NextContinuationToken')}
            if not more:
                return found

    def uploads(self, prefix=''):
        answer = self.ask('GET', '', {'uploads': '', 'prefix': prefix})
        return set(zip(answer.all('Key'), answer.all('UploadId')))

    def read(self, key):
        return self.ask('GET', key).body

    def write(self, key, body, **headers):
        """headers: with _ for -"""
        self.ask('PUT', key, body=body, headers={name.replace('_', '-'): value for name, value in headers.items()})

    def remove(self, key):
        self.ask('DELETE', key, status=204)

    def begin(self, key):
        """An upload of somebody else's."""
        return key, self.ask('POST', key, {'uploads': ''}).all('UploadId')[0]


class Foreign:
    """Objects and an upload of others below a prefix, which nobody may touch."""
    def __init__(self, bucket, prefix):
        self.bucket, self.prefix = bucket, prefix
        self.bodies = {prefix + name: os.urandom(99) for name in ('notes.txt', 'inbox/letter.eml', '.locker', 'a/packs/picture.jpg')}
        for key, body in self.bodies.items():
            bucket.write(key, body)
        self.upload = bucket.begin(prefix + 'inbox/film.mp4')

    def check(self):
        for key, body in self.bodies.items():
            check(self.bucket.read(key) == body, 'an object of others has changed', key)
        check(self.bucket.uploads(self.prefix) == {self.upload}, 'uploads: one of others is gone, or one of ours is left', self.bucket.uploads(self.prefix))
        check(self.prefix + '.lock' not in self.bucket.objects(self.prefix), 'the lock is left')


def flipped(body, at):
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]


# ---- running tests ----

def perform(tests, names):
    """Each of `tests` ({name: function}), or those named; the exit code."""
    failed = 0
    for name, test in tests.items():
        if names and name not in names:
            continue
        began = time.monotonic()
        try:
            test()
            print('PASS ' + name, flush=True)
        except Skip as why:
            print('SKIP %s: %s' % (name, why), flush=True)
        except Exception:
            failed += 1
            traceback.print_exc(limit=5, file=sys.stdout)
            print('FAIL ' + name, flush=True)
        if os.environ.get('TEST_TIMES'):
            print('%6.1f s' % (time.monotonic() - began), flush=True)
    return 1 if failed else 0

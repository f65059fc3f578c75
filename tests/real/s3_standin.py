"""The S3 stand-in as a process, for tests: starts it with a test CA, tells it what it is, asks it what it holds."""
import atexit, os, shutil, subprocess, tempfile, threading

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BINARY = os.environ.get('S3_STANDIN', TOP + '/build/gcc/tests/real/s3_standin')


class Standin:
    def __init__(self):
        assert os.access(BINARY, os.X_OK), '%s is not there: make s3-standin' % BINARY
        self.dir = tempfile.mkdtemp(prefix='s3-standin-')
        subprocess.run(['bash', '-c', '. "$0"/common.bash; certificates "$1"', HERE, self.dir], check=True)
        self.ca = self.dir + '/tls/ca.pem'
        self.process = subprocess.Popen([BINARY, self.dir + '/tls/server.pem', self.dir + '/tls/server.key'], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lock = threading.Lock()
        atexit.register(self.stop)
        self.port = int(self.process.stdout.readline())
        self.url = 'https://localhost:%d' % self.port

    def tell(self, line):
        """One line as s3_standin.c's `help` lists them; returns the lines it answered before its "ok"."""
        with self.lock:
            self.process.stdin.write(line + '\n')
            self.process.stdin.flush()
            said = []
            while True:
                answer = self.process.stdout.readline()
                if answer in ('ok\n', 'no\n', ''):
                    assert answer == 'ok\n', (line, answer, said)
                    return said
                said.append(answer.rstrip('\n'))

    def counts(self):
        return {k: int(v) for k, v in (pair.split('=') for pair in self.tell('counts')[0].split())}

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)

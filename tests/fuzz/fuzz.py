#!/usr/bin/env python3
"""Runs fuzz targets (docs/TESTING.md). Without arguments: which there are.
  fuzz.py NAME [SECONDS]     a campaign of so long (60), and on until QUIET seconds ($QUIET, 0) brought no new edge
  fuzz.py --minimise NAME... what campaigns found becomes the corpus of tests/fuzz, as few and small inputs as cover the same
  fuzz.py --check [SECONDS]  every corpus replayed, then so long of fuzzing each (10 for some, 2 for the others), a target a
                             core: PASS or FAIL a target"""
import concurrent.futures, glob, os, re, shutil, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = 'build/clang-fuzzer-address-undefined/tests/fuzz'
SEEDS, WORK, CORPUS = 'build/fuzz/seeds', 'build/fuzz/%s', 'tests/fuzz/corpus/%s'
# Longest input; 4096 where it does not say. Conversations and archives need room for their parts.
BYTES_MAX = {'imap': 8192, 'archive': 12288, 'changes': 8192, 'tar': 8192, 'pack': 8192, 'hint': 512, 'utf7': 256, 'url': 512, 'window': 512, 'proxy': 1024, 'sigv4': 512}
DICTIONARIES = {**dict.fromkeys(('imap', 'fetch', 'hint', 'grammar'), 'tests/fuzz/imap.dict'),
                **dict.fromkeys(('xml', 's3_xml'), 'tests/fuzz/xml.dict'),
                **dict.fromkeys(('json', 'index', 'manifest', 'archive', 'changes'), 'tests/fuzz/json.dict'),
                'job': SEEDS + '/job.dict', 'csv': SEEDS + '/csv.dict'}
# What make check fuzzes for ten seconds; the others for two.
FIRST_HAND = ('fetch', 'imap', 'grammar', 'pack', 'index', 'archive', 'manifest', 'job', 'csv', 'proxy', 'http', 'http_talk', 'xml')
STATUS = re.compile(r'#(\d+)\s+\w+\s+cov: (\d+) .*corp: (\d+)')


def targets():
    listed = subprocess.run([PROGRAMS + '/fuzz'], stdout=subprocess.PIPE, check=True, text=True)
    return listed.stdout.split()


def command(name, *options):
    os.makedirs(WORK % name, exist_ok=True)
    dictionary = ['-dict=' + DICTIONARIES[name]] if name in DICTIONARIES else []
    # An input is done in milliseconds, under sanitizers on a slow machine; a minute is no end.
    return [PROGRAMS + '/' + name, '-max_len=%d' % BYTES_MAX.get(name, 4096), '-timeout=60', '-rss_limit_mb=1536',
            '-artifact_prefix=%s/' % (WORK % name), *dictionary, *options]


def inputs(name):
    """Where inputs lie that are read and not written."""
    return [folder for folder in (CORPUS % name, '%s/%s' % (SEEDS, name)) if os.path.isdir(folder)]


class Run:
    """One process of libFuzzer, watched line by line."""

    def __init__(self, line):
        self.begun = self.new_edge_at = time.monotonic()
        self.executions = self.edges = self.kept = self.stale = 0
        self.tail, self.log = [], line
        self.process = subprocess.Popen(line, env={**os.environ, 'UBSAN_OPTIONS': 'print_stacktrace=1'}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, errors='replace')

    def take(self, line):
        self.tail = (self.tail + [line])[-60:]
        found = STATUS.match(line)
        if not found:
            return
        self.executions, self.kept = int(found[1]), int(found[3])
        if int(found[2]) > self.edges:
            self.edges, self.new_edge_at = int(found[2]), time.monotonic()

    def seconds(self):
        return time.monotonic() - self.begun

    def quiet(self):
        return time.monotonic() - self.new_edge_at

    def follow(self, shown):
        for line in self.process.stderr:
            self.take(line)
            if shown and STATUS.match(line) and 'REDUCE' not in line and '\tNEW' not in line:
                print(line, end='', flush=True)
        self.process.wait()
        return self.process.returncode

    def figures(self):
        return '%d executions in %d s, %d edges, %d inputs kept, last new edge %d s before the end' % (
            self.executions, self.seconds(), self.edges, self.kept, self.quiet())


def told(run, name):
    """What is known of a fault."""
    text = ''.join(run.tail)
    artifact = re.search(r'Test unit written to (\S+)', text)
    return '%s    repeat: %s\n' % (text, '%s/%s %s' % (PROGRAMS, name, artifact[1]) if artifact else ' '.join(run.log))


def campaign(name, seconds, quiet):
    os.nice(19)
    found = WORK % name + '/corpus'
    os.makedirs(found, exist_ok=True)
    total = Run(command(name, '-runs=0', found, *inputs(name)))
    total.follow(False)
    executions, begun, last = 0, time.monotonic(), time.monotonic()
    while True:
        # In slices, so that quiet can be asked for; each starts from what was found.
        left = seconds - (time.monotonic() - begun)
        slice_s = max(1, min(left, 300)) if left > 0 else max(30, quiet - (time.monotonic() - last))
        run = Run(command(name, '-max_total_time=%d' % slice_s, found, *inputs(name)))
        known, code = total.edges, run.follow(True)
        executions += run.executions
        if run.edges > known:
            total, last = run, run.new_edge_at
        if code:
            print(told(run, name))
            print('FAIL fuzz %s: %s' % (name, run.figures()))
            return False
        if time.monotonic() - begun >= seconds and time.monotonic() - last >= quiet:
            break
    print('fuzz %s: %d executions in %d s, %d edges, last new edge %d s before the end, no fault' % (
        name, executions, time.monotonic() - begun, total.edges, time.monotonic() - last))
    return True


def minimise(name):
    """What has edges that the seeds do not have, by as few inputs as possible; not while a campaign goes on. Inputs with a
    name of their own (not a hash) are faults of the past and stay as they are."""
    new, corpus, seeds = WORK % name + '/minimal', CORPUS % name, '%s/%s' % (SEEDS, name)
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(corpus, exist_ok=True)
    shutil.copytree(seeds, new)
    found = [folder for folder in (corpus, WORK % name + '/corpus') if os.path.isdir(folder)]
    run = Run(command(name, '-set_cover_merge=1', '-use_counters=0', new, *found))
    if run.follow(False):
        print(told(run, name))
        return False
    for path in filter(is_hash, glob.glob(corpus + '/*')):
        os.remove(path)
    for path in filter(is_hash, glob.glob(new + '/*')):
        shutil.copy(path, corpus)
    files = glob.glob(corpus + '/*')
    print('%s: %d inputs, %d bytes' % (corpus, len(files), sum(map(os.path.getsize, files))))
    return True


def is_hash(path):
    return re.fullmatch('[0-9a-f]{40}', os.path.basename(path))


def check_one(name, seconds):
    found = WORK % name + '/check'
    shutil.rmtree(found, ignore_errors=True)
    os.makedirs(found)
    # Always the same dice, so that a tree that passed does not fail the next time; campaigns have others.
    run = Run(command(name, '-seed=1', '-max_total_time=%d' % seconds, found, *inputs(name)))
    code = run.follow(False)
    shutil.rmtree(found, ignore_errors=True)
    if code or not run.executions:
        return '%sFAIL fuzz_%s: exit %s' % (told(run, name), name, code), False
    return 'PASS fuzz_%s (%s)' % (name, run.figures()), True


def check(seconds):
    names = targets()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda name: check_one(name, seconds or (10 if name in FIRST_HAND else 2)), names))
    for text, _ in results:
        print(text)
    return all(good for _, good in results)


def main(arguments):
    os.chdir(ROOT)
    if not arguments:
        print('make fuzz F=NAME T=SECONDS, where NAME is one of:\n  ' + '\n  '.join(targets()))
        return True
    subprocess.run(['tests/fuzz/seeds', SEEDS], check=True)
    if arguments[0] == '--minimise':
        return all(minimise(name) for name in arguments[1:])
    if arguments[0] == '--check':
        return check(int(arguments[1]) if len(arguments) > 1 else 0)
    if arguments[0] not in targets():
        print('there is no fuzz target "%s"; make fuzz lists them' % arguments[0])
        return False
    return campaign(arguments[0], int(arguments[1]) if len(arguments) > 1 else 60, int(os.environ.get('QUIET', '0')))


if __name__ == '__main__':
    sys.exit(0 if main(sys.argv[1:]) else 1)

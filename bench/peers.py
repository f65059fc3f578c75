"""What benches beside the programs of others share: their Debian packages, unpacked below build/peers and never installed; a command run
and measured; who used the cores meanwhile."""
import collections, glob, os, signal, subprocess, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORES, TICKS, PATIENCE = len(os.sched_getaffinity(0)), os.sysconf('SC_CLK_TCK'), 900
Figures = collections.namedtuple('Figures', 'wall client servers steal others idle arrived')


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as file:
        file.write(text)
    return path


def root_of(peer):
    return '%s/build/peers/%s/root' % (ROOT, peer)


def library_path():
    return ':'.join(glob.glob(ROOT + '/build/peers/*/root/usr/lib/*-linux-gnu'))


def unpack(peer, packages):
    """Whether there is this peer; fetched by apt and unpacked where it is not."""
    root = os.path.dirname(root_of(peer))
    if packages and not os.path.exists(root + '/ready'):
        os.makedirs(root + '/packages', exist_ok=True)
        planned = subprocess.run(['apt-get', '-s', '--no-install-recommends', 'install', '--reinstall', *packages], capture_output=True, text=True)
        names = [row.split()[1] for row in planned.stdout.splitlines() if row.startswith('Inst')]
        names = [name for name in names if name not in ('perl', 'perl-base', 'perl-modules-5.36') and not name.startswith('libperl5')]
        got = subprocess.run(['apt-get', 'download', '-qq', *names], cwd=root + '/packages', capture_output=True, text=True) if names else planned
        for package in glob.glob(root + '/packages/*.deb'):
            subprocess.run(['dpkg', '-x', package, root_of(peer)], check=True)
        if not names or got.returncode:
            print('SKIP %s: no Debian packages of it to be had: %s' % (peer, (got.stderr.strip().splitlines() or [''])[-1]))
            return False
        open(root + '/ready', 'w').close()
    return True


# ---- measuring ----

def cpu_of_tree(master):
    """Seconds of a process and all below it, those that have ended too: what a process used is its parent's once that has waited for it."""
    parents, used = {}, {}
    for path in glob.glob('/proc/[0-9]*/stat'):
        try:
            row = open(path).read().rpartition(')')[2].split()
        except OSError:
            continue
        pid = int(path.split('/')[2])
        parents[pid], used[pid] = int(row[1]), sum(map(int, row[11:15]))
    mine = {master}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(used.get(pid, 0) for pid in mine) / TICKS


def cores_so_far():
    """Seconds of all cores: (busy, steal, idle)."""
    row = [int(n) / TICKS for n in open('/proc/stat').readline().split()[1:]]
    return row[0] + row[1] + row[2] + row[5] + row[6], row[7], row[3] + row[4]


def measured(servers, act):
    """act() gives (wall, client CPU)."""
    before, (busy, steal, idle) = sum(s.cpu() for s in servers), cores_so_far()
    wall, client = act()
    now_busy, now_steal, now_idle = cores_so_far()
    used = sum(s.cpu() for s in servers) - before
    return Figures(wall, client, used, now_steal - steal, max(0, now_busy - busy - client - used), now_idle - idle, 0)


def run(command, environment=()):
    """(wall, CPU) of a command. What it said is shown when it failed."""
    begun = time.monotonic()
    with tempfile.TemporaryFile('w+') as told:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True,
                                   env={**os.environ, 'LD_LIBRARY_PATH': library_path(), **dict(environment)})
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
        signal.alarm(PATIENCE)
        _, status, used = os.wait4(process.pid, 0)
        signal.alarm(0)
        wall, process.returncode = time.monotonic() - begun, os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            print('   (%s ended with %d: %s)' % (os.path.basename(command[0]), process.returncode, told.read()[-600:]))
    return wall, used.ru_utime + used.ru_stime

#!/usr/bin/env python3
"""What the compiler does not check: the layers' arrows, the libraries' doors, calls that are banned, how
files look. Prints PASS or FAIL lint_RULE for each rule, with file:line of every finding.

    tools/lint.py [--all] [ROOT] check a tree; --all prints every finding, not 20 of a rule
    tools/lint.py --self-test    plant one fault for each rule and expect it to be found
"""
import os
import re
import sys
import tempfile

LAYERS = {'engine': 0, 'crypto': 1, 'transport': 2, 'tools': 3}
# Steps inside the engine: downward or within one step. The clock stands at the bottom because it is a
# door that needs nothing, and log lines carry a time; the pipe hands over items, so it stands beside mail.
STEPS = [
    'base err bytes limits budget clock log stats opt scratch window window_parse window_zone pace notify sample',
    'ring topology topology_quota confine helper',
    'deadline stack fiber shard offload chunk io',
    'stream',
    'mail source sink pipe filter',
    'job batch batch_show batch_state backoff lane suspect retry rate ration govern ledger recheck',
]
STEP_OF = {name: step for step, names in enumerate(STEPS) for name in names.split()}

# Header prefix: the files that may include it (a trailing * stands for the rest of a name).
DOORS = {
    'liburing': ['engine/ring_uring.c', 'engine/ring_pool.*', 'engine/ring_refuse.c', 'tools/version.c'],
    'linux/io_uring': ['engine/ring_*', 'engine/confine.c'],
    'hwloc': ['engine/topology.c', 'tools/version.c'],
    'seccomp': ['engine/confine.c', 'tools/version.c'],
    'sqlite3': ['engine/ledger_sqlite*', 'tools/version.c'],
    'openssl/': ['transport/tls.c', 'transport/tls_show.*', 'crypto/digest.c', 'crypto/aead.c', 'crypto/jwt.c', 'crypto/md5.c', 'crypto/sigv4.c', 'tools/version.c'],
    'sodium': ['crypto/base64.c', 'crypto/digest.c', 'crypto/secret.c', 'crypto/salted_id.c', 'tools/version.c'],
    'zstd': ['crypto/zstd_stage.c', 'tools/version.c'],
    'zlib': ['transport/deflate.c', 'tools/version.c'],
    'expat': ['transport/xml.c', 'tools/version.c'],
    'libetpan': ['transport/imap.c', 'tools/version.c'],
    'blake3': ['crypto/digest.c'],
    'netdb': ['transport/resolve.c'],
    'pthread': ['engine/offload.c', 'engine/shard.c', 'crypto/*', 'transport/tls.c', 'engine/ring_uring.c',
                'engine/fiber.c', 'engine/stack.c', 'engine/log.c', 'engine/pace.c', 'engine/batch*', 'engine/govern.c',
                'engine/ledger.c', 'transport/store_lock.c', 'transport/bucket_stored.c', 'transport/aws_credentials.c', 'tools/aws_record.c', 'tools/run*'],
    'microhttpd': ['tools/metrics.c', 'tools/version.c'],
    'cyaml': ['tools/job_file.c', 'tools/version.c'],
    'yaml.h': ['tools/job_file_check.c', 'tools/version.c'],
}

UNSAFE = ('strcpy strcat strncat stpcpy sprintf vsprintf gets alloca system popen tmpnam mktemp atoi atol '
          'atof strtok asctime ctime localtime gethostbyname inet_ntoa setjmp longjmp')
CLOCK = ('clock_gettime gettimeofday time getrandom getentropy arc4random rand srand random srandom '
         'drand48 sleep usleep nanosleep')
# Calls that reach the kernel for files and sockets. They block, and tests/sim does not see them.
KERNEL = ('open openat creat read pread write pwrite fsync fdatasync rename renameat unlink unlinkat mkdir '
          'opendir connect send sendmsg recv recvmsg accept bind listen select poll epoll_wait fopen')
KERNEL_ALLOWED = ['engine/ring*', 'engine/offload.c', 'engine/log.c', 'engine/ledger_sqlite*',
                  'crypto/secret.c', 'engine/topology*', 'engine/notify.c', 'engine/scratch.c', 'engine/confine.c',
                  'engine/helper.c', 'tools/*']

# A .c without a .h of its own: its declarations stand in the header of the longest prefix of its name
# (ledger_sqlite_read.c: ledger_sqlite.h), or here.
HEADERLESS = {'tools/main.c': None}
for command in 'copy config list extract run topology verify rollback unwrap status providers version'.split():
    HEADERLESS['tools/%s.c' % command] = 'tools/commands.h'

UNFINISHED = re.compile(r'\b(%s)\b' % '|'.join(['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK']))
TEXT_ENDS = ('.c', '.h', '.S', '.def', '.py', '.md', '.sh', '.wire', '.yml', '.yaml', '.txt')
COLUMNS_MAX = 100
BINARY_BYTES_MAX = 64 * 1024


# ---- reading ----

def blank(match):
    """Something of the same number of lines and no content."""
    text = match.group(0)
    if text.startswith(('"', "'")):
        return text[0] * 2
    return '\n' * text.count('\n') + ' '


def code_of(text):
    """C without its comments, with empty strings."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


class Tree:
    def __init__(self, root):
        self.root = root
        self.files = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if f not in ('build', '.git', '__pycache__'))
            for name in sorted(names):
                self.files.append(os.path.relpath(os.path.join(folder, name), root))
        self.texts, self.codes = {}, {}

    def text(self, path):
        if path not in self.texts:
            with open(os.path.join(self.root, path), 'rb') as f:
                self.texts[path] = f.read().decode('utf-8', 'replace')
        return self.texts[path]

    def code(self, path):
        if path not in self.codes:
            self.codes[path] = code_of(self.text(path))
        return self.codes[path]

    def source(self, *folders):
        """C files, of these top folders if any are given."""
        return [p for p in self.files if p.endswith(('.c', '.h')) and
                (not folders or p.split(os.sep)[0] in folders)]

    def product(self):
        return self.source(*LAYERS)

    def includes(self, path):
        """(line, name, quoted) of each #include, read from the text because code has no strings."""
        for number, line in enumerate(self.text(path).split('\n'), 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if match:
                yield number, match.group(2), match.group(1) == '"'


def allowed(path, patterns):
    return any(path == p or (p.endswith('*') and path.startswith(p[:-1])) for p in patterns)


def calls(tree, path, names):
    """(line, name, where the arguments begin) of calls of plain functions of these names."""
    pattern = re.compile(r'(?<![\w.>*])(%s)\s*\(' % '|'.join(names.split()))
    code = tree.code(path)
    for match in pattern.finditer(code):
        before = code[max(0, match.start() - 200):match.start()].rstrip()
        # A definition or declaration has a type before the name.
        word = re.search(r'(\w+)$', before)
        if word and word.group(1) not in ('return', 'else', 'do', 'case', 'sizeof'):
            continue
        yield code.count('\n', 0, match.start()) + 1, match.group(1), match.end()


# ---- rules: each yields "file:line: what" ----

def layers(tree):
    """Includes point down: engine, crypto, transport, tools; nothing of the product includes tests."""
    for path in tree.product():
        layer = LAYERS[path.split(os.sep)[0]]
        for line, name, quoted in tree.includes(path):
            top = name.split('/')[0]
            if quoted and (top in ('tests', 'bench') or LAYERS.get(top, -1) > layer):
                yield '%s:%d: %s includes %s' % (path, line, path.split(os.sep)[0], name)
            elif quoted and '/' not in name and not name.startswith(tuple(DOORS)):
                yield '%s:%d: "%s" is written without its folder' % (path, line, name)


def step_of(path):
    """By the longest known beginning of a file's name: ring_uring is ring's."""
    name = os.path.splitext(os.path.basename(path))[0]
    while name and name not in STEP_OF:
        name = name.rpartition('_')[0]
    return STEP_OF.get(name)


def steps(tree):
    """Inside the engine includes point to the same or a lower step."""
    for path in tree.source('engine'):
        mine = step_of(path)
        if mine is None:
            yield '%s:1: belongs to no step; name it after one, or add it to STEPS' % path
            continue
        for line, name, quoted in tree.includes(path):
            if quoted and name.startswith('engine/') and (step_of(name) or 0) > mine:
                yield '%s:%d: step %d includes %s of step %d' % (path, line, mine, name, step_of(name))


def doors(tree):
    """Each foreign library has its doors and is included nowhere else."""
    for path in tree.product():
        for line, name, _ in tree.includes(path):
            for prefix, files in DOORS.items():
                if name.startswith(prefix) and not allowed(path, files):
                    yield '%s:%d: <%s> belongs behind %s' % (path, line, name, ', '.join(files))


def cycles(tree):
    """No header includes itself over others."""
    graph = {p: [n for _, n, quoted in tree.includes(p) if quoted] for p in tree.source()
             if p.endswith('.h')}
    done, trail = set(), []

    def visit(path):
        if path in trail:
            yield '%s:1: %s' % (path, ' -> '.join(trail[trail.index(path):] + [path]))
        elif path in graph and path not in done:
            trail.append(path)
            for name in graph[path]:
                yield from visit(name)
            trail.pop()
            done.add(path)

    for path in graph:
        yield from visit(path)


def pairs(tree):
    """A .c has its .h, or its declarations stand in the header of a prefix of its name."""
    there = set(tree.files)
    for path in tree.product():
        if not path.endswith('.c') or path in HEADERLESS:
            continue
        folder, name = os.path.split(path[:-2])
        while name and os.path.join(folder, name + '.h') not in there:
            name = name.rpartition('_')[0]
        if not name:
            yield '%s:1: there is no header for it' % path


def unsafe_calls(tree):
    """Functions that write without a bound, keep hidden state or start a shell."""
    for path in tree.source():
        names = UNSAFE
        if path.startswith(('tests', 'bench')):  # they may start servers and pick strings apart
            names = ' '.join(n for n in UNSAFE.split() if n not in ('system', 'popen', 'strtok', 'atoi'))
            names = names.replace('strcpy ', '')
        for line, name, _ in calls(tree, path, names):
            yield '%s:%d: %s()' % (path, line, name)


def clock_door(tree):
    """Time and randomness come through engine/clock.h."""
    for path in tree.product():
        if path != 'engine/clock.c':
            for line, name, _ in calls(tree, path, CLOCK):
                yield '%s:%d: %s() outside engine/clock.c' % (path, line, name)


def kernel_door(tree):
    """Files and sockets come through engine/ring.h."""
    for path in tree.product():
        if not allowed(path, KERNEL_ALLOWED):
            for line, name, _ in calls(tree, path, KERNEL):
                if re.search(r'\(\*\s*%s\)\s*\(' % name, tree.code(path)):
                    continue  # a function that was handed in under this name
                yield '%s:%d: %s() outside the ring' % (path, line, name)


def connect_door(tree):
    """Connections are made where the residency policy is asked: transport/dial.c. The other file reaches
    addresses of this machine and its hypervisor only."""
    for path in tree.product():
        if not allowed(path, ('engine/io*', 'transport/dial.c', 'transport/aws_local.c')):
            for line, name, _ in calls(tree, path, 'io_connect io_connect_from'):
                yield '%s:%d: %s() outside transport/dial.c' % (path, line, name)


def last_argument(code, begin):
    depth, last = 1, begin
    for at in range(begin, len(code)):
        if code[at] in '([{':
            depth += 1
        elif code[at] in ')]}':
            depth -= 1
            if not depth:
                return code[last:at]
        elif code[at] == ',' and depth == 1:
            last = at + 1
    return code[last:]


def is_constant(expression):
    """Numbers, sizeof, constants in capitals and arithmetic on them."""
    rest = re.sub(r'\bsizeof\s*(\([^()]*\)|[\w.>\[\]*-]+)', '', expression)
    return re.sub(r'\b[A-Z][A-Z0-9_]*\b|\b[0-9][0-9a-fA-FxuUlL]*\b|[-+*/()\s]', '', rest) == ''


def payload_copies(tree):
    """memcpy and memmove of variable length are in engine/bytes.c only: copies are counted."""
    for path in tree.product():
        if path != 'engine/bytes.c':
            for line, name, begin in calls(tree, path, 'memcpy memmove mempcpy'):
                length = last_argument(tree.code(path), begin)
                if not is_constant(length):
                    yield '%s:%d: %s() of %s bytes; use bytes_copy or bytes_move' % (
                        path, line, name, ' '.join(length.split()))


def struct_typedefs(tree):
    """A struct, union or enum is called so where it is used; function types may have names."""
    for path in tree.source():
        for match in re.finditer(r'\btypedef\s+(struct|union|enum)\b[^;({]*[;{]', tree.code(path)):
            yield '%s:%d: typedef of a %s' % (path, tree.code(path).count('\n', 0, match.start()) + 1,
                                              match.group(1))


def goto_forward(tree):
    """goto goes forward, to a label of the same function."""
    for path in tree.product():
        lines = tree.code(path).split('\n')
        for number, line in enumerate(lines, 1):
            for label in re.findall(r'\bgoto\s+(\w+)\s*;', line):
                rest = lines[number:]
                end = rest.index('}') if '}' in rest else len(rest)
                if not any(re.match(r'\s*%s\s*:' % label, later) for later in rest[:end]):
                    yield '%s:%d: goto %s goes back' % (path, number, label)


def columns(tree):
    """Lines end before column 100, tabs counted as 8."""
    for path in tree.source() + [p for p in tree.files if p.endswith(('.S', '.def'))]:
        for number, line in enumerate(tree.text(path).split('\n'), 1):
            width = len(line.expandtabs(8))
            if width > COLUMNS_MAX:
                yield '%s:%d: %d columns' % (path, number, width)


def texts(tree):
    for path in tree.files:
        if path.endswith(TEXT_ENDS) or os.path.basename(path) == 'Makefile':
            yield path


def trailing_space(tree):
    """No line ends in white space, and each file with the end of a line."""
    for path in texts(tree):
        text = tree.text(path)
        for number, line in enumerate(text.split('\n'), 1):
            if line != line.rstrip(' \t\r') and not path.endswith(('.wire', '.txt')):
                yield '%s:%d: white space at the end' % (path, number)
        if text and not text.endswith('\n'):
            yield '%s:%d: the last line has no end' % (path, text.count('\n') + 1)


def unfinished(tree):
    """What is left to do stands in the tracker."""
    for path in texts(tree):
        for number, line in enumerate(tree.text(path).split('\n'), 1):
            match = UNFINISHED.search(line)
            if match:
                yield '%s:%d: %s' % (path, number, match.group(1))


def stray_binaries(tree):
    """What is built is not kept: no binary file over 64 KiB."""
    for path in tree.files:
        full = os.path.join(tree.root, path)
        if os.path.islink(full) or os.path.getsize(full) <= BINARY_BYTES_MAX:
            continue
        with open(full, 'rb') as f:
            if b'\0' in f.read(8192):
                yield '%s:1: a binary file of %d bytes' % (path, os.path.getsize(full))


RULES = [layers, steps, doors, cycles, pairs, unsafe_calls, clock_door, kernel_door, connect_door, payload_copies,
         struct_typedefs, goto_forward, columns, trailing_space, unfinished, stray_binaries]


# ---- the two uses ----

def check(root, shown):
    tree, failed = Tree(root), False
    for rule in RULES:
        findings = list(rule(tree))
        for finding in findings[:shown]:
            print('  ' + finding)
        if len(findings) > shown:
            print('  ... and %d more: tools/lint.py --all' % (len(findings) - shown))
        print('%s lint_%s%s' % ('FAIL' if findings else 'PASS', rule.__name__,
                                ' (%d)' % len(findings) if findings else ''))
        failed |= bool(findings)
    return failed


# A tree without a fault, each line close to one that would be.
SOUND = {
    'engine/base.h': '/* memcpy(a, b, n); time(NULL) */\n',
    'engine/err.h': '#include "engine/base.h"\ntypedef enum err call(struct x *);\n',
    'engine/ring.h': '#include "engine/err.h"\n',
    'engine/ring_uring.c': '#include "engine/ring.h"\n#include <liburing.h>\nint read(int);\n',
    'engine/bytes.h': '#include "engine/base.h"\n',
    'engine/bytes.c': '#include "engine/bytes.h"\nvoid f(void)\n{\n\tmemcpy(a, b, n);\n}\n',
    'engine/mail.h': '#include "engine/stream.h"\n',
    'engine/stream.h': '#include "engine/err.h"\n',
    'engine/stream.c': ('#include "engine/stream.h"\nint f(void)\n{\n\tif (x)\n\t\tgoto out;\n'
                        '\tmemcpy(a, b, sizeof(struct item) + 2 * HEAD_BYTES);\n\tmemcpy(a, "f(n)", 4);\n'
                        '\ts->type->open(s);\n\tprint_time(2);\nout:\n\treturn 0;\n}\n'),
    'crypto/digest.h': '#include "engine/base.h"\n',
    'crypto/digest.c': ('#include "crypto/digest.h"\n#include "blake3.h"\n'
                        'int f(int (*write)(int))\n{\n\treturn write(1);\n}\n'),
    'transport/dial.c': 'void f(void)\n{\n\te = io_connect(&a, 16, until, &fd);\n}\n',
    'transport/dial.h': '#include "engine/mail.h"\n',
    'transport/tls.h': '#include "engine/mail.h"\n',
    'transport/tls.c': '#include "transport/tls.h"\n#include <openssl/ssl.h>\n',
    'tools/copy.c': '#include "transport/tls.h"\nchar text[] = "strcpy(a, b)";\n',
    'tests/one_test.c': '#include "tools/commands.h"\nint x = 0x1000; /* mkdtemp "-XXXXXX" */\n',
    'docs/HACKING.md': 'How to work on it.\n',
}
# For each rule, files that hold a fault of that kind; each alone must be found.
FAULTS = {
    'layers': [('engine/err.c', '#include "crypto/digest.h"\n'), ('tools/copy.c', '#include "tests/test.h"\n'),
               ('crypto/digest.h', '#include "transport/tls.h"\n'), ('tools/copy.c', '#include "url.h"\n')],
    'steps': [('engine/ring_uring.c', '#include "engine/fiber.h"\n'), ('engine/odd.h', '\n'),
              ('engine/stream.h', '#include "engine/mail.h"\n')],
    'doors': [('transport/conn.c', '#include <openssl/ssl.h>\n'), ('engine/io.c', '#include <liburing.h>\n'),
              ('tools/copy.c', '#include <sqlite3.h>\n'), ('crypto/crc.c', '#include "blake3.h"\n'), ('transport/imap_fetch.c', '#include <libetpan/x.h>\n'),
              ('transport/xml_form.c', '#include <expat.h>\n')],
    'cycles': [('engine/base.h', '#include "engine/err.h"\n')],
    'pairs': [('transport/lonely.c', 'int x;\n'), ('tools/extra_tool.c', 'int x;\n')],
    'unsafe_calls': [('engine/err.c', 'void f(void)\n{\n\tstrcpy(a, b);\n}\n'),
                     ('tests/two_test.c', 'void f(void)\n{\n\tsprintf(a, b);\n}\n'),
                     ('tools/copy.c', 'int f(void)\n{\n\treturn system("ls");\n}\n')],
    'clock_door': [('engine/io.c', 'void f(void)\n{\n\tx = time(NULL);\n}\n'),
                   ('tools/copy.c', 'int f(void)\n{\n\treturn rand();\n}\n')],
    'kernel_door': [('transport/store_dir.c', 'void f(void)\n{\n\tfd = open(path, 0);\n}\n'),
                    ('engine/lane.c', 'int f(void)\n{\n\tif (fsync(fd))\n\t\treturn 1;\n}\n')],
    'connect_door': [('transport/imap_session.c', 'void f(void)\n{\n\te = io_connect(&a, 16, until, &fd);\n}\n')],
    'payload_copies': [('engine/pipe.c', 'void f(void)\n{\n\tmemcpy(to, from, n);\n}\n'),
                       ('crypto/x.c', 'void f(void)\n{\n\tmemmove(to, g(a, b),\n\t\tsizeof x + strlen(y));\n}\n')],
    'struct_typedefs': [('engine/err.h', 'typedef struct err err_t;\n'),
                        ('engine/err.h', 'typedef enum {\n\tA\n} a;\n')],
    'goto_forward': [('engine/err.c', 'void f(void)\n{\nagain:\n\tgoto again;\n}\nvoid g(void)\n{\nagain:\n}\n')],
    'columns': [('tests/two_test.c', '\t' * 11 + 'x' * 13 + '\n')],
    'trailing_space': [('docs/HACKING.md', 'a \n'), ('engine/err.c', 'int x;\t\n'), ('engine/err.c', 'int x;')],
    'unfinished': [('engine/err.c', '/* %s later */\n' % ('TO' + 'DO')), ('docs/HACKING.md', 'FIX' + 'ME\n')],
    'stray_binaries': [('tests/core', '\0' * (BINARY_BYTES_MAX + 1))],
}


def plant(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w') as f:
            f.write(text)


def found_in(rule, files):
    with tempfile.TemporaryDirectory() as root:
        plant(root, files)
        return list(rule(Tree(root)))


def self_test():
    failed = False
    for rule in RULES:
        name = rule.__name__
        false = found_in(rule, SOUND)
        missed = [path for path, text in FAULTS[name] if not found_in(rule, {**SOUND, path: text})]
        for finding in false:
            print('  found in a sound tree: ' + finding)
        for path in missed:
            print('  not found: the fault planted in ' + path)
        print('%s lint_finds_%s_and_nothing_else' % ('FAIL' if false or missed else 'PASS', name))
        failed |= bool(false or missed)
    return failed


if __name__ == '__main__':
    if sys.argv[1:] == ['--self-test']:
        sys.exit(self_test())
    arguments = [a for a in sys.argv[1:] if a != '--all']
    sys.exit(check(arguments[0] if arguments else os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                   sys.maxsize if '--all' in sys.argv else 20))

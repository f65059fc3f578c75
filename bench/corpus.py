"""Mail for bench/transfer: the same bytes in each run of the same Python, because sizes, words and flags follow from a seed.

SETS: small has 10,000 messages of 5 KB in the middle and 16 KB on the average, mixed 5,000 of 12 KB and 70 KB, tiny 1,000 as
small; all in five folders. `one` is one message, `box` 1,000 of them in the INBOX alone."""
import base64, math, random

FOLDERS = ['INBOX', 'Sent', 'Archive', 'Projects', 'Trash']
SHARES = [40, 20, 20, 15, 5]
#       messages, median, sigma of the logarithm, most bytes, folders
SETS = {'small': (10000, 5200, 1.50, 2000000, 5), 'mixed': (5000, 12000, 1.90, 20000000, 5),
        'tiny': (1000, 5200, 1.50, 2000000, 5), 'box': (1000, 5200, 1.50, 2000000, 1), 'one': (1, 5200, 0, 5200, 1)}
FLAGS = [('\\Seen', .8), ('\\Answered', .25), ('\\Flagged', .08), ('$Forwarded', .08), ('todo', .04)]
WORDS = 'the of and mail to in is that contract meeting was for on budget are as with they at be this from invoice'.split()
POOL_BYTES = 1 << 20


def pools(dice):
    """Lines of words, and of what attachments look like: messages are cut from these."""
    text = bytearray()
    while len(text) < POOL_BYTES:
        text += ' '.join(dice.choice(WORDS) for _ in range(dice.randrange(6, 13))).encode() + b'\r\n'
    coded = base64.b64encode(dice.randbytes(POOL_BYTES))
    return bytes(text), b'\r\n'.join(coded[i:i + 76] for i in range(0, len(coded), 76)) + b'\r\n'


def lines(dice, pool, size):
    """About so many bytes of whole lines of a pool."""
    parts = []
    while size > 0:
        begin = pool.index(b'\n', dice.randrange(len(pool) - 200)) + 1
        end = pool.find(b'\n', begin + size) + 1 or len(pool)
        parts.append(pool[begin:end])
        size -= end - begin
    return b''.join(parts)


def message(dice, number, size, text, coded):
    head = ['Return-Path: <sender%d@example.com>' % dice.randrange(1000)]
    for hop in range(dice.randrange(1, 4)):
        head.append('Received: from mx%d.example.net (192.0.2.%d)\r\n\tby mail.example.com with ESMTPS id %X;\r\n\tFri, 05 Jan 2024 10:00:%02d +0000'
                    % (hop, dice.randrange(250), dice.getrandbits(48), hop))
    head += ['From: Sender <sender%d@example.com>' % dice.randrange(1000), 'To: reader@example.org',
             'Subject: ' + ' '.join(dice.choice(WORDS) for _ in range(5)), 'Date: Fri, 05 Jan 2024 10:00:00 +0000',
             'Message-ID: <%x.%d@example.com>' % (dice.getrandbits(64), number), 'MIME-Version: 1.0']
    if size < 8000:
        head.append('Content-Type: text/plain; charset=utf-8')
        return '\r\n'.join(head).encode() + b'\r\n\r\n' + lines(dice, text, max(100, size - 700))
    head.append('Content-Type: multipart/mixed; boundary="cut"')
    return (b'\r\n'.join(['\r\n'.join(head).encode(), b'', b'--cut', b'Content-Type: text/plain', b'', lines(dice, text, 1500),
                          b'--cut', b'Content-Type: application/octet-stream; name="a.bin"', b'Content-Transfer-Encoding: base64', b'',
                          lines(dice, coded, size - 2600)]) + b'--cut--\r\n')


def corpus(name):
    """[(folder, flags, date, bytes)], folder by folder."""
    count, median, sigma, most, folders = SETS[name]
    dice = random.Random('mailhaul ' + name)
    text, coded = pools(dice)
    mail = []
    for number in range(count):
        folder = dice.choices(FOLDERS[:folders], SHARES[:folders])[0]
        size = int(min(most, max(900, median * math.exp(sigma * dice.gauss(0, 1)))))
        flags = [flag for flag, share in FLAGS if dice.random() < share]
        date = '%02d-Mar-20%02d %02d:%02d:%02d +0100' % (dice.randrange(1, 29), dice.randrange(5, 25), *(dice.randrange(n) for n in (24, 60, 60)))
        mail.append((folder, ' '.join(flags), date, message(dice, number, size, text, coded)))
    return sorted(mail, key=lambda m: FOLDERS.index(m[0]))

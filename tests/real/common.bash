# What the servers of our own (dovecot, cyrus, courier, radosgw) have in common; sourced, not run. Their packages are
# unpacked below build/ and never installed. Sets `here`, `top`.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)

unpack_packages() { # ROOT LEAVE_OUT PACKAGE...: fetch with what they need and unpack below ROOT/root, once
	local root=$1 leave_out=$2 names
	shift 2
	[ -e "$root/ready" ] && return
	mkdir -p "$root/packages"
	(
		cd "$root/packages"
		names=$(apt-get -s --no-install-recommends install "$@" 2>/dev/null |
			awk -v leave_out="$leave_out" '/^Inst/ && $2 !~ leave_out {print $2}')
		apt-get download -qq "$@" $names 2>/dev/null
		for p in *.deb; do dpkg -x "$p" "$root/root"; done
		rm -f ./*.deb
		if [ -d "$root/root/lib" ]; then cp -a "$root/root/lib" "$root/root/usr/"; fi # /lib is there on this machine, too
	)
	touch "$root/ready"
}

make_password() { # FILE
	[ -s "$1" ] || (umask 077 && head -c 12 /dev/urandom | base64 | tr '+/' 'xy' >"$1")
}

certificates() { # DIR [NAME...]: a CA and a certificate for localhost, 127.0.0.1, ::1 and more names
	[ -s "$1/tls/server.pem" ] && return
	local IFS= names=("${@:2}")
	mkdir -p "$1/tls"
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=mailhaul test CA" -keyout "$1/tls/ca.key" -out "$1/tls/ca.pem" \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign,cRLSign 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout "$1/tls/server.key" -out "$1/tls/server.csr" 2>/dev/null
	printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' \
		"${names[*]/#/,DNS:}" >"$1/tls/extensions"
	openssl x509 -req -in "$1/tls/server.csr" -CA "$1/tls/ca.pem" -CAkey "$1/tls/ca.key" -CAcreateserial -days 30 \
		-extfile "$1/tls/extensions" -out "$1/tls/server.pem" 2>/dev/null
	chmod 644 "$1"/tls/*
	rm -f "$1/tls/ca.key"
}

# Below what the kernel gives to connections: a server that was killed finds its port free when it comes again.
free_ports() { # COUNT
	python3 -c 'import random, socket, sys
first = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
found = []
while len(found) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(first // 2, first)))
        found.append(s)
    except OSError:
        pass
print(*[s.getsockname()[1] for s in found])' "$1"
}

greets() { # PORT CA
	timeout 5 python3 -c 'import imaplib, ssl, sys
imaplib.IMAP4_SSL("localhost", int(sys.argv[1]), ssl_context=ssl.create_default_context(cafile=sys.argv[2])).logout()' "$1" "$2" 2>/dev/null
}

greets_https() { # PORT CA: the same of a web server; it makes this its own `greets`
	timeout 5 python3 -c 'import ssl, sys, urllib.request
urllib.request.urlopen("https://localhost:" + sys.argv[1], timeout=5, context=ssl.create_default_context(cafile=sys.argv[2]))' "$1" "$2" 2>/dev/null
}

is_up() { # PIDFILE PORT CA: within ten seconds
	for ((i = 0; i < 100; i++)); do
		if [ -s "$1" ] && greets "$2" "$3"; then return; fi
		sleep 0.1
	done
	return 1
}

runs() { # PID: and is no corpse that nobody has buried yet
	grep -qs '^State:.[^Z]' "/proc/$1/status"
}

stop_process() { # PIDFILE: ask, then insist after five seconds
	local pid
	[ -s "$1" ] || return 0
	pid=$(cat "$1")
	kill "$pid" 2>/dev/null || return 0
	for ((i = 0; i < 50; i++)); do
		runs "$pid" || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
}

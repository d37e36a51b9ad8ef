#!/usr/bin/env bash
# Holds the release binary to its promise: one file that runs on a node with nothing else on it.
#   usage: check_static.sh BINARY linking|hardening|size|chroot|resolve-dns|resolve-hosts
# Each check stands alone, so that CTest reports them one by one. 77 means "cannot be tried here".
set -euo pipefail

binary=$(realpath "$1")
readonly binary check=$2
PATH+=:/usr/sbin:/sbin
readonly limit_bytes=$((15 * 1000 * 1000))

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

work=$(mktemp -d)
pids=()
cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap cleanup EXIT

# Re-runs this script where it may chroot and owns its network: a namespace of its own, as root in
# it. Nothing it starts can reach, or be reached from, the machine's network.
enter_namespaces() {
  [[ -z ${LOOKBACK_STATIC_CHECK_INSIDE:-} ]] || return 0
  local -a namespaces=(unshare --net)
  if ((EUID != 0)); then namespaces+=(--map-root-user); fi
  if ! "${namespaces[@]}" true 2>/dev/null; then
    printf 'skipped: no permission to make namespaces\n'
    exit 77
  fi
  rm -rf "$work"
  LOOKBACK_STATIC_CHECK_INSIDE=1 exec "${namespaces[@]}" bash "${BASH_SOURCE[0]}" "$binary" "$check"
}

# A root folder with the stripped binary in it and nothing else.
make_chroot() {
  mkdir "$work/jail"
  strip -o "$work/jail/lookback" "$binary"
}

run_in_chroot() { env -i "$(command -v chroot)" "$work/jail" /lookback "$@"; }

# An HTTP server on loopback that answers nothing useful and notes down each Host header.
start_server() {
  ip link set lo up
  python3 - "$work/hosts-seen" "$work/server-ready" <<'PYTHON' &
import http.server
import pathlib
import sys

seen, ready = map(pathlib.Path, sys.argv[1:])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with seen.open("a") as out:
            out.write(self.headers.get("Host", "") + "\n")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass


server = http.server.HTTPServer(("127.0.0.1", 7400), Handler)
ready.touch()
server.serve_forever()
PYTHON
  pids+=($!)
  wait_for test -e "$work/server-ready"
}

wait_for() {
  local attempt
  for ((attempt = 0; attempt < 200; attempt++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.05
  done
  fail "waited in vain for: $*"
}

# Asks the hub of that name for its nodes. The server's answer is nonsense on purpose, so only the
# arrival of the request counts.
expect_resolved() {
  local name=$1
  run_in_chroot nodes --hub "http://$name:7400" -o json >"$work/output" 2>&1 || true
  grep -qx "$name:7400" "$work/hosts-seen" 2>/dev/null ||
    fail "no request for $name arrived: $(cat "$work/output")"
}

# A name that nobody knows is a hub out of reach (status 5), said in one line, and no crash.
expect_unresolved() {
  local name=$1 status=0
  run_in_chroot nodes --hub "http://$name:7400" >"$work/output" 2>&1 || status=$?
  ((status == 5)) || fail "unknown host $name: exit status $status: $(cat "$work/output")"
  [[ $(wc -l <"$work/output") == 1 ]] || fail "not one line: $(cat "$work/output")"
}

case $check in
  linking)
    kind=$(file -b "$binary")
    [[ $kind == *"statically linked"* || $kind == *"static-pie linked"* ]] || fail "$kind"
    # file goes by the program headers; an interpreter or a needed library would show here
    ! readelf -l "$binary" | grep -q INTERP || fail "it asks for a program interpreter"
    ! readelf -d "$binary" | grep -q NEEDED || fail "it needs shared libraries"
    ;;
  hardening)
    # Addresses are random (ET_DYN), what is relocated is read-only then, no memory is written and run, and frames and
    # library calls are checked: their failure handlers are linked in. The symbols may be stripped, the texts are not.
    readelf -h "$binary" | grep -q 'Type: *DYN' || fail "it is not position-independent"
    readelf -lW "$binary" | grep -q GNU_RELRO || fail "relocated data stays writable"
    readelf -lW "$binary" | grep GNU_STACK | grep -qv RWE || fail "its stack may be run"
    ! readelf -lW "$binary" | grep LOAD | grep -q RWE || fail "a segment may be written and run"
    grep -q 'stack smashing detected' "$binary" || fail "no stack protector"
    grep -q 'buffer overflow detected' "$binary" || fail "no checked library calls"
    ;;
  size)
    strip -o "$work/stripped" "$binary"
    bytes=$(stat -c %s "$work/stripped")
    printf 'stripped: %d bytes, limit %d\n' "$bytes" "$limit_bytes"
    ((bytes < limit_bytes)) || fail "$bytes bytes stripped are more than $limit_bytes"
    ;;
  chroot)
    enter_namespaces
    make_chroot
    run_in_chroot --version | grep . || fail "--version printed nothing"
    run_in_chroot --help | grep -qw capture || fail "--help does not name capture"
    ;;
  resolve-dns)
    enter_namespaces
    make_chroot
    start_server
    mkdir "$work/jail/etc"
    printf 'nameserver 127.0.0.1\n' >"$work/jail/etc/resolv.conf"
    dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --user=root --group=root \
      --listen-address=127.0.0.1 --bind-interfaces --pid-file="" --local=/test/ \
      --address=/hub.lookback.test/127.0.0.1 >"$work/dnsmasq.log" 2>&1 &
    pids+=($!)
    wait_for dig +short +tries=1 +time=1 @127.0.0.1 hub.lookback.test
    expect_resolved hub.lookback.test
    expect_unresolved nobody.lookback.test
    ;;
  resolve-hosts)
    enter_namespaces
    make_chroot
    start_server
    mkdir "$work/jail/etc"
    printf '127.0.0.1 hub-by-file\n' >"$work/jail/etc/hosts"
    expect_resolved hub-by-file
    expect_unresolved nobody-by-file
    ;;
  *)
    fail "unknown check: $check"
    ;;
esac
printf 'ok: %s\n' "$check"

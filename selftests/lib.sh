# SPDX-License-Identifier: BSD-2-Clause
# Helpers for selftests. Sourced by each test file, which runs inside its own
# network, mount and process namespaces (see isolate.sh): whatever a test leaves
# behind goes away with them. Nothing here touches the machine's interfaces.
#
# The scene:  wire namespace [wire0]--veth--[nic0] this namespace: the host
# A test function is named as a sentence; it fails by returning non-zero, and
# calls `skip REASON` to be skipped.

set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$TOP/build}
WORK=${WORK:-/run/selftest}
HOST_IP=10.77.0.1 WIRE_IP=10.77.0.2 GUEST_IP=10.77.0.3
GUEST_MAC=52:54:00:00:00:03
SOCK=$WORK/vm0.sock
PASSED=0 FAILED=0 SKIPPED=0

say() { printf '    %s\n' "$*" >&2; }
# A figure that a test has measured: shown behind its line in any case.
report() { say "$@"; printf '        %s\n' "$*" >>/run/selftest.report; }
die() { say "FAILED: $*"; return 1; }
skip() { SKIP_REASON=$*; return 77; }

# wait_for SECONDS COMMAND...: until it succeeds. Polls only because a shell has no other way to wait.
wait_for() {
	local end=$((SECONDS + $1)); shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { say "gave up waiting for: $*"; return 1; }
		sleep 0.05
	done
}

# in_wire COMMAND...: in the wire's namespace, with this one's mounts (bpffs stays visible).
in_wire() { nsenter --net=/run/netns/wire "$@"; }
in_guest() { nsenter --net=/run/netns/guest "$@"; }

# A veth whose far end does what a real link does: whole checksums, no merged packets.
plain_veth() { # NETNS IFACE
	nsenter --net="$1" ethtool -K "$2" tx off gso off tso off gro off rxvlan on txvlan on >/dev/null 2>&1 || true
}

# make_nic [QUEUES]
make_nic() {
	local q=${1:-1}
	ip netns add wire || return 1
	ip link add nic0 numrxqueues "$q" numtxqueues "$q" type veth \
		peer name wire0 numrxqueues "$q" numtxqueues "$q" || return 1
	ip link set wire0 netns wire || return 1
	ip link set lo up
	in_wire ip link set lo up
	# Without IPv6 no namespace says anything unasked: frames can be counted.
	echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
	in_wire sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
	plain_veth /run/netns/wire wire0
	ip addr add $HOST_IP/24 dev nic0
	in_wire ip addr add $WIRE_IP/24 dev wire0
	ip link set nic0 up
	in_wire ip link set wire0 up
	wait_for 5 carrier_is_up nic0
}
carrier_is_up() { ip -br link show dev "$1" | grep -q LOWER_UP; }

# start_viaduct ARGUMENTS...: run it on nic0 with one port on $SOCK unless the arguments say otherwise; wait for "ready".
VIADUCT_LOG=$WORK/viaduct.log
start_viaduct() {
	VIADUCT_LOG=$WORK/viaduct.log
	: >"$VIADUCT_LOG"
	"$BUILD/viaduct" run "$@" >>"$VIADUCT_LOG" 2>&1 &
	VIADUCT_PID=$!
	wait_for 20 viaduct_is_ready_or_gone
	if ! grep -q ' ready' "$VIADUCT_LOG"; then
		say "viaduct did not become ready:"; sed 's/^/      /' "$VIADUCT_LOG" >&2
		return 1
	fi
}
viaduct_is_ready_or_gone() { grep -q ' ready' "$VIADUCT_LOG" || ! kill -0 "$VIADUCT_PID" 2>/dev/null; }
stop_viaduct() {
	kill -TERM "$VIADUCT_PID" 2>/dev/null
	wait "$VIADUCT_PID"
}
status() { "$BUILD/viaduct" status --name "${INSTANCE:-nic0}" --json | jq -r "$1"; }
status_is() { [ "$(status "$1" 2>/dev/null)" = "$2" ]; }
port_is_up() { status_is '.ports[0].up' true; }

# link_map INDEX FIELD: from the pinned map, as an operator would.
link_map() {
	bpftool -j map dump pinned /sys/fs/bpf/viaduct/nic0/links | jq -r ".[$1].formatted.value.$2"
}
link_map_is() { [ "$(link_map "$1" "$2")" = "$3" ]; }

# start_guest ARGUMENTS...: viaduct-guest in the background on $SOCK.
GUEST_LOG=$WORK/guest.log
start_guest() {
	"$BUILD/viaduct-guest" path="$SOCK",mac=$GUEST_MAC${GUEST_ARGS:+,$GUEST_ARGS} "$@" >"$GUEST_LOG" 2>&1 &
	GUEST_PID=$!
}

# A guest that is an ordinary interface, tap0, in the namespace "guest".
start_tap_guest() {
	ip netns add guest || return 1
	in_guest ip link set lo up
	start_guest --tap tap0 --netns guest
	wait_for 10 in_guest ip link show dev tap0 || return 1
	in_guest ip addr add $GUEST_IP/24 dev tap0
	in_guest ip link set tap0 up
	wait_for 10 port_is_up
}

pings() { # NETNS-FUNCTION ADDRESS [COUNT]
	"$1" ping -q -c "${3:-3}" -i 0.05 -W 2 "$2" >"$WORK/ping.log" 2>&1 || { cat "$WORK/ping.log" >&2; return 1; }
}

# A second bridge at the wire's end of the veth, with a guest of its own: a guest to send from, whose frames
# are numbered and checked. start_far_bridge [PAIRS]; then far_guest ARGUMENTS... FAR_KEYS: more of its port.
FAR_SOCK=$WORK/far.sock FAR_MAC=52:54:00:00:00:0a
start_far_bridge() {
	: >"$WORK/far.log"
	in_wire "$BUILD/viaduct" run --uplink wire0 --port "name=far,socket=$FAR_SOCK,queues=${1:-1},mac=$FAR_MAC${FAR_KEYS:+,$FAR_KEYS}" >"$WORK/far.log" 2>&1 &
	FAR_PID=$!
	wait_for 20 grep -q ' ready' "$WORK/far.log" || { cat "$WORK/far.log" >&2; return 1; }
}
far_guest() { # PAIRS ARGUMENTS...; prints the summary as JSON
	local pairs=$1; shift
	"$BUILD/viaduct-guest" "path=$FAR_SOCK,mac=$FAR_MAC,queues=$pairs" --json "$@" 2>"$WORK/far_guest.log" | tail -n 1
}
# service_manager COUNT: listens at $WORK/notify (NOTIFY_SOCKET) for as many messages, and writes them to $WORK/told.
service_manager() {
	python3 -c 'import socket,sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1] + "/notify"); s.settimeout(20)
for n in range(int(sys.argv[2])): open(sys.argv[1] + "/told", "a").write(s.recv(4096).decode() + "\n")' "$WORK" "$1" &
	wait_for 5 test -S "$WORK/notify"
}
# gone PID: it has ended, whether or not anybody has waited for it.
gone() { ! kill -0 "$1" 2>/dev/null || [ "$(awk '{print $3}' "/proc/$1/stat" 2>/dev/null)" = Z ]; }
# summary_is JSON EXPRESSION: a jq condition on a guest's summary, shown when it does not hold.
summary_is() { [ "$(echo "$1" | jq "$2")" = true ] || { say "not so: $2 in $1"; return 1; }; }

# --- several guests: number N has the port pN, its socket, its address and, as an interface, the namespace gN ---------

mac_of() { printf '52:54:00:00:%02x:%02x' $((1 + $1 / 256)) $(($1 % 256)); }
mac_of_nic() { ip -j link show dev nic0 | jq -r '.[].address'; }
ip_of() { echo 10.77.0.$((10 + $1)); }
in_ns() { local ns=$1; shift; nsenter --net=/run/netns/"$ns" "$@"; }
# port NUMBER [KEYS]: what --port takes.
port() { echo "name=p$1,socket=$WORK/p$1.sock${2:+,$2}"; }
port_status() { status ".ports[] | select(.name == \"p$1\") | $2"; }
port_status_is() { [ "$(port_status "$1" "$2" 2>/dev/null)" = "$3" ]; }
# ports_are_up NUMBER...
ports_are_up() {
	local n
	for n in "$@"; do wait_for 15 port_status_is "$n" .up true || return 1; done
}
# tap_guest NUMBER [DEVICE-ARGUMENTS]: an ordinary interface, tap0.
tap_guest() {
	local n=$1 ns=g$1; shift
	ip netns add "$ns" || return 1
	in_ns "$ns" ip link set lo up
	in_ns "$ns" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
	"$BUILD/viaduct-guest" "path=$WORK/p$n.sock,mac=$(mac_of "$n")${*:+,$*}" --tap tap0 --netns "$ns" >"$WORK/g$n.log" 2>&1 &
	PEER[n]=$!
	wait_for 10 in_ns "$ns" ip link show dev tap0 || return 1
	in_ns "$ns" ip addr add "$(ip_of "$n")"/24 dev tap0
	in_ns "$ns" ip link set tap0 up
}
# A guest that sends, counts or returns numbered frames; PEER_ARGS: more of the device, PEER_MAC: another address.
PEER=()
peer() { # NUMBER ARGUMENTS...: until it ends; prints its summary
	local n=$1; shift
	"$BUILD/viaduct-guest" "path=$WORK/p$n.sock,mac=${PEER_MAC:-$(mac_of "$n")}${PEER_ARGS:+,$PEER_ARGS}" --json "$@" 2>"$WORK/g$n.log" | tail -n 1
}
start_peer() { # NUMBER ARGUMENTS...: in the background
	local n=$1; shift
	"$BUILD/viaduct-guest" "path=$WORK/p$n.sock,mac=${PEER_MAC:-$(mac_of "$n")}${PEER_ARGS:+,$PEER_ARGS}" --json "$@" >"$WORK/g$n.json" 2>"$WORK/g$n.log" &
	PEER[n]=$!
}
# The end of a peer that was started; its summary is in $OUT.
peer_ends() { wait "${PEER[$1]}"; OUT=$(tail -n 1 "$WORK/g$1.json"); }
stop_peer() { kill -INT "${PEER[$1]}"; peer_ends "$1"; }
all_came_back='.tx_packets == .returned and .lost == 0 and .reordered == 0 and .duplicated == 0 and .damaged == 0'

# reaches NETNS ADDRESS: answers come.
reaches() { in_ns "$1" ping -q -c "${3:-3}" -i 0.05 -W 2 "$2" >"$WORK/ping.log" 2>&1 || { cat "$WORK/ping.log" >&2; die "$1 does not reach $2"; }; }
# Nothing that is sent there comes: by its address, for ARP would hide that.
does_not_reach() { # NETNS IFACE ADDRESS MAC
	in_ns "$1" ip neigh replace "$3" lladdr "$4" dev "$2"
	! in_ns "$1" ping -q -c 2 -i 0.05 -W 0.3 "$3" >/dev/null 2>&1 || die "$1 reaches $3"
}

# Questions of ping that a namespace has heard, to groups and to others than itself included.
asked() { in_ns "$1" nstat -asz IcmpMsgInType8 | awk '/Type8/ {print $2}'; }
asked_at_least() { [ "$(asked "$1")" -ge "$2" ]; }

# Every frame that went from guest to guest is delivered, or in a counter. Only for ports that get nothing from the wire.
forwarding_adds_up() {
	status_is '[.ports[] | (.forwarded.from_this_host // 0) == .totals.rx_packets + .totals.rx_drops +
		([.drops | .no_guest_buffers, .ring_not_running, .rate] | map(. // 0) | add)] | all' true ||
		die "not all is counted: $(status '[.ports[] | {name, totals, forwarded, drops}]' | jq -c .)"
}

# Everything a clean exit must have removed.
# nothing_is_left [rings]: but for the positions of packed rings that a guest had at the end.
nothing_is_left() {
	[ ! -e /sys/fs/bpf/viaduct/nic0 ] || { die "pins are left"; return 1; }
	[ ! -e "$SOCK" ] || { die "socket $SOCK is left"; return 1; }
	[ "$(ls -A /run/viaduct 2>/dev/null)" = "${1:+nic0.$1}" ] || { die "left in /run/viaduct: $(ls -A /run/viaduct)"; return 1; }
	! ip -d link show dev nic0 | grep -q xdp || { die "an XDP program is left"; return 1; }
}

# Every frame has one owner: what the ledger says in status.
ledger_balances() {
	status_is '[.uplink.queues[].frames | (.free + .fill + .held + .tx + .lost) == .total] | all' true ||
		die "frames: $(status '[.uplink.queues[].frames]' | jq -c .)"
}

clean_scene() {
	local p
	# This process namespace is ours alone: everything in it but the first process and this shell.
	for p in $(ps -e -o pid= | grep -vwE "1|$$|$BASHPID"); do kill -KILL "$p" 2>/dev/null; done
	wait 2>/dev/null
	for p in $(ip netns list 2>/dev/null | awk '{print $1}'); do ip netns del "$p"; done
	ip -br link | awk '{sub(/@.*/, "", $1); print $1}' | grep -E '^(nic|br|dummy|mv|vl)' |
		while read -r p; do ip link del "$p" 2>/dev/null; done
	rm -rf /sys/fs/bpf/viaduct /run/viaduct "$WORK"
	mkdir -p "$WORK"
}

# run_tests: every function of the file named test_*, in order of the file; output is shown on failure only.
# A file that keeps a record of its own defines after_test RETURN-CODE.
run_tests() {
	local t rc log=/run/selftest.log title started
	for t in $(grep -oE '^test_[a-zA-Z0-9_]+' "${TESTS_FROM:-$0}"); do
		[ -z "${ONLY:-}" ] || [[ $t == *$ONLY* ]] || continue
		clean_scene
		SKIP_REASON=
		title=${t#test_}; title=${title//_/ }
		started=$SECONDS
		rm -f /run/selftest.report
		if [ -n "${VERBOSE:-}" ]; then
			$t; rc=$?
		else
			$t >"$log" 2>&1; rc=$?
		fi
		! declare -F after_test >/dev/null || after_test $rc
		case $rc in
		0) PASSED=$((PASSED + 1)); printf 'ok      %s (%ds)\n' "$title" $((SECONDS - started))
		   [ -n "${VERBOSE:-}" ] || [ ! -f /run/selftest.report ] || cat /run/selftest.report ;;
		77) SKIPPED=$((SKIPPED + 1)); printf 'skipped %s: %s\n' "$title" "$SKIP_REASON" ;;
		*) FAILED=$((FAILED + 1)); printf 'FAILED  %s (%ds)\n' "$title" $((SECONDS - started))
		   [ -n "${VERBOSE:-}" ] || sed 's/^/    | /' "$log" | tail -n 60
		   [ -f "$VIADUCT_LOG" ] && { echo "    viaduct said:"; tail -n 20 "$VIADUCT_LOG" | sed 's/^/    | /'; } ;;
		esac
	done
	clean_scene
	echo "$PASSED passed, $FAILED failed, $SKIPPED skipped" >"${RESULT:-/dev/null}"
	echo "$(basename "$0"): $PASSED passed, $FAILED failed, $SKIPPED skipped"
	[ "$FAILED" = 0 ]
}

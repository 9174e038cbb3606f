#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A virtual machine moves, running and under traffic, from one bridge to another: two hosts, each with a NIC on the same
# switch. What the moves cost is printed.
#
#   this namespace, host 0: [nic0]--veth--[wire0]  wire namespace:  [br0], the switch, and the peer that everybody
#   namespace host1:        [nic1]--veth--[wire1]                          talks to
#
# Number N is a host: nicN, its port's socket $WORK/pN.sock, and the machine on it, vmN.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

PEER_MAC=02:00:00:00:00:01	# br0's
VM_RAM=128
TCP_RATE=40M
HOST=0 MACHINE=()

# --- the scene ------------------------------------------------------------------------------------------------

on() { local n=$1; shift; if [ "$n" = 0 ]; then "$@"; else in_ns "host$n" "$@"; fi; }
host1() { on 1 "$@"; }
at() { local INSTANCE=nic$1; shift; "$@"; }		# a question to that host's bridge
bridge() { # HOST ARGUMENTS...
	on "$1" "$BUILD/viaduct" run --uplink "nic$1" --port "$(port "$1" queues=2)" "${@:2}" >"$WORK/bridge$1.log" 2>&1 &
}
bridge_is_ready() { wait_for 20 grep -q ' ready' "$WORK/bridge$1.log" || { cat "$WORK/bridge$1.log" >&2; return 1; }; }
two_hosts() {
	local n ip=($HOST_IP 10.77.0.4)
	ip netns add wire && ip netns add host1 && in_wire ip link add br0 address $PEER_MAC type bridge mcast_snooping 0 || return 1
	for n in 0 1; do
		ip link add nic$n type veth peer name wire$n && ip link set wire$n netns wire || return 1
		plain_veth /run/netns/wire wire$n
		[ $n = 0 ] || ip link set nic$n netns host$n
		on $n sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up'
		on $n ip addr add "${ip[n]}/24" dev nic$n && on $n ip link set nic$n up && in_wire ip link set wire$n master br0 up || return 1
	done
	in_wire sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up; ip link set br0 up'
	in_wire ip addr add $WIRE_IP/24 dev br0 || return 1
	for n in 0 1; do bridge $n; done
	VIADUCT_LOG=$WORK/bridge1.log
	for n in 0 1; do bridge_is_ready $n || return 1; done
	in_wire "$TOP/selftests/announced.py" $GUEST_MAC wire0 wire1 >"$WORK/announced" &
	wait_for 10 grep -q listening "$WORK/announced"
}
machine() { # HOST LAUNCHER PAIRS DEVICE-ARGUMENTS [QEMU-ARGUMENT...]: on that host
	local n=$1 launcher=$2 net
	VM_NAME=vm$n VM_MEMORY_FILE=$WORK/vm$n.memory
	net=$(vhost_net "$WORK/p$n.sock" "$3" "$4")
	rm -f "$VM_MEMORY_FILE"
	# shellcheck disable=SC2086
	$launcher guest $net "${@:5}" || return 1
	MACHINE[n]=$VM_PID
}
# first_machine: on host 0, with an address. DEVICE_ARGS, PAIRS: of this and of those it becomes.
PAIRS=1 DEVICE_ARGS=
first_machine() {
	HOST=0
	guest_initramfs && machine 0 start_vm "$PAIRS" "$DEVICE_ARGS" || return 1
	[ "$PAIRS" = 1 ] || vm "ethtool -L eth0 combined $PAIRS" || return 1
	vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" && at 0 wait_for 20 port_is_up && wait_for 20 vm "ping -q -c 1 -W 1 $WIRE_IP"
}

# --- traffic ----------------------------------------------------------------------------------------------------

listens() { in_wire ss -ltn | grep -q ":$1 "; }
peer_account() { # JQ-EXPRESSION, of the numbered frames that came from the machine
	rm -f "$WORK/peer.json"
	kill -USR1 "$NUMBERED" && wait_for 5 test -s "$WORK/peer.json" && jq -r "$1" "$WORK/peer.json"
}
vm_account() {
	vm "rm -f /tmp/account; kill -USR1 \$(pidof vd-numbered); until [ -s /tmp/account ]; do usleep 5000; done; cat /tmp/account" | jq -r "$1"
}
both_arrive() { # COUNT: so many more
	local a b
	a=$(peer_account .good) && b=$(vm_account .good) || return 1
	wait_for 30 eval "[ \$(peer_account .good) -ge $((a + $1)) ] && [ \$(vm_account .good) -ge $((b + $1)) ]"
}
# Numbered frames both ways, and one TCP connection whose bytes come back and are compared.
start_traffic() {
	rm -f "$WORK/enough"
	nsenter --net=/run/netns/wire "$BUILD/vd-numbered" br0 $PEER_MAC $GUEST_MAC 200,500 "$WORK/peer.json" 2>"$WORK/peer.log" & NUMBERED=$!
	in_wire "$TOP/selftests/blob.py" echoed 7000 "$WORK/enough" & STREAM=$!
	wait_for 20 listens 7000 || return 1
	vm "vd-numbered eth0 $GUEST_MAC $PEER_MAC 200,500 /tmp/account >/tmp/numbered.log 2>&1 & nc $WIRE_IP 7000 -e cat >/dev/null 2>&1 &" && both_arrive 300
}
stop_traffic() {
	: >"$WORK/enough"
	wait $STREAM || die "the TCP connection did not survive, or not every byte came back" || return 1
	report "numbered frames: $(peer_account .lost) of $(vm_account .sent) lost from the machine, $(vm_account .lost) of $(peer_account .sent) to it;" \
		"$(peer_account .repeated) and $(vm_account .repeated) repeated"
	[ "$(peer_account .damaged)" = 0 ] && [ "$(vm_account .damaged)" = 0 ] || die "damaged: $(peer_account .) $(vm_account .)"
}
start_iperf() { # SECONDS
	vm "iperf3 -s -1 -D" && wait_for 10 vm "netstat -ltn | grep -q :5201" || return 1
	in_wire iperf3 -c $GUEST_IP --bidir -b $TCP_RATE -t "$1" -i 0.5 -J >"$WORK/iperf.json" & IPERF=$!
}
# Both of iperf3's connections carry bytes after that time, and it ends well.
iperf_survived() { # TIME
	local since
	wait $IPERF || die "iperf3: $(jq -c .error "$WORK/iperf.json")" || return 1
	since=$(jq "$1 - .start.timestamp.timesecs" "$WORK/iperf.json")
	report "iperf3: $(jq -c '[.end | .sum_sent, .sum_sent_bidir_reverse | .bits_per_second / 1e6 | round]' "$WORK/iperf.json") Mbit/s, retransmits" \
		"$(jq -c '[.end | .sum_sent, .sum_sent_bidir_reverse | .retransmits]' "$WORK/iperf.json")"
	jq -e --argjson t "$since" '[.intervals[] | select(.sum.start > $t)] |
		([.[].sum.bytes] | add) > 100000 and ([.[].sum_bidir_reverse.bytes] | add) > 100000' "$WORK/iperf.json" >/dev/null ||
		die "no bytes after the move: $(jq -c '[.intervals[] | [.sum.start, .sum.bytes, .sum_bidir_reverse.bytes]]' "$WORK/iperf.json")"
}

# --- the move ---------------------------------------------------------------------------------------------------

qmp() { "$TOP/selftests/qmp.py" "$WORK/vm$1.qmp" "${@:2}"; }
EVENTS='migrate-set-capabilities {"capabilities": [{"capability": "events", "state": true}]}'
fast='migrate-set-parameters {"max-bandwidth": 1000000000, "downtime-limit": 300}'
runs() { [ "$(qmp "$1" query-status | jq -r .status)" = "$2" ]; }
# begin_move FROM TO [QEMU-ARGUMENT...]: a machine that waits for the other.
begin_move() {
	local from=$1 to=$2; shift 2
	rm -f "$WORK/incoming"
	machine "$to" launch_vm "$PAIRS" "$DEVICE_ARGS" -incoming "unix:$WORK/incoming" "$@"
	VM_NAME=vm$from		# it is there still
	wait_for 20 test -S "$WORK/incoming" && wait_for 20 test -S "$WORK/vm$to.qmp" || { cat "$VM_LOG" >&2; return 1; }
}
# move FROM TO: all the way, until the first has stopped.
move() {
	local from=$1 to=$2 steps=("$EVENTS" "$fast" "migrate {\"uri\": \"unix:$WORK/incoming\"}")
	[ "$(qmp "$from" query-migrate | jq -r .status)" != active ] || steps=("$fast")
	MOVED_FROM=$EPOCHREALTIME
	MIGRATION=$(qmp "$from" "${steps[@]}" "until MIGRATION completed failed" query-migrate) || return 1
	MOVED_AT=$EPOCHREALTIME
	[ "$(echo "$MIGRATION" | jq -r .status)" = completed ] || die "$MIGRATION" || return 1
	HOST=$to VM_NAME=vm$to
}
leaves() { # HOST: the machine that has moved away
	qmp "$1" quit >/dev/null
	wait_for 10 gone "${MACHINE[$1]}" && at "$1" wait_for 10 status_is '.ports[0] | [.up, .connected, .reason]' "$(jq -n '[false, false, "not_connected"]')"
}
gone() { ! kill -0 "$1" 2>/dev/null; }
# The host that it has left hears of it only what it says to all; what it says in the first two seconds may be an echo.
is_forgotten() { vm 'ping -q -c 1 -W 1 10.77.0.250 >/dev/null; :'; addresses_are ""; }
addresses_are() { status_is '[.ports[0].addresses[].mac] | join(",")' "$1"; }
# The longest time in which nothing came from the machine, while it moved, in milliseconds.
stream_pause() { peer_account "[.pauses[] | select(.[1] > $MOVED_FROM and .[0] < $MOVED_AT + 1) | (.[1] - .[0]) * 1000] | max // 0 | round"; }
figures() {
	report "moved in $(echo "$MIGRATION" | jq '."total-time"') ms, $(echo "$MIGRATION" | jq '.ram.transferred / 1e6 | round') MB;" \
		"downtime $(echo "$MIGRATION" | jq .downtime) ms says QEMU, $(stream_pause) ms by the numbered frames"
}
announced_by() { awk -v t="$MOVED_FROM" -v i="wire$1" -v k="$2" '$1 > t && $2 == i && $3 == k {n++} END {exit !n}' "$WORK/announced"; }
complains='is not a head|out of range|broken|bad gso|virtio.*([Ff]ail|[Ee]rror)|NETDEV WATCHDOG|BUG:|WARNING:|Call Trace'
no_complaints() {
	! vm dmesg | grep -E "$complains" >&2 || die "the machine's kernel complains" || return 1
	[ "$(vm 'cat /sys/class/net/eth0/statistics/*_errors | sort -u')" = 0 ] || die "$(vm 'grep . /sys/class/net/eth0/statistics/*_errors')"
}
# has_arrived FROM TO: everybody finds it where it is now.
has_arrived() {
	local from=$1 to=$2 n
	wait_for 10 runs "$to" running && at "$to" wait_for 20 port_is_up && both_arrive 300 || die "no traffic at host $to" || return 1
	figures
	leaves "$from" || die "host $from: $(at "$from" status '.ports[0] | {up, connected, reason}' | jq -c .)" || return 1
	wait_for 10 announced_by "$to" "${ANNOUNCED:-arp-announcement}" || die "nothing was announced: $(cat "$WORK/announced")" || return 1
	at "$to" wait_for 10 addresses_are $GUEST_MAC && at "$from" wait_for 10 is_forgotten ||
		die "addresses: $(for n in 0 1; do at $n status '.ports[0] | {addresses, addresses_refused}' | jq -c .; done)" || return 1
	pings in_wire $GUEST_IP && ping -q -c 2 -W 2 $GUEST_IP >"$WORK/ping.log" && pings host1 $GUEST_IP && vm "ping -q -c 2 -W 2 $WIRE_IP" >"$WORK/ping.log" ||
		die "not reached by all: $(cat "$WORK/ping.log")" || return 1
	no_complaints && at "$to" ledger_balances && at "$from" ledger_balances && log_is_off "$to"
}
log_is_off() { at "$1" status_is '.ports[0].features | index("log_all")' null; }
ring_is() { at "$HOST" status_is '[.ports[0].pair[] | select(.rx.state == "running") | .rx.kind] | unique | join(",")' "$1"; }
with_newer_qemu() {
	local QEMU_PROGRAM
	QEMU_PROGRAM=$(newer_qemu) || { skip "the installed QEMU is older than 9 and the backports could not be reached"; return; }
	"$@"
}

# moves KIND: there, with iperf3.
moves() {
	two_hosts && first_machine && ring_is "$1" && start_traffic && begin_move 0 1 && start_iperf 8 && both_arrive 100 && move 0 1 || return 1
	! gone $IPERF || die "iperf3 ended before the machine had moved" || return 1
	has_arrived 0 1 && ring_is "$1" && at 1 status_is .ports[0].pairs.enabled "$PAIRS" && iperf_survived "$MOVED_AT" && stop_traffic
}
test_a_machine_moves_and_its_connections_survive() { with_newer_qemu moves split; }
test_a_machine_with_packed_rings_that_does_not_announce_itself_is_announced() {
	DEVICE_ARGS=,packed=on,guest_announce=off ANNOUNCED=rarp with_newer_qemu moves packed
}
test_a_machine_with_two_pairs_moves_and_its_connections_survive() { PAIRS=2 with_newer_qemu moves split; }
test_a_machine_of_the_installed_qemu_moves_and_its_connections_survive() {
	two_hosts && first_machine && start_traffic && begin_move 0 1 && move 0 1 && has_arrived 0 1 && stop_traffic
}
there_and_back() {
	two_hosts && first_machine && start_traffic && begin_move 0 1 && move 0 1 && has_arrived 0 1 || return 1
	begin_move 1 0 && move 1 0 && has_arrived 1 0 && stop_traffic && at 0 status_is .ports[0].connections 2
}
test_a_machine_moves_there_and_back_again() { with_newer_qemu there_and_back; }

# As slow as to be never done: the log is on until something else happens.
slow='migrate-set-parameters {"max-bandwidth": 2000000, "downtime-limit": 1}'
move_slowly() { # FROM [PARAMETERS]
	qmp "$1" "$EVENTS" "${2:-$slow}" "migrate {\"uri\": \"unix:$WORK/incoming\"}" "until MIGRATION active" >/dev/null && at "$1" wait_for 10 log_is_on
}
log_is_on() { status_is '.ports[0].features | index("log_all") != null' true; }
cancelled() {
	two_hosts && first_machine && start_traffic && begin_move 0 1 && move_slowly 0 && both_arrive 300 || return 1
	[ "$(qmp 0 migrate_cancel "until MIGRATION cancelled" query-migrate | jq -r .status)" = cancelled ] || die "$(qmp 0 query-migrate)" || return 1
	wait_for 10 log_is_off 0 || die "the log is still on" || return 1
	wait_for 10 gone "${MACHINE[1]}" && both_arrive 300 && at 0 status_is '.ports[0] | [.up, .connections]' "$(jq -n '[true, 1]')" || return 1
	no_complaints && at 0 addresses_are $GUEST_MAC && at 1 addresses_are "" || die "$(at 1 status .ports[0].addresses)" || return 1
	begin_move 0 1 && move 0 1 && has_arrived 0 1 && stop_traffic
}
test_a_move_that_is_cancelled_changes_nothing_and_can_be_made_again() { with_newer_qemu cancelled; }

# --- memory -----------------------------------------------------------------------------------------------------

memory_is_equal() {
	local pages
	wait_for 20 runs 1 paused && runs 0 postmigrate || return 1
	pages=$("$TOP/selftests/same_pages.py" "$WORK/vm0.memory" "$WORK/vm1.memory") || die "memory is not the same: $pages" || return 1
	report "memory: $pages"
}
# memory_is_the_same [STEP]: traffic goes on until the machine stops; the other one is not let run, so nothing has been
# written to its memory but what was sent. Everything that was there must be: buffers of both directions, and rings.
memory_is_the_same() {
	local flood
	two_hosts && first_machine && start_traffic && begin_move 0 1 -S && ${1:-true} && both_arrive 100 || return 1
	nsenter --net=/run/netns/wire "$TOP/selftests/flood.py" br0 1400,6000 $GUEST_MAC >"$WORK/flooded" & flood=$!
	both_arrive 100 && move 0 1 || return 1
	kill $flood
	memory_is_equal || return 1
	qmp 1 cont >/dev/null && has_arrived 0 1 && stop_traffic
}
test_every_page_of_memory_is_the_same_after_a_move_under_traffic() { with_newer_qemu memory_is_the_same; }
test_every_page_of_memory_is_the_same_with_packed_rings_and_two_pairs() { PAIRS=2 DEVICE_ARGS=,packed=on with_newer_qemu memory_is_the_same; }
test_every_page_of_memory_is_the_same_when_the_bridge_is_taken_over_while_it_moves() { with_newer_qemu memory_is_the_same taken_over_while_it_moves; }
# The log is a new process's in the middle of it.
taken_over_while_it_moves() {
	move_slowly 0 && both_arrive 300 && bridge 0 --take-over && bridge_is_ready 0 && both_arrive 300 &&
		at 0 status_is '.ports[0].connections' 1 && at 0 log_is_on
}

# A kernel writes to each buffer when it takes it, and its hypervisor sees that: so a log that says nothing might not be
# missed. Here it has no time to take any: all of its memory was sent already when the bridge fills buffers that nobody
# looks at. Its own programs write more than the move can follow, so that it does not end before.
steadily='migrate-set-parameters {"max-bandwidth": 40000000, "downtime-limit": 1}'
receives_nothing='echo 1 >/sys/class/net/eth0/threaded; echo -1 >/proc/sys/kernel/sched_rt_runtime_us
	for p in $(grep -ls napi/eth0 /proc/[0-9]*/comm | cut -d/ -f3); do taskset -p 2 $p; done >/dev/null 2>&1
	taskset 2 chrt -f 50 sh -c "while :; do :; done" >/dev/null 2>&1 &'
writes='dd if=/dev/urandom of=/tmp/seed bs=1M count=8 2>/dev/null
	while :; do dd if=/tmp/seed of=/tmp/fill bs=1M conv=notrunc; usleep 20000; done >/dev/null 2>&1 &'
rounds_are() { [ "$(qmp 0 query-migrate | jq '.ram."dirty-sync-count"')" -ge "$1" ]; }
received() { status .ports[0].totals.rx_packets; }
written_unseen() {
	local flood before
	two_hosts && first_machine && begin_move 0 1 -S && vm "$writes" && vm "$receives_nothing" && move_slowly 0 "$steadily" && wait_for 30 rounds_are 4 || return 1
	before=$(at 0 received)
	nsenter --net=/run/netns/wire "$TOP/selftests/flood.py" br0 1400,1000 $GUEST_MAC >"$WORK/flooded" & flood=$!
	at 0 wait_for 10 eval "[ \$(received) -ge $((before + 150)) ]" && kill $flood && move 0 1 && memory_is_equal
}
test_buffers_that_the_machine_has_not_looked_at_move_as_well() { with_newer_qemu written_unseen; }
test_packed_buffers_that_the_machine_has_not_looked_at_move_as_well() { DEVICE_ARGS=,packed=on with_newer_qemu written_unseen; }

run_tests

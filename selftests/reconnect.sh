#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Either end of a vhost-user connection is killed, frozen and started again in the middle of numbered frames, which go on
# by themselves; what was lost and what came twice is counted.
#
# RUNS: how often viaduct is killed per test (5); RESTARTS: in the tests of the time that it takes (20).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

RUNS=${RUNS:-5} RESTARTS=${RESTARTS:-20}
BATCH=64			# packets of one batch of a virtqueue: what may be lost or repeated, per ring
BAR_MS=1000			# of a restart with 64 ports
RATE=200,4000			# bytes, frames a second
FAR=02:00:00:00:00:01		# the address of nobody at the far end of the wire

# --- accounts ------------------------------------------------------------------------------------------

# The wire's end, in the background; its account is in $WORK/wire.json.
start_wire() {
	nsenter --net=/run/netns/wire "$BUILD/vd-numbered" wire0 $FAR $GUEST_MAC $RATE "$WORK/wire.json" 2>"$WORK/wire.log" &
	WIRE_PID=$!
}
wire() { # JQ-EXPRESSION
	rm -f "$WORK/wire.json"
	kill -USR1 $WIRE_PID && wait_for 5 test -s "$WORK/wire.json" && jq -r "$1" "$WORK/wire.json"
}
wire_is() { [ "$(wire "$1")" = true ]; }
vm_numbered() { vm "rm -f /tmp/account; kill -USR1 \$(pidof vd-numbered); until [ -s /tmp/account ]; do usleep 5000; done; cat /tmp/account"; }
# The guest's account of what the wire sent, where it has one before it ends.
guest_account() { case $FRONT in qemu*) vm_numbered | jq -r "$1" ;; *) echo 0 ;; esac; }

# begin_viaduct: what start_viaduct does, without waiting.
begin_viaduct() {
	STARTED=$EPOCHREALTIME
	# shellcheck disable=SC2086
	"$BUILD/viaduct" run --uplink nic0 "${PORTS[@]}" >>"$VIADUCT_LOG" 2>&1 &
	VIADUCT_PID=$!
}
kill_viaduct() { kill -"${END_BY:-KILL}" "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null; }
# Milliseconds from $STARTED to the first frame of a guest that the wire saw after it.
first_frame_ms() { wire "first(.pauses[] | select(.[1] > $STARTED) | (.[1] - $STARTED) * 1000 | round) // empty"; }
first_frame_came() { [ -n "$(first_frame_ms)" ]; }
# Both directions carry frames, as this process has seen since it began.
flows() { status_is "[.ports[] | select(.name == \"${1:-vm0}\") | .totals | .rx_packets > 50 and .tx_packets > 50] | all" true; }
moved_on() { status_is "[.ports[] | select(.name == \"vm0\") | .totals | .rx_packets > $1 and .tx_packets > $2] | all" true; }
# at_some_moment: so many frames later that nobody knows where the rings are.
at_some_moment() {
	local seen
	seen=$(status ".ports[0].totals | \"\(.rx_packets + $((RANDOM % 200))) \(.tx_packets + $((RANDOM % 100)))\"")
	# shellcheck disable=SC2086
	wait_for 20 moved_on $seen
}

# --- what happens -----------------------------------------------------------------------------------------

# The bounds: nothing is lost of what the guest has sent but a batch, and no ring repeats more than one.
within() { # WHAT NUMBER LIMIT
	[ "$2" -le "$3" ] || die "$1: $2, and no more than $3 may be"
}
# viaduct_is_killed TIMES: in mid-traffic, and started again. END_BY: another signal; PAUSE=1: the machine stood still before.
viaduct_is_killed() {
	local i lost repeated rx_lost rx_repeated l r rl rr sum=(0 0 0 0) times=()
	for i in $(seq "$1"); do
		[ "${PAUSE:-0}" = 0 ] || vm_is_paused || return 1
		at_some_moment || return 1
		read -r lost repeated < <(wire '"\(.lost) \(.repeated)"')
		read -r rx_lost rx_repeated < <(guest_account '"\(.lost) \(.repeated)"')
		kill_viaduct
		begin_viaduct
		wait_for 30 flows && wait_for 5 first_frame_came || { die "traffic does not go on after kill $i: $(status '.ports[0]' | jq -c .)"; return 1; }
		read -r l r < <(wire '"\(.lost) \(.repeated)"')
		read -r rl rr < <(guest_account '"\(.lost) \(.repeated)"')
		times+=("$(first_frame_ms)")
		l=$((l - lost)) r=$((r - repeated)) rl=$((rl - rx_lost)) rr=$((${rr:-0} - ${rx_repeated:-0}))
		[ "$FRONT" = testpmd ] || within "lost of what the guest sent" $l "$MAY_LOSE" || return 1
		within "repeated of what the guest sent" $r $((FRONT_RINGS * BATCH)) && within "repeated of what it received" $rr $BATCH || return 1
		sum=($((sum[0] + l)) $((sum[1] + r)) $((sum[2] + rl)) $((sum[3] + rr)))
	done
	case $FRONT in
	qemu) report "$1 kills of viaduct: from the guest ${sum[0]} lost, ${sum[1]} repeated; to the guest ${sum[2]} lost, ${sum[3]} repeated" ;;
	guest) report "$1 kills of viaduct: from the guest ${sum[0]} lost, ${sum[1]} repeated" ;;
	testpmd) report "$1 kills of viaduct: on the way to the guest and back ${sum[0]} lost, ${sum[1]} repeated" ;;
	esac
	report "first frame after ${times[*]} ms"
}
front_end_is_frozen() { # PID
	local lost repeated l r seen
	at_some_moment || return 1
	read -r lost repeated < <(wire '"\(.lost) \(.repeated)"')
	kill -STOP "$1"
	sleep 2		# this is how long it is frozen; nothing is waited for
	kill -CONT "$1"
	seen=$(status '.ports[0].totals | "\(.rx_packets + 500) \(.tx_packets + 100)"')
	# shellcheck disable=SC2086
	wait_for 20 moved_on $seen && status_is .ports[0].connections "$CONNECTIONS" || { die "traffic does not go on after the freeze"; return 1; }
	read -r l r < <(wire '"\(.lost) \(.repeated)"')
	report "frozen for 2 s: $((l - lost)) lost, $((r - repeated)) repeated; $(status '.ports[0].drops | .no_guest_buffers // 0') to it dropped for want of buffers"
	[ "$FRONT" = testpmd ] || within "lost of what the guest sent" $((l - lost)) 0 || return 1
	within "repeated" $((r - repeated)) 0
}
nothing_was_damaged() { wire_is '.damaged == 0 and .reordered == 0' && ledger_balances; }
is_connected() { status_is .ports[0].connected "$1"; }

# set_up ROLE [KEYS]
set_up() {
	PORTS=(--port "name=vm0,socket=$SOCK,mode=$1,mac=$GUEST_MAC${2:+,$2}")
	MAY_LOSE=$BATCH FRONT_RINGS=1 CONNECTIONS=1
	: >"$VIADUCT_LOG"
	make_nic 1 && begin_viaduct && wait_for 20 viaduct_is_ready_or_gone && start_wire
}

# --- viaduct-guest -------------------------------------------------------------------------------------------

begin_guest() { # server=0|1,packed_vq=0|1
	GUEST_ARGS=$1 start_guest --generate $RATE --dst $FAR --json
}
# guest_comes_and_goes ROLE SERVER PACKED
guest_comes_and_goes() {
	local args=server=$2,packed_vq=$3 out
	FRONT=guest
	set_up "$1" || return 1
	MAY_LOSE=256	# it begins anew with an empty ring
	begin_guest $args && wait_for 20 flows || { cat "$GUEST_LOG" >&2; return 1; }
	front_end_is_frozen $GUEST_PID && at_some_moment && kill -KILL $GUEST_PID && wait_for 5 is_connected false || return 1
	begin_guest $args && wait_for 20 is_connected true && at_some_moment || die "the next guest is not served" || return 1
	viaduct_is_killed "$RUNS" && nothing_was_damaged || return 1
	kill -INT $GUEST_PID; wait $GUEST_PID
	out=$(tail -n 1 "$GUEST_LOG")
	report "the guest's account: $(echo "$out" | jq -c '{tx_packets, rx_packets, lost, duplicated}')"
	summary_is "$out" ".damaged == 0 and .reordered == 0 and .duplicated <= $((RUNS * BATCH))"
}
test_viaduct_guest_that_connects_goes_on_after_each_end_was_killed_or_frozen() { guest_comes_and_goes server 0 0; }
test_viaduct_guest_that_connects_with_packed_rings_goes_on_after_each_end_was_killed_or_frozen() { guest_comes_and_goes server 0 1; }
test_viaduct_guest_that_listens_goes_on_after_each_end_was_killed_or_frozen() { guest_comes_and_goes client 1 0; }
test_viaduct_guest_that_listens_with_packed_rings_goes_on_after_each_end_was_killed_or_frozen() { guest_comes_and_goes client 1 1; }

# --- QEMU ------------------------------------------------------------------------------------------------------

# begin_vm CHARDEV [DEVICE-ARGUMENTS]: with a program that sends numbered frames and checks those that come.
begin_vm() {
	guest_initramfs || return 1
	# shellcheck disable=SC2046
	VHOST_CHARDEV=$1 start_vm guest $(VHOST_CHARDEV=$1 vhost_net "$SOCK" 1 "${2:-}") || return 1
	vm "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set eth0 up" && wait_for 20 is_connected true &&
		vm "vd-numbered eth0 $GUEST_MAC $FAR $VM_RATE /tmp/account >/tmp/numbered.log 2>&1 &" && wait_for 20 flows
}
vm_is_paused() { "$TOP/selftests/qmp.py" "$WORK/vm.qmp" stop >/dev/null && "$TOP/selftests/qmp.py" "$WORK/vm.qmp" cont >/dev/null; }
# Slow: while it has no back-end QEMU throws away what the guest sends until that knows that its link is down, some 50 ms.
# Out of a packed ring it takes that from where it believes the ring to be; what is before it is lost then, too.
VM_RATE=200,200
# vm_lives_on ROLE CHARDEV [DEVICE-ARGUMENTS]
vm_lives_on() {
	local boot
	FRONT=qemu
	set_up "$1" && begin_vm "${@:2}" || return 1
	if [[ ${3:-} == *packed* ]]; then MAY_LOSE=${VM_MAY_LOSE:-$((BATCH + 256))}; fi
	boot=$(vm cat /proc/sys/kernel/random/boot_id)
	front_end_is_frozen "$VM_PID" && viaduct_is_killed "$RUNS" && nothing_was_damaged || return 1
	[[ ${3:-} != *packed* ]] || report "lines of rings that go on: $(grep -c 'goes on where it was left' "$VIADUCT_LOG"); given back unsent: $(grep -o '[0-9]* packets were given back' "$VIADUCT_LOG" | awk '{n += $1} END {print n + 0, "in", NR}')"
	[ "$(vm_numbered | jq '.damaged == 0 and .reordered == 0')" = true ] || die "in the machine: $(vm_numbered)" || return 1
	[ "$(vm cat /proc/sys/kernel/random/boot_id)" = "$boot" ] || die "the machine has booted again"
}
# The one that is installed.
test_a_virtual_machine_that_connects_goes_on_after_each_end_was_killed_or_frozen() { vm_lives_on server reconnect=1; }
test_a_virtual_machine_that_listens_goes_on_after_each_end_was_killed_or_frozen() { vm_lives_on client server=on; }
test_a_virtual_machine_with_packed_rings_goes_on_after_viaduct_was_ended() { END_BY=TERM vm_lives_on server reconnect=1 ,packed=on; }
test_a_virtual_machine_with_packed_rings_that_was_paused_before_goes_on() { PAUSE=1 vm_lives_on server reconnect=1 ,packed=on; }
with_newer_qemu() {
	local QEMU_PROGRAM
	QEMU_PROGRAM=$(newer_qemu) || { skip "the installed QEMU is older than 9 and the backports could not be reached"; return; }
	"$@"
}
test_a_machine_of_a_newer_qemu_that_connects_goes_on_after_each_end_was_killed_or_frozen() { with_newer_qemu vm_lives_on server reconnect-ms=200; }
test_a_machine_of_a_newer_qemu_with_packed_rings_goes_on_after_each_end_was_killed_or_frozen() { with_newer_qemu vm_lives_on server reconnect-ms=200 ,packed=on; }
packed_vm() { with_newer_qemu vm_lives_on server reconnect-ms=200 ,packed=on; }
test_a_machine_of_a_newer_qemu_with_packed_rings_that_was_paused_before_goes_on() { PAUSE=1 packed_vm; }
test_a_machine_of_a_newer_qemu_with_packed_rings_goes_on_after_viaduct_was_ended() { END_BY=TERM packed_vm; }
test_a_machine_of_a_newer_qemu_with_packed_rings_that_was_paused_before_goes_on_after_viaduct_was_ended() { PAUSE=1 END_BY=TERM packed_vm; }
# What it sends meanwhile is lost, and how much that is depends on when QEMU and the guest notice.
test_a_machine_of_a_newer_qemu_with_packed_rings_goes_on_however_much_it_sends() { RUNS=$((4 * RUNS)) VM_RATE=200,20000 VM_MAY_LOSE=100000 packed_vm; }
test_a_machine_of_a_newer_qemu_with_packed_rings_that_was_paused_before_goes_on_however_much_it_sends() {
	RUNS=$((4 * RUNS)) PAUSE=1 VM_RATE=200,20000 VM_MAY_LOSE=100000 packed_vm
}
# Here QEMU itself is killed, too, with its socket left behind.
listening_vm_is_replaced() {
	vm_lives_on client server=on ,packed=on || return 1
	at_some_moment && kill -KILL "$VM_PID" && wait_for 5 is_connected false && begin_vm server=on ,packed=on || return 1
	at_some_moment && viaduct_is_killed 1 && nothing_was_damaged
}
test_a_machine_of_a_newer_qemu_that_listens_with_packed_rings_goes_on_and_so_does_its_successor() { with_newer_qemu listening_vm_is_replaced; }

# --- DPDK ------------------------------------------------------------------------------------------------------

# testpmd returns what it gets: both directions are in one account.
begin_testpmd() { # SERVER PACKED
	# virtio-user in server mode learns of a lost back-end only when somebody asks for its link state.
	{ while sleep 0.1; do echo "show port info 0"; echo "show port stats 0"; done 2>/dev/null; } | dpdk-testpmd --no-huge -m 256 --no-pci --file-prefix "g$RANDOM" -l 0,1 --no-telemetry \
		--vdev "net_virtio_user0,path=$SOCK,mac=$GUEST_MAC,queues=1,queue_size=256,server=$1,packed_vq=$2" \
		-- --total-num-mbufs=8192 --rxq=1 --txq=1 --forward-mode=macswap --auto-start --no-lsc-interrupt -i >"$WORK/testpmd.log" 2>&1 &
	PMD_PID=$!
}
kill_testpmd() { kill -KILL $PMD_PID; wait $PMD_PID 2>/dev/null; wait_for 5 is_connected false; }
testpmd_sent() { grep -o 'TX-packets: [0-9]*' "$WORK/testpmd.log" | tail -n "${1:-1}" | head -n 1 | grep -o '[0-9]*$'; }
all_is_out() { [ "$(testpmd_sent 4)" = "$(testpmd_sent)" ]; }
# What it put into its ring and what of that came out at the wire, when all are silent. Packed rings it begins anew, with
# what was in them.
testpmds_account() { # PACKED
	local sent got repeated
	kill -USR2 $WIRE_PID
	sleep 0.5; wait_for 10 all_is_out || return 1
	sent=$(testpmd_sent)
	read -r got repeated < <(wire '"\(.good) \(.repeated)"')
	report "testpmd sent $sent, the wire got $got and $repeated twice"
	within "lost of what testpmd sent" $((sent - got - repeated)) $((RUNS * ($1 ? 256 : BATCH)))
}
# testpmd_comes_and_goes ROLE SERVER PACKED
testpmd_comes_and_goes() {
	FRONT=testpmd
	set_up "$1" && begin_testpmd "$2" "$3" && wait_for 30 flows || { tail -n 20 "$WORK/testpmd.log" >&2; return 1; }
	FRONT_RINGS=2
	front_end_is_frozen $PMD_PID || return 1
	# As a client virtio-user does not look for its back-end again; only its own end is of interest, then.
	if [ "$2" = 1 ]; then viaduct_is_killed "$RUNS" || return 1; fi
	at_some_moment && testpmds_account "$3" && kill_testpmd || return 1
	[ "$2" = 0 ] || rm -f "$SOCK"	# it does not listen where an old socket is
	kill $WIRE_PID; start_wire
	begin_testpmd "$2" "$3" && wait_for 30 is_connected true && at_some_moment && nothing_was_damaged || die "the next testpmd is not served"
}
test_testpmd_that_connects_goes_on_after_it_was_killed_or_frozen() { testpmd_comes_and_goes server 0 0; }
test_testpmd_that_connects_with_packed_rings_goes_on_after_it_was_killed_or_frozen() { testpmd_comes_and_goes server 0 1; }
test_testpmd_that_listens_goes_on_after_each_end_was_killed_or_frozen() { testpmd_comes_and_goes client 1 0; }
test_testpmd_that_listens_with_packed_rings_goes_on_after_each_end_was_killed_or_frozen() { testpmd_comes_and_goes client 1 1; }

# --- how long it takes ---------------------------------------------------------------------------------------------

all_are_up() { status_is '[.ports[] | select(.up)] | length' 64; }
# restart_time ROLE SERVER: 64 ports with guests, one of which works; viaduct is killed again and again.
restart_time() {
	local n i times=() sorted median worst
	PORTS=() FRONT=guest
	for n in $(seq 2 64); do PORTS+=(--port "$(port "$n" "mode=$1,mac=$(mac_of "$n")")"); done
	PORTS+=(--port "name=vm0,socket=$SOCK,mode=$1,mac=$GUEST_MAC")
	make_nic 1 && begin_viaduct && wait_for 20 viaduct_is_ready_or_gone && start_wire || return 1
	# shellcheck disable=SC2046
	"$BUILD/vd-idle-guests" $([ "$2" = 0 ] || echo --server) $(for n in $(seq 2 64); do echo "$WORK/p$n.sock"; done) >"$WORK/idle.log" 2>&1 &
	begin_guest server=$2 && wait_for 30 all_are_up && wait_for 10 flows || { cat "$WORK/idle.log" >&2; return 1; }
	for i in $(seq "$RESTARTS"); do
		kill_viaduct
		begin_viaduct
		wait_for 30 first_frame_came && wait_for 30 all_are_up || { die "not all go on after kill $i"; return 1; }
		times+=("$(first_frame_ms)")
	done
	mapfile -t sorted < <(printf '%s\n' "${times[@]}" | sort -n)
	median=${sorted[$((RESTARTS / 2))]} worst=${sorted[-1]}
	report "64 ports, $RESTARTS restarts after SIGKILL, from exec to the first frame of a guest: median $median ms, worst $worst ms; the bar of $BAR_MS ms is $([ "$worst" -lt $BAR_MS ] && echo met || echo missed)"
	ledger_balances
}
test_64_guests_that_connect_are_served_again_soon_after_sigkill() { restart_time server 0; }
test_64_guests_that_listen_are_served_again_soon_after_sigkill() { restart_time client 1; }

run_tests

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One viaduct hands a running bridge to the next, five times in a row, under front-ends that know nothing of it: a machine
# in QEMU and DPDK. takeover.sh has everything else that belongs to it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

run_args() { echo --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC"; }
# take_over: the running one is the new one from here on.
take_over() {
	local old=$VIADUCT_PID
	# shellcheck disable=SC2046
	start_viaduct --take-over $(run_args) && wait_for 10 gone "$old" || { say "the old process did not end"; return 1; }
	GAPS="${GAPS:-} $(grep -oE 'nothing moved for [0-9.]+ ms' "$VIADUCT_LOG" | grep -oE '[0-9.]+')"
}
moved_on() { status_is ".ports[0].totals | .rx_packets > $1 and .tx_packets > $2" true; }
more_frames() {
	local seen
	seen=$(status ".ports[0].totals | \"\(.rx_packets + $1) \(.tx_packets + $1)\"")
	# shellcheck disable=SC2086
	wait_for 30 moved_on $seen
}
# Frames to the guest go on by themselves, each answered; afterwards their number is compared.
start_ping() { in_wire ip neigh replace $GUEST_IP lladdr $GUEST_MAC dev wire0; nsenter --net=/run/netns/wire ping -n -i 0.005 $GUEST_IP >"$WORK/flood" & PING=$!; }
# A TCP stream goes as fast as it can, so where a machine under emulation or the veth does not get its CPU in time something is
# dropped: for want of the guest's buffers, or of room in the veth. Both count it, and it is none of the hand-over's doing.
# Whatever is lost beyond that is.
veth_drops() { "$1" ip -s -j link show "$2" | jq '.[0].stats64 | .rx.dropped + .tx.dropped'; }
dropped() { echo $(($(status '.ports[0] | [.drops[], .lost_in_ring] | add') + $(veth_drops command nic0) + $(veth_drops in_wire wire0))); }
no_ping_was_lost() {
	local lost last dropped
	kill -INT $PING; wait $PING
	# Behind the last that was answered there may be some that were on their way.
	read -r lost last < <(grep -oP 'icmp_seq=\K[0-9]+' "$WORK/flood" | sort -nu | awk '{lost += $1 - last - 1; last = $1} END {print lost + 0, last + 0}')
	dropped=$(dropped)
	report "$lost of $last pings lost; gaps, ms:$GAPS; frames dropped by name: $dropped"
	[ "$lost" -le "$dropped" ] && [ "$last" -gt 100 ] || die "pings were lost"
}
five_take_overs() {
	local i
	GAPS=
	for i in 1 2 3 4 5; do take_over && more_frames 100 || return 1; done
	status_is '.ports[0] | [.connections, .up]' "$(jq -n '[1, true]')" || die "connections: $(status .ports[0].connections)"
}

listens() { in_wire ss -ltn | grep -q ":$1 "; }
carrier_changes() { vm cat /sys/class/net/eth0/carrier_changes; }
# a_machine_goes_on [DEVICE-ARGUMENTS]: a TCP connection carries bytes there and back all the while, and all are compared.
a_machine_goes_on() {
	local stream changes
	# shellcheck disable=SC2046
	make_nic 1 && start_viaduct $(run_args) && start_qemu_guest 1 "$@" && start_ping || return 1
	changes=$(carrier_changes)
	in_wire "$TOP/selftests/blob.py" echoed 7000 "$WORK/enough" & stream=$!
	wait_for 20 listens 7000 && vm "nc $WIRE_IP 7000 -e cat >/dev/null 2>&1 &" && more_frames 100 && five_take_overs || return 1
	no_ping_was_lost || return 1
	: >"$WORK/enough"
	wait $stream || die "not every byte came back" || return 1
	[ "$(carrier_changes)" = "$changes" ] || die "the machine saw its carrier change" || return 1
	! vm dmesg | grep -E 'is not a head|broken|NETDEV WATCHDOG|BUG:|WARNING:' >&2 && pings in_wire $GUEST_IP && ledger_balances
}
with_newer_qemu() {
	local QEMU_PROGRAM
	QEMU_PROGRAM=$(newer_qemu) || { skip "the installed QEMU is older than 9 and the backports could not be reached"; return; }
	"$@"
}
test_a_machine_does_not_notice_five_take_overs() { with_newer_qemu a_machine_goes_on; }
test_a_machine_with_packed_rings_does_not_notice_five_take_overs() { with_newer_qemu a_machine_goes_on ,packed=on; }

dpdk_goes_on() { # VIRTIO-USER-ARGUMENTS
	# shellcheck disable=SC2046
	make_nic 1 && start_viaduct $(run_args) || return 1
	dpdk-testpmd --no-huge -m 256 --no-pci --file-prefix "g$RANDOM" -l 0,1 --no-telemetry \
		--vdev "net_virtio_user0,path=$SOCK,mac=$GUEST_MAC,queues=1,queue_size=256,$1" \
		-- --total-num-mbufs=8192 --forward-mode=icmpecho --auto-start --no-lsc-interrupt --stats-period 1 >"$WORK/testpmd.log" 2>&1 &
	wait_for 30 port_is_up && in_wire ip neigh replace $GUEST_IP lladdr $GUEST_MAC dev wire0 &&
		wait_for 20 in_wire ping -q -c 1 -W 1 $GUEST_IP || { tail -n 20 "$WORK/testpmd.log" >&2; return 1; }
	start_ping && more_frames 100 && five_take_overs && no_ping_was_lost && ledger_balances
}
test_testpmd_does_not_notice_five_take_overs() { dpdk_goes_on packed_vq=0; }
test_testpmd_with_packed_rings_does_not_notice_five_take_overs() { dpdk_goes_on packed_vq=1; }

run_tests

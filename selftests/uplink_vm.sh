#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A real machine while the uplink's device comes, goes and is another one. uplink.sh has the rest.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"
. "$(dirname "$0")/links_lib.sh"
. "$(dirname "$0")/links_vm_lib.sh"
. "$(dirname "$0")/uplink_lib.sh"

# up PAIRS ARGUMENTS...: a bridge on the NICs that there are, and a machine on it that answers.
up() {
	local pairs=$1; shift
	start_viaduct "$@" --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,queues=$pairs,link=follow,qmp=$QMP" && guest_initramfs || return 1
	# shellcheck disable=SC2046
	start_vm guest $(vhost_net "$SOCK" "$pairs") -qmp "unix:$QMP,server=on,wait=off" || return 1
	vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" && wait_for 20 port_is_up && told_by qmp && carrier_becomes 1 && answers || return 1
	BOOT=$(vm cat /proc/sys/kernel/random/boot_id)
}
# The same machine, on the same connection.
has_stayed() {
	[ "$(vm cat /proc/sys/kernel/random/boot_id)" = "$BOOT" ] || die "the machine was started again" || return 1
	status_is .ports[0].connections 1 || die "QEMU had to connect again" || return 1
	ledger_balances
}
is_on() { wait_for 10 status_is '.uplink.interface + " " + .uplink.device.in_use' "$1" || die "not on $1: $(status .uplink.device | jq -c .)"; }
wire() { in_wire ip link set "wire$1" "$2"; } # NUMBER up|down
changes() { vm cat /sys/class/net/eth0/carrier_changes; }

# One TCP connection, on which the machine sends numbers, 25 a second.
start_numbers() {
	nsenter --net=/run/netns/wire nc -l 7000 >"$WORK/numbers" & NUMBERS_PID=$!
	wait_for 5 sh -c "nsenter --net=/run/netns/wire ss -ltn | grep -q ':7000 '"
	vm "(i=0; while :; do echo \$i; i=\$((i + 1)); usleep 40000; done | nc $WIRE_IP 7000) >/dev/null 2>&1 &" && more_numbers
}
numbers() { wc -l <"$WORK/numbers"; }
more_numbers() { local now; now=$(numbers); wait_for 40 more_numbers_than $((now + 10)) || die "the connection stands still"; }
more_numbers_than() { [ "$(numbers)" -gt "$1" ]; }
# None is missing, none came twice.
numbers_are_whole() {
	kill -0 $NUMBERS_PID && head -n "$(numbers)" "$WORK/numbers" | awk '$1 != NR - 1 {bad = 1} END {exit bad}' || die "not every number came once" || return 1
	report "$1: $(numbers) numbers came by one TCP connection, each once"
}

test_a_machines_connection_survives_a_standby_that_takes_over_and_gives_back() {
	local before i
	make_two && address_behind_switch && up 1 --uplink nic0 --standby nic1 && start_numbers || return 1
	before=$(changes)
	for i in 1 2; do
		wire 0 down && is_on "nic1 standby" && more_numbers && carrier_is 1 && wire 0 up && is_on "nic0 first" && more_numbers && answers || return 1
	done
	ip link del nic0 && is_on "nic1 standby" && more_numbers && make_again && is_on "nic0 first" && more_numbers && answers || return 1
	[ "$(changes)" = "$before" ] && carrier_is 1 || die "the machine's carrier changed" || return 1
	numbers_are_whole "standby took over 3 times, gave back 3 times" && has_stayed
}
test_a_machines_carrier_goes_with_that_of_both_devices_and_comes_back_with_one() {
	local i
	make_two && address_behind_switch && up 1 --uplink nic0 --standby nic1 && start_numbers || return 1
	for i in 1 2 3; do
		wire 0 down && is_on "nic1 standby" && carrier_is 1 && watch_carrier 0 &&
			timed event nic1 down map $PINS/links 0 up 0 mark "$WORK/vm.console" carrier-is-0 -- nsenter --net=/run/netns/wire ip link set wire1 down || return 1
		link_says guest down && carrier_is 0 && watch_carrier 1 &&
			timed event nic1 up map $PINS/links 0 up 1 mark "$WORK/vm.console" carrier-is-1 -- nsenter --net=/run/netns/wire ip link set wire1 up || return 1
		link_says guest up && carrier_is 1 && more_numbers && wire 0 up && is_on "nic0 first" && more_numbers || return 1
	done
	report_times "both wires down, one up: event to map" map
	report_times "both wires down, one up: event to the machine's carrier, seen in the machine" mark
	answers && numbers_are_whole "no wire for a while, 3 times" && has_stayed
}
test_a_machines_carrier_goes_with_the_only_device_and_comes_back_when_it_is_made_again() {
	local i
	make_two && address_behind_switch && ip link del nic1 && up 1 --uplink nic0 && start_numbers || return 1
	for i in 1 2 3; do
		watch_carrier 0 && timed event nic0 down map $PINS/links 0 up 0 mark "$WORK/vm.console" carrier-is-0 -- ip link del nic0 || return 1
		link_says guest down && carrier_is 0 && link_map_is 0 reason VD_REASON_GONE && make_again && carrier_becomes 1 && link_says guest up && answers && more_numbers || return 1
	done
	report_times "the only NIC deleted: event to map" map
	report_times "the only NIC deleted: event to the machine's carrier, seen in the machine" mark
	numbers_are_whole "NIC deleted and made again 3 times" && has_stayed
}
# Four queues, one, and four again.
test_a_machine_with_two_pairs_goes_on_with_another_number_of_nic_queues() {
	NIC_QUEUES=4 make_two && address_behind_switch && up 2 --uplink nic0 --standby nic1 || return 1
	vm "ethtool -L eth0 combined 2" && wait_for 5 status_is '.ports[0].pairs.enabled' 2 && queues_are 4 && start_numbers && flows_pass || return 1
	wire 0 down && is_on "nic1 standby" && queues_are 1 && more_numbers && flows_pass && status_is '.ports[0].pairs.enabled' 2 || return 1
	wire 0 up && is_on "nic0 first" && queues_are 4 && more_numbers && flows_pass && status_is '.ports[0].pairs.enabled' 2 || return 1
	status_is .uplink.trouble '[]' && numbers_are_whole "4 NIC queues, 1 and 4" && has_stayed
}
queues_are() { link_map_is 0 pairs "$1" || die "NIC queues: $(link_map 0 pairs)"; }
# Many flows, so that each pair gets some, both ways.
flows_pass() {
	local i
	for i in $(seq 1 16); do
		in_wire ip addr add 10.77.0.$((100 + i))/24 dev br0 2>/dev/null
		wait_for 5 in_wire ping -q -c 1 -W 1 -I 10.77.0.$((100 + i)) $GUEST_IP || die "no answer for flow $i" || return 1
	done
	answers
}

run_tests

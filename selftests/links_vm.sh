#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The carrier that a real machine sees: by QEMU's monitor, by a connection that is closed, by command. links.sh has the rest.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"
. "$(dirname "$0")/links_lib.sh"
. "$(dirname "$0")/links_vm_lib.sh"

# up KEYS [QEMU-ARGUMENTS]: a bridge, and a machine on it that answers.
up() {
	start_bridge "$1" && guest_initramfs || return 1
	# shellcheck disable=SC2046,SC2086
	start_vm guest $(vhost_net "$SOCK" 1) ${2:-} || return 1
	vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" && wait_for 20 port_is_up && carrier_becomes 1 && answers
}
with_monitor() { up "$1,qmp=$QMP" "-qmp unix:$QMP,server=on,wait=off"; }
is_silent() { ! in_wire ping -q -c 1 -W 1 $GUEST_IP >/dev/null; }
# timed_flap 0|1: as flap; waits for QEMU's word that it has done it, and for the machine to see it.
timed_flap() {
	watch_carrier "$1" && flap "$1" map2 $PINS/links 1 guest $((2 - $1)) mark "$WORK/vm.console" "carrier-is-$1"
}

test_a_machines_carrier_follows_by_qemus_monitor() {
	local i boot
	with_monitor link=follow && told_by qmp || return 1
	boot=$(vm cat /proc/sys/kernel/random/boot_id)
	for i in 1 2 3 4 5; do
		timed_flap 0 && link_says guest down && carrier_is 0 && is_silent && timed_flap 1 && link_says guest up && carrier_is 1 && answers || return 1
	done
	report_times "event to map" map
	report_times "event to QEMU's answer" map2
	report_times "event to the machine's carrier, seen in the machine" mark
	[ "$(vm cat /proc/sys/kernel/random/boot_id)" = "$boot" ] && status_is .ports[0].connections 1 && ledger_balances
}
test_a_machines_carrier_follows_the_command_by_qemus_monitor() {
	local i
	with_monitor link=follow || return 1
	for i in 1 2 3; do
		viaduct link vm0 down && carrier_becomes 0 && link_says admin down && link_says guest down && is_silent || return 1
		viaduct link vm0 up && carrier_becomes 1 && link_says guest up && answers || return 1
	done
}
test_a_machine_that_boots_without_a_carrier_gets_one_when_the_uplink_has_it() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,qmp=$QMP" && guest_initramfs && wire0 down || return 1
	# shellcheck disable=SC2046
	start_vm guest $(vhost_net "$SOCK" 1) -qmp "unix:$QMP,server=on,wait=off" && vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" || return 1
	link_says guest down && carrier_becomes 0 && wire0 up && carrier_becomes 1 && link_says guest up && wait_for 20 port_is_up && answers
}
test_a_machine_is_told_by_the_viaduct_that_was_started_again() {
	with_monitor link=follow && wire0 down && carrier_becomes 0 || return 1
	kill -KILL "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null
	wire0 up
	start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,qmp=$QMP" && carrier_becomes 1 30 && wait_for 20 port_is_up && answers
}
test_a_machine_that_reboots_without_a_carrier_has_none_and_gets_it_back() {
	with_monitor link=follow && viaduct link vm0 down && carrier_becomes 0 && "$TOP/selftests/qmp.py" "$WORK/vm.qmp" system_reset >/dev/null || return 1
	wait_for 90 vm_answers && vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" && carrier_becomes 0 && link_says guest down || return 1
	viaduct link vm0 up && carrier_becomes 1 && wait_for 20 port_is_up && answers
}
# Both ways of saying it: the monitor at once, the connection after a second.
test_a_machine_with_a_monitor_and_link_close_comes_back_whole() {
	local i
	with_monitor link=close || return 1
	for i in 1 2; do
		wire0 down && carrier_becomes 0 && wait_for 5 is_connected false && wire0 up && carrier_becomes 1 && wait_for 20 port_is_up && answers || return 1
	done
	ledger_balances
}
test_a_machine_without_a_monitor_keeps_its_carrier_and_is_shown_as_untold() {
	up link=follow && wire0 down && link_says guest untold && told_by nothing && carrier_is 1 || return 1
	status '.ports[0].link.why' | grep -q . && wire0 up && link_says guest up && answers
}
test_a_machines_carrier_goes_with_its_connection_and_comes_back() {
	local i
	up link=close || return 1
	for i in 1 2 3; do
		wire0 down && wait_for 5 is_connected false && carrier_becomes 0 && wire0 up && carrier_becomes 1 && wait_for 20 port_is_up && answers || return 1
	done
	ledger_balances
}
test_a_machines_carrier_goes_with_its_connection_by_command() {
	up link=close && viaduct link vm0 down && carrier_becomes 0 && viaduct link vm0 up && carrier_becomes 1 && wait_for 20 port_is_up && answers
}
test_an_always_up_machine_keeps_its_carrier() {
	local changes
	up link=always-up || return 1
	changes=$(vm cat /sys/class/net/eth0/carrier_changes)
	wire0 down && wait_for 5 link_map_is 0 up 0 && happens uplink_down && carrier_is 1 && wire0 up && wait_for 5 link_map_is 0 up 1 && answers || return 1
	[ "$(vm cat /sys/class/net/eth0/carrier_changes)" = "$changes" ] || die "the carrier changed"
}

run_tests

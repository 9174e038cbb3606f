#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What becomes of the uplink's carrier, speed and MTU: in the links map, in the guest, in the stream of events. Guests are
# viaduct-guest and DPDK here; links_vm.sh has machines.
#
# FLAPS: how often the carrier goes and comes where times are measured (10).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/links_lib.sh"

carrier() { ip netns exec guest cat /sys/class/net/tap0/carrier; }
carrier_is() { [ "$(carrier)" = "$1" ]; }
# up [KEYS]: a bridge, its events, and an interface in the namespace "guest" with its carrier on.
up() { start_bridge "$@" && start_tap_guest && wait_for 5 carrier_is 1; }

# --- link=follow ------------------------------------------------------------------------------------------------------

test_the_carrier_of_a_guest_follows_that_of_the_uplink() {
	up link=follow && pings in_guest $WIRE_IP || return 1
	local i
	for i in $(seq "$FLAPS"); do
		flap 0 file /run/netns/guest /sys/class/net/tap0/carrier 0 && carrier_is 0 && link_says guest down && told_by config_change &&
			flap 1 file /run/netns/guest /sys/class/net/tap0/carrier 1 && carrier_is 1 && link_says guest up || return 1
	done
	report_times "event to map" map
	report_times "event to the guest's carrier" file
	pings in_guest $WIRE_IP && pings in_wire $GUEST_IP && status_is .ports[0].connections 1 && ledger_balances
}
test_to_follow_is_what_a_port_does_when_nothing_is_said() {
	up && link_says policy follow && wire0 down && wait_for 5 carrier_is 0 && wire0 up && wait_for 5 carrier_is 1
}
test_a_guest_that_connects_while_there_is_no_carrier_begins_without_one() {
	start_bridge && wire0 down && happens uplink_down || return 1
	start_tap_guest && wait_for 5 grep -q 'link down' "$GUEST_LOG" && carrier_is 0 && wire0 up && wait_for 5 carrier_is 1 && pings in_guest $WIRE_IP
}
heard() { [ "$(grep -c "link $2" "$GUEST_LOG")" = "$1" ]; } # TIMES up|down
test_a_guest_that_only_counts_notes_what_became_of_its_link() {
	local out
	start_bridge || return 1
	start_guest --sink --json
	wait_for 10 heard 1 up && wire0 down && wait_for 5 heard 1 down && wire0 up && wait_for 5 heard 2 up && wire0 down && wait_for 5 heard 2 down || return 1
	kill -INT $GUEST_PID; wait $GUEST_PID
	out=$(tail -n 1 "$GUEST_LOG")
	summary_is "$out" '.link == "down" and .link_changes == 3'
}
# Each with a time, and which link, and why.
events_of() { jq -rs "[.[] | select(.subject == \"$1\" and (.event | test(\"$2\"))) | .event + \":\" + .detail] | join(\" \")" "$WORK/events"; }
events_are() { [[ $(events_of "$1" "$2") == *"$3" ]] || { say "$(events_of "$1" "$2")"; return 1; }; } # the last ones
test_the_events_of_a_link_are_json_lines() {
	up && wire0 down && happens uplink_down && wire0 up && happens uplink_up || return 1
	viaduct link vm0 down && wait_for 5 carrier_is 0 && viaduct link vm0 up && wait_for 5 carrier_is 1 || return 1
	wait_for 5 events_are nic0 '^uplink_' 'uplink_down:no_carrier uplink_up:none' && wait_for 5 events_are vm0 '^port_(up|down)' 'port_up:none port_down:admin_down port_up:none' &&
		wait_for 5 events_are vm0 '^guest_link' 'guest_link_down:config_change guest_link_up:config_change guest_link_down:config_change guest_link_up:config_change' &&
		jq -es 'all(.[]; has("time") and has("event") and has("subject") and has("detail"))' "$WORK/events" >/dev/null || { cat "$WORK/events" >&2; return 1; }
}

# A NIC whose speed can be set: a tap interface, with somebody who holds it.
tap_nic() {
	ip link set lo up
	python3 -c 'import fcntl, signal, struct
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"nic0", 0x1002))  # TUNSETIFF: a tap, without a header
signal.pause()' &
	wait_for 5 ip link show dev nic0 && ethtool -s nic0 speed 1000 duplex full && ip link set nic0 up && wait_for 5 carrier_is_up nic0
}
test_speed_and_mtu_of_the_uplink_reach_the_map_and_the_guest() {
	tap_nic || skip "the speed of a tap interface cannot be set" || return
	start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_guest --sink
	wait_for 10 grep -q 'link up, MTU 1500, 1000 Mb/s' "$GUEST_LOG" && link_map_is 0 speed_mbps 1000 || { cat "$GUEST_LOG" >&2; return 1; }
	ip link set nic0 mtu 1400 && wait_for 5 grep -q 'link up, MTU 1400, 1000 Mb/s' "$GUEST_LOG" && link_map_is 0 mtu 1400 && link_map_is 1 mtu 1400 || { cat "$GUEST_LOG" >&2; return 1; }
	# As NICs do: the speed is another when the carrier is back.
	ip link set nic0 carrier off && wait_for 5 grep -q 'link down' "$GUEST_LOG" && ethtool -s nic0 speed 2500 && ip link set nic0 carrier on &&
		wait_for 5 grep -q 'link up, MTU 1400, 2500 Mb/s' "$GUEST_LOG" && link_map_is 0 speed_mbps 2500 && link_map_is 1 speed_mbps 2500 ||
		{ cat "$GUEST_LOG" >&2; return 1; }
}

# --- link=always-up ----------------------------------------------------------------------------------------------------

test_an_always_up_guest_keeps_its_carrier_while_the_map_says_that_the_uplink_has_none() {
	up link=always-up && link_says policy always-up || return 1
	local before
	before=$(ip netns exec guest cat /sys/class/net/tap0/carrier_changes)
	wire0 down && wait_for 5 link_map_is 0 up 0 && happens uplink_down && carrier_is 1 && link_says guest up || return 1
	wire0 up && wait_for 5 link_map_is 0 up 1 && wait_for 5 pings in_guest $WIRE_IP || return 1
	[ "$(ip netns exec guest cat /sys/class/net/tap0/carrier_changes)" = "$before" ] || die "the carrier changed"
}
test_guests_of_one_bridge_reach_each_other_without_an_uplink() {
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1 link=always-up)" --port "$(port 2 link=always-up)" && tap_guest 1 && tap_guest 2 && ports_are_up 1 2 || return 1
	wire0 down && wait_for 5 link_map_is 0 up 0 && reaches g1 "$(ip_of 2)"
}

# --- link=close --------------------------------------------------------------------------------------------------------

test_a_connection_is_closed_when_the_carrier_is_gone_for_more_than_a_second_and_comes_back_with_it() {
	up link=close || return 1
	local i
	for i in 1 2 3; do
		wire0 down && wait_for 5 is_connected false && carrier_is 0 && [ ! -e "$SOCK" ] && link_map_is 1 reason VD_REASON_UPLINK || die "not closed: $(status '.ports[0].link' | jq -c .)" || return 1
		wire0 up && wait_for 5 port_is_up && wait_for 5 carrier_is 1 && pings in_guest $WIRE_IP && link_says guest up || return 1
	done
	status_is .ports[0].connections 4 && ledger_balances && stop_viaduct && nothing_is_left
}
test_a_connecting_port_closes_too_and_does_not_call_while_there_is_no_carrier() {
	start_bridge mode=client,link=close || return 1
	GUEST_ARGS=server=1 start_tap_guest && wait_for 5 carrier_is 1 || return 1
	wire0 down && wait_for 5 is_connected false && carrier_is 0 && [ -S "$SOCK" ] || return 1
	wire0 up && wait_for 5 port_is_up && wait_for 5 carrier_is 1 && pings in_guest $WIRE_IP && status_is .ports[0].connections 2
}
# short_flap: the carrier is away for less than a second. A machine under load may need more: once more, then.
short_flap() {
	local _
	for _ in 1 2 3 4 5; do
		FLAP_BEGAN=$EPOCHREALTIME
		wire0 down && wait_for 5 uplink_is_up 0 && wire0 up && wait_for 5 uplink_is_up 1 || return 1
		[ "$(took_less_than_ms 900)" = 1 ] && return 0
		wait_for 10 port_is_up || return 1
	done
	skip "the machine is too busy"
}
uplink_is_up() { link_map_is 0 up "$1"; }
took_less_than_ms() { awk "BEGIN {print ($EPOCHREALTIME - $FLAP_BEGAN) * 1000 < $1}"; }
test_a_flap_of_less_than_a_second_closes_nothing() {
	local connections
	up link=close || return 1
	short_flap || return
	connections=$(status .ports[0].connections)
	sleep 1.5	# it would be closed by now; that nothing comes cannot be waited for
	status_is .ports[0].connections "$connections" && is_connected true && pings in_guest $WIRE_IP && wait_for 5 carrier_is 1 || return 1
	# The time begins anew with each: the next one is closed after a second of its own.
	wire0 down && wait_for 5 is_connected false && wire0 up && wait_for 5 port_is_up && status_is .ports[0].connections $((connections + 1))
}
test_a_bridge_that_starts_without_a_carrier_waits_with_its_socket() {
	make_nic 1 && wire0 down && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,link=close" && wait_for 5 no_socket || return 1
	wire0 up && start_tap_guest && wait_for 5 carrier_is 1 && pings in_guest $WIRE_IP
}
no_socket() { [ ! -e "$SOCK" ]; }
test_a_policy_changes_while_the_guest_goes_on() {
	up link=always-up && viaduct port set vm0 link=follow && link_says policy follow && wire0 down && wait_for 5 carrier_is 0 || return 1
	viaduct port set vm0 link=always-up && wait_for 5 carrier_is 1 && viaduct port set vm0 link=close && wait_for 5 is_connected false || return 1
	viaduct port set vm0 link=always-up && wait_for 5 is_connected true && wait_for 5 carrier_is 1 && wire0 up && wait_for 5 pings in_guest $WIRE_IP
}

# --- viaduct link ------------------------------------------------------------------------------------------------------

test_viaduct_link_takes_the_link_of_one_guest_down_and_up_again() {
	local policy
	for policy in follow always-up close; do
		clean_scene
		up link=$policy && pings in_guest $WIRE_IP || return 1
		viaduct link vm0 down && wait_for 5 carrier_is 0 && link_says admin down && link_says guest down && link_map_is 1 reason VD_REASON_ADMIN_DOWN && link_map_is 0 up 1 ||
			die "$policy: $(status '.ports[0].link' | jq -c .)" || return 1
		! pings in_guest $WIRE_IP 1 2>/dev/null && ! pings in_wire $GUEST_IP 1 2>/dev/null || die "$policy: frames pass" || return 1
		# The uplink's carrier has no say meanwhile.
		wire0 down && wait_for 5 link_map_is 0 up 0 && wire0 up && wait_for 5 link_map_is 0 up 1 && link_says guest down && carrier_is 0 || return 1
		viaduct link vm0 up && wait_for 5 carrier_is 1 && link_says admin up && link_says guest up && wait_for 5 pings in_guest $WIRE_IP && pings in_wire $GUEST_IP || die "$policy" || return 1
	done
}
all_drops() { status '[.ports[0] | .drops, .xdp.drops | .. | numbers] | add // 0'; }
drops_are_at_least() { [ "$(all_drops)" -ge "$1" ]; }
test_frames_of_a_guest_whose_link_was_set_down_stop_both_ways_and_are_counted() {
	local out before heard
	start_bridge && viaduct link vm0 down || return 1
	heard=$(in_wire ip -s -j link show wire0 | jq '.[0].stats64.rx.packets')
	start_guest --generate 60,2000 --count 500 --json
	wait $GUEST_PID
	out=$(tail -n 1 "$GUEST_LOG")
	summary_is "$out" '.tx_packets == 500 and .rx_packets == 0 and .link == "down" and .link_changes == 0' || return 1
	status_is '.ports[0].drops.link_down' 500 && [ "$(in_wire ip -s -j link show wire0 | jq '.[0].stats64.rx.packets')" = "$heard" ] || die "$(status '.ports[0].drops' | jq -c .)" || return 1
	start_guest --sink --json
	wait_for 10 is_connected true && wait_for 5 grep -q 'link down' "$GUEST_LOG" || return 1
	before=$(all_drops)
	in_wire python3 -c 'import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("wire0", 0))
for n in range(300): s.send(bytes.fromhex(sys.argv[1].replace(":", "") + "0200000000bb88b5").ljust(60, b"."))' $GUEST_MAC || return 1
	wait_for 5 drops_are_at_least $((before + 300)) || die "$before drops before, $(all_drops) now" || return 1
	kill -INT $GUEST_PID; wait $GUEST_PID
	summary_is "$(tail -n 1 "$GUEST_LOG")" '.rx_packets == 0' && ledger_balances
}
test_a_link_that_was_set_down_stays_so_for_the_next_guest() {
	up && viaduct link vm0 down && wait_for 5 carrier_is 0 || return 1
	kill -KILL "$GUEST_PID"; wait "$GUEST_PID" 2>/dev/null
	wait_for 5 is_connected false && ip netns del guest || return 1
	start_tap_guest_that_is_down && carrier_is 0 && viaduct link vm0 up && wait_for 5 carrier_is 1 && pings in_guest $WIRE_IP
}
start_tap_guest_that_is_down() {
	ip netns add guest && start_guest --tap tap0 --netns guest
	wait_for 10 is_connected true && wait_for 5 grep -q 'link down' "$GUEST_LOG" && in_guest ip addr add $GUEST_IP/24 dev tap0
}
test_viaduct_link_refuses_what_makes_no_sense() {
	start_bridge || return 1
	! viaduct link vm0 sideways 2>"$WORK/err" && ! viaduct link x down 2>>"$WORK/err" && ! viaduct link down 2>>"$WORK/err" && grep -q "no port named 'x'" "$WORK/err"
}

# --- from one process to the next ---------------------------------------------------------------------------------------

# take_over [KEYS]: the running one is the new one from here on.
take_over() {
	local old=$VIADUCT_PID
	start_viaduct --take-over --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC${1:+,$1}" && wait_for 10 gone "$old" || die "the old process did not end"
}
test_a_guest_follows_the_next_process_as_well() {
	up && take_over && carrier_is 1 && wire0 down && wait_for 5 carrier_is 0 && take_over && carrier_is 0 && link_says guest down || return 1
	wire0 up && wait_for 5 carrier_is 1 && link_says guest up && take_over && wait_for 5 pings in_guest $WIRE_IP && status_is .ports[0].connections 1
}
test_the_next_process_keeps_what_was_set_down_and_closed() {
	up link=close && viaduct link vm0 down && wait_for 5 is_connected false && take_over link=close || return 1
	link_says admin down && link_says guest down && is_connected false && [ ! -e "$SOCK" ] && carrier_is 0 || { status '.ports[0] | {link, connected, reason}' >&2; return 1; }
	viaduct link vm0 up && wait_for 5 carrier_is 1 && wait_for 5 pings in_guest $WIRE_IP && link_says admin up || return 1
	wire0 down && wait_for 5 is_connected false && take_over link=close && [ ! -e "$SOCK" ] && wire0 up && wait_for 5 carrier_is 1 && wait_for 5 pings in_guest $WIRE_IP
}
test_after_sigkill_a_guest_learns_what_became_of_the_carrier_meanwhile() {
	up && kill -KILL "$VIADUCT_PID" && wire0 down || return 1
	wait "$VIADUCT_PID" 2>/dev/null
	start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && wait_for 10 is_connected true && link_says guest down && carrier_is 0 || return 1
	wire0 up && wait_for 5 carrier_is 1 && wait_for 5 pings in_guest $WIRE_IP
}

# --- DPDK --------------------------------------------------------------------------------------------------------------

PMD_LOG=$WORK/testpmd.log
# start_testpmd SERVER(0|1): asks for its link four times a second. virtio-user learns of a lost back-end when somebody asks.
start_testpmd() {
	{ while sleep 0.25; do echo "show port info 0"; done 2>/dev/null; } | dpdk-testpmd --no-huge -m 256 --no-pci --file-prefix "g$RANDOM" -l 0,1 --no-telemetry \
		--vdev "net_virtio_user0,path=$SOCK,mac=$GUEST_MAC,queues=1,queue_size=256,server=$1" \
		-- --total-num-mbufs=8192 --rxq=1 --txq=1 --forward-mode=icmpecho --auto-start --no-lsc-interrupt -i >"$PMD_LOG" 2>&1 &
	wait_for 30 port_is_up || { tail -n 20 "$PMD_LOG" >&2; return 1; }
}
testpmd_link_is() { [ "$(grep -ao 'Link status: [a-z]*' "$PMD_LOG" | tail -n 1)" = "Link status: $1" ]; }
testpmd_answers() { in_wire ip neigh replace $GUEST_IP lladdr $GUEST_MAC dev wire0; wait_for 20 in_wire ping -q -c 1 -W 1 $GUEST_IP; }
test_dpdk_virtio_user_sees_its_link_go_and_come_with_link_close() {
	local i
	start_bridge mode=client,link=close && start_testpmd 1 && wait_for 10 testpmd_link_is up && testpmd_answers || return 1
	for i in 1 2; do
		wire0 down && wait_for 10 testpmd_link_is down || { tail -n 30 "$PMD_LOG" >&2; die "its link stays up"; return 1; }
		wire0 up && wait_for 20 testpmd_link_is up && wait_for 20 port_is_up && testpmd_answers || { tail -n 30 "$PMD_LOG" >&2; die "its link does not come back"; return 1; }
	done
	viaduct link vm0 down && wait_for 10 testpmd_link_is down && viaduct link vm0 up && wait_for 20 testpmd_link_is up && testpmd_answers && ledger_balances
}
test_dpdk_virtio_user_that_connects_sees_its_link_go_with_link_close() {
	start_bridge link=close && start_testpmd 0 && wait_for 10 testpmd_link_is up && testpmd_answers && wire0 down && wait_for 10 testpmd_link_is down && link_says guest down && told_by connection
}
# It negotiates no configuration: with link=follow it cannot be told.
test_dpdk_virtio_user_that_cannot_be_told_is_shown_as_untold() {
	start_bridge link=follow && start_testpmd 0 && wait_for 10 testpmd_link_is up && wire0 down && wait_for 5 link_says guest untold && told_by nothing && link_map_is 1 guest VD_GUEST_UNTOLD || return 1
	status '.ports[0].link.why' | grep -q . && testpmd_link_is up && wire0 up && wait_for 5 link_says guest up && testpmd_answers
}

run_tests

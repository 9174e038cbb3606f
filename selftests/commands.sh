#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Ports and steering of a running bridge, by the commands, and the configuration file: what they do and how they refuse.
. "$(dirname "$0")/lib.sh"

PORT="--port name=vm0,socket=$SOCK,queues=4,mac=$GUEST_MAC"
run_args() { echo --uplink nic0 $PORT "$@"; }
viaduct() { "$BUILD/viaduct" "$@"; }
# says CODE TEXT COMMAND...: ends with that exit code, in one line on standard error that contains TEXT.
says() {
	local code=$1 want=$2 out ret; shift 2
	out=$(viaduct "$@" 2>&1 >/dev/null); ret=$?
	[ "$ret" = "$code" ] || { say "exit code $ret, not $code: $*: $out"; return 1; }
	[ "$(echo "$out" | grep -c .)" -le 1 ] && [[ $out == *"$want"* ]] || { say "wanted '$want', got: $out"; return 1; }
}
names() { viaduct port list --json | jq -r 'map(.name) | join(" ")'; }
steering_map() { bpftool -j map lookup pinned /sys/fs/bpf/viaduct/nic0/steering key "$1" 0 0 0 | jq -c "$2"; }
files_of() { ls "/proc/$1/fd" | wc -l; }

test_a_file_says_what_the_command_line_would() {
	make_nic 1 || return 1
	cat >"$WORK/v.conf" <<-END
		[uplink]
		interface = nic0
		name = nic0
		aging = 60
		[port vm0]
		socket = $SOCK
		mac = $GUEST_MAC ; the only one
		[port vm1]
		socket = $WORK/vm1.sock
		trunk = 10,
		   20-29
	END
	start_viaduct --config "$WORK/v.conf" --port "name=vm2,socket=$WORK/vm2.sock,vlan=5" || return 1
	[ "$(names)" = "vm0 vm1 vm2" ] || die "$(names)" || return 1
	status_is .forwarding.aging_s 60 && status_is '.ports[1].config.trunk' 10,20-29 && status_is '.ports[2].config.vlan' 5 || return 1
	start_tap_guest && pings in_guest $WIRE_IP || return 1
	stop_viaduct && nothing_is_left
}

test_a_file_with_a_mistake_is_refused_by_line() {
	make_nic 1 || return 1
	printf '[uplink]\ninterface = nic0\n[port vm0]\nsocket = %s\nvlam = 5\n' "$SOCK" >"$WORK/v.conf"
	says 2 "v.conf:5: unknown key 'vlam'" run --config "$WORK/v.conf" && says 2 "cannot be opened" run --config "$WORK/none"
}

test_ports_come_and_go_beside_a_guest_that_goes_on() {
	make_nic 1 && start_viaduct $(run_args) && start_tap_guest || return 1
	local i before
	in_guest ping -i 0.01 -c 300 -q $WIRE_IP >"$WORK/long.log" 2>&1 & local ping=$!
	before=$(files_of "$VIADUCT_PID")
	for i in $(seq 20); do
		viaduct port add "name=new,socket=$WORK/new.sock,queues=2,mac=52:54:00:00:01:01" || return 1
		[ -S "$WORK/new.sock" ] || die "no socket" || return 1
		viaduct port set new "vlan=$i,storm=off" && [ "$(viaduct port list --json | jq '.[1].config.vlan')" = "$i" ] || return 1
		viaduct port del new || return 1
		[ ! -e "$WORK/new.sock" ] || die "the socket is left" || return 1
	done
	[ "$(names)" = vm0 ] && [ "$(files_of "$VIADUCT_PID")" = "$before" ] || die "files: $before before, $(files_of "$VIADUCT_PID") after" || return 1
	wait $ping || { cat "$WORK/long.log" >&2; return 1; }
	grep -q ' 0% packet loss' "$WORK/long.log" || { cat "$WORK/long.log" >&2; return 1; }
	[ "$(link_map 2 reason)" = VD_REASON_NOT_CONFIGURED ] || [ "$(link_map 2 reason)" = 1 ]
}

test_a_guest_connects_to_a_port_that_was_added() {
	make_nic 1 && start_viaduct --uplink nic0 || return 1
	viaduct port add "name=vm0,socket=$SOCK" && start_tap_guest && pings in_guest $WIRE_IP && viaduct port del vm0 || return 1
	[ "$(names)" = "" ] && stop_viaduct && nothing_is_left
}

test_what_makes_no_sense_is_refused_and_changes_nothing() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	says 1 "there is a port vm0 already" port add "name=vm0,socket=$WORK/x.sock" &&
		says 1 "port vm0 has the socket" port add "name=x,socket=$SOCK" &&
		says 1 "is an address of port vm0" port add "name=x,socket=$WORK/x.sock,mac=$GUEST_MAC" &&
		says 1 "check that the directory exists" port add "name=x,socket=$WORK/none/x.sock" &&
		says 2 "does not begin with '/'" port add "name=x,socket=x.sock" &&
		says 2 "control socket" port add "name=x,socket=/run/viaduct/nic0.sock" &&
		says 2 "mac-lock=on needs mac=" port add "name=x,socket=$WORK/x.sock,mac-lock=on" &&
		says 2 "queues: cannot change" port set vm0 queues=2 &&
		says 2 "vlan: '5000'" port set vm0 vlan=5000 &&
		says 1 "no port named 'x'" port set x vlan=5 && says 1 "no port named 'x'" port del x &&
		says 1 "no port named 'x'" steer x && says 1 "no port named 'x'" status --port x &&
		says 2 "no queue pair 4" steer vm0 0=4 && says 2 "usage: viaduct port del" port del || return 1
	[ "$(names)" = vm0 ] && [ ! -e "$WORK/x.sock" ] && status_is '.ports[0].config.vlan' 0
}

test_steering_is_changed_and_shown_and_is_what_the_map_says() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	viaduct steer vm0 | grep -q 'mode auto' && viaduct steer vm0 | grep -q spread || die "$(viaduct steer vm0)" || return 1
	viaduct steer vm0 hash 0-63=1,64-127=3 && viaduct steer vm0 | grep -q '0-63=1,64-127=3' || die "$(viaduct steer vm0)" || return 1
	[ "$(steering_map 0 '.formatted.value.pair | [.[0], .[63], .[64], .[127]]')" = "[1,1,3,3]" ] || die "map: $(steering_map 0 .)" || return 1
	# An operator's hand in the map is seen, too.
	bpftool map update pinned /sys/fs/bpf/viaduct/nic0/steering key 0 0 0 0 value hex \
		01 00 00 00 00 00 00 00 $(for i in $(seq 128); do echo 02 00; done) || return 1
	viaduct steer vm0 | grep -q '0-127=2' && viaduct steer vm0 spread auto && viaduct steer vm0 | grep -q spread
}

test_two_hundred_and_fifty_six_ports_are_served_and_listed() {
	make_nic 1 || return 1
	local i args=()
	for i in $(seq 0 255); do args+=(--port "name=p$i,socket=$WORK/p$i.sock,queues=4"); done
	start_viaduct --uplink nic0 "${args[@]}" || return 1
	[ "$(names | wc -w)" = 256 ] && [ "$(viaduct status | grep -c '^  p[0-9]')" = 256 ] &&
		[ "$(viaduct status --json | jq '[.ports[].pair[]] | length')" = 1024 ] || return 1
	says 1 "which is all a bridge can have" port add "name=p256,socket=$WORK/p256.sock" || return 1
	viaduct port del p7 && viaduct port add "name=p256,socket=$WORK/p256.sock" && stop_viaduct && nothing_is_left
}

run_tests

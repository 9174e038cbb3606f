#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make demo: the real job on virtual links, in namespaces that end with it.
#
#   wire namespace [wire0]--veth--[nic0] viaduct --vhost-user-- viaduct-guest [eth0] guest namespace
. "$(dirname "$0")/lib.sh"

PASS=0 FAIL=0
step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# check DESCRIPTION COMMAND...: one line, and the output when it failed.
check() {
	local what=$1 out; shift
	if out=$("$@" 2>&1); then
		PASS=$((PASS + 1)); printf '   ok      %-44s %s\n' "$what" "$(echo "$out" | tail -n 1)"
	else
		FAIL=$((FAIL + 1)); printf '   FAILED  %s\n%s\n' "$what" "$(echo "$out" | sed 's/^/           /')"
	fi
}
ping_summary() { local out; out=$("$1" ping -q -c 5 -i 0.1 -W 2 "$2") || { echo "$out"; return 1; }; echo "$out" | awk -F/ '/rtt/ {print "5 of 5, average " $5 " ms"}'; }
rate() { # iperf3 arguments, run in the guest
	local out
	out=$(in_guest iperf3 -J -t 2 -c $WIRE_IP "$@") || { echo "$out" | tail -n 3; return 1; }
	echo "$out" | jq -r '.end | (.sum_received // .sum) | "\((.bits_per_second / 1e6) | floor) Mbit/s" + (if .lost_percent then ", \(.lost_percent * 100 | floor / 100) % lost" else "" end)'
}

clean_scene
trap 'clean_scene 2>/dev/null' EXIT
step "Two namespaces, wire and guest, and a veth pair as the NIC"
make_nic 1 || exit 1
echo "   wire0 ($WIRE_IP) --- nic0 ($HOST_IP, the host's own address stays on it)"

step "viaduct on nic0, one port for a guest"
echo "   viaduct run --uplink nic0 --port name=vm0,socket=$SOCK"
start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" || exit 1
sed 's/^/   /' "$VIADUCT_LOG"

step "A guest plugs in over vhost-user: an ordinary interface in its namespace"
echo "   viaduct-guest path=$SOCK,mac=$GUEST_MAC --tap tap0 --netns guest"
start_tap_guest || { cat "$GUEST_LOG"; exit 1; }
in_guest ip -br addr show dev tap0 | sed 's/^/   /'

step "Packets flow"
check "guest pings wire" ping_summary in_guest $WIRE_IP
check "wire pings guest" ping_summary in_wire $GUEST_IP
check "wire still reaches the host on nic0" ping_summary in_wire $HOST_IP
in_wire iperf3 -s -D >/dev/null 2>&1
wait_for 5 sh -c "nsenter --net=/run/netns/wire ss -ltn | grep -q ':5201 '"
check "TCP, guest to wire" rate
check "TCP, wire to guest" rate -R
check "UDP, guest to wire, 200 Mbit/s offered" rate -u -b 200M -l 1400
check "UDP, wire to guest, 200 Mbit/s offered" rate -u -b 200M -l 1400 -R
check "every frame of the NIC queue has one owner" ledger_balances

step "viaduct status"
"$BUILD/viaduct" status | sed 's/^/   /'
step "bpftool map dump pinned /sys/fs/bpf/viaduct/nic0/links (uplink and port)"
bpftool -j map dump pinned /sys/fs/bpf/viaduct/nic0/links |
	jq -c '.[:2][].formatted.value' | sed 's/^/   /'

step "The end: nothing is left"
kill -TERM "$GUEST_PID"; wait "$GUEST_PID" 2>/dev/null
stop_viaduct
check "no program, pin, socket or setting is left" nothing_is_left
printf '\n%d things worked, %d did not.' "$PASS" "$FAIL"
[ "$FAIL" = 0 ] && printf ' Next: man doc/viaduct.8, and README.md for QEMU, libvirt and DPDK.'
echo
[ "$FAIL" = 0 ]

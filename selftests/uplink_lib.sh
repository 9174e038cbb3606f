# SPDX-License-Identifier: BSD-2-Clause
# What the tests of an uplink that changes its device share, whoever is the guest. Sourced after lib.sh.

WINDOW=64

# The stream begins; it ends by stop_stream.
start_stream() {
	"$BUILD/viaduct-guest" "path=$FAR_SOCK,mac=$FAR_MAC" --json --generate 256 --dst $GUEST_MAC --window $WINDOW >"$WORK/stream.json" 2>"$WORK/stream.log" &
	STREAM=$!
	wait_for 10 stream_runs
}
frames() { status '.ports[0].totals.rx_packets'; }
stream_runs() { [ "$(frames)" -gt 1000 ]; }
# stream_goes_on: a thousand more frames come to the guest, or it says no.
stream_goes_on() {
	local now; now=$(frames)
	wait_for 15 more_than $((now + 1000)) || die "the stream stands still: $(status '.uplink | {interface, up, reason, trouble}' | jq -c .)"
}
more_than() { [ "$(frames 2>/dev/null)" -gt "$1" ]; }
# Nothing but losses, and those are told; the guest has stayed connected.
stop_stream() { # WHAT
	kill -INT "$STREAM"; wait "$STREAM"
	OUT=$(tail -n 1 "$WORK/stream.json")
	summary_is "$OUT" '.reordered == 0 and .duplicated == 0 and .damaged == 0 and .returned > 1000' || return 1
	report "$1: lost $(echo "$OUT" | jq .lost) of $(echo "$OUT" | jq .tx_packets) frames, repeated 0, reordered 0"
	[ "$(status '.ports[0].connections')" = 1 ] || die "the guest had to connect again"
}
in_use() { wait_for 10 status_is '.uplink.interface + " " + .uplink.device.in_use' "$1" && stream_goes_on; }
# Two NICs, whose wires are ports of one switch: a bridge in the wire's namespace. NIC_QUEUES: of the first.
make_two() {
	make_nic "${NIC_QUEUES:-1}" || return 1
	ip link add nic1 type veth peer name wire1 netns wire && plain_veth /run/netns/wire wire1 && ip link set nic1 up || return 1
	in_wire ip link add br0 type bridge && in_wire ip link set br0 up && in_wire ip link set wire0 master br0 && in_wire ip link set wire1 up master br0 &&
		in_wire ip link add far0 type veth peer name far1 && in_wire ip link set far0 up master br0 && in_wire ip link set far1 up
}
stop_far_bridge() { pkill -TERM -f 'run --uplink (far1|wire0)' && wait_for 5 far_bridge_is_gone; }
far_bridge_is_gone() { ! pgrep -f 'run --uplink (far1|wire0)'; }
start_far_on_bridge() {
	: >"$WORK/far.log"
	in_wire "$BUILD/viaduct" run --uplink far1 --port "name=far,socket=$FAR_SOCK,mac=$FAR_MAC" >"$WORK/far.log" 2>&1 &
	FAR_PID=$!
	wait_for 20 grep -q ' ready' "$WORK/far.log" || { cat "$WORK/far.log" >&2; return 1; }
}
# A device once more, behind the same switch. make_again [IFACE]
make_again() {
	local nic=${1:-nic0} wire=${1:-nic0}; wire=${wire/nic/wire}
	ip link add "$nic" type veth peer name "$wire" netns wire && plain_veth /run/netns/wire "$wire" && ip link set "$nic" up && in_wire ip link set "$wire" up master br0
}
# The wire's own address, where it is not behind either of the two. A bridge that was given none takes one of its ports, and another when they change.
address_behind_switch() { in_wire ip addr flush dev wire0 && in_wire ip link set br0 address 02:00:5e:00:00:b0 && plain_veth /run/netns/wire br0 && in_wire ip addr add $WIRE_IP/24 dev br0; }

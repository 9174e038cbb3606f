# SPDX-License-Identifier: BSD-2-Clause
# What the tests of links share, with and without machines. Sourced after lib.sh.

FLAPS=${FLAPS:-10}
BAR_MS=100	# from an event to the map and to the guest
PINS=/sys/fs/bpf/viaduct/nic0

viaduct() { "$BUILD/viaduct" "$@"; }
wire0() { in_wire ip link set wire0 "$1"; }	# up, down: the carrier of nic0
# Returns when they come: something that makes one is done until it has been heard of.
watch_events() {
	viaduct monitor --name nic0 >"$WORK/events" 2>&1 &
	wait_for 10 makes_an_event
}
makes_an_event() { viaduct port set vm0 isolated=off && has_happened port_changed; }
has_happened() { jq -e "select(.event == \"$1\")" "$WORK/events" | grep -q .; }
happens() { wait_for 15 has_happened "$1" || { cat "$WORK/events"; die "no $1"; }; }
# start_bridge [KEYS]: with one port, and its events in $WORK/events.
start_bridge() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC${1:+,$1}" && watch_events
}
is_connected() { status_is .ports[0].connected "$1"; }
link_says() { wait_for 5 status_is ".ports[0].link.$1" "$2" || die "link: $(status .ports[0].link | jq -c .)"; }
told_by() { link_says told_by "$1"; }

# flap 0|1 WATCH...: takes the carrier of nic0 away, or gives it back, and notes when the kernel said so, when it was in the
# map, and when WATCH saw it (see linkwatch.c).
flap() {
	local to=$1 word; shift
	word=$([ "$to" = 1 ] && echo up || echo down)
	timed event nic0 $word map $PINS/links 0 up "$to" "$@" -- nsenter --net=/run/netns/wire ip link set wire0 $word
}
# timed WATCH... -- COMMAND...: see linkwatch.c; a line more of figures.
timed() { "$BUILD/selftests/linkwatch" "$@" >>"$WORK/flaps" || { tail -n 1 "$WORK/flaps"; die "not all saw it: $*"; }; }
# report_times WHAT WATCH [SINCE]: from the kernel's event, or what else was watched ("start": of the command), over all
# that were timed in which it was watched. A fourth argument stands in the place of the bar, where there is none.
report_times() {
	local n median worst since=${3:-event}
	read -r n median worst < <(jq -rs "map(select(.$2) | .$2 - (.$since // 0)) | sort | \"\(length) \(.[length / 2 | floor] * 100 | round / 100) \(.[-1] * 100 | round / 100)\"" "$WORK/flaps")
	report "$1, $n times: median $median ms, worst $worst ms${4-; the bar of $BAR_MS ms is $(awk "BEGIN {print $worst < $BAR_MS ? \"met\" : \"missed\"}")}"
}

# SPDX-License-Identifier: BSD-2-Clause
# A machine whose carrier is looked at. Sourced after lib.sh and vm.sh.

QMP=$WORK/link.qmp
CARRIER=/sys/class/net/eth0/carrier
carrier_is() { [ "$(vm cat $CARRIER)" = "$1" ]; }
carrier_becomes() { wait_for "${2:-20}" carrier_is "$1"; }
# Both ways. After a return the machine's neighbours may have to be asked for once more.
answers() { wait_for 20 pings in_wire $GUEST_IP 1 && vm "ping -q -c 3 -W 2 $WIRE_IP" >"$WORK/vmping.log" || { cat "$WORK/vmping.log" "$WORK/ping.log" >&2; die "the machine is not reached"; }; }
# watch_carrier 0|1: a loop in the machine looks every 2 ms, and says on the console when it is so: "carrier-is-1".
watch_carrier() {
	vm "[ -e /tmp/never ] || mkfifo /tmp/never
(exec 8<>/tmp/never; until read c <$CARRIER && [ \$c = $1 ]; do read -t 0.002 -u 8 x; done; echo carrier-is-$1 >/dev/ttyS0) >/dev/null 2>&1 &"
}

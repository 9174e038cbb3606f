#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A NIC that really filters: viaduct inside a VM on QEMU's emulated virtio-net,
# whose receive filter works and whose driver has native XDP; viaduct-guest is
# the guest in that VM. The NIC's other end is a tap in the wire namespace.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

# The VM's NIC has one queue pair more than CPUs, as virtio-net's native XDP wants (a tx queue per CPU).
start_nested() {
	ip netns add wire || return 1
	in_wire ip link set lo up
	in_wire ip tuntap add dev wire0 mode tap multi_queue vnet_hdr
	in_wire ip addr add $WIRE_IP/24 dev wire0
	in_wire ip link set wire0 up
	nested_initramfs || return 1
	VM_PREFIX="nsenter --net=/run/netns/wire" VM_CPUS=1 VM_RAM=512 start_vm nested \
		-netdev tap,id=up,ifname=wire0,script=no,downscript=no,queues=2,vhost=off \
		-device virtio-net-pci,netdev=up,id=nic,mac=52:54:00:00:00:01,mq=on,vectors=6,romfile=,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off || return 1
	vm "ip link set eth0 up && ip addr add $HOST_IP/24 dev eth0 && ethtool -L eth0 combined 1"
	vm "(/bin/viaduct run --uplink eth0 $* --port name=vm0,socket=/run/vm0.sock,queues=1 >/tmp/viaduct.log 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q ' ready' /tmp/viaduct.log && break; usleep 500000; done; cat /tmp/viaduct.log; grep -q ' ready' /tmp/viaduct.log"
}
start_nested_guest() {
	vm "mkdir -p /run/netns && /bin/ip netns add guest && (/bin/viaduct-guest path=/run/vm0.sock,mac=$GUEST_MAC --tap tap0 --netns guest >/tmp/guest.log 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10; do grep -q ready /tmp/guest.log && break; usleep 500000; done; /bin/ip netns exec guest /bin/ip addr add $GUEST_IP/24 dev tap0; /bin/ip netns exec guest /bin/ip link set tap0 up; cat /tmp/guest.log"
}
# The NIC's own receive filter, as QEMU sees it.
filter_has() { "$TOP/selftests/qmp.py" "$WORK/vm.qmp" query-rx-filter | grep -qi "$1"; }

test_on_a_nic_that_filters_the_guests_learned_address_is_entered_and_traffic_flows() {
	start_nested || return 1
	vm "viaduct status" || return 1
	filter_has $GUEST_MAC && { die "the address is there before the guest"; return 1; }
	start_nested_guest || return 1
	# Unicast from the wire to an address the NIC does not know must not arrive; the guest speaks first.
	vm "/bin/ip netns exec guest ping -c 5 -W 3 $WIRE_IP" || return 1
	filter_has $GUEST_MAC || { die "not in the NIC's filter: $("$TOP/selftests/qmp.py" "$WORK/vm.qmp" query-rx-filter)"; return 1; }
	pings in_wire $GUEST_IP 3 && pings in_wire $HOST_IP 3 || return 1
	[ "$(vm "viaduct status --json" | jq -r '.uplink.xdp.mode')" = copy ] || die "not native: $(vm "viaduct status --json" | jq -c .uplink.xdp)" || return 1
	"$TOP/selftests/qmp.py" "$WORK/vm.qmp" query-rx-filter | jq -e '.[0].promiscuous == false' >/dev/null || die "promiscuous"
}
test_when_viaduct_ends_the_filter_of_the_nic_is_as_it_was() {
	start_nested && start_nested_guest && vm "/bin/ip netns exec guest ping -c 2 -W 3 $WIRE_IP" >/dev/null && filter_has $GUEST_MAC || return 1
	vm "killall -KILL viaduct; usleep 300000; true"
	wait_for 5 filter_has_not $GUEST_MAC
}
filter_has_not() { ! filter_has "$1"; }

run_tests

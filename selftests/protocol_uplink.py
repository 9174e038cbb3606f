# SPDX-License-Identifier: BSD-2-Clause
"""What a front-end sees of the uplink's device while that is another one, or none: nothing but its link and its MTU."""
import contextlib
import struct
import subprocess

import frontend as fe
from frontend import until
from protocol_scene import GUEST_MAC, both_ways, connect, guest, needs, negotiated, same, standby, true, viaduct, wire


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def in_wire(*words):
    subprocess.run(["nsenter", "--net=/run/netns/wire", *words], check=True)


def device():
    """The one in use; "" = none."""
    uplink = viaduct.status()["uplink"]
    return "" if uplink["device"]["in_use"] == "none" else uplink["interface"]


def uses(name):
    until(lambda: device() == name, lambda: f"it uses {device()!r}, not {name!r}", 20)


def make_nic0():
    ip("link", "add", "nic0", "type", "veth", "peer", "name", "wire0", "netns", "wire")
    ip("link", "set", "nic0", "up")
    in_wire("ip", "link", "set", "wire0", "up")


@contextlib.contextmanager
def four_queues():
    ip("link", "add", "nic1", "numrxqueues", "4", "numtxqueues", "4", "type", "veth", "peer", "name", "nicfar",
       "numrxqueues", "4", "numtxqueues", "4")
    ip("link", "set", "nicfar", "up")
    yield
    ip("link", "del", "nic1")


@contextlib.contextmanager
def small():
    ip("link", "add", "nic1", "mtu", "1400", "type", "veth", "peer", "name", "nicfar", "mtu", "1400")
    ip("link", "set", "nicfar", "up")
    yield
    ip("link", "del", "nic1")


@contextlib.contextmanager
def generic():
    """A veth refuses native XDP when its peer sends with more queues than it receives with."""
    ip("link", "add", "nic1", "numrxqueues", "1", "type", "veth", "peer", "name", "nicfar", "numrxqueues", "2",
       "numtxqueues", "2")
    subprocess.run(["ethtool", "-L", "nicfar", "rx", "2", "tx", "2"], check=False, capture_output=True)  # or they are so at once
    ip("link", "set", "nicfar", "up")
    yield
    ip("link", "del", "nic1")


OTHERS = {"with four queues": four_queues, "with an MTU of 1400": small, "with generic XDP only": generic}


def offers(conn):
    """All that is said of what the device can do."""
    out = {name: conn.ask_u64(name) for name in ("GET_FEATURES", "GET_PROTOCOL_FEATURES", "GET_QUEUE_NUM")}
    if out["GET_PROTOCOL_FEATURES"] & fe.P_MEM_SLOTS:
        conn.send("SET_PROTOCOL_FEATURES", out["GET_PROTOCOL_FEATURES"])
        out["GET_MAX_MEM_SLOTS"] = conn.ask_u64("GET_MAX_MEM_SLOTS")
    return out


def new_offers():
    """To a front-end that has just come."""
    with connect() as conn:
        return offers(conn)


@standby("nic1")
def test_what_is_offered_is_the_same_on_every_device_and_without_one():
    before = new_offers()
    same(len(before), 4, "number of answers")
    for what, make in OTHERS.items():
        with make():
            ip("link", "set", "nic1", "up")
            ip("link", "del", "nic0")
            uses("nic1")
            same(new_offers(), before, f"what is offered on a device {what}")
            if make is generic:
                same(viaduct.status()["uplink"]["xdp"]["mode"], "generic", "mode of XDP")
        uses("")
        same(new_offers(), before, "what is offered without a device")
        make_nic0()
        uses("nic0")
        same(new_offers(), before, "what is offered on the first device")


@standby("nic1")
def test_a_front_end_is_offered_the_same_on_its_connection_while_devices_change():
    w = wire()
    with guest().run() as g:
        before = offers(g.conn)
        both_ways(g, w)
        for what, make in OTHERS.items():
            with make():
                ip("link", "set", "nic1", "up")
                ip("link", "del", "nic0")
                uses("nic1")
                same(offers(g.conn), before, f"what is offered on a device {what}")
            uses("")
            same(offers(g.conn), before, "what is offered without a device")
            make_nic0()
            uses("nic0")
            same(offers(g.conn), before, "what is offered on the first device")
            until(lambda: viaduct.status()["uplink"]["up"], "the uplink is not up")
            both_ways(g, wire())
        same(viaduct.port()["connections"], 1, "connections")


def config(g):
    """mac, status, pairs, mtu"""
    answer = g.conn.ask("GET_CONFIG", struct.pack("III", 0, 12, 0) + bytes(12))
    return struct.unpack("<6sHHH", answer[12:])


def test_a_front_end_that_comes_while_there_is_no_device_gets_traffic_when_there_is_one():
    ip("link", "del", "nic0")
    uses("")
    with guest().run() as g:
        needs(g, fe.P_CONFIG)
        same(config(g)[:3], (GUEST_MAC, 0, 2), "mac, status, pairs without a device")
        true(viaduct.port()["connected"], "not connected")
        for _ in range(2):
            make_nic0()
            until(lambda: config(g)[1] == 1, "its link does not come up")
            both_ways(g, wire())
            ip("link", "del", "nic0")
            until(lambda: config(g)[1] == 0, "its link does not go down")
        make_nic0()
        until(lambda: config(g)[1] == 1, "its link does not come up")
        both_ways(g, wire())
        same(viaduct.port()["connections"], 1, "connections")


def test_what_a_guest_sends_without_a_device_is_counted_and_its_buffers_come_back():
    w = wire()
    with guest().run() as g:
        both_ways(g, w)
        ip("link", "del", "nic0")
        uses("")
        g.send(*[bytes(60)] * 20)
        g.sent(20)
        until(lambda: viaduct.port()["drops"].get("uplink_down") == 20, lambda: f"drops: {viaduct.port()['drops']}")
        make_nic0()
        until(lambda: viaduct.status()["uplink"]["up"], "the uplink is not up")
        both_ways(g, wire())


def test_front_ends_that_come_and_go_while_devices_do_leave_nothing_behind():
    for _ in range(5):
        with negotiated() as g:
            ip("link", "del", "nic0")
            g.conn.ask("GET_FEATURES")
        uses("")
        before = viaduct.fds()
        with guest().run():
            pass
        until(lambda: viaduct.fds() <= before, lambda: f"{viaduct.fds()} fds, before it were {before}")
        make_nic0()
        uses("nic0")

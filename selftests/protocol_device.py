# SPDX-License-Identifier: BSD-2-Clause
"""Messages about the device: configuration, MTU, the channel back, reset."""
import os
import socket
import struct
import subprocess

import frontend as fe
from frontend import readable, state, until
from protocol_scene import (
    GUEST_MAC, both_ways, closes, frame_out, guest, needs, negotiated, ok, refused, same, true, viaduct, wire)

RX, TX = 0, 1
SPACE = 256  # "Virtio device config space": the most there can be
LINK_UP = 1


def config(g, offset=0, size=12, flags=0):
    """The bytes of the configuration; b"" when the back-end says it is an error."""
    answer = g.conn.ask("GET_CONFIG", struct.pack("III", offset, size, flags) + bytes(size))
    if answer:
        same(len(answer), 12 + size, "size of the reply")
        same(struct.unpack_from("II", answer), (offset, size), "offset and size in the reply")
    return answer[12:]


def fields(g):
    """mac, status, pairs, mtu"""
    return struct.unpack("<6sHHH", config(g))


def test_the_configuration_says_what_the_port_is():
    with negotiated() as g:
        needs(g, fe.P_CONFIG)
        same(fields(g), (GUEST_MAC, LINK_UP, 2, 1500), "mac, status, pairs, MTU")


def test_each_part_of_the_configuration_is_answered_in_the_size_that_was_asked_for():
    with negotiated() as g:
        needs(g, fe.P_CONFIG)
        whole = config(g, 0, SPACE)
        same(len(whole), SPACE, "size of all of it")
        for offset in 0, 1, 6, 11, 12, 20, 59, 60, 61, 255:
            for size in 1, 2, 4, 8, 12, 60, SPACE:
                want = whole[offset:offset + size] if offset + size <= SPACE else b""
                same(config(g, offset, size), want, f"{size} bytes at {offset}")
        number = g.conn.send("GET_CONFIG", struct.pack("III", 0, 12, 0) + bytes(12), (), fe.VERSION | fe.NEED_REPLY)
        same(len(g.conn.reply(number)), 24, "reply with NEED_REPLY")
        g.conn.ask("GET_QUEUE_NUM")
        true(g.conn.nothing_to_read(), "it was answered twice")


def test_a_part_beyond_the_configuration_is_an_error_and_leaves_the_connection():
    with negotiated() as g:
        needs(g, fe.P_CONFIG)
        for offset, size in ((SPACE, 1), (0xffffffff, 1), (0xfffffff4, 12), (SPACE + 1, 0), (250, 7), (1 << 31, 12)):
            same(config(g, offset, size), b"", f"{size} bytes at {offset}")
        for size in 0, 11, 13, 0xffffffff:  # not the one of the message
            same(g.conn.ask("GET_CONFIG", struct.pack("III", 0, size, 0) + bytes(12)), b"", f"a size of {size}")
        same(fields(g)[0], GUEST_MAC, "address after all that")
    for size in 0, 4, 11, 12 + SPACE + 5:
        closes(lambda c: c.send("GET_CONFIG", bytes(size)), f"GET_CONFIG of {size} bytes")


def test_the_configuration_is_read_only():
    with negotiated() as g:
        needs(g, fe.P_CONFIG)
        before = config(g, 0, SPACE)
        for offset, size in (0, 6), (6, 2), (8, 2), (10, 2), (0, 60), (60, 4), (0, SPACE), (SPACE, 4):
            for flags in 0, 1, 2:  # the guest, migration
                refused(g.conn, "SET_CONFIG", struct.pack("III", offset, size, flags) + b"\x55" * min(size, SPACE))
        same(config(g, 0, SPACE), before, "configuration")


def test_an_mtu_is_taken_from_68_to_65535_and_told_to_the_guest():
    with negotiated() as g:
        needs(g, fe.P_NET_MTU)
        for mtu in 68, 576, 1500, 9000, 65535:
            ok(g.conn, "NET_SET_MTU", mtu, what=str(mtu))
            if g.protocol & fe.P_CONFIG:
                same(fields(g)[3], mtu, "MTU in the configuration")
        for mtu in 0, 1, 67, 65536, 1 << 32 | 1500, (1 << 64) - 1:
            refused(g.conn, "NET_SET_MTU", mtu, what=str(mtu))
        if g.protocol & fe.P_CONFIG:
            same(fields(g)[3], 65535, "MTU in the configuration")
    with negotiated() as g:
        if g.protocol & fe.P_CONFIG:
            same(fields(g)[3], 1500, "MTU of the next connection")


def test_an_mtu_is_taken_while_rings_run():
    w = wire()
    with guest().run() as g:
        needs(g, fe.P_NET_MTU)
        ok(g.conn, "NET_SET_MTU", 1400)
        both_ways(g, w, length=1514)


# --- the channel -----------------------------------------------------------------------------------------------------

def channel():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return fe.Connection(sock=ours), theirs


def carrier(up):
    """Of the uplink, by the other end of its cable."""
    subprocess.run(["nsenter", "--net=/run/netns/wire", "ip", "link", "set", "wire0", "up" if up else "down"], check=True)


def hears(c, what):
    """A CONFIG_CHANGE_MSG."""
    true(readable(c.sock, fe.DEADLINE), f"nothing was said {what}")
    same(struct.unpack("III", c.sock.recv(12)), (2, fe.VERSION, 0), f"message {what}")


def test_a_front_end_with_a_channel_hears_of_the_carrier_and_finds_it_in_the_configuration():
    c, theirs = channel()
    with guest().run() as g:
        needs(g, fe.P_CONFIG | fe.P_BACKEND_REQ)
        ok(g.conn, "SET_BACKEND_REQ_FD", b"", [theirs])
        theirs.close()
        for up in False, True, False, True:
            carrier(up)
            until(lambda: fields(g)[1] == up, f"status does not become {int(up)}")
            hears(c, f"of a carrier that is {up}")
    true(c.is_closed(), "the channel outlives its connection")


def test_a_front_end_that_was_shown_a_configuration_hears_when_it_is_true_no_more():
    """However short the change was: it asks for the configuration, and the next moment that is another one."""
    c, theirs = channel()
    with guest().run() as g:
        needs(g, fe.P_CONFIG | fe.P_BACKEND_REQ)
        ok(g.conn, "SET_BACKEND_REQ_FD", b"", [theirs])
        theirs.close()
        for _ in range(5):
            for up in False, True:
                while readable(c.sock, 0):
                    hears(c, "before")
                carrier(up)
                until(lambda: fields(g)[1] == up, f"status does not become {int(up)}")
            hears(c, "of a carrier that is back, to one that was shown it gone")
            while readable(c.sock, 0.2):  # of one change, or of both
                hears(c, "twice")
            same(fields(g)[1], LINK_UP, "status")


def test_a_front_end_with_a_channel_hears_of_the_mtu_of_the_uplink():
    c, theirs = channel()
    with guest().run() as g:
        needs(g, fe.P_CONFIG | fe.P_BACKEND_REQ)
        ok(g.conn, "SET_BACKEND_REQ_FD", b"", [theirs])
        theirs.close()
        for mtu in 1400, 2000, 1500:
            subprocess.run(["ip", "link", "set", "nic0", "mtu", str(mtu)], check=True)
            hears(c, f"of an MTU of {mtu}")
            same(fields(g)[3], mtu, "MTU in the configuration")


def link():
    return viaduct.port()["link"]


def link_is(guest, told_by):
    until(lambda: (link()["guest"], link()["told_by"]) == (guest, told_by), lambda: f"link: {link()}")


FOLLOWS = fe.F_VERSION_1 | fe.F_PROTOCOL | fe.F_STATUS


def test_a_front_end_that_follows_the_configuration_is_shown_as_told():
    c, theirs = channel()
    with guest(features=FOLLOWS).run() as g:
        needs(g, fe.P_CONFIG | fe.P_BACKEND_REQ)
        ok(g.conn, "SET_BACKEND_REQ_FD", b"", [theirs])
        theirs.close()
        for up in False, True, False, True:
            carrier(up)
            hears(c, f"of a carrier that is {up}")
            link_is("up" if up else "down", "config_change")


def test_a_front_end_that_cannot_be_told_is_shown_as_untold():
    """It lacks the configuration, the channel, both, or the status; or, last, it might have a channel and gives none."""
    for features, lacks in ((FOLLOWS, fe.P_CONFIG), (FOLLOWS, fe.P_BACKEND_REQ), (FOLLOWS, fe.P_CONFIG | fe.P_BACKEND_REQ),
                            (FOLLOWS & ~fe.F_STATUS, 0), (FOLLOWS, 0)):
        c, theirs = channel()
        with guest(features=features, protocol=~lacks & (1 << 20) - 1).run() as g:
            if not features & fe.F_STATUS:
                ok(g.conn, "SET_BACKEND_REQ_FD", b"", [theirs])
            carrier(False)
            link_is("untold", "nothing")
            true(link()["why"], "no reason is given")
            carrier(True)
            link_is("up", "nothing")
        theirs.close()
        until(lambda: link()["guest"] == "none", lambda: f"link: {link()}")


def test_a_channel_that_nobody_reads_or_that_is_closed_stops_nothing():
    c, theirs = channel()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    theirs.setblocking(False)
    with guest().run() as g:
        needs(g, fe.P_CONFIG | fe.P_BACKEND_REQ)
        ok(g.conn, "SET_BACKEND_REQ_FD", b"", [theirs])
        filled = 0
        while True:  # until it is full
            try:
                filled += theirs.send(bytes(12))
            except BlockingIOError:
                break
        theirs.setblocking(True)  # behind the back-end's back: it is the same open file
        for up in True, False, True, False:
            carrier(up)
            until(lambda: fields(g)[1] == up, f"status does not become {int(up)}")
        while filled:
            filled -= len(c.sock.recv(filled))
        hears(c, "when there was room")
        carrier(True)
        hears(c, "after that")
        c.close()
        theirs.close()
        for up in False, True:
            carrier(up)
            until(lambda: fields(g)[1] == up, f"status does not become {int(up)}")
        until(lambda: viaduct.status()["uplink"]["up"], "the uplink is down")
        both_ways(g, wire())


def test_a_channel_must_be_a_connected_stream_socket_and_is_replaced_by_the_next():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    read, write = os.pipe()
    tcp, alone = socket.socket(), socket.socket(socket.AF_UNIX)
    listening = socket.socket()
    listening.listen(1)
    with negotiated() as g:
        needs(g, fe.P_BACKEND_REQ)
        for what, fd in dict(eventfd=os.eventfd(0), pipe=write, reader=read, datagram=a, tcp=tcp, listening=listening,
                             unconnected=alone, null=os.open("/dev/null", os.O_RDWR)).items():
            refused(g.conn, "SET_BACKEND_REQ_FD", b"", [fd], what=f"with a {what}")
        before, old = viaduct.fds(), None
        for _ in range(5):
            c, theirs = channel()
            ok(g.conn, "SET_BACKEND_REQ_FD", b"", [theirs])
            theirs.close()
            if old:
                true(old.is_closed(), "the channel before is still open")
            same(viaduct.fds(), before + 1, "open files")
            old = c
    true(old.is_closed(), "the channel outlives its connection")
    b.close()
    for count in 0, 2, 8:
        closes(lambda c: c.send("SET_BACKEND_REQ_FD", b"", [a] * count), f"a channel of {count} fds")


# --- reset -----------------------------------------------------------------------------------------------------------

def test_reset_device_stops_all_rings_and_keeps_memory_and_connection():
    w = wire()
    with guest(pairs=2).run() as g:
        needs(g, fe.P_RESET_DEVICE)
        g.enable(2, 0)  # what comes from the wire goes to the first pair
        for n in range(20):
            both_ways(g, w, 10 * n)
            ok(g.conn, "RESET_DEVICE")
            same([viaduct.port()["pair"][k][q]["state"] for k in (0, 1) for q in ("rx", "tx")], ["stopped"] * 4, "rings")
            before = g.mem.read(0, 1 << 20)
            g.queues[TX].kick()
            ok(g.conn, "SET_FEATURES", g.features)
            same(g.mem.read(0, 1 << 20) == before, True, "memory is as it was")
            for i in g.rings():
                g.queues[i].begin()
                g.set_up(i)
            g.enable(2, 0)
            g.done()


def test_reset_device_forgets_positions_and_packed_rings_start_anew():
    w = wire()
    for packed in False, True:
        with guest(packed=packed).run() as g:
            needs(g, fe.P_RESET_DEVICE)
            both_ways(g, w)
            ok(g.conn, "RESET_DEVICE")
            ok(g.conn, "SET_FEATURES", g.features)
            for i in g.rings():
                g.queues[i].begin()  # as a driver that has just come: at the first descriptor
                g.num(i), g.addr(i), g.call(i), g.enable(i), g.start(i)
            g.done()
            both_ways(g, w, 10)


def test_reset_device_is_taken_with_rings_in_any_state():
    w = wire()
    with negotiated() as g:
        needs(g, fe.P_RESET_DEVICE)
        ok(g.conn, "RESET_DEVICE")
        ok(g.conn, "RESET_DEVICE")
        ok(g.conn, "SET_FEATURES", g.features)
        g.set_up(RX)
        ok(g.conn, "RESET_DEVICE")
        same(g.conn.ask("GET_VRING_BASE", state(RX))[:4], struct.pack("I", RX), "answer for a ring that was reset")
        ok(g.conn, "SET_FEATURES", g.features)
        g.send(*(frame_out(n) for n in range(32)))
        g.set_up(TX)
        ok(g.conn, "RESET_DEVICE")
        ok(g.conn, "SET_FEATURES", g.features)
        while not w.nothing():
            w.receive()
        for i in RX, TX:
            g.queues[i].begin()
            g.set_up(i)
        g.done()
        both_ways(g, w, 100)

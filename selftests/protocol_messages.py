# SPDX-License-Identifier: BSD-2-Clause
"""Headers, sizes, fds, acks: each message right and wrong."""
import fcntl
import functools
import os
import select
import socket
import struct

import frontend as fe
from frontend import NEED_REPLY, NO_FD, REPLY, REQUESTS, VERSION, Closed, Guest, Region, state, until
from protocol_scene import (
    WORK, both_ways, closes, connect, frame_out, guest, needs, negotiated, numbers, ok, port_socket, ports, receives,
    refused, same, true, verdict, viaduct, wire)

RX, TX = 0, 1
EVENTS = "SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"


@functools.cache
def example():
    """A guest that is connected to nobody: for payloads."""
    a, b = socket.socketpair()
    b.close()
    return Guest(conn=fe.Connection(sock=a), protocol=fe.P_REPLY_ACK)


def legal(g, name):
    """(payload, fds) of a message that is right at this moment."""
    u64 = dict(SET_FEATURES=g.features, SET_PROTOCOL_FEATURES=g.protocol, SET_STATUS=15, NET_SET_MTU=1500,
               SEND_RARP=0x030000005452)
    if name in u64:
        return struct.pack("Q", u64[name]), []
    if name == "SET_MEM_TABLE":
        return g.mem.table(), g.mem.fds()
    if name in ("SET_VRING_NUM", "SET_VRING_BASE", "GET_VRING_BASE", "SET_VRING_ENABLE"):
        return state(RX, dict(SET_VRING_NUM=64, SET_VRING_ENABLE=1).get(name, 0)), []
    if name == "SET_VRING_ADDR":
        return g.address(RX), []
    if name in EVENTS:
        q = g.queues[RX]
        return struct.pack("Q", RX), [dict(zip(EVENTS, (q.kick_fd, q.call_fd, q.err_fd)))[name]]
    if name == "GET_CONFIG":
        return struct.pack("III", 0, 12, 0) + bytes(12), []
    return b"", []


KNOWN = [n for n in REQUESTS if REQUESTS[n] in range(1, 19) and n not in ("SET_LOG_BASE", "SET_LOG_FD")] + [
    "SET_STATUS", "GET_STATUS", "SEND_RARP", "NET_SET_MTU", "GET_MAX_MEM_SLOTS", "RESET_DEVICE"]
BASIC = [n for n in KNOWN if REQUESTS[n] < 19]  # without a protocol feature of their own
WITH_FDS = {"SET_MEM_TABLE", *EVENTS}


# --- header ----------------------------------------------------------------------------------------------------------

def test_a_header_with_a_wrong_version_or_flag_closes_the_connection():
    for flags in (0, 2, 3, NEED_REPLY, VERSION | REPLY, VERSION | REPLY | NEED_REPLY, VERSION | 0x10,
                  VERSION | 0x80000000, 0xffffffff):
        closes(lambda c: c.send("GET_FEATURES", flags=flags), f"flags {flags:#x}")


def test_a_payload_of_the_wrong_size_closes_the_connection():
    for name in KNOWN:
        payload = legal(example(), name)[0]
        right = len(payload)
        for size in {0, 1, right - 1, right + 1, right + 8, 65536, 0x7fffffff, 0xfffffff4, 0xffffffff} - {right, -1}:
            body = (payload + bytes(512))[:size]
            closes(lambda c: c.send(name, body, size=size), f"{name} with {size} bytes, not {right}")


def test_a_payload_larger_than_any_message_has_closes_the_connection_for_unknown_requests_too():
    for number in 0, 44, 99, 0xffffffff:
        closes(lambda c: c.send(number, b"", flags=VERSION | NEED_REPLY, size=1 << 20), f"request {number}")


def test_an_unknown_request_is_refused_when_it_asks_for_an_answer_and_closes_the_connection_when_not():
    for number in (0, REQUESTS["IOTLB_MSG"], REQUESTS["SET_VRING_ENDIAN"], REQUESTS["CREATE_CRYPTO_SESSION"],
                   REQUESTS["POSTCOPY_ADVISE"], REQUESTS["GPU_SET_SOCKET"], REQUESTS["VRING_KICK"], 44, 255, 1 << 31):
        with negotiated() as g:
            for body in b"", bytes(8), bytes(264):
                refused(g.conn, number, body)
        closes(lambda c: c.send(number), f"request {number} without NEED_REPLY")


def test_an_inflight_region_for_more_rings_than_there_are_is_refused():
    with negotiated() as g:
        refused(g.conn, "GET_INFLIGHT_FD", struct.pack("QQHH", 0, 0, 65535, 65535))


def silence(conns):
    """None of them is left after the deadline; one that was closed at once is as good."""
    for what, c in conns:
        true(c.is_closed(15), f"{what}: still open")
        c.close()


@ports(28)
def test_a_message_cut_at_any_byte_ends_the_connection_by_a_deadline_and_nobody_waits_for_it():
    whole = struct.pack("=IIIQ", REQUESTS["SET_PROTOCOL_FEATURES"], VERSION, 8, 0)
    conns = []
    for n in range(1, len(whole)):
        c = fe.Connection(port_socket(n))
        c.raw(whole[:n])
        conns.append((f"{n} bytes", c))
    for n in range(20, 28):  # the others are answered meanwhile
        with fe.Connection(port_socket(n)) as c:
            for _ in range(50):
                c.ask("GET_FEATURES")
    silence(conns)


def test_a_message_cut_at_any_byte_and_then_closed_leaves_nothing():
    mem = fe.Memory()
    table = mem.table()
    whole = struct.pack("III", REQUESTS["SET_MEM_TABLE"], VERSION, len(table)) + table
    for n in range(1, len(whole)):
        with connect() as c:
            c.raw(whole[:n], mem.fds())
    connect().close()


def test_a_message_that_comes_in_pieces_is_one_message():
    with connect() as c:
        for n in range(30):
            whole = struct.pack("=IIIQ", REQUESTS["SET_PROTOCOL_FEATURES"], VERSION | NEED_REPLY, 8, fe.P_REPLY_ACK)
            for byte in whole:
                c.raw(bytes([byte]))
            same(c.reply(16), struct.pack("Q", 0), "answer")


def test_many_messages_in_one_write_are_all_taken():
    with connect() as c:
        c.raw(struct.pack("III", REQUESTS["GET_QUEUE_NUM"], VERSION, 0) * 200)
        for _ in range(200):
            c.reply(REQUESTS["GET_QUEUE_NUM"])


@ports(2)
def test_replies_that_nobody_reads_end_the_connection_by_a_deadline_and_nobody_waits_for_it():
    c = fe.Connection(port_socket(1))
    c.sock.setblocking(False)
    sent, full = 0, False
    while not full:  # until neither side takes anything more
        try:
            sent += c.sock.send(struct.pack("III", REQUESTS["GET_FEATURES"], VERSION, 0) * 64)
        except BlockingIOError:
            full = not select.select([], [c.sock], [], 0.5)[1]
    with fe.Connection(port_socket(2)) as other:
        for _ in range(50):
            other.ask("GET_FEATURES")
    # Without reading anything, which would be a sign of life.
    hangup = select.poll()
    hangup.register(c.sock, select.POLLRDHUP)
    true(hangup.poll(20000), "still open")
    c.close()


# --- fds -------------------------------------------------------------------------------------------------------------

def event():
    return os.eventfd(0, os.EFD_CLOEXEC)


def with_fds(name, count):
    def send(c):
        fds = [event() for _ in range(count)]
        try:
            c.send(name, legal(example(), name)[0], fds, VERSION | NEED_REPLY)
        finally:
            for fd in fds:
                os.close(fd)
    return send


def test_fds_on_a_message_that_carries_none_close_the_connection_and_are_closed():
    for name in KNOWN:
        if name not in WITH_FDS:
            for count in 1, 8, 9, 253:
                closes(with_fds(name, count), f"{name} with {count} fds")


def test_one_fd_too_few_or_too_many_closes_the_connection_and_none_leaks():
    for name in EVENTS:
        for count in 0, 2, 8, 253:
            closes(with_fds(name, count), f"{name} with {count} fds")
        closes(lambda c: c.send(name, RX | NO_FD, [example().mem.fds()[0]]), f"{name} without and with an fd")
    for count in 0, 2, 8, 9, 253:
        closes(with_fds("SET_MEM_TABLE", count), f"SET_MEM_TABLE of one region with {count} fds")


def test_fds_of_an_unknown_request_are_closed():
    with negotiated() as g:
        before = viaduct.fds()
        for _ in range(20):
            fd = event()
            for count in 1, 8:
                refused(g.conn, 99, b"", [fd] * count)
            os.close(fd)
        same(viaduct.fds(), before, "open files")


def test_fds_behind_the_first_byte_of_a_message_are_never_kept():
    with connect() as c:
        head = struct.pack("III", REQUESTS["SET_VRING_CALL"], VERSION, 8)
        c.raw(head[:4])
        until(lambda: c.unread() == 0, "the first bytes were not read")
        c.raw(head[4:], [event()])
        try:
            c.raw(struct.pack("Q", RX))
        except Closed:
            pass
        true(c.is_closed(), "still open")


def test_kick_call_and_err_are_taken_with_and_without_an_fd():
    w = wire()
    with negotiated() as g:
        for _ in range(3):
            for name in EVENTS[1:]:
                ok(g.conn, name, RX | NO_FD)
                ok(g.conn, name, RX, [g.queues[RX].call_fd])
        for i in RX, TX:
            g.set_up(i)
        g.done()
        both_ways(g, w)
        for name in EVENTS:
            ok(g.conn, name, TX | NO_FD)
        for n in range(5):
            g.send(frame_out(n), kick=False)
            same(numbers(w.receive()), [n], "polled and not called")
        ok(g.conn, "SET_VRING_KICK", TX, [g.queues[TX].kick_fd])
        ok(g.conn, "SET_VRING_CALL", TX, [g.queues[TX].call_fd])
        g.sent(5)
        both_ways(g, w)


def test_kick_call_and_err_fds_that_are_no_eventfds_are_refused():
    folder = os.open(WORK, os.O_RDONLY | os.O_DIRECTORY)
    path = os.open(f"{WORK}/file", os.O_RDWR | os.O_CREAT)
    read, write = os.pipe()
    a, b = socket.socketpair()
    gone_read, gone_write = os.pipe()
    os.close(gone_read)
    gone, peer = socket.socketpair()
    peer.close()
    dead, alive = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    kinds = dict(directory=folder, file=path, pipe=write, reading=read, socket=a, epoll=select.epoll(),
                 without_reader=gone_write, without_peer=gone, datagram=dead, null=os.open("/dev/null", os.O_RDWR),
                 memory=os.memfd_create("x"))
    w = wire()
    with guest().run() as g:
        for name in EVENTS:
            for kind, fd in kinds.items():
                for i in RX, TX:
                    refused(g.conn, name, struct.pack("Q", i), [fd], what=f"with a {kind}")
        both_ways(g, w)
    del b, alive


def test_a_call_fd_that_is_replaced_is_signalled_once_and_the_old_one_no_more():
    w = wire()
    with guest().run() as g:
        both_ways(g, w)
        q = g.queues[RX]
        for n in range(5):
            q.called()
            old, q.call_fd = q.call_fd, os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            ok(g.conn, "SET_VRING_CALL", RX, [q.call_fd])
            same(q.called(fe.DEADLINE), 1, "signals of the new call fd")
            receives(g, w, n)
            true(not fe.readable(old, 0), "the old call fd was signalled")
            os.close(old)


def test_a_call_fd_of_an_idle_stopped_ring_is_not_signalled():
    with negotiated() as g:
        for i in RX, TX:
            ok(g.conn, "SET_VRING_CALL", i, [g.queues[i].call_fd])
            same(g.queues[i].called(), 0, "signals")


def test_a_call_fd_that_is_full_semaphore_blocking_or_read_away_stops_nothing():
    w = wire()
    with guest().run() as g:
        full = os.eventfd(0, os.EFD_NONBLOCK)
        os.eventfd_write(full, 0xfffffffffffffffe)
        for fd, after in (full, None), (os.eventfd(3, os.EFD_SEMAPHORE), None), (full, "blocking"):
            ok(g.conn, "SET_VRING_CALL", TX, [fd])
            if after:  # behind the back of whoever set it
                fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
            for n in range(10):
                g.send(frame_out(n))
                same(numbers(w.receive()), [n], "frame")
                if fd != full:
                    while fe.readable(fd, 0):
                        os.eventfd_read(fd)
            g.conn.ask("GET_FEATURES")
        ok(g.conn, "SET_VRING_CALL", TX, [g.queues[TX].call_fd])
        g.sent(30)
        both_ways(g, w)


def test_a_kick_fd_whose_count_is_read_away_or_overflows_does_not_stop_the_ring():
    w = wire()
    with guest().run() as g:
        fd = g.queues[TX].kick_fd
        for n in range(20):
            g.send(frame_out(n))
            if fe.readable(fd, 0):
                os.eventfd_read(fd)
            g.queues[TX].kick()
            same(numbers(w.receive()), [n], "frame")
        if fe.readable(fd, 0):
            os.eventfd_read(fd)
        g.send(frame_out(99), kick=False)
        os.eventfd_write(fd, 0xfffffffffffffffe)
        same(numbers(w.receive()), [99], "frame with a full kick fd")


# --- acks ------------------------------------------------------------------------------------------------------------

def test_need_reply_is_answered_by_one_u64_to_each_message_without_a_reply_of_its_own():
    for name in KNOWN:
        with negotiated() as g:
            payload, fds = legal(g, name)
            number = g.conn.send(name, payload, fds, VERSION | NEED_REPLY)
            answer = g.conn.reply(number)
            same(len(answer), 8, f"size of the answer to {name}")
            if not name.startswith("GET_"):
                same(answer, bytes(8), f"ack of {name}")
            # The next reply is the next message's: there was no second one.
            same(len(g.conn.ask("GET_QUEUE_NUM")), 8, f"reply behind {name}")
            true(g.conn.nothing_to_read(), f"{name} was answered twice")


def test_without_reply_ack_need_reply_is_not_answered():
    for name in BASIC:
        if name.startswith("GET_") or name == "SET_PROTOCOL_FEATURES":
            continue
        with negotiated(protocol=fe.P_MQ) as g:
            payload, fds = legal(g, name)
            g.conn.send(name, payload, fds, VERSION | NEED_REPLY)
            same(len(g.conn.ask("GET_QUEUE_NUM")), 8, f"reply behind {name}")


def test_reply_ack_counts_for_the_message_that_negotiates_it():
    with connect() as c:
        ok(c, "SET_PROTOCOL_FEATURES", fe.P_REPLY_ACK)


def test_without_need_reply_nothing_is_answered():
    for name in KNOWN:
        if not name.startswith("GET_"):
            with negotiated() as g:
                payload, fds = legal(g, name)
                g.conn.send(name, payload, fds)
                same(len(g.conn.ask("GET_QUEUE_NUM")), 8, f"reply behind {name}")


def test_a_message_that_is_refused_without_need_reply_changes_nothing_and_the_connection_stays():
    w = wire()
    with guest().run() as g:
        g.conn.send("SET_VRING_NUM", state(TX, 3))
        g.conn.send("SET_VRING_BASE", state(TX, 3))
        g.conn.send("SET_FEATURES", 1 << 63)
        both_ways(g, w)


def test_bits_that_were_not_offered_are_refused():
    with negotiated() as g:
        c = g.conn
        features, protocol = c.ask_u64("GET_FEATURES"), c.ask_u64("GET_PROTOCOL_FEATURES")
        for n in range(64):
            if not features >> n & 1:
                refused(c, "SET_FEATURES", features | 1 << n, what=f"bit {n}")
            if not protocol >> n & 1:
                refused(c, "SET_PROTOCOL_FEATURES", protocol | 1 << n, what=f"bit {n}")


def test_a_message_whose_protocol_feature_was_not_negotiated_is_refused():
    for name, payload in dict(GET_STATUS=b"", SET_STATUS=bytes(8), SEND_RARP=bytes(8), NET_SET_MTU=bytes(8),
                              GET_CONFIG=struct.pack("III", 0, 0, 0), GET_MAX_MEM_SLOTS=b"",
                              RESET_DEVICE=b"").items():
        with negotiated(protocol=fe.P_REPLY_ACK) as g:
            refused(g.conn, name, payload)


def test_the_same_feature_messages_may_come_again_and_again():
    with negotiated() as g:
        for _ in range(100):
            ok(g.conn, "SET_PROTOCOL_FEATURES", g.protocol)
            ok(g.conn, "SET_FEATURES", g.features)


# --- ring index ------------------------------------------------------------------------------------------------------

def test_a_ring_index_out_of_range_is_refused_in_every_message():
    with negotiated() as g:
        for index in 4, 5, 255, 256, 65535, 0x10000, 0x10001, 0x80000000, 0xffffffff:
            for name, num in dict(SET_VRING_NUM=64, SET_VRING_BASE=0, SET_VRING_ENABLE=1).items():
                refused(g.conn, name, state(index, num), what=f"ring {index}")
            refused(g.conn, "SET_VRING_ADDR", struct.pack("I", index) + g.address(RX)[4:], what=f"ring {index}")
            # Its answer is a base: one that no ring has, for a ring that there is not.
            answer = struct.unpack("II", g.conn.ask("GET_VRING_BASE", state(index)))
            same(answer, (index, 0xffffffff), "answer to GET_VRING_BASE")
        fd = event()
        for index in 4, 255, 1 << 9, 1 << 16, 1 << 32, 1 << 63:
            for name in EVENTS:
                refused(g.conn, name, index, [fd], what=f"ring {index:#x}")
                refused(g.conn, name, index | NO_FD, what=f"ring {index:#x}, no fd")
        os.close(fd)


def test_set_vring_enable_knows_0_and_1_and_acks_both():
    with guest().run() as g:
        for on in 1, 0, 0, 1, 1:
            ok(g.conn, "SET_VRING_ENABLE", state(RX, on))
        for on in 2, 256, 0xffffffff:
            refused(g.conn, "SET_VRING_ENABLE", state(RX, on), what=str(on))


# --- again and again -------------------------------------------------------------------------------------------------

def many(times, *steps):
    """Each step so often; open files and mappings are as many as before."""
    fds, maps = viaduct.fds(), viaduct.guest_maps()
    for step in steps:
        for _ in range(times):
            step()
    until(lambda: (viaduct.fds(), viaduct.guest_maps()) == (fds, maps),
          lambda: f"{fds} open files and {maps} mappings became {viaduct.fds()} and {viaduct.guest_maps()}")


def resident():
    with open(f"/proc/{viaduct.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_each_legal_message_2000_times_grows_nothing():
    w = wire()
    with guest().run() as g:
        needs(g, fe.P_LOG_SHMFD | fe.P_MEM_SLOTS | fe.P_CONFIG | fe.P_BACKEND_REQ)
        c = g.conn
        steps = []
        for name in KNOWN:
            if name == "SET_VRING_BASE":  # not while it runs
                steps.append(lambda: verdict(c, "SET_VRING_BASE", state(3, 0)))
            elif name == "GET_VRING_BASE":
                steps.append(lambda: c.ask("GET_VRING_BASE", state(2)))
            elif name.startswith("GET_"):
                steps.append(lambda name=name: c.ask(name))
            elif name not in ("RESET_OWNER", "RESET_DEVICE"):
                payload, fds = legal(g, name)
                steps.append(lambda name=name, payload=payload, fds=fds: ok(c, name, payload, fds))
        extra, log, channel = Region(guest=1 << 32), os.memfd_create("dirty-log"), socket.socketpair()
        os.ftruncate(log, 1 << 20)
        slot = bytes(8) + extra.words()
        steps.append(lambda: c.ask("SET_LOG_BASE", struct.pack("QQ", 1 << 20, 0), [log]))
        steps.append(lambda: (ok(c, "ADD_MEM_REG", slot, [extra.fd]), ok(c, "REM_MEM_REG", slot)))
        steps.append(lambda: c.ask("GET_CONFIG", *legal(g, "GET_CONFIG")))
        steps.append(lambda: refused(c, "SET_CONFIG", *legal(g, "GET_CONFIG")))
        steps.append(lambda: ok(c, "SET_BACKEND_REQ_FD", b"", [channel[0]]))
        for step in steps:
            step()
        before = resident()
        many(2000, *steps)
        true(resident() < before + 2048, f"{before} KiB became {resident()}")
        both_ways(g, w)


def test_2000_connections_leave_nothing():
    mem = fe.Memory()

    def whole():
        with guest(mem=mem).run() as g:
            g.send(frame_out(1))
        for q in g.queues:
            q.close()
        mem.top.clear()
    many(2000, lambda: connect().close())
    many(200, whole)


def test_the_log_does_not_grow_with_the_number_of_bad_messages():
    with negotiated() as g:
        for _ in range(2000):
            verdict(g.conn, "SET_VRING_NUM", state(RX, 3))
            verdict(g.conn, 99)
    lines = viaduct.said().count("\n")
    true(lines < 60, f"{lines} lines")

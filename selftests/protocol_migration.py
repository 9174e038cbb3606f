# SPDX-License-Identifier: BSD-2-Clause
"""The dirty log, compared page by page with what was written, and what announces a guest at its new place."""
import os
import struct
import threading

import frontend as fe
from frontend import F_LOG, F_LOG_ALL, PAGE, Guest, Memory, Region, until
from protocol_scene import (
    GUEST_MAC, RARP_TYPE, both_ways, closes, frame_in, frame_out, guest, needs, negotiated, numbers, ok, port_socket,
    ports, receives, refused, same, sends, true, viaduct, wire)

RX, TX = 0, 1
MB = 1 << 20
FEATURES = fe.F_VERSION_1 | fe.F_PROTOCOL


class Log:
    """A bitmap of so many guest pages, at an offset in its file, with bytes behind it that nobody may touch."""

    def __init__(self, pages=4096, offset=0):
        self.size, self.offset = pages // 8, offset
        self.fd = os.memfd_create("dirty-log", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, offset + self.size + PAGE)

    def words(self):
        return struct.pack("QQ", self.size, self.offset)

    def pages(self):
        data = os.pread(self.fd, self.size, self.offset)
        return {8 * n + bit for n, byte in enumerate(data) if byte for bit in range(8) if byte >> bit & 1}

    def clear(self):
        os.pwrite(self.fd, bytes(self.size), self.offset)

    def check_rest(self):
        same(os.pread(self.fd, self.offset, 0).count(0), self.offset, "zeroes in front of the log")
        same(os.pread(self.fd, PAGE, self.offset + self.size).count(0), PAGE, "zeroes behind the log")


def set_log(g, log):
    answer = g.conn.ask("SET_LOG_BASE", log.words(), [log.fd])
    same(answer, bytes(8), "answer to SET_LOG_BASE")


def refuse_log(g, payload, fds, what):
    answer = g.conn.ask("SET_LOG_BASE", payload, fds)
    same((len(answer), answer == bytes(8)), (8, False), f"answer to a log {what}")


class Migrating:
    """A guest whose rings run, each buffer in a page of its own, so that a page of the log is one buffer."""

    def __init__(self, packed=False, mem=None, **more):
        self.g = guest(packed=packed, mem=mem or Memory(Region(4 * MB)), **more)
        self.g.buffer = lambda: self.g.mem.alloc(2048)
        self.packed = packed
        self.written = set()  # pages that the device has written in the rings

    def __enter__(self):
        self.g.run()
        needs(self.g, fe.P_LOG_SHMFD)
        return self

    def __exit__(self, *_):
        self.g.close()

    def start(self, log):
        """In QEMU's order: the log, the feature, the rings' flags. All acked."""
        g = self.g
        set_log(g, log)
        ok(g.conn, "SET_FEATURES", g.features | F_LOG_ALL)
        for i in g.rings():
            ok(g.conn, "SET_VRING_ADDR", g.address(i, flags=F_LOG, log=g.queues[i].used_ring))

    def stop(self):
        g = self.g
        for i in g.rings():
            ok(g.conn, "SET_VRING_ADDR", g.address(i))
        ok(g.conn, "SET_FEATURES", g.features)

    def ring_pages(self):
        """Where the device writes in rings, and of what a guest's driver writes only what the device writes, too."""
        out = set()
        for q in self.g.queues:
            parts = [(q.desc, 16 * q.size), (q.used_ring, 4)] if self.packed else [(q.used_ring, 6 + 8 * q.size)]
            for at, length in parts:
                out |= set(range(at // PAGE, (at + length - 1) // PAGE + 1))
        return out

    def traffic(self, w, first, count):
        """Numbered frames both ways; the pages of the buffers that were filled."""
        g = self.g
        sends(g, w, first, count)
        q = g.queues[RX]
        g.post_rx(count)
        filled = {b[0][0] // PAGE for b in q.chains.values()}
        receives(g, w, first, count, posted=True)
        return filled

    def check(self, log, w, first=0, count=20):
        """What was written is in the log, and what is in the log was written."""
        log.clear()  # rings are marked when their log comes, too
        before = self.g.mem.pages()
        filled = self.traffic(w, first, count)
        logged, rings = log.pages(), self.ring_pages()
        changed = {n for n, page in self.g.mem.pages().items() if page != before[n]}
        true(filled <= changed, "buffers that were filled have not changed")
        same(filled - logged, set(), "filled buffers that are not in the log")
        same(changed & rings - logged, set(), "parts of rings that are not in the log")
        same(logged - filled - rings, set(), "pages in the log that nobody wrote")
        return changed & rings
        log.check_rest()


def migrates(packed=False, **more):
    """Rings of several pages, so that entries and indices are apart; the entries written are on both sides of a page."""
    w, log = wire(), Log()
    m = Migrating(packed=packed, size=1024, mem=Memory(Region(8 << 20)), **more)
    for q in m.g.queues:
        q.begin(0x8000 | 240 if packed else 490)
    with m:
        m.traffic(w, 0, 10)
        m.start(log)
        true(len(m.check(log, w, 100)) >= 4, "only one page of a ring was written")


def test_what_is_written_to_split_rings_and_buffers_is_in_the_log_and_nothing_else():
    migrates()


def test_what_is_written_to_packed_rings_and_buffers_is_in_the_log_and_nothing_else():
    migrates(packed=True)


def test_what_is_written_with_event_indices_is_in_the_log_and_nothing_else():
    for packed in False, True:
        migrates(packed=packed, features=FEATURES | fe.F_EVENT_IDX)


def test_logging_begins_with_rings_running_before_it_is_acknowledged():
    """Again and again: the first frame behind the ack is in the log, whatever the order of the three messages."""
    w = wire()
    for order in (0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2):
        with Migrating(features=FEATURES) as m:
            g, log = m.g, Log()
            ok(g.conn, "SET_FEATURES", g.features | F_LOG_ALL)
            ok(g.conn, "SET_FEATURES", g.features)

            def flags():
                if order[0] == 2:  # the flag is for those that have negotiated it
                    ok(g.conn, "SET_FEATURES", g.features | F_LOG_ALL)
                for i in g.rings():
                    ok(g.conn, "SET_VRING_ADDR", g.address(i, flags=F_LOG, log=g.queues[i].used_ring))
            steps = (lambda: set_log(g, log), lambda: ok(g.conn, "SET_FEATURES", g.features | F_LOG_ALL), flags)
            for n in order:
                steps[n]()
            m.check(log, w, count=1)
            m.stop()
            log.clear()
            m.traffic(w, 10, 3)
            same(log.pages(), set(), "pages in the log after its end")


def test_used_rings_are_logged_at_the_address_that_came_with_them():
    w, log = wire(), Log()
    with Migrating() as m:
        set_log(m.g, log)
        ok(m.g.conn, "SET_FEATURES", m.g.features | F_LOG_ALL)
        places = {RX: 3000, TX: 3001}
        for i, page in places.items():
            ok(m.g.conn, "SET_VRING_ADDR", m.g.address(i, flags=F_LOG, log=page * PAGE))
        filled = m.traffic(w, 0, 5)
        same(log.pages(), filled | set(places.values()), "pages in the log")


def test_without_the_flag_of_a_ring_only_buffers_are_logged():
    w, log = wire(), Log()
    with Migrating() as m:
        set_log(m.g, log)
        ok(m.g.conn, "SET_FEATURES", m.g.features | F_LOG_ALL)
        same(log.pages(), set(), "pages in the log before anything was written")
        filled = m.traffic(w, 0, 5)
        same(log.pages(), filled, "pages in the log")


def test_without_log_all_nothing_is_logged():
    w, log = wire(), Log()
    with Migrating() as m:
        set_log(m.g, log)
        m.traffic(w, 0, 5)
        same(log.pages(), set(), "pages in the log")


def test_the_offset_of_a_log_is_applied_once():
    w = wire()
    for offset in PAGE, 3 * PAGE, 16 * PAGE:
        log = Log(offset=offset)
        with Migrating() as m:
            m.start(log)
            m.check(log, w)


def test_a_log_is_replaced_by_a_larger_one_with_rings_running():
    """As QEMU does when memory is added."""
    w = wire()
    with Migrating() as m:
        old = Log(64)
        m.start(old)
        for n, pages in enumerate((1024, 4096, 8192)):
            old.clear()
            new = Log(pages)
            set_log(m.g, new)
            m.check(new, w, 100 * n)
            same(old.pages(), set(), "pages in the log that was replaced")
            old = new


def test_what_lies_beyond_the_log_is_left_out_and_nothing_behind_it_is_touched():
    w = wire()
    for pages in 8, 16, 64:
        log = Log(pages)
        with Migrating(mem=Memory(Region(4 * MB), Region(4 * MB, guest=1 << 32))) as m:
            m.start(log)
            m.g.mem.alloc(200 * PAGE)
            m.traffic(w, 0, 20)
            log.check_rest()
            same(log.pages(), {n for n in m.ring_pages() if n < pages}, "pages in the log")


def test_packets_pass_with_log_all_and_no_log():
    w = wire()
    with Migrating() as m:
        ok(m.g.conn, "SET_FEATURES", m.g.features | F_LOG_ALL)
        m.traffic(w, 0, 20)


def test_a_log_that_cannot_be_used_is_refused_and_the_one_in_force_stays():
    w, log = wire(), Log()
    with Migrating() as m:
        m.start(log)
        fds, maps = viaduct.fds(), viaduct.guest_maps()
        whole = os.fstat(log.fd).st_size
        for what, words in {"with an offset beyond its file": (PAGE, whole), "of size 0": (0, 0),
                            "longer than its file": (whole + 1, 0), "beyond it by its offset": (whole, PAGE),
                            "that wraps": (PAGE, (1 << 64) - PAGE), "of all ones": ((1 << 64) - 1, (1 << 64) - 1),
                            "that is huge": (1 << 62, 0)}.items():
            refuse_log(m.g, struct.pack("QQ", *words), [log.fd], what)
        read, write = os.pipe()
        for what, fd in {"that is a pipe": write, "that is an eventfd": os.eventfd(0), "read only": os.open(
                f"/proc/self/fd/{log.fd}", os.O_RDONLY), "that is /dev/null": os.open("/dev/null", os.O_RDWR)}.items():
            refuse_log(m.g, struct.pack("QQ", PAGE, 0), [fd], what)
        refuse_log(m.g, log.words(), [], "without an fd")
        same((viaduct.fds(), viaduct.guest_maps()), (fds, maps), "open files and mappings")
        m.check(log, w)
    closes(lambda c: c.send("SET_LOG_BASE", log.words(), [log.fd] * 2), "a log with two fds")


def test_set_log_base_is_answered_once_with_and_without_need_reply():
    with Migrating() as m:
        log = Log()
        for flags in fe.VERSION, fe.VERSION | fe.NEED_REPLY:
            number = m.g.conn.send("SET_LOG_BASE", log.words(), [log.fd], flags)
            same(m.g.conn.reply(number), bytes(8), "answer")
            m.g.conn.ask("GET_QUEUE_NUM")
            true(m.g.conn.nothing_to_read(), "a second answer")


def test_set_log_base_without_its_protocol_feature_is_refused():
    log = Log()
    with negotiated(protocol=fe.P_REPLY_ACK) as g:
        refused(g.conn, "SET_LOG_BASE", log.words(), [log.fd])


def test_a_log_is_replaced_under_load_and_each_page_is_in_one_of_them():
    """Bits are taken as a front-end takes them: by exchanging the log, too."""
    w = wire()
    with Migrating(mem=Memory(Region(16 * MB)), size=256) as m:
        logs = [Log(8192)]
        m.start(logs[0])
        over, failure = threading.Event(), []

        def change():
            try:
                while not over.is_set():
                    new = Log(8192)
                    set_log(m.g, new)
                    logs.append(new)
            except Exception as e:
                failure.append(e)
        thread = threading.Thread(target=change)
        thread.start()
        filled = set()
        try:
            for n in range(20):
                filled |= m.traffic(w, 16 * n, 16)
        finally:
            over.set()
            thread.join()
        if failure:
            raise failure[0]
        logged = set().union(*(log.pages() for log in logs))
        same(logged, filled | m.ring_pages(), f"pages in {len(logs)} logs")
        for log in logs:
            os.close(log.fd)


def test_a_log_that_is_truncated_harms_nobody_else():
    w, log = wire(), Log()
    with Migrating() as m:
        m.start(log)
        os.ftruncate(log.fd, 0)
        m.g.post_rx(4)
        w.send(frame_in(1))
        m.g.send(frame_out(1))
        w.receive()
        true(m.g.conn.is_closed(), "the connection stays")
    with guest().run() as g:
        both_ways(g, w)


def test_a_log_ends_with_its_connection():
    w, log = wire(), Log()
    with Migrating() as m:
        m.start(log)
    with guest() as g:
        g.done()  # the other one is over
        log.clear()
        g.run()
        both_ways(g, w)
    same(log.pages(), set(), "pages in the log of a connection that is over")
    until(lambda: not viaduct.guest_maps(), "the log is still mapped")


def test_log_flags_that_come_before_the_start_count_from_the_first_packet():
    """As on the far side of a second migration: LOG_ALL and F_LOG in the first negotiation."""
    w, log = wire(), Log()
    m = Migrating()
    g = m.g
    g.negotiate(features=FEATURES | F_LOG_ALL)
    needs(g, fe.P_LOG_SHMFD)
    g.set_memory()
    set_log(g, log)
    for i in g.rings():
        g.num(i), g.base(i), g.addr(i, flags=F_LOG, log=g.queues[i].used_ring), g.call(i), g.start(i), g.enable(i)
    g.done()
    m.check(log, w)
    g.close()


def test_a_guest_that_moves_takes_its_positions_along():
    """Stop here, start on another connection with the bases that came back: no frame is lost or repeated."""
    w = wire()
    for packed in False, True:
        mem = Memory(Region(4 * MB))
        g = guest(mem=mem, packed=packed).run()
        for n in range(10):
            g.post_rx(4)
            w.send(*(frame_in(4 * n + k) for k in range(2)))
            same(numbers(g.receive(2)), [4 * n, 4 * n + 1], "frames to the guest")
            g.send(*(frame_out(8 * n + k) for k in range(8)))
            bases = [g.stop(i) for i in g.rings()]
            g.close()
            g.conn = fe.Connection(g.conn.path)
            g.negotiate(), g.set_memory()
            for i, base in enumerate(bases):
                g.num(i), g.base(i, base), g.addr(i), g.call(i), g.enable(i), g.start(i)
            g.done()
            same(numbers(w.receive(8)), list(range(8 * n, 8 * n + 8)), f"frames from the guest, packed {packed}")
            g.sent(8)
            w.send(*(frame_in(4 * n + k) for k in range(2, 4)))
            same(numbers(g.receive(2)), [4 * n + 2, 4 * n + 3], "frames to the guest")
        true(w.nothing(), "frames came twice")
        g.close()


def rarp(mac):
    """RFC 903: who asks for its own address announces where it is."""
    return b"\xff" * 6 + mac + struct.pack(">HHHBBH", RARP_TYPE, 1, 0x0800, 6, 4, 3) + mac + bytes(4) + mac + bytes(4)


def test_send_rarp_announces_the_guest_on_the_wire():
    w = wire(RARP_TYPE)
    with guest().run() as g:
        needs(g, fe.P_RARP)
        for mac in GUEST_MAC, GUEST_MAC:
            ok(g.conn, "SEND_RARP", mac + bytes(2))
            got = w.receive()[0]
            want = rarp(mac)
            same(got[:len(want)], want, "frame")
            true(60 <= len(got) <= 64 and not any(got[len(want):]), f"{len(got)} bytes, or not padded with zeroes")
        # With no ring running: QEMU sends it as soon as the guest has come.
    with negotiated() as g:
        ok(g.conn, "SEND_RARP", GUEST_MAC + b"\xff\xff")
        same(w.receive()[0][:42], rarp(GUEST_MAC), "frame before the rings run")


@ports(2)
def test_send_rarp_is_heard_once_by_other_guests_and_not_by_the_one_that_has_moved():
    """And frames for its address find its port."""
    w, data = wire(RARP_TYPE), wire()
    mac = bytes.fromhex("525400000042")
    with Guest(port_socket(1)).run() as neighbour, Guest(port_socket(2)).run() as g:
        needs(g, fe.P_RARP)
        neighbour.post_rx(16), g.post_rx(32)
        for _ in range(3):
            ok(g.conn, "SEND_RARP", mac + bytes(2))
            same(w.receive()[0][:42], rarp(mac), "frame on the wire")
        heard, came = neighbour.receive(3), []
        for n in range(10):  # what would come twice has the time for it
            frame = mac + frame_in(n)[6:]
            data.send(frame)
            while frame not in came:
                came += g.receive()
            neighbour.done()
        q = neighbour.queues[RX]
        more = q.done + q.collect()
        same([f for f in came if f[12:14] == b"\x80\x35"], [], "announcements to the guest itself")
        same((len(heard) + len(more), [f[:42] for f in heard]), (3, 3 * [rarp(mac)]), "announcements to the neighbour")
        same(numbers(came), list(range(10)), "frames for the guest")


def test_send_rarp_for_an_address_that_no_guest_can_have_sends_nothing():
    w = wire(RARP_TYPE)
    with negotiated() as g:
        needs(g, fe.P_RARP)
        for mac in b"\xff" * 6, bytes(6), bytes.fromhex("01005e000001"):
            refused(g.conn, "SEND_RARP", mac + bytes(2), what=mac.hex(":"))
        ok(g.conn, "SEND_RARP", GUEST_MAC + bytes(2))
        same(w.receive()[0][6:12], GUEST_MAC, "the only frame's sender")
        true(w.nothing(), "more frames")

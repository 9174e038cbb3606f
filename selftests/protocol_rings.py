# SPDX-License-Identifier: BSD-2-Clause
"""Ring states, the orders of messages that front-ends use, ring positions, reconnects."""
import os
import resource
import struct

import frontend as fe
from frontend import Guest, until
from protocol_scene import (
    SOCK, both_ways, connect, dropped_by_program, frame_in, frame_out, guest, negotiated, numbers, ok, port, receives,
    refused, same, sends, true, viaduct, wire)

RX, TX = 0, 1


# --- states ----------------------------------------------------------------------------------------------------------

def test_a_ring_stays_stopped_until_its_kick_message():
    """The running second pair shows when the bridge has looked at everything."""
    w = wire()
    with negotiated(pairs=2) as g:
        for i in 2, 3:
            g.set_up(i)
        for i in RX, TX:
            g.num(i), g.base(i), g.addr(i), g.call(i), g.enable(i)
        g.done()
        g.send(frame_out(1))
        sends(g, w, 10, pair=1)
        true(g.queues[TX].nothing_used(), "a ring without KICK was read")
        g.start(TX)
        same(numbers(w.receive()), [1], "frames after KICK")
        g.sent()


def test_an_enable_that_comes_while_the_ring_is_stopped_is_remembered():
    w = wire()
    with negotiated() as g:
        g.enable(RX), g.enable(TX)
        for i in RX, TX:
            g.set_up(i, enable=False)
        g.done()
        both_ways(g, w)


def test_a_ring_that_was_never_enabled_gets_nothing_and_what_it_sends_is_thrown_away():
    w = wire()
    with guest().run(enable=False) as g:
        g.post_rx(8)
        g.send(*(frame_out(n) for n in range(5)))
        g.sent(5)
        before = dropped_by_program()
        w.send(*(frame_in(n) for n in range(5)))
        until(lambda: dropped_by_program() >= before + 5, "frames were not dropped")
        true(g.queues[RX].nothing_used(), "a disabled ring was filled")
        g.enable(RX), g.enable(TX), g.done()
        sends(g, w, 100)
        receives(g, w, 200, posted=True)


def test_a_ring_that_is_disabled_again_gets_nothing_and_what_it_sends_is_thrown_away():
    w = wire()
    with guest().run() as g:
        both_ways(g, w)
        g.enable(RX, 0), g.enable(TX, 0), g.done()
        g.post_rx(8)
        g.send(frame_out(50))
        g.sent()
        before = dropped_by_program()
        w.send(frame_in(50))
        until(lambda: dropped_by_program() > before, "the frame was not dropped")
        g.enable(RX), g.enable(TX), g.done()
        sends(g, w, 100)
        receives(g, w, 200, posted=True)


def test_an_enabled_flag_survives_stop_and_start():
    w = wire()
    with guest().run() as g:
        both_ways(g, w)
        for i in RX, TX:
            g.base(i, g.stop(i)), g.start(i)
        g.done()
        both_ways(g, w, 10)


def test_without_bit_30_all_rings_are_enabled_at_once():
    w = wire()
    with guest(features=fe.F_VERSION_1).run() as g:
        both_ways(g, w)


def test_a_ring_without_kick_fd_is_polled():
    w = wire()
    with negotiated() as g:
        for i in RX, TX:
            g.num(i), g.base(i), g.addr(i), g.call(i), g.start_polled(i), g.enable(i)
        g.done()
        g.post_rx(1)
        for n in range(20):
            g.send(frame_out(n), kick=False)
            same(numbers(w.receive()), [n], "frame without a kick")
        g.sent(20)
        receives(g, w, posted=True, count=1)


def test_protocol_features_are_asked_for_and_set_before_the_features_and_without_acking_bit_30():
    with connect() as c:
        c.ask_u64("GET_FEATURES")
        offered = c.ask_u64("GET_PROTOCOL_FEATURES")
        c.send("SET_PROTOCOL_FEATURES", offered)
        ok(c, "SET_FEATURES", fe.F_VERSION_1)
        ok(c, "SET_OWNER")


def test_negotiation_may_be_repeated_for_each_queue_pair_while_the_first_runs():
    w = wire()
    with negotiated(pairs=2) as g:
        for i in RX, TX:
            g.set_up(i)
        for _ in range(3):
            c = g.conn
            for m in "GET_FEATURES", "GET_PROTOCOL_FEATURES", "GET_QUEUE_NUM":
                c.ask_u64(m)
            c.send("SET_PROTOCOL_FEATURES", g.protocol)
            ok(c, "SET_OWNER")
            ok(c, "SET_FEATURES", g.features)
            ok(c, "SET_MEM_TABLE", g.mem.table(), g.mem.fds())
            both_ways(g, w)
        for i in 2, 3:
            g.set_up(i)
        g.done()
        sends(g, w, 10)
        sends(g, w, 20, pair=1)
        g.enable(RX, 0), g.done()  # all to the second pair
        receives(g, w, 30, pair=1)


def test_the_number_of_queues_is_the_maximum_and_not_what_is_in_use():
    with negotiated() as g:
        true(g.conn.ask_u64("GET_QUEUE_NUM") >= 4, "fewer than two pairs")
        g.set_up(RX)
        true(g.conn.ask_u64("GET_QUEUE_NUM") >= 4, "fewer than two pairs")


@port("queues=128")
def test_128_queue_pairs_run_and_packets_pass_on_each_of_them():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    w = wire()
    with guest(pairs=128, size=16, mem=fe.Memory(fe.Region(32 << 20))).run() as g:
        same(g.conn.ask_u64("GET_QUEUE_NUM"), 256, "rings")
        until(lambda: viaduct.port()["up"], "the link is not up")
        for pair in range(128):
            sends(g, w, 3 * pair, pair=pair)
        for pair in range(128):
            g.post_rx(3, pair)
        w.send(*(frame_in(n) for n in range(3)))
        until(lambda: viaduct.port()["totals"]["rx_packets"] == 3, "frames from the wire did not arrive")
        same([g.stop(i) for i in (1, 255)], [3, 3], "positions of the first and the last ring for sending")


# --- orders of messages ----------------------------------------------------------------------------------------------

def test_packets_pass_after_the_messages_in_the_order_of_qemu():
    """CALL early (the masked notifier), NUM, BASE, ADDR, KICK, CALL again, ENABLE with an ack."""
    w = wire()
    with guest() as g:
        c, masked = g.conn, [os.eventfd(0) for _ in g.rings()]
        g.features &= c.ask_u64("GET_FEATURES")
        g.protocol = c.ask_u64("GET_PROTOCOL_FEATURES")
        c.send("SET_PROTOCOL_FEATURES", g.protocol)
        c.ask_u64("GET_QUEUE_NUM")
        c.send("SET_OWNER")
        c.ask_u64("GET_FEATURES")
        for i in g.rings():
            c.send("SET_VRING_CALL", i, [masked[i]])
        ok(c, "SET_FEATURES", g.features)
        ok(c, "SET_MEM_TABLE", g.mem.table(), g.mem.fds())
        for i in g.rings():
            g.num(i), g.base(i)
            ok(c, "SET_VRING_ADDR", g.address(i))
            g.start(i), g.call(i)
        for i in g.rings():
            ok(c, "SET_VRING_ENABLE", fe.state(i, 1))
        both_ways(g, w)


def test_packets_pass_after_the_messages_in_the_order_of_cloud_hypervisor():
    """FEATURES, MEM, NUM for all, then ADDR, BASE, CALL, KICK each, ENABLE last."""
    w = wire()
    with guest() as g:
        g.negotiate()
        g.set_memory()
        for i in g.rings():
            g.num(i)
        for i in g.rings():
            g.addr(i), g.base(i), g.call(i), g.start(i)
        for i in g.rings():
            ok(g.conn, "SET_VRING_ENABLE", fe.state(i, 1))
        both_ways(g, w)


def test_packets_pass_after_the_messages_in_the_order_of_virtio_user():
    """CALL for every ring before SET_FEATURES, then MEM, NUM, BASE, ADDR, KICK."""
    w = wire()
    with guest() as g:
        c = g.conn
        c.send("SET_OWNER")
        c.ask_u64("GET_FEATURES")
        g.protocol = c.ask_u64("GET_PROTOCOL_FEATURES")
        c.send("SET_PROTOCOL_FEATURES", g.protocol)
        c.ask_u64("GET_QUEUE_NUM")
        for i in g.rings():
            g.call(i)
        c.send("SET_FEATURES", g.features)
        g.set_memory()
        for i in g.rings():
            g.num(i), g.base(i), g.addr(i), g.start(i)
        for i in g.rings():
            g.enable(i)
        g.done()
        both_ways(g, w)


def test_packed_rings_run_after_each_of_these_orders():
    orders = ((Guest.num, Guest.base, Guest.addr, Guest.start, Guest.call),
              (Guest.num, Guest.addr, Guest.base, Guest.call, Guest.start),
              (Guest.call, Guest.num, Guest.base, Guest.addr, Guest.start),
              (Guest.call, Guest.start, Guest.num, Guest.base, Guest.addr))
    w = wire()
    for order in orders:
        with negotiated(packed=True) as g:
            for step in order:
                for i in g.rings():
                    step(g, i)
            for i in g.rings():
                g.enable(i)
            g.done()
            both_ways(g, w)


def test_a_base_that_comes_before_the_addresses_survives_them():
    w = wire()
    for order in (Guest.base, Guest.num, Guest.addr), (Guest.num, Guest.base, Guest.addr):
        with negotiated() as g:
            for i in g.rings():
                g.queues[i].begin(7)
                for step in order:
                    step(g, i)
                g.call(i), g.start(i), g.enable(i)
            g.done()
            both_ways(g, w)
            same([g.stop(i) for i in g.rings()], [10, 10], "bases after three packets from 7")


# --- stop ------------------------------------------------------------------------------------------------------------

def test_get_vring_base_answers_for_a_ring_that_never_started():
    with negotiated() as g:
        same(g.stop(RX), 0, "base of an untouched ring")
        g.base(RX, 7)
        same(g.stop(RX), 7, "base that was set")
        g.num(TX), g.addr(TX)
        same(g.stop(TX), 0, "base of a ring that has an address only")


def test_get_vring_base_answers_before_anything_else_was_said():
    with connect() as c:
        same(c.ask("GET_VRING_BASE", fe.state(1)), fe.state(1, 0), "answer")


def test_after_get_vring_base_the_rings_memory_is_not_touched():
    w = wire()
    for packed in False, True:
        with guest(pairs=2, packed=packed).run() as g:
            sends(g, w)
            sends(g, w, pair=1)
            for i in RX, TX:
                g.stop(i)
            g.post_rx(16)
            g.send(*(frame_out(n) for n in range(8)))
            mine = [(at, n) for q in g.queues[:2] for at, n in (
                (q.desc, 16 * q.size), (q.avail, 6 + 2 * q.size), (q.used_ring, 6 + 8 * q.size),
                *(b[0][:2] for b in q.chains.values()))]
            before = [g.mem.read(*m) for m in mine]
            # Work for the same worker, both ways, on the pair that runs.
            sends(g, w, 50, pair=1)
            receives(g, w, 60, pair=1, count=16)
            same([hex(m[0]) for m, old in zip(mine, before) if g.mem.read(*m) != old], [], f"packed {packed}: touched")


def test_a_stopped_ring_goes_on_where_it_was_and_nothing_is_lost_or_repeated():
    w = wire()
    for packed in False, True:
        with guest(packed=packed).run() as g:
            for n in range(0, 200, 10):
                g.send(*(frame_out(n + k) for k in range(10)))
                base = g.stop(TX)
                g.base(TX, base), g.start(TX)
                same(numbers(w.receive(10)), list(range(n, n + 10)), f"packed {packed}: frames")
                g.sent(10)
            true(w.nothing(), "frames came twice")
            receives(g, w)


def test_one_ring_stops_and_starts_while_the_others_run():
    w = wire()
    with guest(pairs=2).run() as g:
        for n in range(0, 100, 5):
            g.base(TX, g.stop(TX))
            sends(g, w, 1000 + n, pair=1)
            g.start(TX), g.done()
            sends(g, w, n)


def test_packets_in_flight_are_complete_when_get_vring_base_is_answered():
    """The base says how many buffers are back, to the last one."""
    w = wire()
    with guest(size=256).run() as g:
        total = 0
        for _ in range(20):
            g.send(*(frame_out(total + n) for n in range(64)))
            base = g.stop(TX)
            same(g.queues[TX].used_index(), base & 0xffff, "used index at the reply")
            taken = (base - total) & 0xffff
            same(numbers(w.receive(taken)), list(range(total, total + taken)), "frames of the completed buffers")
            g.base(TX, base), g.start(TX)
            same(numbers(w.receive(64 - taken)), list(range(total + taken, total + 64)), "the rest")
            g.sent(64)
            total += 64


# --- positions -------------------------------------------------------------------------------------------------------

def test_a_split_base_is_the_low_16_bits_and_wraps():
    w = wire()
    with negotiated() as g:
        for i in g.rings():
            g.queues[i].begin(65534)
            g.set_up(i)
        g.done()
        both_ways(g, w, count=5)
        same([g.stop(i) for i in g.rings()], [3, 3], "bases beyond 65535")
        refused(g.conn, "SET_VRING_BASE", fe.state(RX, 65536), what="65536")


def test_a_split_ring_goes_on_from_the_used_index_in_guest_memory():
    """A base that says otherwise comes from a front-end that does not know: two buffers are in flight."""
    w = wire()
    for base in 7, 5, 0:
        with negotiated() as g:
            q = g.queues[TX]
            q.begin(5)
            g.send(frame_out(1), frame_out(2))
            g.set_up(RX)
            g.num(TX), g.base(TX, base), g.addr(TX), g.call(TX), g.enable(TX), g.start(TX), g.done()
            same(numbers(w.receive(2)), [1, 2], f"frames in flight at base {base}")
            g.sent(2)
            same(q.used_index(), 7, "used index")
            sends(g, w, 3)
            same(g.stop(TX), 10, "base")


def test_a_packed_base_is_taken_in_each_form_that_front_ends_send():
    """Both halves, or an upper half of zero (DPDK); the answer has both, used = avail."""
    w = wire()
    for position, wrap in (0, 1), (5, 1), (5, 0), (63, 1), (0, 0):
        half = position | wrap << 15
        for base in half, half | half << 16:
            with negotiated(packed=True) as g:
                for i in g.rings():
                    g.queues[i].begin(half)
                    g.num(i), g.base(i, base), g.addr(i), g.call(i), g.start(i), g.enable(i)
                g.done()
                both_ways(g, w)
                for i in g.rings():
                    now = g.queues[i].base()
                    same(hex(g.stop(i)), hex(now | now << 16), f"answer after {base:#x} and three packets")


def test_a_packed_base_beyond_the_ring_is_refused():
    with negotiated(packed=True) as g:
        g.num(RX)
        for base in 64, 64 | 0x8000, 0x7fff, 64 | 64 << 16:
            refused(g.conn, "SET_VRING_BASE", fe.state(RX, base), what=hex(base))


def test_packed_rings_of_any_size_run_and_split_ones_of_a_power_of_two():
    w = wire()
    for packed, sizes in (True, (1, 3, 48, 100, 255, 1000)), (False, (1, 2, 64, 1024)):
        for size in sizes:
            with guest(packed=packed, size=size).run() as g:
                for n in range(0, 30, 3):
                    for k in range(3) if size < 3 else (0,):
                        both_ways(g, w, n + k, count=1 if size < 3 else 3)
    with negotiated() as g:
        for num in 0, 3, 100, 32769, 65536, 0xffffffff:
            refused(g.conn, "SET_VRING_NUM", fe.state(RX, num), what=str(num))
        ok(g.conn, "SET_VRING_NUM", fe.state(RX, 32768))
    with negotiated(packed=True) as g:
        for num in 0, 32769, 0xffffffff:
            refused(g.conn, "SET_VRING_NUM", fe.state(RX, num), what=str(num))


def test_size_base_and_addresses_do_not_change_while_the_ring_runs():
    w = wire()
    with guest().run() as g:
        refused(g.conn, "SET_VRING_NUM", fe.state(TX, 32))
        refused(g.conn, "SET_VRING_BASE", fe.state(TX, 1))
        other = struct.pack("IIQQQQ", TX, 0, *(g.mem.user(g.mem.alloc(fe.PAGE)) for _ in range(3)), 0)
        refused(g.conn, "SET_VRING_ADDR", other)
        refused(g.conn, "SET_FEATURES", g.features | fe.F_PACKED)
        ok(g.conn, "SET_VRING_NUM", fe.state(TX, 64))
        both_ways(g, w)


# --- status ----------------------------------------------------------------------------------------------------------

def test_status_zero_resets_and_a_new_driver_starts_from_nothing():
    w = wire()
    with guest().run() as g:
        ok(g.conn, "SET_STATUS", 15)
        same(g.conn.ask_u64("GET_STATUS"), 15, "status")
        both_ways(g, w)
        ok(g.conn, "SET_STATUS", 0)
        same(g.conn.ask_u64("GET_STATUS"), 0, "status")
        g.send(frame_out(99))
        g.done()
        ok(g.conn, "SET_FEATURES", g.features)
        for i in g.rings():
            g.queues[i].begin()
            g.set_up(i)
        ok(g.conn, "SET_STATUS", 15)
        both_ways(g, w, 10)
        refused(g.conn, "SET_STATUS", 256, what="of nine bits")


def test_packets_pass_before_driver_ok_which_front_ends_say_with_their_last_pair():
    w = wire()
    with negotiated() as g:
        for status in 1, 3, 11:
            ok(g.conn, "SET_STATUS", status)
        for i in g.rings():
            g.set_up(i)
        g.done()
        both_ways(g, w)
        ok(g.conn, "SET_STATUS", 15)
        both_ways(g, w, 10)


# --- connections -----------------------------------------------------------------------------------------------------

def test_a_second_connection_is_refused_and_the_first_is_unharmed():
    w = wire()
    with guest().run() as g:
        for n in range(10):
            with connect() as second:
                true(second.is_closed(), "the second connection stays open")
            both_ways(g, w, 10 * n)
        same(viaduct.port()["refused"], 10, "refused connections")


def test_the_end_of_a_front_end_is_noticed_at_once():
    """A successor that connects right after it is never refused, in whatever state the first one was."""
    mem, before = fe.Memory(fe.Region(8 << 20)), 0
    for n in range(300):
        with guest(mem=mem) as g:
            if n % 3:
                g.negotiate(), g.set_memory()
            if n % 3 == 2:
                g.set_up(RX), g.set_up(TX)
                g.send(*(frame_out(k) for k in range(8)))
            if n % 2:
                g.done()
        mem.top.clear()
    status = viaduct.port()
    same((status["refused"], status["connections"] >= 300), (0, True), "refused, and enough connections")


def offers(c):
    slots = c.ask_u64("GET_PROTOCOL_FEATURES") & fe.P_MEM_SLOTS
    if slots:
        c.send("SET_PROTOCOL_FEATURES", fe.P_MEM_SLOTS | fe.P_REPLY_ACK)
    return (c.ask_u64("GET_FEATURES"), c.ask_u64("GET_PROTOCOL_FEATURES"), c.ask_u64("GET_QUEUE_NUM"),
            c.ask_u64("GET_MAX_MEM_SLOTS") if slots else 0)


def test_each_connection_is_offered_the_same_whatever_the_one_before_did():
    with connect() as c:
        first = offers(c)
    for features, protocol in ((fe.F_VERSION_1, 0), (0, None), (fe.F_VERSION_1 | fe.F_PROTOCOL | fe.F_PACKED, None),
                               (fe.F_PROTOCOL, fe.P_REPLY_ACK)):
        with guest(features=features, protocol=protocol) as g:
            if features & fe.F_VERSION_1:
                g.run()
                same(offers(g.conn) if g.protocol else first, first, "offered while rings run")
            else:
                g.negotiate(), g.done()
        with connect() as c:
            same(offers(c), first, f"offered after a front-end with {features:#x} and {protocol}")
    viaduct.restart()
    with connect() as c:
        same(offers(c), first, "offered by a second instance")


@port("mode=client")
def test_a_port_that_connects_tries_again_for_as_long_as_nobody_listens():
    w = wire()
    until(lambda: "nobody to connect to yet" in viaduct.said(), "it has not tried yet")
    for n in range(3):
        server = fe.listen(SOCK)
        with Guest(conn=fe.accept(server)).run() as g:
            both_ways(g, w)
        server.close()
        os.unlink(SOCK)


def test_a_front_end_may_go_after_any_message_and_with_packets_in_flight():
    """The setting up of both rings, cut after each of its messages; what it began is undone for the next."""
    w, mem = wire(), fe.Memory(fe.Region(8 << 20))
    steps = [Guest.negotiate, Guest.set_memory]
    for i in RX, TX:
        steps += [lambda g, i=i, step=step: step(g, i)
                  for step in (Guest.num, Guest.base, Guest.addr, Guest.call, Guest.err, Guest.start, Guest.enable)]
    for packed in False, True:
        for last in range(len(steps) + 1):
            with guest(mem=mem, packed=packed, size=256) as g:
                for _ in range(100):
                    g.queues[TX].add((mem.alloc(64, 64), 64, False))
                    g.queues[RX].add((mem.alloc(64, 64), 64, True))
                g.queues[TX].kick()
                for step in steps[:last]:
                    step(g)
                if last == len(steps):
                    w.send(*(frame_in(n) for n in range(50)))
            mem.top.clear()
    with guest().run() as g:
        g.post_rx(1)
        while True:  # frames of those before may still be under way
            w.send(frame_in(777))
            if numbers(g.receive(1)) == [777]:
                break
            g.post_rx(1)


def test_a_guest_that_takes_and_gives_nothing_for_long_goes_on_when_it_likes_to():
    """Rings full, no rx buffers; then continued, then gone with all of it."""
    w = wire()
    with guest(size=256, mem=fe.Memory(fe.Region(8 << 20))).run() as g:
        g.post_rx(32)
        for first in 0, 32, 64, 96, 128:  # 160 frames for 32 buffers
            w.send(*(frame_in(n) for n in range(first, first + 32)))
        same(numbers(g.receive(32)), list(range(32)), "frames for the buffers that were there")
        lost = lambda: sum(n for part in (viaduct.port(), viaduct.port()["xdp"]) for n in part["drops"].values())
        until(lambda: lost() >= 128, lambda: f"{lost()} of 128 frames are counted as lost")
        both_ways(g, w, 1000)
        g.send(*(frame_out(n) for n in range(250)))  # nobody looks at what comes back
        same(numbers(w.receive(250)), list(range(250)), "frames")
        w.send(*(frame_in(n) for n in range(64)))
    with guest().run() as g:
        sends(g, w)


def resumes_after_sigkill(base_of, packed=False):
    """Numbered frames, the back-end killed among them; base_of(queue): where the front-end says the ring is."""
    w = wire()
    g = guest(size=256, packed=packed, mem=fe.Memory(fe.Region(8 << 20))).run()
    sends(g, w, 0, count=100)
    receives(g, w, 0, count=20)
    bases = [base_of(q) for q in g.queues]  # all is drained
    g.post_rx(16)
    viaduct.restart()
    g.close()
    # What the guest sends while nobody is there waits in the ring.
    g.send(*(frame_out(n) for n in range(100, 150)))
    g.conn = fe.Connection(SOCK)
    g.negotiate(), g.set_memory()
    for i in g.rings():
        g.num(i), g.base(i, bases[i]), g.addr(i), g.call(i), g.enable(i), g.start(i)
    g.done()
    same(numbers(w.receive(50)), list(range(100, 150)), "frames after the restart")
    g.sent(50)
    w.send(*(frame_in(n) for n in range(20, 30)))
    same(numbers(g.receive(10)), list(range(20, 30)), "frames in the buffers that were posted before")
    both_ways(g, w, 500)
    g.close()


def test_a_split_ring_is_resumed_from_its_used_index_after_sigkill():
    resumes_after_sigkill(lambda q: q.used_index())


def test_a_packed_ring_is_resumed_after_sigkill_by_a_front_end_that_knows_its_position():
    resumes_after_sigkill(lambda q: q.base(), packed=True)


def test_a_packed_ring_whose_position_the_front_end_has_lost_goes_on_where_it_was():
    """QEMU after a lost back-end: the base of a new ring, whatever the guest's is."""
    w = wire()
    with guest(packed=True).run() as g:
        sends(g, w, 0, count=10)
        viaduct.restart()
        g.close()
        g.conn = fe.Connection(SOCK)
        g.negotiate(), g.set_memory()
        for i in g.rings():
            g.num(i), g.base(i, 0x80008000), g.addr(i), g.call(i), g.enable(i), g.start(i)
        g.done()
        g.send(frame_out(10))
        same(numbers(w.receive()), [10], "frames after the restart")
        g.sent()
        both_ways(g, w, 20)

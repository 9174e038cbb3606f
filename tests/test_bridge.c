/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the bridge that need neither NIC nor guest: forwarding table, learning rules, steering. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bridge/fdb.h"
#include "bridge/learn.h"
#include "bridge/port.h"

#define SEC 1000000000ull
#define MAC 0x0300000054520ull	/* 20:45:05:00:00:30: a station's */

/* --- forwarding table --- */

static void an_address_is_found_where_it_was_put_until_it_is_deleted(void **state)
{
	struct fdb *f = calloc(1, sizeof(*f));

	(void)state;
	assert_int_equal(fdb_lookup(f, MAC), VD_PORT_NONE);
	assert_int_equal(fdb_set(f, MAC, 3, 0), 0);
	assert_int_equal(fdb_lookup(f, MAC), 3);
	assert_int_equal(fdb_set(f, MAC, VD_PORT_HOST, 0), 0);
	assert_int_equal(fdb_lookup(f, MAC), VD_PORT_HOST);
	fdb_del(f, MAC);
	assert_int_equal(fdb_lookup(f, MAC), VD_PORT_NONE);
	fdb_del(f, MAC + 2);
	free(f);
}

static void a_table_of_two_thousand_addresses_finds_each(void **state)
{
	struct fdb *f = calloc(1, sizeof(*f));

	(void)state;
	for (uint64_t i = 1; i <= 2000; i++)
		assert_int_equal(fdb_set(f, i << 8, (uint32_t)(i % VD_MAX_PORTS), 0), 0);
	for (uint64_t i = 1; i <= 2000; i++)
		assert_int_equal(fdb_lookup(f, i << 8), i % VD_MAX_PORTS);
	free(f);
}

static void addresses_that_come_and_go_for_ever_do_not_fill_the_table(void **state)
{
	struct fdb *f = calloc(1, sizeof(*f));

	(void)state;
	assert_int_equal(fdb_set(f, MAC, 1, 0), 0);
	for (uint64_t i = 1; i <= 100000; i++) {
		assert_int_equal(fdb_set(f, i << 8, 2, 0), 0);
		fdb_del(f, i << 8);
	}
	assert_int_equal(fdb_lookup(f, MAC), 1);
	free(f);
}

static void a_full_table_says_so_and_keeps_what_it_has(void **state)
{
	struct fdb *f = calloc(1, sizeof(*f));
	uint64_t n = 0;

	(void)state;
	while (!fdb_set(f, (n + 1) << 8, 5, 0))
		n++;
	assert_int_equal(n, FDB_SLOTS / 2);
	assert_int_equal(fdb_lookup(f, 1 << 8), 5);
	assert_int_equal(fdb_lookup(f, n << 8), 5);
	free(f);
}

struct reader {
	struct fdb *f;
	uint32_t stop;
	uint64_t wrong, seen;
};

/* Every address belongs to the port its number says, or to nobody. */
static void *read_all(void *arg)
{
	struct reader *r = arg;

	while (!READ_ONCE(r->stop))
		for (uint64_t i = 1; i <= 64; i++) {
			uint32_t port = fdb_lookup(r->f, i << 8);

			r->wrong += port != i && port != VD_PORT_NONE;
			WRITE_ONCE(r->seen, r->seen + (port == i));
		}
	return NULL;
}

static void a_reader_never_sees_an_address_with_the_wrong_port(void **state)
{
	struct fdb *f = calloc(1, sizeof(*f));
	struct reader r = { .f = f };
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, read_all, &r), 0);
	/* Round and round, with enough others in between that the table is rebuilt under the reader. */
	for (uint64_t n = 0; n < 100000 || !READ_ONCE(r.seen); n++) {
		uint64_t i = 1 + n % 64, other = 1000 + n;

		assert_int_equal(fdb_set(f, i << 8, (uint32_t)i, 0), 0);
		assert_int_equal(fdb_set(f, other << 8, 200, 0), 0);
		fdb_del(f, other << 8);
		if (n % 3 == 0)
			fdb_del(f, i << 8);
	}
	WRITE_ONCE(r.stop, 1);
	pthread_join(t, NULL);
	assert_int_equal(r.wrong, 0);
	free(f);
}

static void an_address_of_the_vlan_is_found_before_one_of_any(void **state)
{
	struct fdb *f = calloc(1, sizeof(*f));

	(void)state;
	assert_int_equal(fdb_set(f, fdb_key(0, MAC), 1, 0), 0);
	assert_int_equal(fdb_forward(f, 0, MAC), 1);
	assert_int_equal(fdb_forward(f, 10, MAC), 1);
	assert_int_equal(fdb_set(f, fdb_key(10, MAC), 2, 0), 0);
	assert_int_equal(fdb_forward(f, 10, MAC), 2);
	assert_int_equal(fdb_forward(f, 20, MAC), 1);
	assert_int_equal(fdb_forward(f, 0, MAC), 1);
	fdb_del(f, fdb_key(0, MAC));
	assert_int_equal(fdb_forward(f, 10, MAC), 2);
	assert_int_equal(fdb_forward(f, 20, MAC), VD_PORT_NONE);
	assert_int_equal(fdb_forward(f, 0, MAC), VD_PORT_NONE);
	free(f);
}

static void every_change_of_the_table_has_a_generation_of_its_own(void **state)
{
	struct fdb *f = calloc(1, sizeof(*f));
	uint32_t last = f->generation;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		if (i == 0 || i == 1)
			fdb_set(f, MAC, i, 0);
		else if (i == 2)
			fdb_del(f, MAC);
		else if (i == 3)
			fdb_touch(f);
		else
			fdb_set(f, MAC, 0, 0);
		assert_int_not_equal(f->generation, last);
		last = f->generation;
	}
	/* To note its use is none. */
	fdb_note(f, MAC, 100 * SEC);
	fdb_del(f, MAC + 1);
	assert_int_equal(f->generation, last);
	free(f);
}

static void an_address_is_as_old_as_it_was_not_used(void **state)
{
	const uint64_t unit = 1ull << FDB_SEEN_SHIFT;
	struct fdb *f = calloc(1, sizeof(*f));

	(void)state;
	assert_int_equal(fdb_age(f, MAC, 100 * unit), 0);
	assert_int_equal(fdb_set(f, MAC, 1, 100 * unit), 0);
	assert_int_equal(fdb_age(f, MAC, 100 * unit), 0);
	assert_int_equal(fdb_age(f, MAC, 107 * unit), 7);
	fdb_note(f, MAC, 105 * unit);
	assert_int_equal(fdb_age(f, MAC, 107 * unit), 2);
	fdb_note(f, MAC, 108 * unit);	/* by a clock that was read later */
	assert_int_equal(fdb_age(f, MAC, 107 * unit), 0);
	fdb_note(f, MAC + 2, 100 * unit);	/* is not there */
	assert_int_equal(fdb_lookup(f, MAC + 2), VD_PORT_NONE);
	free(f);
}

/* --- learning --- */

static enum learn_verdict decide(uint64_t mac, struct learn_facts f)
{
	struct learn_request r = { .mac = mac, .when_ns = 100 * SEC, .port = 1 };

	return learn_decide(&r, &f);
}

static void an_unknown_station_is_learned(void **state)
{
	(void)state;
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = VD_PORT_NONE }), LEARN_OK);
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = 1 }), LEARN_KNOWN);
}

static void groups_and_zero_are_never_learned(void **state)
{
	(void)state;
	assert_int_equal(decide(0, (struct learn_facts){ .owner = VD_PORT_NONE }), LEARN_ZERO);
	assert_int_equal(decide(0xffffffffffff, (struct learn_facts){ .owner = VD_PORT_NONE }), LEARN_GROUP);
	assert_int_equal(decide(MAC | 1, (struct learn_facts){ .owner = VD_PORT_NONE }), LEARN_GROUP);
}

static void addresses_of_the_host_and_of_other_ports_are_never_learned(void **state)
{
	(void)state;
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = VD_PORT_NONE, .host = true }), LEARN_HOST);
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = VD_PORT_HOST }), LEARN_HOST);
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = 2 }), LEARN_OTHER_PORT);
}

static void an_address_heard_from_the_wire_lately_is_not_learned_but_later_it_is(void **state)
{
	struct learn_facts f = { .owner = VD_PORT_NONE, .wire_ns = 99 * SEC };

	(void)state;
	assert_int_equal(decide(MAC, f), LEARN_WIRE);
	f.wire_ns = 100 * SEC - LEARN_WIRE_NS;
	assert_int_equal(decide(MAC, f), LEARN_OK);
}

static void the_echo_of_a_guests_own_frame_does_not_count_as_heard_from_the_wire(void **state)
{
	(void)state;
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = VD_PORT_NONE, .wire_ns = 101 * SEC }), LEARN_OK);
}

static void the_limit_and_a_given_address_are_kept(void **state)
{
	(void)state;
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = VD_PORT_NONE, .count = PORT_MACS }),
			 LEARN_LIMIT);
	assert_int_equal(decide(MAC, (struct learn_facts){ .owner = VD_PORT_NONE, .fixed = true }), LEARN_FIXED);
}

static void every_verdict_has_a_name(void **state)
{
	(void)state;
	for (unsigned v = 0; v < LEARN_VERDICTS; v++)
		assert_non_null(learn_verdict_name(v));
}

static void requests_come_out_in_order_and_a_full_ring_refuses(void **state)
{
	struct learn_ring ring = { .head = UINT32_MAX - 3, .tail = UINT32_MAX - 3 };
	struct learn_request r = { 0 };

	(void)state;
	for (uint64_t i = 0; i < LEARN_RING; i++) {
		r.mac = i;
		assert_true(learn_push(&ring, &r));
	}
	assert_false(learn_push(&ring, &r));
	for (uint64_t i = 0; i < LEARN_RING; i++) {
		assert_true(learn_pop(&ring, &r));
		assert_int_equal(r.mac, i);
	}
	assert_false(learn_pop(&ring, &r));
}

static void the_record_of_the_wire_knows_whom_it_heard_and_when(void **state)
{
	struct learn_wire *w = calloc(1, sizeof(*w));

	(void)state;
	assert_int_equal(learn_wire_when(w, MAC), 0);
	learn_wire_note(w, MAC, 5 * SEC);
	assert_int_equal(learn_wire_when(w, MAC), 5 * SEC);
	assert_int_equal(learn_wire_when(w, MAC + 2), 0);
	free(w);
}

/* --- steering --- */

static struct port *port_of(unsigned pairs)
{
	struct port_config cfg = { .name = "vm0", .pairs = pairs };
	struct port *p = port_create(0, &cfg);

	assert_non_null(p);
	return p;
}

static void set_usable(struct port *p, unsigned pair, bool usable)
{
	port_rxq(p, pair)->started = 1;
	port_rxq(p, pair)->enabled = usable;
}

static void a_port_without_a_usable_ring_is_not_steered_to(void **state)
{
	struct port *p = port_of(4);
	struct vd_port m;

	(void)state;
	port_map(p, &m);
	assert_int_equal(m.enabled, 0);
	port_destroy(p);
}

static void flows_are_spread_evenly_over_the_usable_pairs_only(void **state)
{
	struct port *p = port_of(4);
	unsigned seen[4] = { 0 };
	struct vd_steering s;
	struct vd_port m;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		set_usable(p, i, i != 1);
	port_rxq(p, 3)->broken = VIRTQ_BROKEN_HEAD;
	port_spread(p, &s);
	port_map(p, &m);
	assert_int_equal(m.enabled, 2);
	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		seen[m.route[s.pair[i]]]++;
	assert_int_equal(seen[0], VD_INDIRECTION / 2);
	assert_int_equal(seen[1], 0);
	assert_int_equal(seen[2], VD_INDIRECTION / 2);
	assert_int_equal(seen[3], 0);
	port_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_found_where_it_was_put_until_it_is_deleted),
		cmocka_unit_test(a_table_of_two_thousand_addresses_finds_each),
		cmocka_unit_test(addresses_that_come_and_go_for_ever_do_not_fill_the_table),
		cmocka_unit_test(a_full_table_says_so_and_keeps_what_it_has),
		cmocka_unit_test(a_reader_never_sees_an_address_with_the_wrong_port),
		cmocka_unit_test(an_address_of_the_vlan_is_found_before_one_of_any),
		cmocka_unit_test(every_change_of_the_table_has_a_generation_of_its_own),
		cmocka_unit_test(an_address_is_as_old_as_it_was_not_used),
		cmocka_unit_test(an_unknown_station_is_learned),
		cmocka_unit_test(groups_and_zero_are_never_learned),
		cmocka_unit_test(addresses_of_the_host_and_of_other_ports_are_never_learned),
		cmocka_unit_test(an_address_heard_from_the_wire_lately_is_not_learned_but_later_it_is),
		cmocka_unit_test(the_echo_of_a_guests_own_frame_does_not_count_as_heard_from_the_wire),
		cmocka_unit_test(the_limit_and_a_given_address_are_kept),
		cmocka_unit_test(every_verdict_has_a_name),
		cmocka_unit_test(requests_come_out_in_order_and_a_full_ring_refuses),
		cmocka_unit_test(the_record_of_the_wire_knows_whom_it_heard_and_when),
		cmocka_unit_test(a_port_without_a_usable_ring_is_not_steered_to),
		cmocka_unit_test(flows_are_spread_evenly_over_the_usable_pairs_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

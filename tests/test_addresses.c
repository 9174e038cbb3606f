/* SPDX-License-Identifier: BSD-2-Clause */
/* Which addresses are whose: learned, moved, given up, forgotten; with an uplink that only remembers. */
#include "base/clock.h"
#include "control.h"

#define MAC(last) ((const uint8_t[6]){ 2, 0, 0, 0, 0, (last) })
#define AGE(seconds) ((uint64_t)(seconds) * NSEC_PER_SEC)

static void add(struct control *c, const char *name, uint16_t vlan, uint8_t mac)
{
	struct port_config cfg = control_port(c, name);

	cfg.vlan = vlan;
	if (mac)
		memcpy(cfg.mac[cfg.nmac++], MAC(mac), 6);
	assert_int_equal(control_add(c, &cfg), 0);
	control_events(c);
}

static int setup(void **state)
{
	control_open(&control);
	for (unsigned i = 0; i < 3; i++)
		add(&control, (const char *[]){ "a", "b", "c" }[i], 0, 0);
	*state = &control;
	return 0;
}

static int teardown(void **state)
{
	control_close(*state);
	return 0;
}

/* A worker has seen a guest send from an address. Return: what became of it. */
static const char *sends(struct control *c, uint32_t port, uint8_t mac)
{
	const struct learn_request r = { .mac = mac_load(MAC(mac)), .when_ns = clock_now(), .port = port };
	uint64_t key = fdb_key(c->b.port[port]->policy.key_vlan, r.mac);

	/* As the worker does it: what it knows it notes. */
	if (fdb_lookup(&c->b.fdb, key) == port) {
		fdb_note(&c->b.fdb, key, r.when_ns);
		return "";
	}
	assert_true(learn_push(c->dp->learn, &r));
	addresses_learn(&c->b);
	return control_events(c);
}

static uint32_t owner(struct control *c, uint16_t vlan, uint8_t mac)
{
	const struct fake_address *a = fake_find(&uplink, vlan, MAC(mac));
	uint32_t port = fdb_lookup(&c->b.fdb, fdb_key(vlan, mac_load(MAC(mac))));

	/* The program and the workers say the same. */
	if (port < VD_MAX_PORTS)
		assert_true(a && a->value.port == port);
	else
		assert_null(a);
	return port;
}

/* Nothing has been sent from it for so long. */
static void silent(struct control *c, uint16_t vlan, uint8_t mac, unsigned seconds)
{
	struct fdb_slot *s = (struct fdb_slot *)fdb_find(&c->b.fdb, fdb_key(vlan, mac_load(MAC(mac))));

	s->seen = (uint32_t)((clock_now() - AGE(seconds)) >> FDB_SEEN_SHIFT);
}

/* --- learning -------------------------------------------------------------------------- */

static void what_a_guest_sends_from_becomes_its_own(void **state)
{
	struct control *c = *state;

	assert_string_equal(sends(c, 1, 5), "address_learned b\n");
	assert_int_equal(owner(c, 0, 5), 1);
	assert_int_equal(uplink.filters, 1);
	assert_int_equal(fake_find(&uplink, 0, MAC(5))->value.kind, VD_FDB_LEARNED);
	assert_string_equal(sends(c, 1, 5), "");
	assert_int_equal(uplink.filters, 1);
}

static void an_access_ports_addresses_are_of_its_vlan(void **state)
{
	struct control *c = *state;

	add(c, "v10", 10, 0);
	add(c, "v20", 20, 0);
	assert_string_equal(sends(c, 3, 5), "address_learned v10\n");
	assert_string_equal(sends(c, 4, 5), "address_learned v20\n");
	assert_int_equal(owner(c, 10, 5), 3);
	assert_int_equal(owner(c, 20, 5), 4);
	/* One that is in all of them cannot have it as well. */
	assert_string_equal(sends(c, 0, 5), "");
	assert_int_equal(owner(c, 0, 5), VD_PORT_NONE);
	assert_int_equal(c->b.port[0]->refused[LEARN_OTHER_PORT], 1);
}

static void an_address_stays_with_a_guest_that_uses_it(void **state)
{
	struct control *c = *state;

	sends(c, 0, 5);
	for (unsigned i = 0; i < 9; i++) {
		silent(c, 0, 5, i);
		assert_string_equal(sends(c, 1, 5), "");
		assert_int_equal(owner(c, 0, 5), 0);
	}
	assert_int_equal(c->b.port[1]->refused[LEARN_OTHER_PORT], 9);
}

/* A machine that was moved: another port, the same address. */
static void an_address_moves_when_it_was_silent_where_it_was(void **state)
{
	struct control *c = *state;

	sends(c, 0, 5);
	silent(c, 0, 5, 14);
	assert_string_equal(sends(c, 1, 5), "address_moved b\n");
	assert_int_equal(owner(c, 0, 5), 1);
	assert_int_equal(c->b.moves, 1);
	assert_int_equal(c->b.port[0]->nmac, 0);
	assert_int_equal(c->b.port[1]->nmac, 1);
	assert_int_equal(uplink.filters, 1);
	/* It does not move back at once. */
	assert_string_equal(sends(c, 0, 5), "");
	assert_int_equal(owner(c, 0, 5), 1);
}

static void an_address_that_was_given_never_moves(void **state)
{
	struct control *c = *state;

	add(c, "given", 0, 7);
	silent(c, 0, 7, 1000);
	assert_string_equal(sends(c, 0, 7), "");
	assert_int_equal(owner(c, 0, 7), 3);
	/* Nor does its port learn. */
	assert_string_equal(sends(c, 3, 8), "");
	assert_int_equal(owner(c, 0, 8), VD_PORT_NONE);
	assert_int_equal(c->b.port[3]->refused[LEARN_FIXED], 1);
}

static void a_learned_address_gives_way_to_one_that_is_given(void **state)
{
	struct control *c = *state;

	sends(c, 0, 7);
	add(c, "given", 0, 7);
	assert_int_equal(owner(c, 0, 7), 3);
	assert_int_equal(c->b.port[0]->nmac, 0);
	assert_int_equal(fake_find(&uplink, 0, MAC(7))->value.kind, VD_FDB_CONFIGURED);
	assert_int_equal(uplink.filters, 1);
}

static void a_guest_has_as_many_as_there_may_be_and_a_later_one_has_new_ones(void **state)
{
	struct control *c = *state;

	for (uint8_t i = 1; i <= PORT_MACS; i++)
		assert_string_equal(sends(c, 0, i), "address_learned a\n");
	assert_string_equal(sends(c, 0, 100), "");
	assert_int_equal(c->b.port[0]->refused[LEARN_LIMIT], 1);
	assert_int_equal(uplink.nfdb, PORT_MACS);
	c->b.port[0]->session++;
	for (uint8_t i = 101; i <= 100 + PORT_MACS; i++)
		assert_string_equal(sends(c, 0, i), "address_learned a\n");
	assert_int_equal(uplink.nfdb, PORT_MACS);
	assert_int_equal(owner(c, 0, 1), VD_PORT_NONE);
	assert_string_equal(sends(c, 0, 99), "");
}

static void nothing_is_left_of_an_address_that_could_not_be_entered(void **state)
{
	struct control *c = *state;

	uplink.fdb_error = -ENOSPC;
	assert_string_equal(sends(c, 0, 5), "");
	uplink.fdb_error = 0;
	assert_int_equal(owner(c, 0, 5), VD_PORT_NONE);
	assert_int_equal(uplink.filters, 0);
	uplink.filter_error = -ENOBUFS;
	assert_string_equal(sends(c, 0, 5), "");
	uplink.filter_error = 0;
	assert_int_equal(owner(c, 0, 5), VD_PORT_NONE);
	assert_string_equal(sends(c, 0, 5), "address_learned a\n");
}

/* --- the wire ---------------------------------------------------------------------------- */

static void what_was_heard_from_the_wire_is_not_a_guests(void **state)
{
	struct control *c = *state;

	learn_wire_note(c->dp->wire, mac_load(MAC(5)), clock_now() - AGE(3));
	assert_string_equal(sends(c, 0, 5), "");
	assert_int_equal(c->b.port[0]->refused[LEARN_WIRE], 1);
	learn_wire_note(c->dp->wire, mac_load(MAC(5)), clock_now() - LEARN_WIRE_NS - AGE(1));
	assert_string_equal(sends(c, 0, 5), "address_learned a\n");
	/* Whom the host hears from it neither. */
	uplink_wire[vd_wire_slot(mac_load(MAC(6)))] = vd_wire_entry(mac_load(MAC(6)), clock_now());
	assert_string_equal(sends(c, 0, 6), "");
	assert_int_equal(c->b.port[0]->refused[LEARN_WIRE], 2);
}

/* A guest that moves here was heard from the wire until it began here. */
static void what_was_heard_from_the_wire_before_a_running_guest_came_was_perhaps_the_guest(void **state)
{
	struct control *c = *state;
	uint64_t now = clock_now();

	learn_wire_note(c->dp->wire, mac_load(MAC(5)), now - AGE(1));
	uplink_wire[vd_wire_slot(mac_load(MAC(5)))] = vd_wire_entry(mac_load(MAC(5)), now - AGE(1));
	c->b.port[0]->arrived_ns = now - AGE(1) + 1;
	assert_string_equal(sends(c, 1, 5), "");
	assert_string_equal(sends(c, 0, 5), "address_learned a\n");
	addresses_age(&c->b, now);
	assert_int_equal(owner(c, 0, 5), 0);
	/* Who is heard after it came is somebody else, or it has moved on. */
	learn_wire_note(c->dp->wire, mac_load(MAC(6)), now - AGE(1) + 2);
	assert_string_equal(sends(c, 0, 6), "");
	uplink_wire[vd_wire_slot(mac_load(MAC(5)))] = vd_wire_entry(mac_load(MAC(5)), now + AGE(1));
	addresses_age(&c->b, now + AGE(1));
	assert_string_equal(control_events(c), "address_forgotten a\n");
}

static void an_address_that_moves_to_the_wire_is_given_up(void **state)
{
	struct control *c = *state;
	uint64_t now = clock_now();

	sends(c, 0, 5);
	sends(c, 0, 6);
	silent(c, 0, 5, 30);
	silent(c, 0, 6, 1);
	/* Both are heard from it: of the one that was used right before it is the echo. */
	learn_wire_note(c->dp->wire, mac_load(MAC(5)), now);
	learn_wire_note(c->dp->wire, mac_load(MAC(6)), now);
	addresses_age(&c->b, now);
	assert_string_equal(control_events(c), "address_forgotten a\n");
	assert_int_equal(owner(c, 0, 5), VD_PORT_NONE);
	assert_int_equal(owner(c, 0, 6), 0);
	assert_int_equal(uplink.filters, 1);
}

/* --- the host ---------------------------------------------------------------------------- */

static void the_hosts_addresses_are_known_to_the_workers_and_to_be_learned_by_nobody(void **state)
{
	struct control *c = *state;

	sends(c, 0, 1);
	memcpy(uplink.host[uplink.nhost++], MAC(1), 6);
	memcpy(uplink.host[uplink.nhost++], MAC(2), 6);
	addresses_host(&c->b);
	/* What the host has from now on is no guest's any more. */
	for (uint8_t i = 1; i <= 2; i++)
		assert_int_equal(fdb_lookup(&c->b.fdb, mac_load(MAC(i))), VD_PORT_HOST);
	assert_int_equal(c->b.port[0]->nmac, 0);
	assert_int_equal(uplink.filters, 0);
	assert_string_equal(sends(c, 0, 2), "");
	assert_int_equal(c->b.port[0]->refused[LEARN_HOST], 1);
	uplink.nhost = 1;
	addresses_host(&c->b);
	assert_int_equal(fdb_lookup(&c->b.fdb, mac_load(MAC(2))), VD_PORT_NONE);
	assert_string_equal(sends(c, 0, 2), "address_learned a\n");
	uplink.nhost = 0;
	addresses_host(&c->b);
	assert_int_equal(fdb_lookup(&c->b.fdb, mac_load(MAC(1))), VD_PORT_NONE);
}

static void a_given_address_comes_back_when_the_host_has_it_no_longer(void **state)
{
	struct control *c = *state;

	add(c, "given", 0, 7);
	memcpy(uplink.host[uplink.nhost++], MAC(7), 6);
	addresses_host(&c->b);
	assert_int_equal(fdb_lookup(&c->b.fdb, mac_load(MAC(7))), VD_PORT_HOST);
	uplink.nhost = 0;
	addresses_host(&c->b);
	assert_int_equal(owner(c, 0, 7), 3);
	assert_int_equal(uplink.filters, 1);
}

/* --- age --------------------------------------------------------------------------------- */

static void an_address_that_is_not_used_is_forgotten(void **state)
{
	struct control *c = *state;
	uint64_t now = clock_now();

	c->b.cfg.aging_s = 300;
	add(c, "given", 0, 7);
	sends(c, 0, 5);
	sends(c, 1, 6);
	silent(c, 0, 5, 290);
	silent(c, 0, 6, 290);
	silent(c, 0, 7, 1000);
	addresses_age(&c->b, now);
	assert_string_equal(control_events(c), "");
	silent(c, 0, 5, 310);
	/* Looked at now and then only. */
	addresses_age(&c->b, now + 1);
	assert_int_equal(owner(c, 0, 5), 0);
	addresses_age(&c->b, now + NSEC_PER_SEC);
	assert_string_equal(control_events(c), "address_forgotten a\n");
	assert_int_equal(owner(c, 0, 5), VD_PORT_NONE);
	assert_int_equal(owner(c, 0, 6), 1);
	assert_int_equal(owner(c, 0, 7), 3);	/* given: for ever */
	/* Without an age they stay. */
	c->b.cfg.aging_s = 0;
	silent(c, 0, 6, 100000);
	addresses_age(&c->b, now + 2 * NSEC_PER_SEC);
	assert_int_equal(owner(c, 0, 6), 1);
}

/* A worker may have noted it after the control thread had read the clock. */
static void an_address_that_is_used_this_very_moment_is_not_old(void **state)
{
	struct control *c = *state;
	uint64_t now = clock_now();

	c->b.cfg.aging_s = 300;
	sends(c, 0, 5);
	fdb_note(&c->b.fdb, mac_load(MAC(5)), now + 2 * NSEC_PER_SEC);
	addresses_age(&c->b, now);
	assert_int_equal(owner(c, 0, 5), 0);
	assert_string_equal(sends(c, 1, 5), "");
	assert_int_equal(owner(c, 0, 5), 0);
}

static void when_a_port_is_removed_its_addresses_are_free(void **state)
{
	struct control *c = *state;

	sends(c, 0, 5);
	assert_int_equal(bridge_port_del(&c->b, "a", c->err, sizeof(c->err)), 0);
	control_events(c);
	assert_int_equal(owner(c, 0, 5), VD_PORT_NONE);
	assert_string_equal(sends(c, 1, 5), "address_learned b\n");
	assert_int_equal(owner(c, 0, 5), 1);
}

#define ONE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ONE(what_a_guest_sends_from_becomes_its_own),
		ONE(an_access_ports_addresses_are_of_its_vlan),
		ONE(an_address_stays_with_a_guest_that_uses_it),
		ONE(an_address_moves_when_it_was_silent_where_it_was),
		ONE(an_address_that_was_given_never_moves),
		ONE(a_learned_address_gives_way_to_one_that_is_given),
		ONE(a_guest_has_as_many_as_there_may_be_and_a_later_one_has_new_ones),
		ONE(nothing_is_left_of_an_address_that_could_not_be_entered),
		ONE(what_was_heard_from_the_wire_is_not_a_guests),
		ONE(what_was_heard_from_the_wire_before_a_running_guest_came_was_perhaps_the_guest),
		ONE(an_address_that_moves_to_the_wire_is_given_up),
		ONE(the_hosts_addresses_are_known_to_the_workers_and_to_be_learned_by_nobody),
		ONE(a_given_address_comes_back_when_the_host_has_it_no_longer),
		ONE(an_address_that_is_not_used_is_forgotten),
		ONE(an_address_that_is_used_this_very_moment_is_not_old),
		ONE(when_a_port_is_removed_its_addresses_are_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

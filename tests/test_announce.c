/* SPDX-License-Identifier: BSD-2-Clause */
/* What the network, the other ports and the forwarding table are told when a guest has moved here. */
#include "base/clock.h"
#include "bridge/announce.h"
#include "bridge/mac.h"
#include "control.h"

#define MAC(last) ((const uint8_t[6]){ 0x52, 0x54, 0, 0, 0, (last) })

static struct port *add(struct control *c, const char *name, uint16_t vlan, uint8_t mac)
{
	struct port_config cfg = control_port(c, name);

	cfg.vlan = vlan;
	if (mac)
		memcpy(cfg.mac[cfg.nmac++], MAC(mac), 6);
	assert_int_equal(control_add(c, &cfg), 0);
	control_events(c);
	for (uint32_t i = 0; i < c->b.nports; i++)
		if (c->b.port[i] && !strcmp(c->b.port[i]->cfg.name, name))
			return c->b.port[i];
	return NULL;
}

static int setup(void **state)
{
	control_open(&control);
	uplink.link.carrier = true;
	*state = &control;
	return 0;
}

static int teardown(void **state)
{
	control_close(*state);
	return 0;
}

static uint32_t owner(struct control *c, uint16_t vlan, uint8_t mac)
{
	return fdb_lookup(&c->b.fdb, fdb_key(vlan, mac_load(MAC(mac))));
}

static unsigned posts(const struct control *c)
{
	return c->worker.post_head - c->worker.post_tail;
}

static void a_reverse_arp_request_leaves_by_the_uplink_and_to_the_ports(void **state)
{
	static const uint8_t expected[60] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 5, 0x80, 0x35,
		0, 1, 8, 0, 6, 4, 0, 3, 0x52, 0x54, 0, 0, 0, 5, 0, 0, 0, 0, 0x52, 0x54, 0, 0, 0, 5,
	};
	struct control *c = *state;
	struct port *p = add(c, "a", 0, 0);

	assert_int_equal(announce_rarp(&c->b, p, MAC(5)), 0);
	assert_int_equal(uplink.frame_len, 60);
	assert_memory_equal(uplink.frame, expected, 60);
	assert_int_equal(posts(c), 1);
	assert_int_equal(c->worker.post[0].from, p->index);
	assert_int_equal(c->worker.post[0].len, 60);
	assert_memory_equal(c->worker.post[0].frame, expected, 60);
}

static void it_has_the_tag_of_the_ports_vlan(void **state)
{
	struct control *c = *state;
	struct port *p = add(c, "a", 10, 0);

	assert_int_equal(announce_rarp(&c->b, p, MAC(5)), 0);
	assert_int_equal(uplink.frame_len, 64);
	assert_memory_equal(uplink.frame + 12, ((const uint8_t[]){ 0x81, 0, 0, 10, 0x80, 0x35 }), 6);
	assert_int_equal(c->worker.post[0].len, 64);
	assert_int_equal(owner(c, 10, 5), p->index);
}

static void a_trunk_without_untagged_frames_says_nothing(void **state)
{
	struct port_config cfg = control_port(*state, "a");
	struct control *c = *state;

	cfg.have_trunk = true;
	cfg.trunk[0] = 1 << 5;
	assert_int_equal(control_add(c, &cfg), 0);
	assert_int_equal(announce_rarp(&c->b, c->b.port[0], MAC(5)), 0);
	assert_int_equal(uplink.sent, 0);
	assert_int_equal(posts(c), 0);
}

static void an_isolated_port_tells_the_uplink_only(void **state)
{
	struct port_config cfg = control_port(*state, "a");
	struct control *c = *state;

	cfg.isolated = true;
	assert_int_equal(control_add(c, &cfg), 0);
	assert_int_equal(announce_rarp(&c->b, c->b.port[0], MAC(5)), 0);
	assert_int_equal(uplink.sent, 1);
	assert_int_equal(posts(c), 0);
}

static void the_address_is_learned_as_if_the_guest_had_sent_from_it(void **state)
{
	struct control *c = *state;
	struct port *a = add(c, "a", 0, 0), *b = add(c, "b", 0, 0), *given = add(c, "given", 0, 9);

	assert_int_equal(announce_rarp(&c->b, a, MAC(5)), 0);
	assert_string_equal(control_events(c), "address_learned a\n");
	assert_int_equal(owner(c, 0, 5), a->index);
	assert_int_equal(announce_rarp(&c->b, a, MAC(5)), 0);
	assert_string_equal(control_events(c), "");
	/* Another port used it just now. */
	assert_int_equal(announce_rarp(&c->b, b, MAC(5)), 0);
	assert_int_equal(owner(c, 0, 5), a->index);
	assert_int_equal(b->refused[LEARN_OTHER_PORT], 1);
	/* With mac= nothing is learned. */
	assert_int_equal(announce_rarp(&c->b, given, MAC(6)), 0);
	assert_int_equal(owner(c, 0, 6), VD_PORT_NONE);
	/* And what was heard from the wire is not a guest's. */
	learn_wire_note(c->dp->wire, mac_load(MAC(7)), clock_now() - NSEC_PER_SEC);
	assert_int_equal(announce_rarp(&c->b, a, MAC(7)), 0);
	assert_int_equal(owner(c, 0, 7), VD_PORT_NONE);
}

static void an_address_of_the_host_or_another_port_is_refused(void **state)
{
	struct control *c = *state;
	struct port *a = add(c, "a", 0, 0);

	add(c, "given", 0, 9);
	memcpy(uplink.host[uplink.nhost++], MAC(1), 6);
	assert_int_equal(announce_rarp(&c->b, a, MAC(1)), -EADDRINUSE);
	assert_int_equal(announce_rarp(&c->b, a, MAC(9)), -EADDRINUSE);
	assert_int_equal(uplink.sent, 0);
	assert_int_equal(posts(c), 0);
}

static void a_guest_that_has_to_keep_its_address_announces_no_other(void **state)
{
	struct port_config cfg = control_port(*state, "a");
	struct control *c = *state;

	memcpy(cfg.mac[cfg.nmac++], MAC(3), 6);
	cfg.mac_lock = true;
	assert_int_equal(control_add(c, &cfg), 0);
	assert_int_equal(announce_rarp(&c->b, c->b.port[0], MAC(5)), -EPERM);
	assert_int_equal(uplink.sent, 0);
	assert_int_equal(announce_rarp(&c->b, c->b.port[0], MAC(3)), 0);
	assert_int_equal(uplink.sent, 1);
}

static void many_are_acknowledged_and_few_are_sent(void **state)
{
	struct control *c = *state;
	struct port *a = add(c, "a", 0, 0), *b = add(c, "b", 0, 0);

	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(announce_rarp(&c->b, a, MAC(i % 200)), 0);
	assert_in_range(uplink.sent, ANNOUNCE_PER_SEC, 100 * ANNOUNCE_PER_SEC);
	assert_int_equal(a->not_announced, 100000 - uplink.sent);
	assert_in_range(posts(c), 1, WORKER_POSTS);
	/* The others may still. */
	uplink.sent = 0;
	assert_int_equal(announce_rarp(&c->b, b, MAC(250)), 0);
	assert_int_equal(uplink.sent, 1);
	/* And it may again. */
	a->announced_ns -= NSEC_PER_SEC;
	assert_int_equal(announce_rarp(&c->b, a, MAC(5)), 0);
	assert_int_equal(uplink.sent, 2);
}

static void an_uplink_that_is_down_keeps_nobody_from_the_other_ports(void **state)
{
	struct control *c = *state;
	struct port *a = add(c, "a", 0, 0);

	uplink.link.carrier = false;
	assert_int_equal(announce_rarp(&c->b, a, MAC(5)), 0);
	assert_int_equal(posts(c), 1);
	assert_int_equal(owner(c, 0, 5), a->index);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_reverse_arp_request_leaves_by_the_uplink_and_to_the_ports),
		T(it_has_the_tag_of_the_ports_vlan),
		T(a_trunk_without_untagged_frames_says_nothing),
		T(an_isolated_port_tells_the_uplink_only),
		T(the_address_is_learned_as_if_the_guest_had_sent_from_it),
		T(an_address_of_the_host_or_another_port_is_refused),
		T(a_guest_that_has_to_keep_its_address_announces_no_other),
		T(many_are_acknowledged_and_few_are_sent),
		T(an_uplink_that_is_down_keeps_nobody_from_the_other_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports of a running bridge: added, removed and changed, with an uplink that only remembers. */
#include "control.h"

static int setup(void **state)
{
	control_open(&control);
	*state = &control;
	return 0;
}

static int teardown(void **state)
{
	control_close(*state);
	return 0;
}

static void give_address(struct port_config *cfg, uint8_t last)
{
	memcpy(cfg->mac[cfg->nmac++], (const uint8_t[6]){ 2, 0, 0, 0, 0, last }, 6);
}

static struct port *find(struct control *c, const char *name)
{
	return bridge_port_find(&c->b, name);
}

/* The address is this port's, for workers and for the program; NULL: nobody's. */
static void expect_owner(struct control *c, uint8_t last, uint16_t vlan, const struct port *p)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, last };
	const struct fake_address *a = fake_find(&uplink, vlan, mac);

	assert_int_equal(fdb_lookup(&c->b.fdb, fdb_key(vlan, mac_load(mac))), p ? p->index : VD_PORT_NONE);
	assert_true(p ? a && a->value.port == p->index : !a);
}

/* --- add and del ----------------------------------------------------------------------- */

static void a_port_that_is_added_can_be_connected_to_and_one_that_is_removed_cannot(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "vm0");
	struct port *p;
	int fd;

	give_address(&cfg, 1);
	cfg.rx_pps = 1000;
	assert_int_equal(control_add(c, &cfg), 0);
	assert_string_equal(control_events(c), "port_added vm0\n");
	p = find(c, "vm0");
	assert_non_null(p);
	assert_int_equal(uplink_links[1 + p->index].reason, VD_REASON_NOT_CONNECTED);
	assert_string_equal(uplink_links[1 + p->index].name, "vm0");
	expect_owner(c, 1, 0, p);
	/* Its limit holds for whoever sends. */
	assert_true(p->policy.rx_limited && p->rx_limit == &uplink_limits[p->index] && p->rx_limit->frame_cost);
	assert_ptr_equal(c->dp->port[p->index]->port, p);
	fd = fake_connect(NULL, cfg.socket);
	assert_true(fd >= 0);
	fake_settle(c->b.loop);
	assert_true(p->connected);
	close(fd);
	assert_int_equal(bridge_port_del(&c->b, "vm0", c->err, sizeof(c->err)), 0);
	assert_non_null(strstr(control_events(c), "port_removed vm0\n"));
	assert_null(find(c, "vm0"));
	assert_null(c->dp->port[0]);
	assert_true(fake_connect(NULL, cfg.socket) < 0);
	expect_owner(c, 1, 0, NULL);
	assert_int_equal(uplink_links[1].reason, VD_REASON_NOT_CONFIGURED);
	assert_int_equal(uplink_limits[0].frame_cost, 0);
}

static void a_number_that_was_given_back_is_used_again_last(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "vm");
	uint32_t last = VD_PORT_NONE;

	for (unsigned i = 0; i < 2 * VD_MAX_PORTS + 3; i++) {
		assert_int_equal(control_add(c, &cfg), 0);
		assert_int_not_equal(find(c, "vm")->index, last);
		last = find(c, "vm")->index;
		assert_int_equal(last, i % VD_MAX_PORTS);
		assert_int_equal(bridge_port_del(&c->b, "vm", c->err, sizeof(c->err)), 0);
		control_events(c);
	}
}

static void there_is_room_for_256_ports_and_no_more(void **state)
{
	struct control *c = *state;
	struct port_config cfg;
	char name[16];

	for (unsigned i = 0; i < VD_MAX_PORTS; i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		cfg = control_port(c, name);
		assert_int_equal(control_add(c, &cfg), 0);
		control_events(c);
	}
	cfg = control_port(c, "one-more");
	assert_int_equal(control_add(c, &cfg), -ENOSPC);
	assert_non_null(strstr(c->err, "port del"));
	assert_int_equal(bridge_port_del(&c->b, "vm77", c->err, sizeof(c->err)), 0);
	assert_int_equal(control_add(c, &cfg), 0);
	assert_int_equal(find(c, "one-more")->index, 77);
	assert_int_equal(c->dp->nport, VD_MAX_PORTS);
}

static void what_another_port_has_is_refused(void **state)
{
	struct control *c = *state;
	struct port_config a = control_port(c, "a"), cfg;

	give_address(&a, 1);
	assert_int_equal(control_add(c, &a), 0);
	cfg = control_port(c, "a");
	assert_int_equal(control_add(c, &cfg), -EEXIST);
	cfg = a;
	strcpy(cfg.name, "b");
	assert_int_equal(control_add(c, &cfg), -EEXIST);
	assert_non_null(strstr(c->err, "socket="));
	cfg = control_port(c, "b");
	give_address(&cfg, 1);
	assert_int_equal(control_add(c, &cfg), -EADDRINUSE);
	/* In a VLAN of its own it meets the other, too, which is in any. */
	cfg.vlan = 10;
	assert_int_equal(control_add(c, &cfg), -EADDRINUSE);
	/* In two VLANs they do not meet. */
	assert_int_equal(bridge_port_del(&c->b, "a", c->err, sizeof(c->err)), 0);
	a.vlan = 20;
	assert_int_equal(control_add(c, &a), 0);
	assert_int_equal(control_add(c, &cfg), 0);
	expect_owner(c, 1, 10, find(c, "b"));
	expect_owner(c, 1, 20, find(c, "a"));
	assert_int_equal(bridge_port_del(&c->b, "c", c->err, sizeof(c->err)), -ENOENT);
	assert_true(c->err[0]);
}

static void the_hosts_address_is_no_ports(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "a");

	memcpy(uplink.host[uplink.nhost++], (const uint8_t[6]){ 2, 0, 0, 0, 0, 1 }, 6);
	give_address(&cfg, 1);
	assert_int_equal(control_add(c, &cfg), -EADDRINUSE);
	assert_non_null(strstr(c->err, "host"));
	assert_int_equal(c->b.nports, 0);
}

static void nothing_is_left_of_a_port_that_could_not_be_opened(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "a"), other = control_port(c, "b");

	give_address(&cfg, 1);
	give_address(&cfg, 2);
	assert_int_equal(control_add(c, &other), 0);
	control_events(c);
	for (unsigned how = 0; how < 5; how++) {
		struct port_config bad = cfg;

		uplink.filter_error = how == 0 ? -ENOBUFS : 0;
		uplink.fdb_room = how == 1 ? 1 : FAKE_ADDRESSES;	/* the second address has no room */
		uplink.vlans_error = how == 2 ? -EOPNOTSUPP : 0;
		bad.vlan = how == 2 ? 5 : 0;
		uplink.steering_error = how == 3 ? -EIO : 0;
		if (how == 4)
			strcpy(bad.socket, "/tmp/no-such-directory-here/socket");
		assert_true(control_add(c, &bad) < 0);
		assert_true(c->err[0]);
		assert_null(find(c, "a"));
		assert_null(strstr(control_events(c), "port_added"));
		assert_int_equal(uplink.filters, 0);
		assert_int_equal(uplink.nfdb, 0);
		assert_int_equal(c->dp->nport, 1);
	}
	uplink.steering_error = 0;
	assert_int_equal(control_add(c, &cfg), 0);
	expect_owner(c, 1, 0, find(c, "a"));
	expect_owner(c, 2, 0, find(c, "a"));
}

/* Its worker had just asked for an address when it was removed: it must not be entered for whoever comes next. */
static void a_request_of_a_removed_port_comes_to_nothing(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "a");
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };
	struct learn_request r = { .mac = mac_load(mac), .when_ns = 1 };

	assert_int_equal(control_add(c, &cfg), 0);
	assert_true(learn_push(c->dp->learn, &r));
	r = (struct learn_request){ .flow = true };
	assert_true(learn_push(c->dp->learn, &r));
	assert_int_equal(bridge_port_del(&c->b, "a", c->err, sizeof(c->err)), 0);
	addresses_learn(&c->b);
	expect_owner(c, 9, 0, NULL);
	assert_int_equal(uplink.flows, 0);
	assert_int_equal(uplink.filters, 0);
}

/* --- set ------------------------------------------------------------------------------- */

static void what_can_change_changes_and_the_rest_is_refused(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "a"), bad;
	struct port *p;

	cfg.pairs = 2;
	assert_int_equal(control_add(c, &cfg), 0);
	control_events(c);
	p = find(c, "a");
	assert_true(p->policy.all_vlans && !(uplink.port[p->index].flags & VD_PORT_VLANS));
	cfg.vlan = 10;
	cfg.isolated = true;
	cfg.rx_pps = 500;
	cfg.tx_bps = 1000000;
	cfg.storm = 5;
	cfg.steering = VD_STEER_HASH;
	assert_int_equal(control_set(c, &cfg), 0);
	assert_string_equal(control_events(c), "port_changed a\n");
	assert_ptr_equal(find(c, "a"), p);
	assert_int_equal(p->policy.key_vlan, 10);
	assert_true(p->policy.isolated && p->policy.tx_limited && p->policy.rx_limited && p->policy.storm.frame_cost);
	assert_int_equal(uplink.port[p->index].flags, VD_PORT_VLANS | VD_PORT_LIMIT | VD_PORT_ISOLATED);
	assert_int_equal(uplink.port[p->index].vlan, 10);
	assert_int_equal(uplink.vlans[p->index].word[0], 1 << 10);
	assert_int_equal(uplink.steering[p->index].mode, VD_STEER_HASH);
	assert_true(uplink_limits[p->index].frame_cost);
	for (unsigned how = 0; how < 6; how++) {
		bad = cfg;
		bad.vlan = 11;
		if (how == 0)
			strcpy(bad.socket, "/tmp/other");
		bad.pairs += how == 1;
		bad.without = how == 2 ? VNET_OFFLOADS : 0;
		bad.role = how == 3 ? ENDPOINT_CLIENT : bad.role;
		bad.owner = how == 4 ? 77 : bad.owner;
		bad.perm = how == 5 ? 0666 : bad.perm;
		assert_int_equal(control_set(c, &bad), -EBUSY);
		assert_non_null(strstr(c->err, "port del"));
	}
	assert_int_equal(p->policy.key_vlan, 10);
	assert_string_equal(control_events(c), "");
	bad = control_port(c, "nobody");
	assert_int_equal(control_set(c, &bad), -ENOENT);
	/* And back. */
	cfg = control_port(c, "a");
	cfg.pairs = 2;
	assert_int_equal(control_set(c, &cfg), 0);
	assert_int_equal(uplink.port[p->index].flags, 0);
	assert_false(p->policy.rx_limited);
}

static void addresses_follow_when_they_or_their_vlan_change(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "a"), other = control_port(c, "b");
	uint32_t generation;

	give_address(&cfg, 1);
	give_address(&other, 7);
	assert_int_equal(control_add(c, &cfg), 0);
	assert_int_equal(control_add(c, &other), 0);
	generation = c->b.fdb.generation;
	cfg.vlan = 10;
	assert_int_equal(control_set(c, &cfg), 0);
	expect_owner(c, 1, 0, NULL);
	expect_owner(c, 1, 10, find(c, "a"));
	assert_int_not_equal(c->b.fdb.generation, generation);
	cfg.nmac = 0;
	give_address(&cfg, 2);
	give_address(&cfg, 3);
	assert_int_equal(control_set(c, &cfg), 0);
	expect_owner(c, 1, 10, NULL);
	expect_owner(c, 2, 10, find(c, "a"));
	expect_owner(c, 3, 10, find(c, "a"));
	assert_int_equal(uplink.filters, 3);
	/* One that another has is refused, and all stays as it is. */
	give_address(&cfg, 7);
	assert_int_equal(control_set(c, &cfg), -EADDRINUSE);
	expect_owner(c, 2, 10, find(c, "a"));
	expect_owner(c, 7, 0, find(c, "b"));
	/* And so when there is no room. */
	cfg.nmac--;
	cfg.vlan = 0;
	give_address(&cfg, 4);
	uplink.fdb_room = 3;
	assert_int_equal(control_set(c, &cfg), -ENOSPC);
	expect_owner(c, 2, 10, find(c, "a"));
	expect_owner(c, 3, 10, find(c, "a"));
	expect_owner(c, 4, 0, NULL);
	assert_int_equal(uplink.filters, 3);
	assert_int_equal(find(c, "a")->policy.key_vlan, 10);
}

static void the_port_for_unknown_addresses_is_followed_by_its_name(void **state)
{
	struct control *c = *state;
	struct port_config a = control_port(c, "a"), b = control_port(c, "b");

	c->b.cfg.uplink.unknown = VD_UNKNOWN_GUEST;
	strcpy(c->b.cfg.unknown_port, "b");
	assert_int_equal(control_add(c, &a), 0);
	assert_int_equal(uplink_config.unknown_port, VD_PORT_NONE);
	assert_int_equal(control_add(c, &b), 0);
	assert_int_equal(uplink_config.unknown_port, 1);
	assert_int_equal(c->dp->unknown_port, 1);
	assert_int_equal(bridge_port_del(&c->b, "b", c->err, sizeof(c->err)), 0);
	assert_int_equal(uplink_config.unknown_port, VD_PORT_NONE);
	assert_int_equal(c->dp->unknown_port, VD_PORT_NONE);
	/* Without a name it is the first one. */
	c->b.cfg.unknown_port[0] = 0;
	assert_int_equal(control_add(c, &b), 0);
	assert_int_equal(c->dp->unknown_port, 0);
	assert_int_equal(bridge_port_del(&c->b, "a", c->err, sizeof(c->err)), 0);
	assert_int_equal(c->dp->unknown_port, find(c, "b")->index);
}

/* --- steering ------------------------------------------------------------------------------ */

static void an_operators_table_reaches_the_workers(void **state)
{
	struct control *c = *state;
	struct port_config cfg = control_port(c, "a");
	struct vd_steering s, seen;
	struct port *p;

	cfg.pairs = 4;
	assert_int_equal(control_add(c, &cfg), 0);
	p = find(c, "a");
	assert_int_equal(bridge_steer_get(&c->b, "a", &s), 0);
	for (unsigned i = 0; i < VD_INDIRECTION; i++)
		assert_int_equal(s.pair[i], i % 4);
	s.pair[5] = 4;
	assert_int_equal(bridge_steer_set(&c->b, "a", &s, c->err, sizeof(c->err)), -EINVAL);
	s.pair[5] = 3;
	s.mode = VD_STEER_HASH;
	assert_int_equal(bridge_steer_set(&c->b, "a", &s, c->err, sizeof(c->err)), 0);
	assert_memory_equal(&uplink.steering[p->index], &s, sizeof(s));
	assert_int_equal(p->steering.pair[5], 3);
	assert_int_equal(p->steering.mode, VD_STEER_HASH);
	/* By bpftool: any number, seen when the port has a guest. */
	uplink.steering[p->index].pair[5] = 0xffff;
	p->connected = true;
	bridge_ports_tick(&c->b);
	assert_int_equal(p->steering.pair[5], 0xffff);
	assert_int_equal(bridge_steer_get(&c->b, "a", &seen), 0);
	assert_in_range(seen.pair[5], 0, 3);
	p->connected = false;
	/* Another change of the port leaves it alone. */
	cfg.steering = VD_STEER_HASH;
	cfg.storm = 7;
	assert_int_equal(control_set(c, &cfg), 0);
	assert_int_equal(uplink.steering[p->index].pair[5], 0xffff);
	assert_int_equal(bridge_steer_set(&c->b, "b", &s, c->err, sizeof(c->err)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_port_that_is_added_can_be_connected_to_and_one_that_is_removed_cannot,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_number_that_was_given_back_is_used_again_last, setup, teardown),
		cmocka_unit_test_setup_teardown(there_is_room_for_256_ports_and_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(what_another_port_has_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_hosts_address_is_no_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_left_of_a_port_that_could_not_be_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_of_a_removed_port_comes_to_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_can_change_changes_and_the_rest_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(addresses_follow_when_they_or_their_vlan_change, setup, teardown),
		cmocka_unit_test_setup_teardown(the_port_for_unknown_addresses_is_followed_by_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(an_operators_table_reaches_the_workers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

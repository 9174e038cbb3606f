/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program's decisions where there are several ports: VLANs, queue pairs
 * and what operators write into `steering`, flows that are followed, limits, and
 * the room that ports share. As in prog_verdicts.c. Needs root.
 */
#include "base/clock.h"
#include "prog_run.h"

#define PORTS 4		/* those that are up */
#define LEN 64u

static const uint8_t zero_limit[sizeof(struct vd_limit)];

/* Address of a port's guest. */
static const uint8_t *mac_of(uint32_t port)
{
	static uint8_t mac[6];

	memcpy(mac, "\x52\x54\x00\x01", 4);
	mac[4] = (uint8_t)(port >> 8);
	mac[5] = (uint8_t)port;
	return mac;
}

/* A frame of @flow for a port's guest, with a tag (type and TCI as on the wire) when there is one. */
static uint32_t frame(uint8_t *f, uint32_t port, uint32_t flow, const char *tag)
{
	uint8_t plain[LEN];

	udp4(plain, mac_of(port), flow, LEN);
	if (!tag) {
		memcpy(f, plain, LEN);
		return LEN;
	}
	memcpy(f, plain, 12);
	memcpy(f + 12, tag, 4);
	memcpy(f + 16, plain + 12, LEN - 12);
	return LEN + 4;
}

static struct result send_to(uint32_t port, uint32_t flow, const char *tag)
{
	uint8_t f[LEN + 4];

	return run(f, frame(f, port, flow, tag), 0);
}

static void forget(uint16_t vlan, uint32_t port)
{
	uplink_fdb_del(up, vlan, mac_of(port));
}

static void know(uint16_t vlan, uint32_t address_of, uint32_t port)
{
	assert_int_equal(uplink_fdb_set(up, vlan, mac_of(address_of), port, VD_FDB_CONFIGURED), 0);
}

static struct vd_flow *flow_of(uint32_t queue, uint32_t port)
{
	return &uplink_maps(up)->flows[queue * VD_FLOW_ROW + port];
}

/* Queue pairs of a port: those in @pairs, at least one, are enabled; wishes for others go to them in turn. */
static struct vd_port port_with(const uint8_t *pairs, uint32_t n)
{
	struct vd_port p = { .enabled = n };

	for (uint32_t i = 0; i < VD_MAX_PAIRS; i++)
		p.route[i] = pairs[i % n];
	for (uint32_t i = 0; i < n; i++)
		p.route[pairs[i]] = pairs[i];
	return p;
}

static void set_port(uint32_t port, struct vd_port p)
{
	assert_int_equal(uplink_port(up, port, &p), 0);
}

static int setup(void **state)
{
	struct vd_steering s = { .mode = VD_STEER_HASH };
	struct vd_config *c = uplink_maps(up)->config;
	uint32_t q;

	(void)state;
	c->unknown = VD_UNKNOWN_PASS;
	c->max_frame = 1792;
	c->room = 0;
	memset(uplink_maps(up)->flows, 0, sizeof(struct vd_flow) * QUEUES * VD_FLOW_ROW);
	uplink_maps(up)->links[0].up = 1;
	for (uint32_t i = 0; i < VD_INDIRECTION; i++)
		s.pair[i] = (uint16_t)(i % 4);
	for (uint32_t port = 0; port < PORTS; port++) {
		uplink_port_clear(up, port);
		uplink_flow_pairs_forget(up, port);
		uplink_maps(up)->links[1 + port].up = 1;
		set_port(port, port_with((const uint8_t[]){ 0 }, 1));
		assert_int_equal(uplink_steering(up, port, &s), 0);
		forget(5, port);
		forget(6, port);
		know(0, port, port);
	}
	for (q = 0; q < QUEUES; q++)
		assert_int_equal(bpf_map_update_elem(xsks_fd, &q, &uplink_nicq(up, q)->fd, BPF_ANY), 0);
	return 0;
}

static void assert_to(struct result r, uint32_t port)
{
	assert_int_equal(r.verdict, XDP_REDIRECT);
	assert_true(r.has_meta);
	assert_int_equal(r.meta.port, port);
}

/* --- VLANs ------------------------------------------------------------------ */

static void an_address_is_looked_up_in_its_vlan_first_and_then_in_any(void **state)
{
	(void)state;
	know(5, 0, 1);
	know(6, 0, VD_PORT_HOST);
	/* In turns: what was found last is of one VLAN only. */
	for (unsigned i = 0; i < 5; i++) {
		assert_to(send_to(0, 1, "\x81\x00\x00\x05"), 1);
		assert_to(send_to(0, 1, NULL), 0);
		assert_int_equal(send_to(0, 1, "\x81\x00\x00\x06").verdict, XDP_PASS);
		assert_to(send_to(0, 1, "\x81\x00\x00\x07"), 0);
		assert_to(send_to(0, 1, "\x81\x00\x00\x05"), 1);
	}
}

static void an_address_that_is_known_in_one_vlan_is_unknown_in_others(void **state)
{
	(void)state;
	forget(0, 0);
	know(5, 0, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_to(send_to(0, 1, "\x81\x00\x00\x05"), 1);
		assert_int_equal(send_to(0, 1, "\x81\x00\x00\x06").verdict, XDP_PASS);
		assert_int_equal(send_to(0, 1, NULL).verdict, XDP_PASS);
	}
	uplink_maps(up)->config->unknown = VD_UNKNOWN_DROP;
	assert_int_equal(send_to(0, 1, "\x81\x00\x00\x06").verdict, XDP_DROP);
	assert_to(send_to(0, 1, "\x81\x00\x00\x05"), 1);
}

static void only_an_8021q_tag_with_a_number_says_a_vlan(void **state)
{
	(void)state;
	know(5, 0, 1);
	assert_to(send_to(0, 1, "\x81\x00\xf0\x05"), 1);	/* priority and DEI are no part of it */
	assert_to(send_to(0, 1, "\x81\x00\xe0\x00"), 0);	/* a priority tag */
	assert_to(send_to(0, 1, "\x88\xa8\x00\x05"), 0);	/* a service tag */
	assert_to(send_to(0, 1, "\x91\x00\x00\x05"), 0);
}

static void a_tag_that_is_cut_off_is_none(void **state)
{
	uint8_t f[LEN + 4];

	(void)state;
	know(5, 0, 1);
	frame(f, 0, 1, "\x81\x00\x00\x05");
	for (uint32_t len = 14; len < 18; len++)
		assert_to(run(f, len, 0), 0);
	assert_to(run(f, 18, 0), 1);
}

static void a_port_gets_frames_of_its_vlans_only(void **state)
{
	struct vd_port p = port_with((const uint8_t[]){ 0 }, 1);
	struct vd_vlans v = { { 0 } };
	struct vd_stats s;

	(void)state;
	v.word[0] = 1u << 5;
	v.word[4094 / 64] = 1ull << 4094 % 64;
	assert_int_equal(uplink_port_vlans(up, 0, &v), 0);
	assert_to(send_to(0, 1, NULL), 0);	/* the set says nothing without the flag */
	p.flags = VD_PORT_VLANS;
	set_port(0, p);
	assert_to(send_to(0, 1, "\x81\x00\x00\x05"), 0);
	assert_to(send_to(0, 1, "\x81\x00\x0f\xfe"), 0);
	assert_int_equal(send_to(0, 1, NULL).verdict, XDP_DROP);
	assert_int_equal(send_to(0, 1, "\x81\x00\x20\x00").verdict, XDP_DROP);
	assert_int_equal(send_to(0, 1, "\x81\x00\x00\x04").verdict, XDP_DROP);
	assert_int_equal(send_to(0, 1, "\x81\x00\x0f\xff").verdict, XDP_DROP);
	v.word[0] |= 1;
	assert_int_equal(uplink_port_vlans(up, 0, &v), 0);
	assert_to(send_to(0, 1, NULL), 0);
	assert_to(send_to(0, 1, "\x81\x00\x20\x00"), 0);
	s = stats_of(0);
	assert_int_equal(s.drop_vlan, 4);
	assert_int_equal(s.packets, 5);
	/* What is dropped takes no number. */
	assert_int_equal(flow_of(0, 0)->seq, 5);
	assert_int_equal(flow_of(0, VD_MAX_PORTS)->seq, 5);
}

static void group_frames_pass_whatever_their_vlan(void **state)
{
	const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const uint8_t bridges[6] = { 0x01, 0x80, 0xc2, 0, 0, 0 };
	uint8_t f[LEN + 4];
	uint32_t len;

	(void)state;
	uplink_maps(up)->config->unknown = VD_UNKNOWN_DROP;
	for (unsigned tagged = 0; tagged < 2; tagged++) {
		len = frame(f, 0, 1, tagged ? "\x81\x00\x00\x05" : NULL);
		memcpy(f, broadcast, 6);
		assert_passed_untouched(f, len);
		memcpy(f, bridges, 6);
		assert_passed_untouched(f, len);
	}
}

/* --- queue pairs ------------------------------------------------------------- */

#define FLOWS 300

/* Pairs that frames of many flows go to, as bits. */
static uint64_t pairs_used(uint32_t port)
{
	uint64_t used = 0;

	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		struct result r = send_to(port, flow, NULL);

		assert_to(r, port);
		assert_true(r.meta.pair < 64);
		used |= 1ull << r.meta.pair;
	}
	return used;
}

static void wishes_for_a_disabled_pair_go_to_one_that_is_enabled(void **state)
{
	static const uint8_t enabled[] = { 1, 3 };

	(void)state;
	set_port(0, port_with((const uint8_t[]){ 0, 1, 2, 3 }, 4));
	assert_int_equal(pairs_used(0), 0xf);
	set_port(0, port_with(enabled, 2));
	assert_int_equal(pairs_used(0), 1 << 1 | 1 << 3);
	/* What could have its wish has it. */
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		struct result r = send_to(0, flow, NULL);
		uint32_t wish = r.meta.hash % VD_INDIRECTION % 4;

		if (wish & 1)
			assert_int_equal(r.meta.pair, wish);
	}
}

static void the_one_enabled_pair_gets_everything_without_a_hash(void **state)
{
	static const uint8_t enabled[] = { 37 };
	struct result r;

	(void)state;
	set_port(0, port_with(enabled, 1));
	assert_int_equal(pairs_used(0), 1ull << 37);
	r = send_to(0, 1, NULL);
	assert_int_equal(r.meta.hash, 0);
}

static void what_an_operator_writes_into_the_table_counts(void **state)
{
	struct vd_steering s;
	uint32_t entry, port = 0;
	int map = bpf_obj_get(ENV_PINS "/steering");
	struct result r;

	(void)state;
	assert_true(map >= 0);
	set_port(0, port_with((const uint8_t[]){ 0, 1, 2, 3 }, 4));
	r = send_to(0, 7, NULL);
	entry = r.meta.hash % VD_INDIRECTION;
	assert_int_equal(r.meta.pair, entry % 4);
	for (uint32_t pair = 0; pair < 4; pair++) {
		assert_int_equal(uplink_steering_read(up, 0, &s), 0);
		s.pair[entry] = (uint16_t)pair;
		assert_int_equal(bpf_map_update_elem(map, &port, &s, BPF_ANY), 0);
		assert_int_equal(send_to(0, 7, NULL).meta.pair, pair);
		/* Modulo. */
		s.pair[entry] = (uint16_t)(pair + 5 * VD_MAX_PAIRS);
		assert_int_equal(bpf_map_update_elem(map, &port, &s, BPF_ANY), 0);
		assert_int_equal(send_to(0, 7, NULL).meta.pair, pair);
	}
	/* A pair that the port does not have. */
	s.pair[entry] = 0xffff;
	assert_int_equal(bpf_map_update_elem(map, &port, &s, BPF_ANY), 0);
	assert_true(send_to(0, 7, NULL).meta.pair < 4);
	close(map);
}

static void steer_by_itself(uint32_t port)
{
	struct vd_steering s;

	assert_int_equal(uplink_steering_read(up, port, &s), 0);
	s.mode = VD_STEER_AUTO;
	assert_int_equal(uplink_steering(up, port, &s), 0);
	set_port(port, port_with((const uint8_t[]){ 0, 1, 2, 3 }, 4));
}

static void a_flow_goes_to_the_pair_on_which_the_guest_sends_it(void **state)
{
	(void)state;
	steer_by_itself(0);
	steer_by_itself(1);
	for (uint32_t flow = 0; flow < 20; flow++) {
		struct result r = send_to(0, flow, NULL);
		uint32_t table = r.meta.pair, other = (table + 1 + flow % 3) % 4;

		assert_int_equal(table, r.meta.hash % VD_INDIRECTION % 4);
		assert_int_equal(uplink_flow_pair(up, 0, r.meta.hash, other), 0);
		assert_int_equal(send_to(0, flow, NULL).meta.pair, other);
		assert_int_equal(send_to(0, flow, NULL).meta.hash, r.meta.hash);
		/* Another port's guest may send the same. */
		assert_int_equal(send_to(1, flow, NULL).meta.pair, table);
	}
}

static void a_flow_is_known_by_what_the_guest_sends(void **state)
{
	uint8_t f[LEN], back[LEN];
	uint32_t hash;

	(void)state;
	steer_by_itself(0);
	frame(f, 0, 77, NULL);
	/* What the guest answers: everything swapped. */
	memcpy(back, f, LEN);
	memcpy(back, f + 6, 6);
	memcpy(back + 6, f, 6);
	memcpy(back + 26, f + 30, 4);
	memcpy(back + 30, f + 26, 4);
	memcpy(back + 34, f + 36, 2);
	memcpy(back + 36, f + 34, 2);
	hash = vd_flow_hash_reverse(back, LEN);
	assert_int_equal(run(f, LEN, 0).meta.hash, hash);
	assert_int_equal(uplink_flow_pair(up, 0, hash, 2), 0);
	assert_int_equal(run(f, LEN, 0).meta.pair, 2);
	assert_int_equal(uplink_flow_pair(up, 0, hash, 1), 0);
	assert_int_equal(run(f, LEN, 0).meta.pair, 1);
}

static void a_flow_of_a_pair_that_is_disabled_now_goes_by_the_table(void **state)
{
	static const uint8_t enabled[] = { 0, 1 };
	struct result r;

	(void)state;
	steer_by_itself(0);
	r = send_to(0, 3, NULL);
	set_port(0, port_with(enabled, 2));
	for (uint32_t pair = 0; pair < 300; pair++) {
		struct result now;

		assert_int_equal(uplink_flow_pair(up, 0, r.meta.hash, pair), 0);
		now = send_to(0, 3, NULL);
		if (pair % VD_MAX_PAIRS < 2)
			assert_int_equal(now.meta.pair, pair % VD_MAX_PAIRS);
		else
			assert_int_equal(now.meta.pair, port_with(enabled, 2).route[r.meta.hash % VD_INDIRECTION % 4]);
	}
}

static void by_hash_no_flow_is_followed(void **state)
{
	struct vd_steering s;
	struct result r;

	(void)state;
	steer_by_itself(0);
	r = send_to(0, 3, NULL);
	assert_int_equal(uplink_flow_pair(up, 0, r.meta.hash, (r.meta.pair + 1) % 4u), 0);
	assert_int_equal(uplink_steering_read(up, 0, &s), 0);
	s.mode = VD_STEER_HASH;
	assert_int_equal(uplink_steering(up, 0, &s), 0);
	assert_int_equal(send_to(0, 3, NULL).meta.pair, r.meta.pair);
}

static void a_port_that_is_cleared_leaves_nothing_to_the_next_one(void **state)
{
	struct vd_port p = port_with((const uint8_t[]){ 0, 1, 2, 3 }, 4);
	static const struct vd_vlans none;
	uint32_t hash[20], pair[20], port = 0;
	struct vd_vlans v = { { 1 } };
	int map = bpf_obj_get(ENV_PINS "/vlans");
	struct vd_stats s;

	(void)state;
	assert_true(map >= 0);
	steer_by_itself(0);
	steer_by_itself(1);
	assert_int_equal(uplink_port_vlans(up, 0, &v), 0);
	vd_limit_set(&uplink_maps(up)->limits[0], 1000, 1);
	for (uint32_t flow = 0; flow < 20; flow++) {
		struct result r = send_to(0, flow, NULL);

		hash[flow] = r.meta.hash;
		pair[flow] = r.meta.pair;
		assert_int_equal(uplink_flow_pair(up, 0, hash[flow], (pair[flow] + 1) % 4), 0);
		assert_int_equal(uplink_flow_pair(up, 1, hash[flow], (pair[flow] + 1) % 4), 0);
	}
	uplink_port_clear(up, 0);
	uplink_flow_pairs_forget(up, 0);
	s = stats_of(0);
	assert_memory_equal(&s, &(struct vd_stats){ 0 }, sizeof(s));
	assert_memory_equal(&uplink_maps(up)->limits[0], zero_limit, sizeof(zero_limit));
	assert_int_equal(bpf_map_lookup_elem(map, &port, &v), 0);
	assert_memory_equal(&v, &none, sizeof(v));
	assert_int_equal(send_to(0, 1, NULL).verdict, XDP_DROP);	/* no pair */
	steer_by_itself(1);
	set_port(0, p);
	for (uint32_t flow = 0; flow < 20; flow++) {
		/* The table is empty: all of it says pair 0. */
		assert_int_equal(send_to(0, flow, NULL).meta.pair, 0);
		assert_int_equal(send_to(1, flow, NULL).meta.pair, (pair[flow] + 1) % 4);
	}
	close(map);
}

/* --- limits ------------------------------------------------------------------- */

/* Sends so many frames of a size; returns how many pass. */
static unsigned passing(uint32_t port, unsigned n, uint32_t len)
{
	uint8_t f[1600];
	unsigned passed = 0;

	udp4(f, mac_of(port), 1, len);
	while (n--)
		passed += run(f, len, 0).verdict == XDP_REDIRECT;
	return passed;
}

static struct vd_limit *limit(uint32_t port, uint64_t bps, uint64_t fps)
{
	struct vd_limit *l = &uplink_maps(up)->limits[port];
	struct vd_port p = port_with((const uint8_t[]){ 0 }, 1);

	vd_limit_set(l, bps, fps);
	p.flags = VD_PORT_LIMIT;
	set_port(port, p);
	return l;
}

static void frames_beyond_the_packet_rate_are_dropped_and_counted(void **state)
{
	struct vd_limit *l = limit(0, 0, 1);	/* one a second, and so slow that time plays no part */
	unsigned passed = passing(0, 200, LEN);

	(void)state;
	assert_in_range(passed, VD_LIMIT_MIN_FRAMES, VD_LIMIT_MIN_FRAMES + 2);
	assert_int_equal(stats_of(0).drop_rate, 200 - passed);
	assert_int_equal(stats_of(0).packets, passed);
	assert_int_equal(flow_of(0, 0)->seq, passed);
	/* Ten seconds later. */
	l->frame_due -= 10000000000ull << VD_LIMIT_TICK;
	assert_in_range(passing(0, 200, LEN), 10, 11);
	/* Others are not concerned. */
	assert_int_equal(passing(1, 200, LEN), 200);
}

static void frames_beyond_the_bit_rate_are_dropped_by_their_length(void **state)
{
	struct vd_limit *l = limit(0, 8000, 0);	/* 1000 bytes a second */
	unsigned passed = passing(0, 300, 1000);

	(void)state;
	assert_in_range(passed, VD_LIMIT_MIN_BYTES / 1000, VD_LIMIT_MIN_BYTES / 1000 + 2);
	assert_int_equal(stats_of(0).drop_rate, 300 - passed);
	l->bit_due -= 10000000000ull << VD_LIMIT_TICK;
	/* less what the last one of before was too long */
	assert_in_range(passing(0, 300, 100), 90, 102);
}

static void what_is_dropped_for_another_reason_counts_for_no_limit(void **state)
{
	struct vd_limit *l = limit(0, 8000, 1);
	struct vd_port p = port_with((const uint8_t[]){ 0 }, 1);
	const struct vd_limit before = *l;

	(void)state;
	p.flags = VD_PORT_LIMIT | VD_PORT_VLANS;	/* in none */
	set_port(0, p);
	assert_int_equal(passing(0, 50, LEN), 0);
	assert_int_equal(stats_of(0).drop_vlan, 50);
	p.flags = VD_PORT_LIMIT;
	set_port(0, p);
	uplink_maps(up)->config->room = 1;
	flow_of(0, 0)->seq = flow_of(0, VD_MAX_PORTS)->seq = 100;
	assert_int_equal(passing(0, 50, LEN), 0);
	assert_int_equal(stats_of(0).drop_share, 50);
	assert_memory_equal(l, &before, sizeof(before));
}

static void a_limit_counts_what_workers_deliver_too(void **state)
{
	struct vd_limit *l = limit(0, 0, 1);

	(void)state;
	for (unsigned i = 0; i < VD_LIMIT_MIN_FRAMES / 2; i++)
		assert_true(vd_limit_take(l, LEN, clock_now()));
	assert_in_range(passing(0, 100, LEN), VD_LIMIT_MIN_FRAMES / 2, VD_LIMIT_MIN_FRAMES / 2 + 2);
}

static void a_port_without_the_flag_has_no_limit(void **state)
{
	(void)state;
	limit(0, 1000, 1);
	set_port(0, port_with((const uint8_t[]){ 0 }, 1));
	assert_int_equal(passing(0, 300, LEN), 300);
	limit(0, 0, 0);
	assert_int_equal(passing(0, 300, LEN), 300);
}

/* --- room ------------------------------------------------------------------- */

/* So many ports send in turn until none gets anything through; @got: what each got. */
static void flood(uint32_t ports, uint32_t got[PORTS])
{
	memset(got, 0, sizeof(*got) * PORTS);
	for (unsigned round = 0; round < 500; round++)
		for (uint32_t port = 0; port < ports; port++)
			got[port] += send_to(port, 1, NULL).verdict == XDP_REDIRECT;
}

static void ports_that_want_all_of_the_room_share_it_evenly(void **state)
{
	uint32_t got[PORTS];

	(void)state;
	uplink_maps(up)->config->room = 400;
	for (uint32_t n = 1; n <= PORTS; n++) {
		memset(uplink_maps(up)->flows, 0, sizeof(struct vd_flow) * VD_FLOW_ROW);
		flood(n, got);
		/* The room that stays free is as large as a share. */
		for (uint32_t port = 0; port < n; port++)
			assert_in_range(got[port], 400 / (n + 1) - 1, 400 / (n + 1) + 1);
		assert_int_equal(flow_of(0, VD_MAX_PORTS)->seq, got[0] + (n > 1 ? got[1] : 0) + (n > 2 ? got[2] : 0) +
									(n > 3 ? got[3] : 0));
	}
}

static void a_port_that_comes_late_gets_some_of_the_room_at_once(void **state)
{
	uint32_t got[PORTS];

	(void)state;
	uplink_maps(up)->config->room = 400;
	flood(1, got);
	assert_int_equal(got[0], 200);
	flood(2, got);
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 100);
	/* What the first one gives back both may take, one after the other, until a share is what stays free. */
	flow_of(0, 0)->consumed += 200;
	flow_of(0, VD_MAX_PORTS)->consumed += 200;
	flood(2, got);
	assert_in_range(got[0], 116, 118);
	assert_in_range(got[1], 66, 68);
}

static void a_port_always_may_have_a_few_frames(void **state)
{
	uint32_t got[PORTS];

	(void)state;
	uplink_maps(up)->config->room = 10;
	flow_of(0, VD_MAX_PORTS)->seq = 1000;	/* others have more than there is */
	flood(PORTS, got);
	for (uint32_t port = 0; port < PORTS; port++)
		assert_int_equal(got[port], VD_SHARE_MIN);
}

static void without_room_in_the_configuration_there_is_no_share(void **state)
{
	uint32_t got[PORTS];

	(void)state;
	flow_of(0, VD_MAX_PORTS)->seq = UINT32_MAX - 100;
	flood(1, got);
	assert_int_equal(got[0], 500);
}

/* A worker that counts frames before another CPU does that runs the program. */
static void a_sum_that_is_ahead_makes_no_room(void **state)
{
	uint32_t got[PORTS];

	(void)state;
	uplink_maps(up)->config->room = 400;
	flow_of(0, VD_MAX_PORTS)->consumed = 1000;
	flood(1, got);
	assert_int_equal(got[0], 400);
}

/* --- stations of the wire ------------------------------------------------------ */

/* When the program noted the sender of send_to()'s frames, 0 = it did not. */
static uint64_t noted(void)
{
	const uint8_t src[6] = { 2, 0, 0, 0, 0, 2 };
	const uint64_t mac = vd_load32(src) | (uint64_t)vd_load16(src + 4) << 32;
	uint64_t *e = &uplink_maps(up)->wire[vd_wire_slot(mac)], was = *e;

	*e = 0;
	return vd_wire_mac(was) == mac ? vd_wire_when(was, clock_now()) : 0;
}

static void whom_the_host_hears_is_noted_as_on_the_wire(void **state)
{
	struct vd_config *c = uplink_maps(up)->config;
	const uint64_t unit = 1ull << VD_WIRE_SHIFT;
	uint64_t before = clock_now(), when;
	uint8_t f[LEN];

	(void)state;
	c->note_wire = 1;
	noted();
	assert_int_equal(run(f, udp4(f, uplink_link(up)->mac, 1, LEN), 0).verdict, XDP_PASS);
	when = noted();
	assert_in_range(when, before - unit - 20000000, clock_now());	/* the program looks at a coarse clock */
	/* Unknown ones that pass, too. */
	assert_int_equal(run(f, udp4(f, other_mac, 1, LEN), 0).verdict, XDP_PASS);
	assert_int_not_equal(noted(), 0);
	/* Not whom a guest hears, nor groups, which may be a guest's own. */
	assert_to(send_to(0, 1, NULL), 0);
	assert_int_equal(noted(), 0);
	udp4(f, other_mac, 1, LEN);
	f[0] |= 1;
	assert_int_equal(run(f, LEN, 0).verdict, XDP_PASS);
	assert_int_equal(noted(), 0);
	c->note_wire = 0;
	assert_int_equal(run(f, udp4(f, uplink_link(up)->mac, 1, LEN), 0).verdict, XDP_PASS);
	assert_int_equal(noted(), 0);
	c->note_wire = 1;
}

/* --- many --------------------------------------------------------------------- */

static void every_port_with_all_its_addresses_fits_and_gets_its_own(void **state)
{
	static const uint8_t first[] = { 0 };
	uint32_t port, i;
	struct result r;

	(void)state;
	for (port = 0; port < VD_MAX_PORTS; port++) {
		uplink_maps(up)->links[1 + port].up = 1;
		set_port(port, port_with(first, 1));
		for (i = 0; i < 8; i++)
			know((uint16_t)(i ? 10 + i : 0), port, port);
	}
	for (port = 0; port < VD_MAX_PORTS; port++)
		for (i = 0; i < 8; i++) {
			const char tag[] = { '\x81', 0, 0, (char)(10 + i) };

			r = send_to(port, 1, i ? tag : NULL);
			assert_to(r, port);
			assert_int_equal(r.meta.seq, i);
		}
	for (port = PORTS; port < VD_MAX_PORTS; port++)
		uplink_maps(up)->links[1 + port].up = 0;
	for (port = 0; port < VD_MAX_PORTS; port++)
		for (i = 0; i < 8; i++)
			forget((uint16_t)(i ? 10 + i : 0), port);
}

#define ports_test(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ports_test(an_address_is_looked_up_in_its_vlan_first_and_then_in_any),
		ports_test(an_address_that_is_known_in_one_vlan_is_unknown_in_others),
		ports_test(only_an_8021q_tag_with_a_number_says_a_vlan),
		ports_test(a_tag_that_is_cut_off_is_none),
		ports_test(a_port_gets_frames_of_its_vlans_only),
		ports_test(group_frames_pass_whatever_their_vlan),
		ports_test(wishes_for_a_disabled_pair_go_to_one_that_is_enabled),
		ports_test(the_one_enabled_pair_gets_everything_without_a_hash),
		ports_test(what_an_operator_writes_into_the_table_counts),
		ports_test(a_flow_goes_to_the_pair_on_which_the_guest_sends_it),
		ports_test(a_flow_is_known_by_what_the_guest_sends),
		ports_test(a_flow_of_a_pair_that_is_disabled_now_goes_by_the_table),
		ports_test(by_hash_no_flow_is_followed),
		ports_test(a_port_that_is_cleared_leaves_nothing_to_the_next_one),
		ports_test(frames_beyond_the_packet_rate_are_dropped_and_counted),
		ports_test(frames_beyond_the_bit_rate_are_dropped_by_their_length),
		ports_test(what_is_dropped_for_another_reason_counts_for_no_limit),
		ports_test(a_limit_counts_what_workers_deliver_too),
		ports_test(a_port_without_the_flag_has_no_limit),
		ports_test(ports_that_want_all_of_the_room_share_it_evenly),
		ports_test(a_port_that_comes_late_gets_some_of_the_room_at_once),
		ports_test(a_port_always_may_have_a_few_frames),
		ports_test(without_room_in_the_configuration_there_is_no_share),
		ports_test(a_sum_that_is_ahead_makes_no_room),
		ports_test(whom_the_host_hears_is_noted_as_on_the_wire),
		ports_test(every_port_with_all_its_addresses_fits_and_gets_its_own),
	};

	if (env_enter()) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, open_uplink, close_uplink);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP program's decisions, one test per branch: the loaded program is run
 * on a frame (BPF_PROG_TEST_RUN) as if queue N of the uplink had received it;
 * looked at are verdict, counters, metadata and frame. Needs root.
 */
#include "prog_run.h"

static int setup(void **state)
{
	struct vd_config *c = uplink_maps(up)->config;
	struct vd_link *l = uplink_maps(up)->links;
	uint32_t q;

	(void)state;
	l[0].up = l[1].up = 1;
	c->unknown = VD_UNKNOWN_PASS;
	c->unknown_port = 0;
	c->max_frame = 1792;
	c->room = 0;
	env_port(up, guest_mac, 1);
	memset(uplink_maps(up)->flows, 0, sizeof(struct vd_flow) * QUEUES * VD_FLOW_ROW);
	for (q = 0; q < QUEUES; q++)
		assert_int_equal(bpf_map_update_elem(xsks_fd, &q, &uplink_nicq(up, q)->fd, BPF_ANY), 0);
	return 0;
}

static void a_frame_for_a_guest_is_redirected_with_metadata(void **state)
{
	struct vd_stats before = stats_of(0), after;
	uint8_t f[64];
	struct result r;

	(void)state;
	r = run(f, udp4(f, guest_mac, 7, 64), 2);
	assert_int_equal(r.verdict, XDP_REDIRECT);
	assert_true(r.has_meta);
	assert_int_equal(r.meta.magic, VD_META_MAGIC);
	assert_int_equal(r.meta.port, 0);
	assert_int_equal(r.meta.pair, 0);
	assert_int_equal(r.meta.seq, 0);
	assert_int_equal(r.meta.hash, 0);	/* one pair: nothing to choose */
	assert_int_equal(r.len, 64);
	assert_memory_equal(r.frame, f, 64);
	after = stats_of(0);
	assert_int_equal(after.packets - before.packets, 1);
	assert_int_equal(after.bytes - before.bytes, 64);
	assert_int_equal(after.no_metadata, before.no_metadata);
}

static void the_sequence_counts_per_port_and_queue(void **state)
{
	uint8_t f[64];
	uint32_t i;

	(void)state;
	udp4(f, guest_mac, 7, 64);
	for (i = 0; i < 5; i++)
		assert_int_equal(run(f, 64, 1).meta.seq, i);
	assert_int_equal(run(f, 64, 3).meta.seq, 0);
	assert_int_equal(uplink_maps(up)->flows[1 * VD_FLOW_ROW].seq, 5);
	assert_int_equal(uplink_maps(up)->flows[3 * VD_FLOW_ROW].seq, 1);
	assert_int_equal(uplink_maps(up)->flows[0].seq, 0);
}

static void group_addresses_pass_up_and_are_counted(void **state)
{
	const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const uint8_t multicast[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	const uint8_t lldp[6] = { 0x01, 0x80, 0xc2, 0, 0, 0x0e };
	struct vd_stats before = stats_of(VD_STATS_HOST);
	uint8_t f[64];

	(void)state;
	assert_passed_untouched(f, udp4(f, broadcast, 1, 64));
	assert_passed_untouched(f, udp4(f, multicast, 1, 64));
	assert_passed_untouched(f, udp4(f, lldp, 1, 64));
	assert_int_equal(stats_of(VD_STATS_HOST).multicast - before.multicast, 3);
}

static void the_uplinks_own_address_passes_even_if_the_table_says_otherwise(void **state)
{
	struct vd_fdb_value v = { .port = 0, .kind = VD_FDB_LEARNED };
	struct vd_fdb_key key = { 0 };
	uint8_t f[64];
	int fdb;

	(void)state;
	memcpy(key.mac, uplink_link(up)->mac, 6);
	fdb = bpf_obj_get(ENV_PINS "/fdb");
	assert_true(fdb >= 0);
	assert_int_equal(bpf_map_update_elem(fdb, &key, &v, BPF_ANY), 0);
	assert_passed_untouched(f, udp4(f, key.mac, 1, 64));
	v.port = VD_PORT_HOST;
	v.kind = VD_FDB_HOST;
	assert_int_equal(bpf_map_update_elem(fdb, &key, &v, BPF_ANY), 0);
	close(fdb);
}

/* The program remembers what it found last. */
static void a_change_of_the_table_counts_from_the_next_frame_on(void **state)
{
	uint8_t f[64];

	(void)state;
	udp4(f, other_mac, 1, 64);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(uplink_fdb_set(up, 0, other_mac, 0, VD_FDB_LEARNED), 0);
		assert_int_equal(run(f, 64, 0).verdict, XDP_REDIRECT);
		assert_int_equal(run(f, 64, 0).verdict, XDP_REDIRECT);
		assert_int_equal(uplink_fdb_set(up, 0, other_mac, VD_PORT_HOST, VD_FDB_HOST), 0);
		assert_passed_untouched(f, 64);
		assert_int_equal(uplink_fdb_set(up, 0, other_mac, 0, VD_FDB_LEARNED), 0);
		assert_int_equal(run(f, 64, 0).verdict, XDP_REDIRECT);
		assert_int_equal(uplink_fdb_del(up, 0, other_mac), 0);
		assert_passed_untouched(f, 64);
	}
}

static void a_change_by_hand_counts_when_the_program_is_told(void **state)
{
	struct vd_fdb_key key = { 0 };
	uint8_t f[64];
	int fdb = bpf_obj_get(ENV_PINS "/fdb");

	(void)state;
	assert_true(fdb >= 0);
	memcpy(key.mac, other_mac, 6);
	assert_int_equal(uplink_fdb_set(up, 0, other_mac, 0, VD_FDB_LEARNED), 0);
	assert_int_equal(run(f, udp4(f, other_mac, 1, 64), 0).verdict, XDP_REDIRECT);
	assert_int_equal(bpf_map_delete_elem(fdb, &key), 0);
	uplink_fdb_changed(up);
	assert_passed_untouched(f, 64);
	close(fdb);
}

static void addresses_that_take_turns_are_told_apart(void **state)
{
	uint8_t to_guest[64], to_host[64];

	(void)state;
	assert_int_equal(uplink_fdb_set(up, 0, other_mac, VD_PORT_HOST, VD_FDB_HOST), 0);
	udp4(to_guest, guest_mac, 1, 64);
	udp4(to_host, other_mac, 1, 64);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(run(to_guest, 64, 0).verdict, XDP_REDIRECT);
		assert_passed_untouched(to_host, 64);
	}
	assert_int_equal(uplink_fdb_del(up, 0, other_mac), 0);
}

static void an_address_of_zeroes_is_not_what_was_found_last(void **state)
{
	const uint8_t zeroes[6] = { 0 };
	uint8_t f[64];

	(void)state;
	assert_passed_untouched(f, udp4(f, zeroes, 1, 64));
}

static void a_host_entry_of_the_table_passes(void **state)
{
	uint8_t f[64];

	(void)state;
	uplink_maps(up)->config->unknown = VD_UNKNOWN_DROP;
	assert_int_equal(uplink_fdb_set(up, 0, other_mac, VD_PORT_HOST, VD_FDB_HOST), 0);
	assert_passed_untouched(f, udp4(f, other_mac, 1, 64));
	assert_int_equal(uplink_fdb_del(up, 0, other_mac), 0);
}

static void unknown_addresses_follow_the_policy(void **state)
{
	struct vd_config *c = uplink_maps(up)->config;
	struct vd_stats before = stats_of(VD_STATS_HOST);
	uint8_t f[64];
	struct result r;

	(void)state;
	udp4(f, other_mac, 1, 64);
	assert_passed_untouched(f, 64);
	c->unknown = VD_UNKNOWN_DROP;
	assert_int_equal(run(f, 64, 0).verdict, XDP_DROP);
	assert_int_equal(stats_of(VD_STATS_HOST).drop_unknown - before.drop_unknown, 1);
	c->unknown = VD_UNKNOWN_GUEST;
	r = run(f, 64, 0);
	assert_int_equal(r.verdict, XDP_REDIRECT);
	assert_int_equal(r.meta.port, 0);
	c->unknown_port = VD_PORT_NONE;
	assert_passed_untouched(f, 64);
	c->unknown = 77;
	assert_passed_untouched(f, 64);
}

static void a_port_number_that_cannot_be_passes_to_the_host(void **state)
{
	uint8_t f[64];

	(void)state;
	assert_int_equal(uplink_fdb_set(up, 0, other_mac, VD_MAX_PORTS, VD_FDB_LEARNED), 0);
	assert_passed_untouched(f, udp4(f, other_mac, 1, 64));
	assert_int_equal(uplink_fdb_del(up, 0, other_mac), 0);
}

static void nothing_is_steered_to_a_link_that_is_down(void **state)
{
	struct vd_stats before = stats_of(0);
	uint8_t f[64];

	(void)state;
	udp4(f, guest_mac, 1, 64);
	uplink_maps(up)->links[1].up = 0;
	assert_int_equal(run(f, 64, 0).verdict, XDP_DROP);
	uplink_maps(up)->links[1].up = 1;
	uplink_maps(up)->links[0].up = 0;
	assert_int_equal(run(f, 64, 0).verdict, XDP_DROP);
	uplink_maps(up)->links[0].up = 1;
	assert_int_equal(run(f, 64, 0).verdict, XDP_REDIRECT);
	assert_int_equal(stats_of(0).drop_link_down - before.drop_link_down, 2);
	assert_int_equal(uplink_maps(up)->flows[0].seq, 1);
}

static void a_port_without_queue_pairs_drops(void **state)
{
	struct vd_stats before = stats_of(0);
	uint8_t f[64];

	(void)state;
	env_port(up, guest_mac, 0);
	assert_int_equal(run(f, udp4(f, guest_mac, 1, 64), 0).verdict, XDP_DROP);
	assert_int_equal(stats_of(0).drop_no_pair - before.drop_no_pair, 1);
}

static void without_a_socket_the_guests_frames_drop_and_the_hosts_pass(void **state)
{
	struct vd_stats before = stats_of(0);
	uint32_t q = 0;
	uint8_t f[64];

	(void)state;
	assert_int_equal(bpf_map_delete_elem(xsks_fd, &q), 0);
	assert_int_equal(run(f, udp4(f, guest_mac, 1, 64), 0).verdict, XDP_DROP);
	assert_int_equal(stats_of(0).drop_no_socket - before.drop_no_socket, 1);
	assert_int_equal(uplink_maps(up)->flows[0].seq, 0);
	assert_passed_untouched(f, udp4(f, uplink_link(up)->mac, 1, 64));
}

/* One port alone gets half of the room. */
static void a_port_beyond_its_share_drops_until_frames_are_consumed(void **state)
{
	struct vd_flow *flow = &uplink_maps(up)->flows[0], *sum = &uplink_maps(up)->flows[VD_MAX_PORTS];
	struct vd_stats before = stats_of(0);
	uint8_t f[64];
	int i;

	(void)state;
	uplink_maps(up)->config->room = 40;
	/* across the wrap of the sequence */
	flow->seq = flow->consumed = UINT32_MAX - 1;
	sum->seq = sum->consumed = UINT32_MAX - 5;
	udp4(f, guest_mac, 1, 64);
	for (i = 0; i < 20; i++)
		assert_int_equal(run(f, 64, 0).verdict, XDP_REDIRECT);
	for (i = 0; i < 2; i++)
		assert_int_equal(run(f, 64, 0).verdict, XDP_DROP);
	assert_int_equal(stats_of(0).drop_share - before.drop_share, 2);
	assert_int_equal(flow->seq, 18);
	assert_int_equal(sum->seq, 14);
	/* Another queue has its own share. */
	assert_int_equal(run(f, 64, 1).verdict, XDP_REDIRECT);
	flow->consumed++;
	sum->consumed++;
	assert_int_equal(run(f, 64, 0).verdict, XDP_REDIRECT);
	assert_int_equal(run(f, 64, 0).verdict, XDP_DROP);
}

static void without_room_for_metadata_the_frame_goes_without_and_takes_no_number(void **state)
{
	struct vd_stats before = stats_of(0), after;
	uint8_t f[64];
	struct result r;
	uint32_t len;

	(void)state;
	udp4(f, guest_mac, 1, 64);
	/* Metadata of somebody else leaves no room in front: where the limit is differs between kernels. */
	for (len = 252; len >= 32; len -= 4) {
		r = run_meta(f, 64, 0, len);
		if (r.verdict >= 0)
			break;
	}
	print_message("with %u bytes of metadata there already\n", len);
	assert_int_equal(r.verdict, XDP_REDIRECT);
	after = stats_of(0);
	assert_int_equal(after.no_metadata - before.no_metadata, 1);
	assert_int_equal(after.packets - before.packets, 1);
	assert_int_equal(uplink_maps(up)->flows[0].seq, 0);
	assert_int_equal(uplink_maps(up)->flows[VD_MAX_PORTS].seq, 0);
}

static void frames_longer_than_a_buffer_drop_and_are_counted(void **state)
{
	struct vd_stats before = stats_of(0);
	uint8_t f[1024];

	(void)state;
	uplink_maps(up)->config->max_frame = 1000;
	udp4(f, guest_mac, 1, 1024);
	assert_int_equal(run(f, 1001, 0).verdict, XDP_DROP);
	assert_int_equal(run(f, 1000, 0).verdict, XDP_REDIRECT);
	assert_int_equal(stats_of(0).drop_malformed - before.drop_malformed, 1);
}

static void the_shortest_frames_are_steered_by_their_addresses(void **state)
{
	struct result r;
	uint8_t f[64];
	uint32_t len;

	(void)state;
	env_port(up, guest_mac, 2);
	udp4(f, guest_mac, 1, 64);
	for (len = 14; len < 64; len++) {
		r = run(f, len, 0);
		assert_int_equal(r.verdict, XDP_REDIRECT);
		assert_int_equal(r.meta.hash, vd_flow_hash(f, len));
	}
	/* The kernel runs no program on less than an Ethernet header. */
	assert_int_equal(run(f, 13, 0).verdict, -1);
}

static void a_tagged_frame_is_steered_like_an_untagged_one(void **state)
{
	uint8_t f[64], tagged[72];
	struct result a, b, c;

	(void)state;
	env_port(up, guest_mac, 2);
	udp4(f, guest_mac, 99, 64);
	memcpy(tagged, f, 12);
	memcpy(tagged + 12, "\x81\x00\x00\x05", 4);
	memcpy(tagged + 16, f + 12, 52);
	a = run(f, 64, 0);
	b = run(tagged, 68, 0);
	assert_int_not_equal(a.meta.hash, 0);
	assert_int_equal(b.verdict, XDP_REDIRECT);
	assert_int_equal(a.meta.hash, b.meta.hash);
	assert_memory_equal(b.frame, tagged, 68);
	memcpy(tagged + 12, "\x88\xa8\x00\x07\x81\x00\x00\x05", 8);
	memcpy(tagged + 20, f + 12, 52);
	c = run(tagged, 72, 0);
	assert_int_equal(a.meta.hash, c.meta.hash);
}

static void flows_spread_over_the_enabled_pairs_and_stay_there(void **state)
{
	static const unsigned pairs[] = { 1, 2, 4 };
	uint8_t f[64], again[128];
	unsigned i, flow, count[4];
	struct result r;

	(void)state;
	for (i = 0; i < 3; i++) {
		memset(count, 0, sizeof(count));
		env_port(up, guest_mac, pairs[i]);
		for (flow = 0; flow < 400; flow++) {
			r = run(f, udp4(f, guest_mac, flow, 64), flow % QUEUES);
			assert_true(r.meta.pair < pairs[i]);
			count[r.meta.pair]++;
			/* Longer, on another queue, the same pair: any NIC queue feeds any queue pair. */
			assert_int_equal(run(again, udp4(again, guest_mac, flow, 128), (flow + 1) % QUEUES).meta.pair,
					 r.meta.pair);
		}
		for (flow = 0; flow < pairs[i]; flow++)
			assert_in_range(count[flow], 400 / pairs[i] * 2 / 3, 400 / pairs[i] * 3 / 2);
	}
}

static void fragments_stay_together(void **state)
{
	uint8_t first[64], next[64];

	(void)state;
	env_port(up, guest_mac, 2);
	udp4(first, guest_mac, 1, 64);
	udp4(next, guest_mac, 2, 64);	/* data where the ports would be */
	first[20] = 0x20;		/* more fragments */
	next[21] = 0xb9;		/* offset */
	assert_int_equal(run(first, 64, 0).meta.hash, run(next, 64, 0).meta.hash);
	first[20] = 0;
	assert_int_not_equal(run(first, 64, 0).meta.hash, run(next, 64, 0).meta.hash);
}

static void the_dont_fragment_bit_makes_no_fragment(void **state)
{
	uint8_t f[64];
	uint32_t hash;

	(void)state;
	env_port(up, guest_mac, 2);
	udp4(f, guest_mac, 1, 64);
	hash = run(f, 64, 0).meta.hash;
	f[20] = 0x40;
	assert_int_equal(run(f, 64, 0).meta.hash, hash);
}

/* Types that the hash looks into, cut at any length, random otherwise. */
static void program_and_user_space_agree_on_every_hash(void **state)
{
	static const uint8_t types[][2] = { { 8, 0 }, { 0x86, 0xdd }, { 0x81, 0 }, { 0x88, 0xa8 }, { 8, 6 } };
	static const uint8_t protos[] = { 6, 17, 132, 1, 44, 0, 255 };
	uint8_t f[128];
	struct result r;
	int i, k;

	(void)state;
	env_port(up, guest_mac, 2);
	srand(1);
	for (i = 0; i < 4000; i++) {
		uint32_t len = 14 + (uint32_t)rand() % 115, at = 12;

		for (k = 0; k < 128; k++)
			f[k] = (uint8_t)rand();
		memcpy(f, guest_mac, 6);
		memcpy(f + at, types[rand() % 5], 2);
		while (f[at] == 0x81 || f[at] == 0x88) {
			if (at > 22)
				break;
			at += 4;
			memcpy(f + at, types[rand() % 5], 2);
		}
		if (rand() % 4)
			f[at + 2] = (uint8_t)(f[at] == 8 ? 0x45 + rand() % 3 : 0x60);
		f[at + 2 + (f[at] == 8 ? 9 : 6)] = protos[rand() % 7];
		if (rand() % 2)
			f[at + 8] = f[at + 9] = 0;
		r = run(f, len, 0);
		assert_int_equal(r.verdict, XDP_REDIRECT);
		assert_int_equal(r.meta.hash, vd_flow_hash(f, len));
	}
}

#define verdict_test(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		verdict_test(a_frame_for_a_guest_is_redirected_with_metadata),
		verdict_test(the_sequence_counts_per_port_and_queue),
		verdict_test(group_addresses_pass_up_and_are_counted),
		verdict_test(the_uplinks_own_address_passes_even_if_the_table_says_otherwise),
		verdict_test(a_change_of_the_table_counts_from_the_next_frame_on),
		verdict_test(a_change_by_hand_counts_when_the_program_is_told),
		verdict_test(addresses_that_take_turns_are_told_apart),
		verdict_test(an_address_of_zeroes_is_not_what_was_found_last),
		verdict_test(a_host_entry_of_the_table_passes),
		verdict_test(unknown_addresses_follow_the_policy),
		verdict_test(a_port_number_that_cannot_be_passes_to_the_host),
		verdict_test(nothing_is_steered_to_a_link_that_is_down),
		verdict_test(a_port_without_queue_pairs_drops),
		verdict_test(without_a_socket_the_guests_frames_drop_and_the_hosts_pass),
		verdict_test(a_port_beyond_its_share_drops_until_frames_are_consumed),
		verdict_test(without_room_for_metadata_the_frame_goes_without_and_takes_no_number),
		verdict_test(frames_longer_than_a_buffer_drop_and_are_counted),
		verdict_test(the_shortest_frames_are_steered_by_their_addresses),
		verdict_test(a_tagged_frame_is_steered_like_an_untagged_one),
		verdict_test(flows_spread_over_the_enabled_pairs_and_stay_there),
		verdict_test(fragments_stay_together),
		verdict_test(the_dont_fragment_bit_makes_no_fragment),
		verdict_test(program_and_user_space_agree_on_every_hash),
	};

	if (env_enter()) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, open_uplink, close_uplink);
}

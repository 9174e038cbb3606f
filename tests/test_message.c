/* SPDX-License-Identifier: BSD-2-Clause */
/* The message table: every row, at its limits and one beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vhost/message.h"

#define RINGS 4

static const struct message_facts everything = {
	.rings = RINGS,
	.protocol_features = UINT64_MAX,
	.have_memory = true,
};

/* A message of @request that the table must accept, and the fds it comes with. */
static struct vhost_user_msg good(uint32_t request, unsigned *nfds)
{
	const struct message_rule *r = message_rule(request);
	struct vhost_user_msg m = { .hdr = { request, VHOST_USER_VERSION, r ? r->size_max : 8 } };

	*nfds = r ? r->fds_max : 0;
	if (request == VHOST_USER_SET_MEM_TABLE)
		m.payload.mem.nregions = VHOST_USER_MAX_REGIONS;
	return m;
}

static enum message_verdict check(const struct vhost_user_msg *m, unsigned nfds)
{
	const char *why = NULL;
	enum message_verdict v = message_check(m, nfds, &everything, &why);

	assert_true(v == MESSAGE_OK || why);
	return v;
}

static void the_supported_messages_are_exactly_these(void **state)
{
	static const uint32_t supported[] = {
		VHOST_USER_GET_FEATURES, VHOST_USER_SET_FEATURES, VHOST_USER_SET_OWNER, VHOST_USER_RESET_OWNER,
		VHOST_USER_SET_MEM_TABLE, VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_ADDR,
		VHOST_USER_SET_VRING_BASE, VHOST_USER_GET_VRING_BASE, VHOST_USER_SET_VRING_KICK,
		VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR, VHOST_USER_GET_PROTOCOL_FEATURES,
		VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_GET_QUEUE_NUM, VHOST_USER_SET_VRING_ENABLE,
		VHOST_USER_SET_STATUS, VHOST_USER_GET_STATUS, VHOST_USER_GET_MAX_MEM_SLOTS,
		VHOST_USER_ADD_MEM_REG, VHOST_USER_REM_MEM_REG, VHOST_USER_SET_LOG_BASE, VHOST_USER_SET_LOG_FD,
		VHOST_USER_SEND_RARP, VHOST_USER_NET_SET_MTU, VHOST_USER_RESET_DEVICE,
		VHOST_USER_GET_CONFIG, VHOST_USER_SET_CONFIG, VHOST_USER_SET_BACKEND_REQ_FD,
	};
	unsigned n = 0;

	(void)state;
	for (uint32_t i = 0; i < 300; i++)
		n += message_rule(i) != NULL;
	assert_int_equal(n, sizeof(supported) / sizeof(supported[0]));
	for (unsigned i = 0; i < n; i++) {
		assert_non_null(message_rule(supported[i]));
		assert_string_not_equal(message_name(supported[i]), "unknown request");
	}
	assert_null(message_rule(UINT32_MAX));
	assert_string_equal(message_name(UINT32_MAX), "unknown request");
}

static void every_row_is_consistent(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_MAX; i++) {
		const struct message_rule *r = message_rule(i);

		if (!r)
			continue;
		assert_true(r->size_min <= r->size_max && r->size_max <= VHOST_USER_PAYLOAD_MAX);
		assert_true(r->fds_min <= r->fds_max && r->fds_max <= VHOST_USER_MAX_FDS);
		if (r->index == MESSAGE_INDEX_U32)
			assert_true(r->size_min >= sizeof(uint32_t));
		if (r->index == MESSAGE_INDEX_FD)
			assert_int_equal(r->size_min, sizeof(uint64_t));
	}
}

static void every_message_is_accepted_with_its_own_size_and_fds(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_MAX; i++) {
		unsigned nfds;
		struct vhost_user_msg m = good(i, &nfds);

		if (message_rule(i))
			assert_int_equal(check(&m, nfds), MESSAGE_OK);
	}
}

static void every_message_one_byte_too_long_or_short_closes(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_MAX; i++) {
		const struct message_rule *r = message_rule(i);
		unsigned nfds;
		struct vhost_user_msg m = good(i, &nfds);

		if (!r)
			continue;
		m.hdr.size = r->size_max + 1u;
		assert_int_equal(check(&m, nfds), MESSAGE_CLOSE);
		m.hdr.size = UINT32_MAX;
		assert_int_equal(check(&m, nfds), MESSAGE_CLOSE);
		if (r->size_min) {
			m.hdr.size = r->size_min - 1u;
			assert_int_equal(check(&m, nfds), MESSAGE_CLOSE);
			m.hdr.size = 0;
			assert_int_equal(check(&m, nfds), MESSAGE_CLOSE);
		}
	}
}

static void every_message_with_one_fd_too_many_or_too_few_closes(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_MAX; i++) {
		unsigned nfds;
		struct vhost_user_msg m = good(i, &nfds);

		if (!message_rule(i))
			continue;
		assert_int_equal(check(&m, nfds + 1), MESSAGE_CLOSE);
		assert_int_equal(check(&m, 253), MESSAGE_CLOSE);
		if (nfds && (message_rule(i)->fds_min || message_rule(i)->index == MESSAGE_INDEX_FD ||
			     message_rule(i)->size_exact))
			assert_int_equal(check(&m, nfds - 1), MESSAGE_CLOSE);
	}
}

static void the_no_fd_bit_means_exactly_no_fd(void **state)
{
	static const uint32_t request[] = { VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL,
					    VHOST_USER_SET_VRING_ERR };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		unsigned nfds;
		struct vhost_user_msg m = good(request[i], &nfds);

		m.payload.u64 = 1 | VHOST_USER_VRING_NOFD;
		assert_int_equal(check(&m, 0), MESSAGE_OK);
		assert_int_equal(message_ring(&m), 1);
		assert_int_equal(check(&m, 1), MESSAGE_CLOSE);
		m.payload.u64 = 1;
		assert_int_equal(check(&m, 1), MESSAGE_OK);
		assert_int_equal(check(&m, 0), MESSAGE_CLOSE);
		assert_int_equal(check(&m, 2), MESSAGE_CLOSE);
	}
}

static void a_ring_index_out_of_range_is_refused_in_every_message(void **state)
{
	static const uint32_t bad[] = { RINGS, 255, 256, 65535, 65536, 65536 + 1, 1u << 31, UINT32_MAX };

	(void)state;
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_MAX; i++) {
		const struct message_rule *r = message_rule(i);
		unsigned nfds;
		struct vhost_user_msg m = good(i, &nfds);

		if (!r || r->index == MESSAGE_NO_INDEX)
			continue;
		for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
			if (r->index == MESSAGE_INDEX_U32)
				m.payload.state.index = bad[k];
			else if (bad[k] & VHOST_USER_VRING_NOFD)
				continue;
			else
				m.payload.u64 = bad[k];
			assert_int_equal(check(&m, nfds), MESSAGE_NACK);
		}
		memset(&m.payload, 0, sizeof(m.payload));
		m.payload.state.index = RINGS - 1;
		assert_int_equal(check(&m, nfds), MESSAGE_OK);
		assert_int_equal(message_ring(&m), RINGS - 1);
	}
}

static void reserved_bits_beside_a_ring_index_are_refused(void **state)
{
	unsigned nfds;
	struct vhost_user_msg m = good(VHOST_USER_SET_VRING_KICK, &nfds);

	(void)state;
	for (unsigned bit = 9; bit < 64; bit++) {
		m.payload.u64 = 1ull << bit;
		assert_int_equal(check(&m, nfds), MESSAGE_NACK);
	}
}

static void wrong_version_reply_bit_and_reserved_flags_close(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_MAX + 2; i++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			unsigned nfds;
			struct vhost_user_msg m = good(i, &nfds);
			const char *why = NULL;

			m.hdr.flags ^= 1u << bit;
			if (1u << bit == VHOST_USER_NEED_REPLY) {
				assert_int_equal(message_check_header(&m.hdr, &why), MESSAGE_OK);
				continue;
			}
			assert_int_equal(message_check_header(&m.hdr, &why), MESSAGE_CLOSE);
			assert_non_null(why);
		}
	}
}

static void an_unknown_request_is_refused_unless_its_payload_is_too_large(void **state)
{
	static const uint32_t unknown[] = { 0, VHOST_USER_GPU_SET_SOCKET, VHOST_USER_REQUEST_MAX, 1000, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		unsigned nfds;
		struct vhost_user_msg m = good(unknown[i], &nfds);

		assert_int_equal(check(&m, 0), MESSAGE_NACK);
		m.hdr.size = VHOST_USER_PAYLOAD_MAX;
		assert_int_equal(check(&m, 3), MESSAGE_NACK);
		m.hdr.size = VHOST_USER_PAYLOAD_MAX + 1;
		assert_int_equal(check(&m, 0), MESSAGE_CLOSE);
	}
}

static void a_message_without_its_protocol_feature_is_refused(void **state)
{
	const char *why;

	(void)state;
	for (uint32_t i = 0; i < VHOST_USER_REQUEST_MAX; i++) {
		const struct message_rule *r = message_rule(i);
		struct message_facts facts = everything;
		unsigned nfds;
		struct vhost_user_msg m = good(i, &nfds);

		if (!r)
			continue;
		facts.protocol_features = ~r->protocol;
		assert_int_equal(message_check(&m, nfds, &facts, &why), r->protocol ? MESSAGE_NACK : MESSAGE_OK);
	}
}

static void ring_addresses_need_a_memory_table_first(void **state)
{
	struct message_facts facts = everything;
	const char *why;
	unsigned nfds;
	struct vhost_user_msg m = good(VHOST_USER_SET_VRING_ADDR, &nfds);

	(void)state;
	facts.have_memory = false;
	assert_int_equal(message_check(&m, nfds, &facts, &why), MESSAGE_NACK);
}

static void a_memory_table_has_one_to_eight_regions(void **state)
{
	unsigned nfds;
	struct vhost_user_msg m = good(VHOST_USER_SET_MEM_TABLE, &nfds);

	(void)state;
	m.payload.mem.nregions = 9;
	assert_int_equal(check(&m, 8), MESSAGE_NACK);
	m.payload.mem.nregions = UINT32_MAX;
	assert_int_equal(check(&m, 8), MESSAGE_NACK);
	m.payload.mem.nregions = 0;
	m.hdr.size = 8;
	assert_int_equal(check(&m, 0), MESSAGE_NACK);
}

static void a_memory_tables_count_fixes_its_size_and_fds(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= VHOST_USER_MAX_REGIONS; n++) {
		unsigned nfds;
		struct vhost_user_msg m = good(VHOST_USER_SET_MEM_TABLE, &nfds);
		uint32_t size = 8 + n * 32;

		m.payload.mem.nregions = n;
		m.hdr.size = size;
		assert_int_equal(check(&m, n), MESSAGE_OK);
		assert_int_equal(check(&m, n - 1), MESSAGE_CLOSE);
		assert_int_equal(check(&m, n + 1), MESSAGE_CLOSE);
		m.hdr.size = size - 1;
		assert_int_equal(check(&m, n), MESSAGE_CLOSE);
		m.hdr.size = size + 1;
		assert_int_equal(check(&m, n), MESSAGE_CLOSE);
	}
}

static void a_memory_slot_is_added_with_an_fd_and_removed_with_or_without(void **state)
{
	unsigned nfds;
	struct vhost_user_msg add = good(VHOST_USER_ADD_MEM_REG, &nfds), rem = good(VHOST_USER_REM_MEM_REG, &nfds);

	(void)state;
	assert_int_equal(check(&add, 0), MESSAGE_CLOSE);
	assert_int_equal(check(&add, 1), MESSAGE_OK);
	assert_int_equal(check(&rem, 0), MESSAGE_OK);
	assert_int_equal(check(&rem, 1), MESSAGE_OK);
	assert_int_equal(check(&rem, 2), MESSAGE_CLOSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_supported_messages_are_exactly_these),
		cmocka_unit_test(every_row_is_consistent),
		cmocka_unit_test(every_message_is_accepted_with_its_own_size_and_fds),
		cmocka_unit_test(every_message_one_byte_too_long_or_short_closes),
		cmocka_unit_test(every_message_with_one_fd_too_many_or_too_few_closes),
		cmocka_unit_test(the_no_fd_bit_means_exactly_no_fd),
		cmocka_unit_test(a_ring_index_out_of_range_is_refused_in_every_message),
		cmocka_unit_test(reserved_bits_beside_a_ring_index_are_refused),
		cmocka_unit_test(wrong_version_reply_bit_and_reserved_flags_close),
		cmocka_unit_test(an_unknown_request_is_refused_unless_its_payload_is_too_large),
		cmocka_unit_test(a_message_without_its_protocol_feature_is_refused),
		cmocka_unit_test(ring_addresses_need_a_memory_table_first),
		cmocka_unit_test(a_memory_table_has_one_to_eight_regions),
		cmocka_unit_test(a_memory_tables_count_fixes_its_size_and_fds),
		cmocka_unit_test(a_memory_slot_is_added_with_an_fd_and_removed_with_or_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "bridge/learn.h"
#include "bridge/mac.h"
#include "bridge/port_config.h"
#include "viaduct_bpf.h"

bool learn_push(struct learn_ring *r, const struct learn_request *req)
{
	uint32_t head = r->head;

	if (head - load_acquire(&r->tail) >= LEARN_RING)
		return false;
	r->req[head % LEARN_RING] = *req;
	store_release(&r->head, head + 1);
	return true;
}

bool learn_pop(struct learn_ring *r, struct learn_request *req)
{
	uint32_t tail = r->tail;

	if (load_acquire(&r->head) == tail)
		return false;
	*req = r->req[tail % LEARN_RING];
	store_release(&r->tail, tail + 1);
	return true;
}

enum learn_verdict learn_decide(const struct learn_request *r, const struct learn_facts *f)
{
	uint8_t mac[MAC_LEN];

	mac_store(r->mac, mac);
	if (f->fixed)
		return LEARN_FIXED;
	if (!r->mac)
		return LEARN_ZERO;
	if (mac_is_group(mac))
		return LEARN_GROUP;
	if (f->host || f->owner == VD_PORT_HOST)
		return LEARN_HOST;
	if (f->owner == r->port)
		return LEARN_KNOWN;
	if (f->owner != VD_PORT_NONE && !f->movable)
		return LEARN_OTHER_PORT;
	/* What came back from the wire after the guest sent it is its own echo, not a stranger. */
	if (f->wire_ns && f->wire_ns < r->when_ns && r->when_ns - f->wire_ns < LEARN_WIRE_NS)
		return LEARN_WIRE;
	if (f->count >= PORT_MACS)
		return LEARN_LIMIT;
	return LEARN_OK;
}

const char *learn_verdict_name(enum learn_verdict v)
{
	static const char *const names[] = {
		[LEARN_OK] = "learned",
		[LEARN_KNOWN] = "known",
		[LEARN_GROUP] = "group_address",
		[LEARN_ZERO] = "zero_address",
		[LEARN_HOST] = "host_address",
		[LEARN_OTHER_PORT] = "address_of_another_port",
		[LEARN_WIRE] = "seen_from_the_wire",
		[LEARN_LIMIT] = "limit",
		[LEARN_FIXED] = "mac_given",
	};

	_Static_assert(sizeof(names) / sizeof(names[0]) == LEARN_VERDICTS, "a name for each verdict");
	return names[v];
}

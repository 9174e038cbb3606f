/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What both kinds of rings have in common: life cycle, publishing, the call,
 * names. Packets: tx.c and rx.c.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "base/clock.h"
#include "ring/kept.h"
#include "ring/packed.h"
#include "ring/split.h"
#include "ring/vnet.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "virtio rings are little-endian and so must be the host");

const char *virtq_error_name(enum virtq_error e)
{
	static const char *const names[] = {
		[VIRTQ_OK] = "ok",
		[VIRTQ_DROP_SHORT] = "drop_short",
		[VIRTQ_DROP_LONG] = "drop_long",
		[VIRTQ_DROP_ADDRESS] = "drop_address",
		[VIRTQ_DROP_PIECES] = "drop_pieces",
		[VIRTQ_DROP_OFFLOAD] = "drop_offload",
		[VIRTQ_DROP_NO_BUFFER] = "drop_no_buffer",
		[VIRTQ_DROP_DISABLED] = "drop_disabled",
		[VIRTQ_BROKEN_AVAIL] = "broken_avail",
		[VIRTQ_BROKEN_HEAD] = "broken_head",
		[VIRTQ_BROKEN_CHAIN] = "broken_chain",
		[VIRTQ_BROKEN_INDIRECT] = "broken_indirect",
		[VIRTQ_BROKEN_DIRECTION] = "broken_direction",
		[VIRTQ_BROKEN_MEMORY] = "broken_memory",
	};

	_Static_assert(sizeof(names) / sizeof(names[0]) == VIRTQ_ERRORS, "a name for each error");
	return e < VIRTQ_ERRORS ? names[e] : "unknown";
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

/* Headers included: what is longer is no packet, whatever its header says. */
static uint32_t longest_chain(const struct virtq *vq)
{
	uint32_t len = vq->max_frame;

	if (vq->features & VNET_HOST_GSO && len < VNET_MAX_GSO)
		len = VNET_MAX_GSO;
	return vq->hdr_len + len;
}

void virtq_set_max_frame(struct virtq *vq, uint32_t len)
{
	vq->max_frame = len;
	vq->longest = longest_chain(vq);
}

void virtq_log(struct virtq *vq, struct dirty *log, bool log_ring, uint64_t log_addr)
{
	vq->log = log;
	vq->log_ring = log && log_ring;
	vq->log_addr = log_addr;
}

/* What a start and a restore have in common: all but positions. Touches nothing of the ring's memory. */
static int attach(struct virtq *vq, const struct virtq_config *cfg)
{
	if (!cfg->size || cfg->size > VIRTQ_MAX_SIZE)
		return -EINVAL;
	vq->dir = cfg->dir;
	vq->size = cfg->size;
	vq->features = cfg->features;
	vq->packed = has(cfg->features, VIRTIO_F_RING_PACKED);
	vq->event_idx = has(cfg->features, VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = has(cfg->features, VIRTIO_RING_F_INDIRECT_DESC);
	vq->mergeable = has(cfg->features, VIRTIO_NET_F_MRG_RXBUF);
	/* virtio 1.x, 5.1.6.1: num_buffers is there with VERSION_1 or MRG_RXBUF. */
	vq->hdr_len = sizeof(struct virtio_net_hdr);
	if (has(cfg->features, VIRTIO_F_VERSION_1) || vq->mergeable)
		vq->hdr_len = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	virtq_set_max_frame(vq, cfg->max_frame);
	vq->mem = cfg->mem;
	vq->hint = 0;
	vq->kept = vq->packed ? cfg->kept : NULL;
	vq->resumed = false;
	vq->callfd = cfg->callfd;
	vq->kickfd = cfg->kickfd;
	vq->notify_armed = true;
	vq->signalled_valid = false;
	vq->resume = 0;
	vq->gone = 0;
	vq->starved = 0;
	vq->walked = 0;
	virtq_log(vq, cfg->log, cfg->log_ring, cfg->log_addr);	/* starting writes, too */
	return vq->packed ? packed_attach(vq, cfg) : split_attach(vq, cfg);
}

int virtq_start(struct virtq *vq, const struct virtq_config *cfg)
{
	int ret;

	ret = attach(vq, cfg);
	if (ret)
		return ret;
	ret = vq->packed ? packed_start(vq, cfg->base) : split_start(vq, cfg->base);
	if (ret)
		return ret;
	WRITE_ONCE(vq->broken, 0);
	store_release(&vq->started, 1);
	return 0;
}

void virtq_save(const struct virtq *vq, struct virtq_saved *out)
{
	*out = (struct virtq_saved){
		.next_avail = vq->next_avail,
		.seen_avail = vq->seen_avail,
		.next_used = vq->next_used,
		.published_used = vq->published_used,
		.resume = vq->resume,
		.starved = vq->starved,
		.gone = vq->gone,
		.broken = vq->broken,
		.signalled_valid = vq->signalled_valid,
		.notify_armed = vq->notify_armed,
		.enabled = vq->enabled != 0,
		.stats = vq->stats,
	};
}

static bool makes_sense(const struct virtq *vq, const struct virtq_saved *s)
{
	/* Between batches everything that was staged is published, but on a broken ring, which never publishes. */
	if (s->broken ? s->broken < VIRTQ_FIRST_BROKEN || s->broken >= VIRTQ_ERRORS : s->next_used != s->published_used)
		return false;
	return vq->packed ? packed_makes_sense(vq, s) : split_makes_sense(vq, s);
}

int virtq_restore(struct virtq *vq, const struct virtq_config *cfg, const struct virtq_saved *s)
{
	int ret;

	ret = attach(vq, cfg);
	if (ret)
		return ret;
	if (!makes_sense(vq, s))
		return -EINVAL;
	vq->next_avail = s->next_avail;
	vq->seen_avail = s->seen_avail;
	vq->next_used = s->next_used;
	vq->published_used = s->published_used;
	vq->resume = s->resume;
	vq->starved = s->starved;
	vq->gone = s->gone;
	vq->signalled_valid = s->signalled_valid;
	vq->notify_armed = s->notify_armed;
	vq->stats = s->stats;
	if (vq->kept && !s->broken)
		kept_init(vq, s->published_used);
	WRITE_ONCE(vq->broken, s->broken);
	WRITE_ONCE(vq->enabled, s->enabled != 0);
	store_release(&vq->started, 1);
	return 0;
}

/* Everything taken was given back, so both halves of a packed ring's base are the same. */
static uint32_t base_of(const struct virtq *vq)
{
	return vq->packed ? vq->next_avail | (uint32_t)vq->next_avail << 16 : vq->next_avail;
}

void virtq_forget_kept(struct virtq *vq)
{
	if (vq->started && vq->kept)
		store_release(&vq->kept->size, READ_ONCE(vq->kept->size) | KEPT_TOLD);
}

uint32_t virtq_stop(struct virtq *vq)
{
	if (!vq->started)
		return base_of(vq);
	WRITE_ONCE(vq->started, 0);
	vq->desc = NULL;
	vq->avail = NULL;
	vq->used = NULL;
	vq->mem = NULL;
	virtq_log(vq, NULL, false, 0);
	vq->kept = NULL;
	vq->callfd = vq->kickfd = -1;
	return base_of(vq);
}

void virtq_relocate(struct virtq *vq, struct gmem *mem, void *desc, void *avail, void *used)
{
	vq->mem = mem;
	vq->hint = 0;
	vq->starved = 0;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
}

bool virtq_publish(struct virtq *vq)
{
	vq->walked = 0;
	/* Once SIGBUS replaced the guest's memory, what we read from it was not the guest's. */
	if (unlikely(gmem_broken(vq->mem) && !vq->broken)) {
		vq->stats.errors[VIRTQ_BROKEN_MEMORY]++;
		WRITE_ONCE(vq->broken, VIRTQ_BROKEN_MEMORY);
	}
	if (unlikely(vq->broken))
		return false;
	if (vq->next_used == vq->published_used)
		return false;
	if (!(vq->packed ? packed_publish(vq) : split_publish(vq)) || vq->callfd < 0) {
		vq->stats.calls_suppressed++;
		return false;
	}
	return true;
}

void virtq_call(struct virtq *vq)
{
	struct pollfd pfd = { .fd = vq->callfd, .events = POLLOUT };
	uint64_t one = 1;

	if (vq->callfd < 0)
		return;
	/*
	 * O_NONBLOCK belongs to the open file, which the front-end shares and may change. A full counter is
	 * seen here; one that is filled between the two calls holds us until the control thread, which watches
	 * call_since_ns, interrupts the write.
	 */
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
		return;
	WRITE_ONCE(vq->call_since_ns, clock_now());
	if (write(vq->callfd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		vq->stats.calls++;
	WRITE_ONCE(vq->call_since_ns, 0);
}

bool virtq_arm(struct virtq *vq)
{
	return vq->packed ? packed_arm(vq) : split_arm(vq);
}

void virtq_disarm(struct virtq *vq)
{
	if (vq->packed)
		packed_disarm(vq);
	else
		split_disarm(vq);
}

bool virtq_is_out_of_step(const struct virtq *vq)
{
	return vq->packed && !vq->resumed && packed_is_out_of_step(vq);
}

bool virtq_pending(const struct virtq *vq)
{
	return vq->packed ? packed_there(vq, vq->next_avail) : split_pending(vq);
}

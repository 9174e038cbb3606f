/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The uplink goes from one process to another.
 *
 * Theory of operation. The kernel's part of an uplink is file descriptors: the
 * link that holds the program, the maps, the sockets, the packet socket with
 * the receive filter. They are sent, and all of it stays as it is: no detach, no
 * bind, no reset of the NIC. What only the process knows is sent with them, the
 * lasting part first, while the old worker goes on; the frame ledger, which
 * changes with every packet, when it stands still.
 *
 * uplink_adopt() changes nothing that the old process or anybody else can see.
 * What may be seen, the new program above all, waits for uplink_commit().
 */
#include <errno.h>
#include <string.h>
#include <stdlib.h>

#include "base/log.h"
#include "xdp/hostport.h"
#include "xdp/uplink_internal.h"

#define TAG 0x6b6e6c75u		/* "ulnk" */

/* What the operator chose that cannot change in between, and what became of it; no pointers. */
struct uplink_saved {
	char ifname[IF_NAMESIZE];
	int32_t ifindex;
	uint32_t queues, set_channels, ring_size, frames, mode, attach, rx_hash, tx_checksum, hw_steer, busy_poll;
	uint32_t now_mode, now_queues, now_ring, now_frames, now_chunk, now_sg, now_allmulti, now_busy_poll;
	uint32_t now_checksum;		/* enum afxdp_checksum of the sockets */
	uint32_t filter_entries;
	char mode_why[256];
};

struct nicq_saved {
	uint32_t fill_target, fill_least;
	uint64_t fill_since, violations;
	struct nicq_stats stats;
};

static uint32_t checksum_of(const struct uplink_info *info)
{
	return info->nic_checksum ? AFXDP_CHECKSUM_NIC : info->kernel_checksum ? AFXDP_CHECKSUM_KERNEL : AFXDP_CHECKSUM_US;
}

static void describe(const struct uplink *u, struct uplink_saved *s)
{
	const struct uplink_config *c = &u->cfg;
	const struct uplink_info *i = &u->info;

	*s = (struct uplink_saved){
		.ifindex = u->program.ifindex, .queues = c->queues, .set_channels = c->set_channels,
		.ring_size = c->ring_size, .frames = c->frames, .mode = c->mode, .attach = c->attach,
		.rx_hash = c->rx_hash, .tx_checksum = c->tx_checksum, .hw_steer = c->hw_steer,
		.busy_poll = c->busy_poll,
		.now_mode = i->mode, .now_queues = i->queues, .now_ring = i->ring_size, .now_frames = i->frames,
		.now_chunk = i->chunk, .now_sg = i->sg, .now_allmulti = i->allmulti, .now_busy_poll = i->busy_poll,
		.now_checksum = checksum_of(i), .filter_entries = i->filter_entries,
	};
	memcpy(s->ifname, c->ifname, sizeof(s->ifname));
	memcpy(s->mode_why, i->mode_why, sizeof(s->mode_why));
}

int uplink_save(const struct uplink *u, struct parcel *to, const struct fail *why)
{
	struct uplink_saved s;

	if (u->cfg.attach != UPLINK_ATTACH_LINK)
		return fail_with(why, -EOPNOTSUPP, "with --xdp-attach dispatcher there is no link that could be handed over");
	describe(u, &s);
	parcel_put(to, TAG, &s, sizeof(s));
	parcel_put(to, TAG, u->host_mac, sizeof(u->host_mac[0]) * u->nhost);
	program_save(&u->program, to);
	parcel_put_fd(to, TAG, u->filter_fd);
	for (uint32_t i = 0; i < u->nopen; i++) {
		parcel_put_fd(to, TAG, u->nicq[i].fd);
		parcel_put_fd(to, TAG, u->nicq[i].umem_fd);
	}
	return 0;	/* a parcel that has failed says so itself */
}

/* As sockets can have been made. */
static bool makes_sense(const struct uplink_saved *s)
{
	return s->now_queues && s->now_queues <= VD_MAX_QUEUES && s->now_ring && !(s->now_ring & (s->now_ring - 1)) &&
	       s->now_chunk >= 2048 && s->now_chunk <= 4096 && s->now_mode <= VD_MODE_GENERIC &&
	       s->now_checksum <= AFXDP_CHECKSUM_KERNEL;
}

/* The option that says something else than the running instance was told; NULL: none. */
static const char *other_option(const struct uplink_config *c, const struct uplink_saved *s)
{
	return strncmp(c->ifname, s->ifname, sizeof(s->ifname))	? "--uplink" :
	       c->queues != s->queues				? "--queues" :
	       c->set_channels != s->set_channels		? "--set-channels" :
	       c->ring_size != s->ring_size			? "--ring-size" :
	       c->frames != s->frames				? "--frames" :
	       c->mode != s->mode				? "--xdp-mode" :
	       c->attach != s->attach				? "--xdp-attach" :
	       c->rx_hash != s->rx_hash				? "--rx-hash" :
	       c->tx_checksum != s->tx_checksum			? "--tx-checksum" :
	       !!c->hw_steer != s->hw_steer			? "--hw-steer" :
	       !!c->busy_poll != s->busy_poll			? "--busy-poll" :
								  NULL;
}

/* In the place of what uplink_look() found, for the sockets are there already. */
static void take_info(struct uplink *u, const struct uplink_saved *s)
{
	struct uplink_info *i = &u->info;

	i->mode = s->now_mode;
	i->queues = s->now_queues;
	i->ring_size = s->now_ring;
	i->frames = s->now_frames;
	i->chunk = s->now_chunk;
	i->sg = s->now_sg;
	i->max_frame = NICQ_MAX_FRAME(i->chunk) * (i->sg ? NICQ_PIECES : 1);
	i->allmulti = s->now_allmulti;
	i->filter_entries = s->filter_entries;
	i->nic_checksum = s->now_checksum == AFXDP_CHECKSUM_NIC;
	i->kernel_checksum = s->now_checksum == AFXDP_CHECKSUM_KERNEL;
	memcpy(i->mode_why, s->mode_why, sizeof(i->mode_why));
	i->mode_why[sizeof(i->mode_why) - 1] = '\0';
	u->helpers.checksum = s->now_checksum;
}

static int adopt_sockets(struct uplink *u, const struct uplink_saved *s, struct parcel *from)
{
	struct afxdp_config c = {
		.ifindex = s->ifindex, .mode = s->now_mode, .ring_size = s->now_ring, .frames = s->now_frames,
		.chunk = s->now_chunk, .tx_checksum = s->now_checksum, .busy_poll = s->now_busy_poll, .sg = s->now_sg,
	};

	u->filter_fd = parcel_get_fd(from, TAG);
	u->nicq = calloc(s->now_queues, sizeof(*u->nicq));
	if (!u->nicq)
		return -ENOMEM;
	while (u->nopen < s->now_queues) {
		int fd = parcel_get_fd(from, TAG), umem = parcel_get_fd(from, TAG), ret = from->err;

		c.queue = u->nopen;
		if (!ret)
			ret = afxdp_adopt(fd, umem, &c, &u->nicq[u->nopen]);
		if (ret)
			return ret;
		u->nopen++;
	}
	return 0;
}

static int adopt(struct uplink *u, struct loop *loop, struct parcel *from, const struct fail *why)
{
	struct uplink_saved s;
	const void *macs;
	const char *other;
	struct ifcheck c;
	size_t len;
	int ret;

	if (parcel_get(from, TAG, &s, sizeof(s)) || !makes_sense(&s))
		return fail_with(why, -EPROTO, "the running instance's state of the uplink cannot be read");
	macs = parcel_take(from, TAG, &len);
	if (!macs || len > sizeof(u->host_mac))
		return fail_with(why, -EPROTO, "the running instance's state of the uplink cannot be read");
	memcpy(u->host_mac, macs, len);
	u->nhost = (unsigned)(len / sizeof(u->host_mac[0]));
	other = other_option(&u->cfg, &s);
	if (other)
		return fail_with(why, -EINVAL, "%s is not as the running instance has it: give the same, or restart without --take-over",
				 other);
	ret = uplink_look(u, loop, &c, why);
	if (ret)
		return ret;
	if (linkmon_uplink(u->linkmon)->ifindex != s.ifindex)
		return fail_with(why, -ENODEV, "%s is another interface by now: restart without --take-over", s.ifname);
	ifcheck_queues(u->host, linkmon_uplink(u->linkmon), &c);
	memcpy(u->info.driver, c.driver, sizeof(u->info.driver));
	ret = program_adopt(&u->program, u->host, s.ifindex, from, why);
	if (ret)
		return ret;
	if (u->program.queues != s.now_queues)
		return fail_with(why, -EPROTO, "the running instance's maps are for another number of NIC queues");
	helpers_choose(&u->helpers, u->host, s.ifindex, &u->cfg, &u->info);
	take_info(u, &s);
	ret = adopt_sockets(u, &s, from);
	return ret ? fail_with(why, ret, "cannot go on with the running instance's sockets: %s", strerror(-ret)) : 0;
}

int uplink_adopt(const struct host_ops *host, struct loop *loop, const struct uplink_config *cfg, struct parcel *from,
		 struct uplink **out, const struct fail *why)
{
	struct uplink *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return fail_with(why, -ENOMEM, "out of memory");
	u->host = host;
	u->cfg = *cfg;
	u->filter_fd = -1;
	ret = adopt(u, loop, from, why);
	if (!ret)
		*out = u;
	return ret;
}

int uplink_save_frames(struct uplink *u, struct parcel *to)
{
	for (uint32_t i = 0; i < u->nopen; i++) {
		struct nicq *q = &u->nicq[i];
		struct nicq_saved s = {
			.fill_target = q->fill_target, .fill_least = q->fill_least, .fill_since = q->fill_since,
			.stats = q->stats, .violations = q->frames.violations,
		};

		if (q->tx_staged)	/* what was written for the kernel, but not shown to it */
			nicq_tx_flush(q);
		parcel_put(to, TAG, &s, sizeof(s));
		parcel_put(to, TAG, q->frames.owner, q->frames.total * sizeof(*q->frames.owner));
		parcel_put(to, TAG, q->frames.tag, q->frames.total * sizeof(*q->frames.tag));
	}
	return to->err;
}

static int resume_queue(struct nicq *q, struct parcel *from)
{
	const uint32_t frames = q->frames.total;
	const uint8_t *owners;
	struct nicq_saved s;
	size_t nowner, ntag;
	const void *from_tags;
	uint16_t *tags;
	int ret;

	parcel_get(from, TAG, &s, sizeof(s));
	owners = parcel_take(from, TAG, &nowner);
	from_tags = parcel_take(from, TAG, &ntag);
	if (from->err || nowner != frames || ntag != frames * sizeof(*tags))
		return -EPROTO;
	tags = malloc(ntag);		/* a parcel's data is not aligned */
	if (!tags)
		return -ENOMEM;
	memcpy(tags, from_tags, ntag);
	ret = afxdp_resume(q, owners, tags);
	free(tags);
	if (ret)
		return ret;
	q->stats = s.stats;
	q->frames.violations = s.violations;
	q->fill_target = s.fill_target < q->fill_max ? s.fill_target : q->fill_max;
	q->fill_least = s.fill_least;
	q->fill_since = s.fill_since;
	return frames_check(&q->frames);
}

int uplink_resume(struct uplink *u, struct parcel *from)
{
	int ret = 0;

	for (uint32_t i = 0; i < u->nopen && !ret; i++)
		ret = resume_queue(&u->nicq[i], from);
	return ret;
}

void uplink_commit(struct uplink *u)
{
	char text[256] = "";
	const struct fail why = { text, sizeof(text) };
	int ret = program_replace(&u->program);

	if (ret)
		log_warn("%s: the XDP program of the instance before goes on: the new one was refused: %s", u->cfg.ifname,
			 strerror(-ret));
	ret = settings_open(&u->settings, u->host, &u->cfg, &u->info, &why);
	if (ret >= 0)
		ret = uplink_apply_settings(u, &why);
	if (ret < 0)
		log_warn("%s: its settings stay as they are: %s", u->cfg.ifname, text);
	u->info.adopted = true;
	uplink_settle(u);
}

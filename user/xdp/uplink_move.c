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
#include "base/node.h"
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
	uint32_t by, force, standby_in_use, moves;
	uint32_t repaired[UPLINK_REPAIRS];
	uint8_t mac[6];
	char standby[IF_NAMESIZE], now_name[IF_NAMESIZE];
	struct choose_known known;
	char away[UPLINK_AWAY][IF_NAMESIZE];
	uint32_t naway;
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
		.now_checksum = checksum_of(i),
		.by = c->by, .force = c->force, .standby_in_use = u->standby, .moves = u->moves,
	};
	memcpy(s->repaired, u->repaired, sizeof(s->repaired));
	memcpy(s->mac, c->mac, sizeof(s->mac));
	memcpy(s->standby, c->standby, sizeof(s->standby));
	memcpy(s->now_name, u->dev->name, sizeof(s->now_name));
	s->known = u->known;
	memcpy(s->away, u->away, sizeof(s->away));
	s->naway = u->naway;
	memcpy(s->ifname, c->ifname, sizeof(s->ifname));
	memcpy(s->mode_why, i->mode_why, sizeof(s->mode_why));
}

int uplink_save(struct uplink *u, struct parcel *to, const struct fail *why)
{
	struct uplink_saved s;

	while (uplink_device_linger(u))		/* its settings are not for the other process to put back */
		;
	if (u->cfg.attach != UPLINK_ATTACH_LINK)
		return fail_with(why, -EOPNOTSUPP, "with --xdp-attach dispatcher there is no link that could be handed over");
	if (!u->dev)
		return fail_with(why, -EAGAIN, "the uplink is away, and only one that is there can be handed over: wait until it is back, or restart without --take-over");
	describe(u, &s);
	parcel_put(to, TAG, &s, sizeof(s));
	parcel_put(to, TAG, u->host_mac, sizeof(u->host_mac[0]) * u->nhost);
	parcel_put(to, TAG, u->filter ? (const void *)u->filter : "", sizeof(u->filter[0]) * u->nfilter);
	program_save(&u->program, to);
	parcel_put_fd(to, TAG, u->dev->filter_fd);
	for (uint32_t i = 0; i < u->info.queues; i++) {
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
	return strncmp(c->ifname, s->ifname, sizeof(s->ifname)) || c->by != s->by ||
			       memcmp(c->mac, s->mac, sizeof(s->mac))	? "--uplink" :
	       strncmp(c->standby, s->standby, sizeof(s->standby))	? "--standby" :
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
	i->nic_checksum = s->now_checksum == AFXDP_CHECKSUM_NIC;
	i->kernel_checksum = s->now_checksum == AFXDP_CHECKSUM_KERNEL;
	u->standby = s->standby_in_use;
	u->moves = s->moves;
	memcpy(u->repaired, s->repaired, sizeof(u->repaired));
	u->known = s->known;
	u->known.last_name[IF_NAMESIZE - 1] = '\0';
	memcpy(u->away, s->away, sizeof(u->away));
	for (int k = 0; k < UPLINK_AWAY; k++)
		u->away[k][IF_NAMESIZE - 1] = '\0';
	u->naway = s->naway;
	memcpy(i->mode_why, s->mode_why, sizeof(i->mode_why));
	i->mode_why[sizeof(i->mode_why) - 1] = '\0';
	u->dev->helpers.checksum = s->now_checksum;
}

static int adopt_sockets(struct uplink *u, const struct uplink_saved *s, struct parcel *from)
{
	struct afxdp_config c = {
		.ifindex = s->ifindex, .mode = s->now_mode, .ring_size = s->now_ring, .frames = s->now_frames,
		.chunk = s->now_chunk, .tx_checksum = s->now_checksum, .busy_poll = s->now_busy_poll, .sg = s->now_sg,
	};

	u->dev->filter_fd = parcel_get_fd(from, TAG);
	u->dev->nicq = calloc(s->now_queues, sizeof(*u->dev->nicq));
	if (!u->dev->nicq || uplink_make_nicqs(u))
		return -ENOMEM;
	while (u->dev->nopen < s->now_queues) {
		int fd = parcel_get_fd(from, TAG), umem = parcel_get_fd(from, TAG), ret = from->err;

		c.queue = u->dev->nopen;
		if (!ret)
			ret = afxdp_adopt(fd, umem, &c, &u->nicq[u->dev->nopen]);
		if (ret)
			return ret;
		u->dev->nopen++;
	}
	return 0;
}

/* The addresses in the receive filter, for the next device; the packet socket that comes has them. */
static int adopt_filter(struct uplink *u, struct parcel *from)
{
	size_t len;
	const void *macs = parcel_take(from, TAG, &len);

	if (!macs || len % sizeof(u->filter[0]))
		return -EPROTO;
	u->filter = malloc(len + 1);
	if (!u->filter)
		return -ENOMEM;
	memcpy(u->filter, macs, len);
	u->nfilter = u->filter_cap = (uint32_t)(len / sizeof(u->filter[0]));
	return 0;
}

static int adopt(struct uplink *u, struct loop *loop, struct parcel *from, const struct fail *why)
{
	struct uplink_saved s;
	const void *macs;
	const char *other;
	const struct linkmon_dev *d;
	struct ifcheck c;
	size_t len;
	int ret;

	if (parcel_get(from, TAG, &s, sizeof(s)) || !makes_sense(&s))
		return fail_with(why, -EPROTO, "the running instance's state of the uplink cannot be read");
	s.now_name[IF_NAMESIZE - 1] = '\0';
	macs = parcel_take(from, TAG, &len);
	if (!macs || len > sizeof(u->host_mac))
		return fail_with(why, -EPROTO, "the running instance's state of the uplink cannot be read");
	memcpy(u->host_mac, macs, len);
	u->nhost = (unsigned)(len / sizeof(u->host_mac[0]));
	if (adopt_filter(u, from))
		return fail_with(why, -EPROTO, "the running instance's state of the uplink cannot be read");
	other = other_option(&u->cfg, &s);
	if (other)
		return fail_with(why, -EINVAL, "%s is not as the running instance has it: give the same, or restart without --take-over",
				 other);
	ret = uplink_look(u, loop, why);
	if (ret)
		return ret;
	ret = linkmon_follow(u->linkmon, s.ifindex);
	if (ret)
		return fail_with(why, ret, "%s is gone: restart without --take-over", s.now_name);
	d = linkmon_uplink(u->linkmon);
	memcpy(&u->link, linkmon_state(u->linkmon), sizeof(u->link));
	u->dev = uplink_device_new(d);
	if (!u->dev)
		return fail_with(why, -ENOMEM, "out of memory");
	memcpy(u->dev->name, s.now_name, sizeof(u->dev->name));
	ifcheck_queues(u->host, d, &c);
	memcpy(u->info.driver, c.driver, sizeof(u->info.driver));
	ret = program_adopt(&u->program, u->host, s.ifindex, from, why);
	if (ret)
		return ret;
	if (u->program.queues < s.now_queues || u->program.queues > VD_MAX_QUEUES)
		return fail_with(why, -EPROTO, "the running instance's maps are for another number of NIC queues");
	helpers_choose(&u->dev->helpers, u->host, s.ifindex, &u->cfg, &u->info);
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
	ret = adopt(u, loop, from, why);
	if (!ret)
		*out = u;
	return ret;
}

int uplink_spare_queues(struct uplink *u, uint32_t n)
{
	int ret = n > u->most ? -EPROTO : 0;

	/* As many frames as a device's: a data path has room for those that it finds. */
	for (uint32_t i = u->info.queues; i < n && !ret; i++) {
		ret = nicq_init_memory(&u->nicq[i], u->info.ring_size, u->info.frames, u->info.chunk);
		u->nicq[i].id = i;
		u->nicq[i].sg = u->info.sg;
	}
	return ret;
}

int uplink_save_frames(struct uplink *u, struct parcel *to)
{
	for (uint32_t i = 0; i < u->info.queues; i++) {
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

	for (uint32_t i = 0; i < u->info.queues && !ret; i++)
		ret = resume_queue(&u->nicq[i], from);
	return ret;
}

void uplink_commit(struct uplink *u)
{
	char text[256] = "";
	const struct fail why = { text, sizeof(text) };
	int ret = program_replace(&u->program);

	if (ret)
		log_warn("%s: the XDP program of the instance before goes on: the new one was refused: %s", u->dev->name,
			 strerror(-ret));
	ret = uplink_device_begin(u, u->dev, &u->info, &why);
	if (ret >= 0)
		ret = uplink_device_settings(u, u->dev, u->nicq, &u->info, &why);
	if (ret < 0)
		log_warn("%s: its settings stay as they are: %s", u->dev->name, text);
	u->info.adopted = true;
	u->info.attach = u->cfg.attach;
	u->info.node = node_of_memory(u->nicq[0].umem);
	helpers_loaded(&u->dev->helpers, u->program.bound, &u->cfg, &u->info);
	linkmon_follow(u->linkmon, u->dev->ifindex);
	uplink_settle(u);
	uplink_watch(u);
}

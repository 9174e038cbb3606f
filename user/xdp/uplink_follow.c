/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The uplink goes on while its device comes, goes and is changed by others.
 *
 * Theory of operation. After every message of the link monitor, and every WATCH_NS, one function looks at everything
 * and does what is to be done: uplink_follow(). It compares states, not events, so nothing depends on their order, and
 * what failed is tried again.
 *
 * Another device: it is opened while the one in use goes on. Then the user of the NIC queues stands still for as long
 * as it takes to put the new sockets in the place of the old ones, and the old device is closed behind its back. The
 * same device anew (another number of queues, longer buffers) has to be closed first, and a device that is gone, too:
 * meanwhile the NIC queues are rings in memory, and the link is down.
 *
 * When to leave a device for another is choose_move()'s.
 *
 * What somebody else changed is put back where that is possible without a new set-up, the program above all. It is done
 * TRIES times in TRIES_NS; then another tool wants it otherwise, and the operator is told.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "xdp/uplink_internal.h"
#include "xdp/watch.h"

#define WATCH_NS (50 * NSEC_PER_MSEC)
#define LOOK_NS NSEC_PER_SEC		/* for what takes longer to see, and hurts less */
#define BACKOFF_MIN_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (2 * NSEC_PER_SEC)
#define BACKOFF_IN_USE_NS (30 * NSEC_PER_SEC)
#define CHOOSE_NS (10 * NSEC_PER_SEC)
#define FILTER_AGAIN_NS (60 * NSEC_PER_SEC)
#define OF_A_DEVICE (VD_TROUBLE_PROGRAM | VD_TROUBLE_CHANNELS | VD_TROUBLE_FILTER | VD_TROUBLE_OFFLOAD | VD_TROUBLE_MTU)
#define TRIES 5
#define TRIES_NS (30 * NSEC_PER_SEC)

static const char *const repair_name[UPLINK_REPAIRS] = {
	[UPLINK_REPAIR_PROGRAM] = "program",
	[UPLINK_REPAIR_CHANNELS] = "channels",
	[UPLINK_REPAIR_MTU] = "mtu",
	[UPLINK_REPAIR_OFFLOAD] = "offload",
	[UPLINK_REPAIR_FILTER] = "filter",
};

const char *uplink_repair_name(enum uplink_repair r)
{
	return repair_name[r];
}

static void tell_event(struct uplink *u, const char *event, const char *detail)
{
	if (u->user && u->user->event)
		u->user->event(u->user_arg, event, detail);
}

/* Says once what is wrong, and notes it for status. @trouble: one bit. */
static void complain(struct uplink *u, uint32_t trouble, const char *text)
{
	char *why = u->trouble_why[__builtin_ctz(trouble)];

	if (u->trouble & trouble && !strcmp(why, text))
		return;
	u->trouble |= trouble;
	snprintf(why, sizeof(u->trouble_why[0]), "%s", text);
	log_warn("uplink %s: %s", u->last_name, text);
	tell_event(u, "uplink_trouble", text);
}

static void settled(struct uplink *u, uint32_t trouble)
{
	u->trouble &= ~trouble;
	for (int i = 0; i < VD_TROUBLES; i++)
		if (trouble & 1u << i)
			u->trouble_why[i][0] = '\0';
}

static void repaired(struct uplink *u, enum uplink_repair r)
{
	static const char *const text[UPLINK_REPAIRS] = {
		[UPLINK_REPAIR_PROGRAM] = "another tool had taken viaduct's XDP program away: it is back",
		[UPLINK_REPAIR_CHANNELS] = "it has another number of NIC queues: all are served",
		[UPLINK_REPAIR_MTU] = "its MTU needs longer buffers: they are there",
		[UPLINK_REPAIR_OFFLOAD] = "another tool had switched VLAN offloads on: they are off again",
		[UPLINK_REPAIR_FILTER] = "another tool had taken guests' addresses out of its receive filter: they are back",
	};

	u->repaired[r]++;
	log_warn("uplink %s: %s", u->last_name, text[r]);
	tell_event(u, "uplink_repaired", repair_name[r]);
}

/* May it be tried once more? */
static bool patient(struct uplink *u, enum uplink_repair r, uint64_t now_ns)
{
	struct uplink_patience *p = &u->patience[r];

	if (now_ns - p->since_ns > TRIES_NS)
		*p = (struct uplink_patience){ .since_ns = now_ns };
	return p->times++ < TRIES;
}

/* --- another device -------------------------------------------------------------- */

int uplink_choose(struct uplink *u, const struct fail *why)
{
	struct choose_device list[CHOOSE_MAX];
	unsigned n = choose_devices(u->host, u->linkmon, &u->cfg, 0, &u->known, list, CHOOSE_MAX);
	int best = choose_best(list, n, 0);

	if (best < 0) {
		choose_explain(&u->cfg, list, n, why->text, why->len);
		return -ENODEV;
	}
	u->standby = list[best].standby;
	return list[best].ifindex;
}

void uplink_clear_up(struct uplink *u)
{
	struct choose_device list[CHOOSE_MAX];
	unsigned n = choose_devices(u->host, u->linkmon, &u->cfg, u->dev->ifindex, &u->known, list, CHOOSE_MAX);

	for (unsigned i = 0; i < n; i++)
		if (list[i].ifindex != u->dev->ifindex)
			uplink_device_clear_up(u, list[i].name);
}

/*
 * The device in use is no longer. Its sockets and settings are closed behind the back of whoever used the queues.
 * @quiet: it will be back in a moment, and nobody is told
 */
static int drop_device(struct uplink *u, bool quiet)
{
	struct uplink_device *past = u->dev;
	bool changed = false;
	int ret;

	u->user->pause(u->user_arg);
	ret = uplink_device_leave(u);
	if (!ret) {
		program_leave(&u->program, &past->link);
		linkmon_follow(u->linkmon, 0);
	}
	if (ret)
		log_error("uplink %s: there is not enough memory to let go of it", u->last_name);
	if (!quiet) {
		settled(u, OF_A_DEVICE);
		changed = uplink_take_state(u);
	}
	u->user->changed(u->user_arg, u->dev != NULL);
	if (!quiet)
		uplink_tell(u, changed);
	if (!ret && quiet)	/* the sockets are in the way of the next ones */
		uplink_device_close(u, past);
	else if (!ret)
		uplink_device_close_slowly(u, past);
	return ret;
}

/* A new device takes the place of the one in use, if there is one. */
static int change_device(struct uplink *u, struct uplink_device *next, const struct fail *why)
{
	struct uplink_device *past = u->dev;
	int ret;

	linkmon_follow(u->linkmon, next->ifindex);	/* asks the driver for its speed, so not while everybody waits */
	u->user->pause(u->user_arg);
	ret = past ? uplink_device_leave(u) : 0;
	if (ret) {
		linkmon_follow(u->linkmon, past->ifindex);
		u->user->changed(u->user_arg, true);
		return fail_with(why, ret, "out of memory");
	}
	uplink_device_use(u, next);
	u->moves++;
	uplink_settle(u);
	ret = uplink_fill(u, why);
	if (ret)
		log_error("uplink %s: %s", next->name, why->text);
	u->user->changed(u->user_arg, true);
	uplink_tell(u, true);
	u->user->arrived(u->user_arg);
	uplink_device_close_slowly(u, past);
	return 0;
}

static int open_device(struct uplink *u, int ifindex, const struct fail *why)
{
	struct uplink_device *next = NULL;
	uint64_t wait;
	int ret;

	while (u->lingering && u->lingering->ifindex == ifindex)
		uplink_device_linger(u);
	/* Sockets that are not ours are not waited for. */
	wait = ifindex == u->closed_ifindex && clock_now() - u->closed_ns < NSEC_PER_SEC ? UPLINK_WAIT_NS : 0;
	if (u->dev)
		program_leave(&u->program, &u->dev->link);
	ret = uplink_device_open(u, ifindex, wait, &next, why);
	if (!ret) {
		if (next->info.vlan_tags == UPLINK_TAGS_LOST && u->user->needs_tags(u->user_arg))
			ret = fail_with(why, -EOPNOTSUPP, "there are ports with vlan= or trunk=: %s", next->info.vlan_tags_why);
		else
			ret = change_device(u, next, why);
		if (!ret)
			return 0;
		program_detach(&u->program);
		uplink_device_close(u, next);
	}
	if (u->dev) {
		program_return(&u->program, &u->dev->link);
		u->dev->link = (struct program_link){ .link = -1 };
	}
	return ret;
}

static struct uplink_refusal *refusal_of(struct uplink *u, int ifindex)
{
	for (int i = 0; i < UPLINK_REFUSALS; i++)
		if (u->refusal[i].ifindex == ifindex)
			return &u->refusal[i];
	return NULL;
}

/* The device is not tried again at once, and each time later; the later when another is in use that goes on meanwhile. */
static void refuse(struct uplink *u, int ifindex, uint64_t now_ns)
{
	const uint64_t most = u->dev ? BACKOFF_IN_USE_NS : BACKOFF_MAX_NS;
	struct uplink_refusal *r = refusal_of(u, ifindex);

	if (!r)
		r = refusal_of(u, 0);
	if (!r)
		r = &u->refusal[0];
	if (r->ifindex != ifindex)
		*r = (struct uplink_refusal){ .ifindex = ifindex, .backoff_ns = BACKOFF_MIN_NS };
	r->retry_ns = now_ns + r->backoff_ns;
	r->backoff_ns = 2 * r->backoff_ns < most ? 2 * r->backoff_ns : most;
}

/* Is the device in use of any use? */
static bool goes_on(const struct uplink *u, const struct choose_device *list, unsigned n)
{
	for (unsigned i = 0; u->dev && i < n; i++)
		if (list[i].ifindex == u->dev->ifindex)
			return list[i].up;
	return false;
}

/*
 * Those that were refused a moment ago are not to be chosen. Those that are not there are forgotten, and those whose time
 * has come without a chance to be taken. Return: how many are left.
 */
static unsigned apply_refusals(struct uplink *u, struct choose_device *list, unsigned n, uint64_t now_ns)
{
	const bool waits = goes_on(u, list, n);
	unsigned refused = 0;

	for (int i = 0; i < UPLINK_REFUSALS; i++) {
		struct uplink_refusal *r = &u->refusal[i];
		unsigned at = 0;

		while (at < n && list[at].ifindex != r->ifindex)
			at++;
		if (!waits && r->retry_ns > now_ns + BACKOFF_MAX_NS)	/* it was for as long as another is in use */
			r->retry_ns = now_ns + (r->backoff_ns = BACKOFF_MAX_NS);
		if (!r->ifindex || at == n ||
		    (now_ns >= r->retry_ns && (list[at].why_not[0] || (u->dev && !list[at].up)))) {
			r->ifindex = 0;
			continue;
		}
		refused++;
		if (now_ns < r->retry_ns && !list[at].why_not[0])
			snprintf(list[at].why_not, sizeof(list[at].why_not), "it is tried again in a moment");
	}
	return refused;
}

static void failed(struct uplink *u, int ifindex, const char *name, const char *text, uint64_t now_ns)
{
	const bool named = !strncmp(text, name, strlen(name));	/* many reasons begin with it */
	char line[sizeof(u->trouble_why[0])];

	snprintf(line, sizeof(line), "cannot be used: %s%s%s", named ? "" : name, named ? "" : ": ", text);
	complain(u, VD_TROUBLE_DEVICE, line);
	refuse(u, ifindex, now_ns);
}

static void move_to(struct uplink *u, const struct choose_device *to, uint64_t now_ns)
{
	const bool had = u->dev != NULL, was_standby = u->standby;
	char text[256] = "";
	const struct fail why = { text, sizeof(text) };
	int ret;

	u->standby = to->standby;
	ret = open_device(u, to->ifindex, &why);
	if (ret) {
		u->standby = was_standby;
		failed(u, to->ifindex, to->name, text, clock_now());
		return;
	}
	if (refusal_of(u, to->ifindex))
		refusal_of(u, to->ifindex)->ifindex = 0;
	log_info("uplink: %s %s, which took %.1f ms", had ? "gone over to" : "took", to->name,
		 (double)(clock_now() - now_ns) / 1e6);
	settled(u, OF_A_DEVICE);
	tell_event(u, "uplink_device", to->name);
}

/* The same device anew. */
static void reopen(struct uplink *u, enum uplink_repair r, uint64_t now_ns)
{
	struct choose_device same = { .ifindex = u->dev->ifindex, .standby = u->standby };

	if (!patient(u, r, now_ns)) {
		complain(u, r == UPLINK_REPAIR_MTU ? VD_TROUBLE_MTU : VD_TROUBLE_CHANNELS,
			 "its MTU or number of NIC queues changes again and again: it is followed half a minute later");
		return;
	}
	memcpy(same.name, u->last_name, sizeof(same.name));
	if (drop_device(u, true))
		return;
	move_to(u, &same, clock_now());
	if (u->dev)
		repaired(u, r);
}

/*
 * Which devices there are changes only when the link monitor says something; but for what waits for its time, and for
 * routes and the like, which are looked at now and then.
 */
static bool device_is_due(const struct uplink *u, uint64_t now_ns)
{
	/* Once more when it is over, too. */
	const bool settling = u->dev && !u->hold.was_up && u->chosen_ns < u->hold.opened_ns + CHOOSE_SETTLE_NS;
	bool retry = false;

	for (int i = 0; i < UPLINK_REFUSALS; i++)
		retry |= u->refusal[i].ifindex && now_ns >= u->refusal[i].retry_ns;
	return retry || settling || u->hold.better_ns || now_ns - u->chosen_ns >= CHOOSE_NS ||
	       (u->heard && linkmon_digest(u->linkmon) != u->chosen_from) || (u->dev != NULL) != u->had_device;
}

/* A device that is not taken is missed only when it is needed, which is too late to hear of it. */
static void tell_refused(struct uplink *u, const struct choose_device *list, unsigned n)
{
	const char *why = "";

	for (unsigned i = 0; i < n && !why[0]; i++)
		why = list[i].why_not;
	if (!strcmp(why, u->refused))
		return;
	snprintf(u->refused, sizeof(u->refused), "%s", why);
	if (!why[0])
		return;
	log_warn("uplink %s: %s", u->last_name, why);
	tell_event(u, "uplink_refused", why);
}

static void follow_device(struct uplink *u, uint64_t now_ns)
{
	const int current = u->dev ? u->dev->ifindex : 0;
	struct choose_device list[CHOOSE_MAX];
	unsigned n, refused;
	char text[256];
	int to;

	if (!device_is_due(u, now_ns))
		return;
	u->chosen_ns = now_ns;
	u->chosen_from = linkmon_digest(u->linkmon);
	u->had_device = u->dev;
	n = choose_devices(u->host, u->linkmon, &u->cfg, current, &u->known, list, CHOOSE_MAX);
	tell_refused(u, list, n);
	refused = apply_refusals(u, list, n, now_ns);
	if (!refused && (current || !n))
		settled(u, VD_TROUBLE_DEVICE);
	to = current ? choose_move(list, n, current, &u->hold, now_ns) : choose_best(list, n, 0);
	if (to >= 0) {
		move_to(u, &list[to], now_ns);
	} else if (!current && n && !refused) {	/* there are some, but none is for us */
		choose_explain(&u->cfg, list, n, text, sizeof(text));
		complain(u, VD_TROUBLE_DEVICE, text);
	}
}

/* --- what others did to this one ---------------------------------------------------- */

static void follow_program(struct uplink *u, uint64_t now_ns)
{
	char text[256] = "";
	const struct fail why = { text, sizeof(text) };
	int ret;

	if (u->cfg.attach != UPLINK_ATTACH_LINK) {
		if (linkmon_state(u->linkmon)->xdp_lost)
			complain(u, VD_TROUBLE_PROGRAM, "its XDP program is gone, and guests receive nothing from the wire: restart viaduct");
		return;
	}
	if (u->program_failures >= 3 && now_ns < u->program_retry_ns)
		return;
	u->program_retry_ns = now_ns + BACKOFF_MAX_NS / 4;
	if (program_intact(&u->program)) {
		if (linkmon_state(u->linkmon)->xdp_lost)	/* of before it was put right */
			linkmon_expect_program(u->linkmon, u->program.id, false);
		settled(u, VD_TROUBLE_PROGRAM);
		u->program_failures = 0;
		return;
	}
	/* What failed is tried until the interface is free. */
	if (!u->program_failures && !patient(u, UPLINK_REPAIR_PROGRAM, now_ns)) {
		complain(u, VD_TROUBLE_PROGRAM, "another tool takes viaduct's XDP program away again and again: stop it; guests receive nothing from the wire meanwhile");
		return;
	}
	ret = program_repair(&u->program, &why);
	if (ret) {
		/* A device that is being removed loses its program before anybody is told of it. */
		if (++u->program_failures < 3)
			u->trouble |= VD_TROUBLE_PROGRAM;
		else
			complain(u, VD_TROUBLE_PROGRAM, text);
		return;
	}
	linkmon_expect_program(u->linkmon, u->program.id, false);
	u->program_failures = 0;
	settled(u, VD_TROUBLE_PROGRAM);
	repaired(u, UPLINK_REPAIR_PROGRAM);
}

/* Longer frames than buffers are for. */
static void follow_mtu(struct uplink *u, const struct linkmon_dev *d, uint64_t now_ns)
{
	struct uplink_info fit = { 0 };
	char text[256] = "";
	const struct fail why = { text, sizeof(text) };

	if (d->mtu + 14 <= u->info.max_frame) {
		settled(u, VD_TROUBLE_MTU);
		return;
	}
	if (uplink_fit(u, d, &fit, &why))
		complain(u, VD_TROUBLE_MTU, text);
	else if (u->cfg.attach != UPLINK_ATTACH_LINK)
		complain(u, VD_TROUBLE_MTU, "frames of its MTU are longer than buffers, and cannot reach guests: restart viaduct, or lower the MTU");
	else if (fit.max_frame > u->info.max_frame)
		reopen(u, UPLINK_REPAIR_MTU, now_ns);
}

static void follow_channels(struct uplink *u, const struct linkmon_dev *d, uint64_t now_ns)
{
	const bool set = u->info.channels[0];
	struct ifcheck c = { 0 };
	char text[256] = "";
	const struct fail why = { text, sizeof(text) };
	int n = watch_channels(u->host, d, &c);

	if (n < 0)
		return;
	n = uplink_count_queues(u, d, &c, u->cfg.queues ? u->cfg.queues : set ? u->cfg.set_channels : 0, &why);
	if (n == (int)u->info.queues) {
		settled(u, VD_TROUBLE_CHANNELS);
		return;
	}
	if ((n < 0 && !set) || n > (int)u->most || u->cfg.attach != UPLINK_ATTACH_LINK) {
		if (n > 0)
			snprintf(text, sizeof(text), "it has %d NIC queues, and %u can be served before viaduct is restarted", n,
				 u->cfg.attach == UPLINK_ATTACH_LINK ? u->most : u->info.queues);
		complain(u, VD_TROUBLE_CHANNELS, text);
		return;
	}
	reopen(u, UPLINK_REPAIR_CHANNELS, now_ns);
}

static void follow_offloads(struct uplink *u, const struct linkmon_dev *d)
{
	const struct nicset_found found = settings_check(&u->dev->settings, d->name, &u->info);

	if (!found.changed) {
		settled(u, VD_TROUBLE_OFFLOAD);
		return;
	}
	helpers_loaded(&u->dev->helpers, u->program.bound, &u->cfg, &u->info);
	if (found.repaired)
		repaired(u, UPLINK_REPAIR_OFFLOAD);
	else
		complain(u, VD_TROUBLE_OFFLOAD, "another tool switches VLAN offloads on again and again (ethtool -K): stop it; frames may lose their tags meanwhile");
}

static void follow_filter(struct uplink *u, uint64_t now_ns)
{
	unsigned missing = 0;
	int left;

	if (now_ns < u->filter_again_ns)
		return;
	left = watch_filter(u->host, u->dev->filter_fd, u->dev->ifindex, (const uint8_t(*)[6])u->filter,
			    u->nfilter < WATCH_MACS ? u->nfilter : WATCH_MACS, &missing);
	if (left > 0) {
		u->filter_again_ns = now_ns + FILTER_AGAIN_NS;
		complain(u, VD_TROUBLE_FILTER, "guests' addresses are not in its receive filter: another tool removes them again and again (bridge fdb), which is to be stopped, or the driver does not show them");
	} else if (!left) {
		if (missing)
			repaired(u, UPLINK_REPAIR_FILTER);
		settled(u, VD_TROUBLE_FILTER);
	}
}

/* What can be seen only by asking for it: once a second, and when the kernel said something about the device. */
static void follow_rest(struct uplink *u, uint64_t now_ns)
{
	const struct linkmon_dev *d = linkmon_uplink(u->linkmon);
	const bool due = now_ns - u->looked_ns >= LOOK_NS;

	if (!u->heard)	/* the next time is soon enough: first guests hear of it, and have their questions answered */
		follow_mtu(u, d, now_ns);
	d = linkmon_uplink(u->linkmon);		/* it may have been opened again */
	if (!d || !u->dev || (!due && !u->heard))
		return;
	follow_offloads(u, d);
	if (!due)
		return;
	u->looked_ns = now_ns;
	follow_filter(u, now_ns);
	follow_channels(u, d, now_ns);
}

void uplink_follow(struct uplink *u)
{
	const uint64_t now = clock_now();

	if (u->following)
		return;
	if (!u->user) {
		uplink_tell(u, false);
		return;
	}
	u->following = true;
	uplink_device_linger(u);
	/* The dispatcher's maps go with its device, so there is no other one for them. */
	if (u->cfg.attach == UPLINK_ATTACH_LINK) {
		if (u->dev && !linkmon_state(u->linkmon)->ifindex)
			drop_device(u, false);
		follow_device(u, now);
	}
	if (linkmon_uplink(u->linkmon))
		follow_program(u, now);
	uplink_tell(u, false);	/* before what may take long */
	if (linkmon_uplink(u->linkmon))
		follow_rest(u, now);
	u->heard = false;
	uplink_tell(u, false);
	u->following = false;
}

static void on_timer(struct loop_timer *t)
{
	struct uplink *u = t->arg;

	uplink_follow(u);
	if (u->user)
		loop_timer_set(u->loop, &u->timer, clock_now() + WATCH_NS);
}

/* The link monitor has seen something of some interface. */
static void on_change(void *arg, bool state_changed)
{
	struct uplink *u = arg;

	(void)state_changed;
	u->heard = true;
	uplink_follow(u);
}

void uplink_watch(struct uplink *u)
{
	linkmon_on_change(u->linkmon, on_change, u);
}

void uplink_set_user(struct uplink *u, const struct uplink_user *user, void *arg)
{
	u->user = user;
	u->user_arg = arg;
	u->timer.fn = on_timer;
	u->timer.arg = u;
	if (user)
		loop_timer_set(u->loop, &u->timer, clock_now() + WATCH_NS);
	else
		loop_timer_cancel(u->loop, &u->timer);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest is told of its link: by policy and operator, over every way that there is. */
#include "base/clock.h"
#include "bridge/attach.h"
#include "bridge/portlink.h"
#include "control.h"
#include "monitor.h"
#include "vu.h"

#define STATUS (1ull << VIRTIO_NET_F_STATUS)
#define ASKS (1ull << VHOST_USER_PROTOCOL_F_CONFIG | 1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ)

static struct monitor monitor;
static char news[1024];		/* of the guest's link and the operator's */

static void on_event(void *arg, const struct bridge_event *ev)
{
	size_t at = strlen(news);

	(void)arg;
	if (strstr(ev->event, "link_"))
		snprintf(news + at, sizeof(news) - at, "%s %s;", ev->event, ev->detail);
}

static void expect_news(const char *what)
{
	assert_string_equal(news, what);
	news[0] = '\0';
}

static int setup(void **state)
{
	control_open(&control);
	control.b.event = on_event;
	uplink_links[0].up = 1;
	news[0] = '\0';
	monitor.listener = monitor.conn = -1;
	*state = &control;
	return 0;
}

static int teardown(void **state)
{
	monitor_close(&monitor);
	control_close(*state);
	return 0;
}

static struct port *port_with(struct control *c, struct port_config cfg)
{
	assert_int_equal(control_add(c, &cfg), 0);
	return bridge_port_find(&c->b, cfg.name);
}

static struct port *port_of(struct control *c, enum port_link link)
{
	struct port_config cfg = control_port(c, "vm0");

	cfg.link = link;
	return port_with(c, cfg);
}

/* A port whose QEMU has a monitor. */
static struct port *port_of_qemu(struct control *c, enum port_link link)
{
	struct port_config cfg = control_port(c, "vm0");

	monitor_open(&monitor, c->dir);
	cfg.link = link;
	memcpy(cfg.qmp, monitor.path, sizeof(cfg.qmp));
	strcpy(cfg.netdev, "net0");
	return port_with(c, cfg);
}

static void set_uplink(struct control *c, bool up)
{
	uplink_links[0].up = up;
	portlink_update_all(&c->b);
}

static void settle(struct control *c)
{
	monitor_settle(&monitor, c->b.loop);
}

static int dial(struct control *c, struct port *p)
{
	int fd = fake_connect(NULL, p->cfg.socket);

	if (fd >= 0)
		settle(c);
	return fd;
}

static void say_fd(struct port *p, struct vhost_user_msg m, int fd)
{
	struct vhost_user_msg reply;

	assert_int_equal(session_handle(endpoint_session(p->endpoint), &m, &fd, fd >= 0, &reply), 0);
}

static void negotiate(struct port *p, uint64_t protocol, uint64_t features)
{
	say_fd(p, vu_u64(VHOST_USER_SET_PROTOCOL_FEATURES, protocol), -1);
	say_fd(p, vu_u64(VHOST_USER_SET_FEATURES, VU_FEATURES | features), -1);
}

/* A front-end that asks for the configuration. Return: its end of the channel. */
static int open_channel(struct port *p)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	negotiate(p, ASKS, STATUS);
	say_fd(p, vu_msg(VHOST_USER_SET_BACKEND_REQ_FD, 0, 0), pair[0]);
	return pair[1];
}

static bool is_told(int channel)
{
	struct vhost_user_hdr h;

	if (recv(channel, &h, sizeof(h), MSG_DONTWAIT) != sizeof(h))
		return false;
	assert_int_equal(h.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	return true;
}

/* The status of the device that the front-end reads. */
static bool reads_up(struct port *p)
{
	const struct vhost_user_msg m = vu_config_msg(VHOST_USER_GET_CONFIG, 0, sizeof(struct virtio_net_config));
	struct vhost_user_msg reply;
	struct virtio_net_config c;

	assert_int_equal(session_handle(endpoint_session(p->endpoint), &m, NULL, 0, &reply), 1);
	memcpy(&c, reply.payload.config.data, sizeof(c));
	return c.status & VIRTIO_NET_S_LINK_UP;
}

static void expect_guest(const struct port *p, enum vd_guest_link guest, const char *by)
{
	assert_int_equal(p->link.guest, guest);
	assert_int_equal(uplink_links[1 + p->index].guest, guest);
	assert_string_equal(portlink_by(p), by);
}

static void pull(struct control *c, bool up)
{
	assert_int_equal(bridge_port_link(&c->b, "vm0", up, c->err, sizeof(c->err)), 0);
}

static void wait_until_held(struct control *c, const struct port *p)
{
	while (!endpoint_is_held(p->endpoint))
		assert_true(loop_once(c->b.loop, -1) >= 0);
	settle(c);
}

/* --- by the configuration --- */

static void a_guest_that_asks_is_told_at_once(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_FOLLOW);
	int fd, channel;

	expect_guest(p, VD_GUEST_NONE, "nothing");
	fd = dial(c, p);
	expect_guest(p, VD_GUEST_UP, "nothing");
	channel = open_channel(p);
	expect_guest(p, VD_GUEST_UP, "config_change");
	is_told(channel);
	for (unsigned i = 0; i < 3; i++) {
		set_uplink(c, false);
		assert_true(is_told(channel));
		assert_false(reads_up(p));
		expect_guest(p, VD_GUEST_DOWN, "config_change");
		expect_news("guest_link_down config_change;");
		set_uplink(c, true);
		assert_true(is_told(channel));
		assert_true(reads_up(p));
		expect_guest(p, VD_GUEST_UP, "config_change");
		expect_news("guest_link_up config_change;");
	}
	assert_false(is_told(channel));
	close(fd);
	settle(c);
	expect_guest(p, VD_GUEST_NONE, "nothing");
	expect_news("");
	close(channel);
}

static void a_guest_that_returns_without_carrier_is_told_of_it_again(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_FOLLOW);
	int fd, channel;

	set_uplink(c, false);
	for (unsigned i = 0; i < 2; i++) {
		fd = dial(c, p);
		expect_guest(p, VD_GUEST_NONE, "nothing");	/* it may ask yet */
		channel = open_channel(p);
		assert_false(reads_up(p));
		expect_guest(p, VD_GUEST_DOWN, "config_change");
		assert_string_equal(portlink_why(p), "");
		close(channel);
		close(fd);
		settle(c);
	}
	set_uplink(c, true);
	close(dial(c, p));
	settle(c);
}

static void a_message_that_does_not_fit_is_not_yet_told(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_FOLLOW);
	int fd = dial(c, p), channel = open_channel(p), ours;
	char junk[4096] = { 0 };

	ours = session_state(endpoint_session(p->endpoint))->channel;
	while (send(ours, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	set_uplink(c, false);
	expect_guest(p, VD_GUEST_UP, "config_change");
	expect_news("");
	while (recv(channel, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	attach_check(p, clock_now());	/* with the next tick */
	assert_true(is_told(channel));
	expect_guest(p, VD_GUEST_DOWN, "config_change");
	expect_news("guest_link_down config_change;");
	close(channel);
	close(fd);
	settle(c);
}

/* --- by nothing --- */

static void where_there_is_no_way_the_link_stays_up_and_status_says_so(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_FOLLOW);
	int fd = dial(c, p), channel;

	negotiate(p, 1, STATUS);
	expect_guest(p, VD_GUEST_UP, "nothing");
	assert_string_equal(portlink_why(p), "");
	set_uplink(c, false);
	expect_guest(p, VD_GUEST_UNTOLD, "nothing");
	assert_non_null(strstr(portlink_why(p), "give qmp=PATH of QEMU's monitor, or link=close"));
	expect_news("guest_link_down untold;");
	set_uplink(c, true);
	expect_guest(p, VD_GUEST_UP, "nothing");
	expect_news("guest_link_up nothing;");
	/* It asks for the configuration, but its driver does not look at the link in it. */
	close(fd);
	settle(c);
	fd = dial(c, p);
	channel = open_channel(p);
	negotiate(p, ASKS, 0);
	set_uplink(c, false);
	expect_guest(p, VD_GUEST_UNTOLD, "nothing");
	assert_non_null(strstr(portlink_why(p), "did not take VIRTIO_NET_F_STATUS"));
	close(channel);
	close(fd);
	settle(c);
}

static void a_guest_whose_link_is_always_up_is_told_nothing(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_ALWAYS_UP);
	struct port_config cfg = p->cfg;
	int fd = dial(c, p), channel = open_channel(p);

	is_told(channel);
	set_uplink(c, false);
	assert_false(is_told(channel));
	assert_true(reads_up(p));
	expect_guest(p, VD_GUEST_UP, "config_change");
	expect_news("");
	/* But that its cable was pulled. */
	pull(c, false);
	assert_true(is_told(channel));
	assert_false(reads_up(p));
	expect_guest(p, VD_GUEST_DOWN, "config_change");
	pull(c, true);
	assert_true(is_told(channel));
	expect_guest(p, VD_GUEST_UP, "config_change");
	news[0] = '\0';
	/* Another policy holds at once. */
	cfg.link = PORT_LINK_FOLLOW;
	assert_int_equal(control_set(c, &cfg), 0);
	assert_true(is_told(channel));
	expect_guest(p, VD_GUEST_DOWN, "config_change");
	close(channel);
	close(fd);
	settle(c);
}

/* --- by QEMU's monitor --- */

static void qemu_is_told_over_its_monitor(void **state)
{
	struct control *c = *state;
	struct port *p = port_of_qemu(c, PORT_LINK_FOLLOW);
	int fd = dial(c, p);

	negotiate(p, 1, STATUS);
	settle(c);
	assert_string_equal(monitor.log, "");	/* it has set it up itself */
	set_uplink(c, false);
	expect_guest(p, VD_GUEST_UP, "qmp");	/* not yet */
	settle(c);
	expect_guest(p, VD_GUEST_DOWN, "qmp");
	expect_news("guest_link_down qmp;");
	set_uplink(c, true);
	expect_guest(p, VD_GUEST_DOWN, "qmp");
	settle(c);
	expect_guest(p, VD_GUEST_UP, "qmp");
	expect_news("guest_link_up qmp;");
	assert_string_equal(monitor.log, "caps;net0 down;caps;net0 up;");
	close(fd);
	settle(c);
}

static void qemu_is_told_again_when_it_has_connected_again(void **state)
{
	struct control *c = *state;
	struct port *p = port_of_qemu(c, PORT_LINK_FOLLOW);
	int fd;

	set_uplink(c, false);
	settle(c);
	for (unsigned i = 0; i < 2; i++) {
		monitor.log[0] = '\0';
		fd = dial(c, p);
		assert_string_equal(monitor.log, "");	/* its first message says that it has set the link up */
		negotiate(p, 1, STATUS);
		settle(c);
		assert_string_equal(monitor.log, "caps;net0 down;");
		expect_guest(p, VD_GUEST_DOWN, "qmp");
		assert_non_null(strstr(news, "guest_link_down qmp;"));
		news[0] = '\0';
		close(fd);
		settle(c);
		expect_guest(p, VD_GUEST_NONE, "qmp");
	}
	/* Up while nobody was there: once, for who knows what it heard. */
	set_uplink(c, true);
	for (unsigned i = 0; i < 2; i++) {
		monitor.log[0] = '\0';
		fd = dial(c, p);
		negotiate(p, 1, STATUS);
		settle(c);
		assert_string_equal(monitor.log, i ? "" : "caps;net0 up;");
		expect_guest(p, VD_GUEST_UP, "qmp");
		close(fd);
		settle(c);
	}
}

static void a_monitor_that_fails_leaves_the_guest_untold_and_says_why(void **state)
{
	struct control *c = *state;
	struct port *p = port_of_qemu(c, PORT_LINK_FOLLOW);
	int fd = dial(c, p);

	monitor_close(&monitor);
	negotiate(p, 1, STATUS);
	set_uplink(c, false);
	settle(c);
	expect_guest(p, VD_GUEST_UNTOLD, "qmp");
	assert_non_null(strstr(portlink_why(p), "cannot connect to the monitor"));
	expect_news("guest_link_down untold;");
	monitor_open(&monitor, c->dir);
	while (p->link.guest != VD_GUEST_DOWN) {
		monitor_turn(&monitor);
		assert_true(loop_once(c->b.loop, 1) >= 0);
	}
	assert_string_equal(portlink_why(p), "");
	expect_guest(p, VD_GUEST_DOWN, "qmp");
	expect_news("guest_link_down qmp;");
	close(fd);
	settle(c);
}

static void qemu_is_not_left_with_a_link_that_nobody_sets_up_again(void **state)
{
	struct control *c = *state;
	struct port *p = port_of_qemu(c, PORT_LINK_FOLLOW);
	struct port_config cfg = p->cfg;
	int fd = dial(c, p);

	negotiate(p, 1, STATUS);
	set_uplink(c, false);
	settle(c);
	cfg.qmp[0] = cfg.netdev[0] = '\0';
	assert_int_equal(control_set(c, &cfg), 0);
	settle(c);
	assert_string_equal(monitor.log, "caps;net0 down;caps;net0 up;");
	assert_null(p->link.qmp);
	expect_guest(p, VD_GUEST_UNTOLD, "nothing");
	/* And given again, it is told again. */
	memcpy(cfg.qmp, monitor.path, sizeof(cfg.qmp));
	strcpy(cfg.netdev, "net7");
	monitor.log[0] = '\0';
	assert_int_equal(control_set(c, &cfg), 0);
	settle(c);
	assert_string_equal(monitor.log, "caps;net7 down;");
	expect_guest(p, VD_GUEST_DOWN, "qmp");
	close(fd);
	settle(c);
}

/* --- by the connection --- */

static void without_carrier_for_long_the_connection_is_closed(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_CLOSE);
	int fd = dial(c, p);

	negotiate(p, 1, STATUS);
	set_uplink(c, false);
	settle(c);
	assert_true(p->connected);
	expect_guest(p, VD_GUEST_UP, "connection");
	set_uplink(c, true);	/* soon enough */
	assert_int_equal(p->link.close.due_ns, 0);
	expect_news("");
	set_uplink(c, false);
	wait_until_held(c, p);
	assert_false(p->connected);
	expect_guest(p, VD_GUEST_DOWN, "connection");
	expect_news("guest_link_down connection;");
	assert_int_equal(uplink_links[1 + p->index].reason, VD_REASON_UPLINK);
	assert_int_equal(dial(c, p), -ENOENT);
	close(fd);
	set_uplink(c, true);
	assert_int_equal(uplink_links[1 + p->index].reason, VD_REASON_NOT_CONNECTED);
	expect_guest(p, VD_GUEST_NONE, "connection");
	fd = dial(c, p);
	assert_true(fd >= 0);
	expect_guest(p, VD_GUEST_UP, "connection");
	expect_news("guest_link_up connection;");
	close(fd);
	settle(c);
}

static void another_policy_opens_what_was_closed(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_CLOSE);
	struct port_config cfg = p->cfg;

	set_uplink(c, false);
	wait_until_held(c, p);
	cfg.link = PORT_LINK_FOLLOW;
	assert_int_equal(control_set(c, &cfg), 0);
	close(dial(c, p));
	settle(c);
	cfg.link = PORT_LINK_CLOSE;	/* it is down for long already */
	assert_int_equal(control_set(c, &cfg), 0);
	settle(c);
	assert_true(endpoint_is_held(p->endpoint));
	assert_int_equal(dial(c, p), -ENOENT);
}

/* --- by the operator --- */

static void a_pulled_cable_lasts_until_it_is_put_in_again(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_FOLLOW);
	struct port_config cfg = p->cfg;
	struct vd_link *l = &uplink_links[1 + p->index];
	int fd;

	pull(c, false);
	pull(c, false);
	expect_news("link_admin_down ;");
	for (unsigned i = 0; i < 2; i++) {
		fd = dial(c, p);
		negotiate(p, 1, STATUS);
		assert_int_equal(l->up, 0);
		assert_int_equal(l->reason, VD_REASON_ADMIN_DOWN);
		assert_true(p->policy.link_down);
		expect_guest(p, VD_GUEST_UNTOLD, "nothing");
		close(fd);
		settle(c);
		cfg.storm = 100 + i;
		assert_int_equal(control_set(c, &cfg), 0);
	}
	set_uplink(c, false);
	set_uplink(c, true);
	assert_int_equal(l->reason, VD_REASON_ADMIN_DOWN);
	news[0] = '\0';
	pull(c, true);
	assert_int_equal(l->reason, VD_REASON_NOT_CONNECTED);
	assert_false(p->policy.link_down);
	expect_news("link_admin_up ;");
	assert_int_equal(bridge_port_link(&c->b, "vm1", true, c->err, sizeof(c->err)), -ENOENT);
	assert_non_null(strstr(c->err, "no port vm1"));
}

static void rings_of_a_guest_whose_cable_is_pulled_are_not_steered_to(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_FOLLOW);
	struct virtq *vq = port_rxq(p, 0);
	int fd = dial(c, p);

	vq->started = vq->enabled = true;
	attach_update(p);
	assert_int_equal(uplink_links[1 + p->index].up, 1);
	assert_int_equal(uplink.port[p->index].enabled, 1);
	pull(c, false);
	assert_int_equal(uplink_links[1 + p->index].up, 0);
	assert_int_equal(uplink.port[p->index].enabled, 0);
	pull(c, true);
	assert_int_equal(uplink_links[1 + p->index].up, 1);
	assert_int_equal(uplink.port[p->index].enabled, 1);
	vq->started = vq->enabled = false;
	close(fd);
	settle(c);
}

static void a_pulled_cable_closes_the_connection_where_that_is_the_policy(void **state)
{
	struct control *c = *state;
	struct port *p = port_of(c, PORT_LINK_CLOSE);
	int fd = dial(c, p);

	pull(c, false);
	wait_until_held(c, p);
	assert_false(p->connected);
	assert_int_equal(uplink_links[1 + p->index].reason, VD_REASON_ADMIN_DOWN);
	expect_guest(p, VD_GUEST_DOWN, "connection");
	set_uplink(c, false);
	pull(c, true);		/* the other reason stays */
	assert_true(endpoint_is_held(p->endpoint));
	assert_int_equal(uplink_links[1 + p->index].reason, VD_REASON_UPLINK);
	close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_guest_that_asks_is_told_at_once),
		T(a_guest_that_returns_without_carrier_is_told_of_it_again),
		T(a_message_that_does_not_fit_is_not_yet_told),
		T(where_there_is_no_way_the_link_stays_up_and_status_says_so),
		T(a_guest_whose_link_is_always_up_is_told_nothing),
		T(qemu_is_told_over_its_monitor),
		T(qemu_is_told_again_when_it_has_connected_again),
		T(a_monitor_that_fails_leaves_the_guest_untold_and_says_why),
		T(qemu_is_not_left_with_a_link_that_nobody_sets_up_again),
		T(without_carrier_for_long_the_connection_is_closed),
		T(another_policy_opens_what_was_closed),
		T(a_pulled_cable_lasts_until_it_is_put_in_again),
		T(rings_of_a_guest_whose_cable_is_pulled_are_not_steered_to),
		T(a_pulled_cable_closes_the_connection_where_that_is_the_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

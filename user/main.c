/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * viaduct(8): the command line, and the life of a running bridge around
 * bridge_open() and bridge_close().
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sigbus.h"
#include "bridge/bridge.h"
#include "ctl/api.h"
#include "ctl/client.h"
#include "ctl/config.h"
#include "ctl/instance.h"
#include "ctl/limits.h"
#include "ctl/manage.h"
#include "ctl/takeover.h"

#define MIN_KERNEL_MAJOR 5	/* XDP bpf_link, xdp.frags and mmap-able maps are all there from 5.18 */
#define MIN_KERNEL_MINOR 18
#define LOCK_WAIT_NS (2 * NSEC_PER_SEC)	/* the instance before may be about to end */

struct daemon {
	const struct host_ops *host;
	struct config config;
	struct loop *loop;
	struct bridge *bridge;
	struct api *api;
	struct manage manage;
	struct takeover *takeover;
	struct loop_watch signals;
	int lock;
	bool stop;
};

static void usage(FILE *f)
{
	fprintf(f,
		"viaduct: a vhost-user bridge: guests' virtqueues on one side, a NIC that stays with its kernel driver "
		"on the other\n\n"
		"usage: viaduct run --uplink IFACE [--port name=NAME,socket=PATH]... [OPTION...]\n"
		"       viaduct status [--name NAME] [--port PORT] [--json]\n"
		"       viaduct monitor [--name NAME]\n"
		"       viaduct port add KEY=VALUE,... [--name NAME]\n"
		"       viaduct port del PORT [--name NAME]\n"
		"       viaduct port set PORT KEY=VALUE,... [--name NAME]\n"
		"       viaduct port list [--name NAME] [--json]\n"
		"       viaduct steer PORT [auto|hash] [INDEX[-INDEX]=PAIR,...|spread] [--name NAME] [--json]\n"
		"       viaduct link PORT [up|down] [--name NAME] [--json]\n"
		"       viaduct help | --version\n\n"
		"options of run:\n");
	config_help(f);
	fprintf(f, "  --take-over            go on for the running instance of this name, without a gap; start as usual when there is none\n");
}

static void on_event(void *arg, const struct bridge_event *ev)
{
	struct daemon *d = arg;
	json_t *o;

	if (!d->api)
		return;
	o = json_pack("{s:s, s:s, s:s}", "event", ev->event, "subject", ev->subject, "detail", ev->detail);
	if (!o)
		return;
	if (ev->number >= 0)
		json_object_set_new(o, "number", json_integer(ev->number));
	api_event(d->api, o);
}

static void on_signal(struct loop_watch *w, uint32_t events)
{
	struct signalfd_siginfo info;
	struct daemon *d = w->arg;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) == sizeof(info))
		d->stop = true;
}

/* Wakes a worker out of a write() that a front-end made blocking; nothing more to do. */
static void on_rescue(int sig)
{
	(void)sig;
}

static int setup_signals(struct daemon *d)
{
	struct sigaction rescue = { .sa_handler = on_rescue };	/* no SA_RESTART: the write must end */
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR2, &rescue, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);	/* before any thread: workers inherit it */
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	d->signals = (struct loop_watch){ .fd = fd, .fn = on_signal, .arg = d };
	return loop_add(d->loop, &d->signals, EPOLLIN);
}

/* What can be known before anything is touched. One line with the mend in @err. */
static int check_host(char *err, size_t errlen)
{
	unsigned major = 0, minor = 0;
	struct utsname un;

	if (geteuid() != 0) {
		snprintf(err, errlen, "no privilege for BPF and AF_XDP: run as root (sudo viaduct run ...)");
		return -EPERM;
	}
	if (!uname(&un) && sscanf(un.release, "%u.%u", &major, &minor) == 2 &&
	    (major < MIN_KERNEL_MAJOR || (major == MIN_KERNEL_MAJOR && minor < MIN_KERNEL_MINOR))) {
		snprintf(err, errlen, "kernel %s is too old: boot Linux %d.%d or newer", un.release, MIN_KERNEL_MAJOR,
			 MIN_KERNEL_MINOR);
		return -EOPNOTSUPP;
	}
	return 0;
}

/*
 * At once: whatever else the loop has found is the other process' to do. Closing in order would take it all away from the
 * guests.
 */
static void on_handed_over(void *arg)
{
	(void)arg;
	fflush(NULL);
	_exit(0);
}

static void api_path(const struct daemon *d, char path[108])
{
	snprintf(path, 108, INSTANCE_DIR "/%.64s.sock", d->config.uplink.name);
}

/* @kept: gets a path that is used until the bridge is open. */
static void bridge_config_of(const struct daemon *d, struct bridge_config *bc, char kept[108])
{
	*bc = (struct bridge_config){
		.uplink = d->config.uplink,
		.wait = d->config.wait,
		.cpus = d->config.ncpus ? d->config.cpus : NULL,
		.ncpus = d->config.ncpus,
		.ports = d->config.ports,
		.nports = d->config.nports,
		.host_port = d->config.host_port,
		.aging_s = d->config.aging_s,
	};

	memcpy(bc->unknown_port, d->config.unknown_port, sizeof(bc->unknown_port));
	snprintf(kept, 108, INSTANCE_DIR "/%.64s.rings", d->config.uplink.name);
	bc->kept = kept;
}

/* The next of this name may ask for everything. @fd: its socket, -1 = make one. */
static int offer_handover(struct daemon *d, int fd, char *err, size_t errlen)
{
	const struct takeover_estate estate = { d->bridge, d->api, d->lock };
	int ret = takeover_listen(d->loop, d->host, d->config.uplink.name, fd, &estate, on_handed_over, d, &d->takeover);

	if (ret)
		snprintf(err, errlen, "cannot open the socket for a successor in " INSTANCE_DIR ": %s", strerror(-ret));
	return ret;
}

static int start(struct daemon *d, char *err, size_t errlen)
{
	char path[108], kept[108];
	struct bridge_config bc;
	int ret;

	bridge_config_of(d, &bc, kept);
	api_path(d, path);
	ret = bridge_open(d->host, d->loop, &bc, on_event, d, &d->bridge, err, errlen);
	if (ret)
		return ret;
	instance_note(d->lock, uplink_info(d->bridge->uplink)->links_id);
	d->manage = (struct manage){ .bridge = d->bridge, .instance = d->config.uplink.name };
	ret = api_open(d->loop, d->host, path, &manage_ops, &d->manage, &d->api);
	if (ret)
		snprintf(err, errlen, "cannot open the control socket %s: %s", path, strerror(-ret));
	return ret ? ret : offer_handover(d, -1, err, errlen);
}

/* Go on where the running instance is. -ENOENT: there is none; -ECONNRESET: see takeover_run(). */
static int take_over(struct daemon *d, char *err, size_t errlen)
{
	const struct fail why = { err, errlen };
	struct bridge_config bc;
	struct takeover_heir h = { .host = d->host, .loop = d->loop, .cfg = &bc, .event = on_event, .event_arg = d };
	char path[108], kept[108];
	int ret;

	bridge_config_of(d, &bc, kept);
	ret = takeover_run(&h, d->config.uplink.name, &why);
	if (ret)
		return ret;
	d->bridge = h.bridge;
	d->lock = h.lock;
	log_info("took over from the instance before: nothing moved for %.2f ms", (double)h.gap_ns / 1e6);
	d->manage = (struct manage){ .bridge = d->bridge, .instance = d->config.uplink.name };
	api_path(d, path);
	ret = api_adopt(d->loop, d->host, path, h.api_fd, &manage_ops, &d->manage, &d->api);
	if (ret)	/* guests go on without it */
		log_error("no control socket: %s", strerror(-ret));
	else if (offer_handover(d, h.listener, err, errlen))
		log_error("%s", err);
	return 0;
}

static void stop(struct daemon *d)
{
	takeover_close(d->takeover);
	api_close(d->api);
	d->api = NULL;
	bridge_close(d->bridge);
	instance_unlock(d->host, d->config.uplink.name, d->lock);
}

static int serve(struct daemon *d)
{
	int ret = 0;

	fprintf(stderr, "viaduct: %s ready: %u NIC queues, %u port%s\n", d->config.uplink.name, d->bridge->queues,
		d->config.nports, d->config.nports == 1 ? "" : "s");
	sd_notifyf(0, "READY=1\nMAINPID=%d", (int)getpid());
	while (!d->stop && ret >= 0)
		ret = loop_once(d->loop, -1);
	sd_notify(0, "STOPPING=1");
	return ret < 0 ? ret : 0;
}

static char take_over_option[] = "--take-over";

/* The instance that was to hand over has died. Its fds are still open in this process: they go with it. */
static void start_anew(int argc, char **argv)
{
	char **args = calloc((size_t)argc + 4, sizeof(*args));

	log_warn("the running instance ended before it handed over: starting anew");
	if (!args)
		return;
	args[0] = program_invocation_name;
	args[1] = "run";
	args[2] = take_over_option;
	memcpy(args + 3, argv, (size_t)argc * sizeof(*args));
	execv("/proc/self/exe", args);
	log_error("cannot start anew: %s", strerror(errno));
}

/* Takes --take-over out of the arguments. */
static bool wants_take_over(int *argc, char **argv)
{
	int keep = 0;

	for (int i = 0; i < *argc; i++)
		if (strcmp(argv[i], take_over_option))
			argv[keep++] = argv[i];
	if (keep == *argc)
		return false;
	*argc = keep;
	return true;
}

/* Everything between the configuration and the first packet. */
static int begin(struct daemon *d, bool successor, int argc, char **argv, char *err, size_t errlen)
{
	int ret = setup_signals(d);

	if (!ret)
		ret = sigbus_install();
	if (!ret && successor) {
		ret = take_over(d, err, errlen);
		if (!ret)
			return 0;
		if (ret == -ECONNRESET)
			start_anew(argc, argv);
		if (ret != -ENOENT) {	/* what we hold is the other process': nothing is closed in order */
			fprintf(stderr, "viaduct: did not take over: %s\n", err);
			_exit(1);
		}
		log_info("no instance named %s is running: starting", d->config.uplink.name);
		ret = 0;
	}
	if (!ret)
		ret = d->lock = instance_lock(d->host, d->config.uplink.name, &d->config.uplink.dead_links,
					      successor ? LOCK_WAIT_NS : 0, err, errlen);
	return ret < 0 ? ret : start(d, err, errlen);
}

static int run(int argc, char **argv)
{
	struct daemon d = { .host = host_linux(), .lock = -1 };
	const bool successor = wants_take_over(&argc, argv);
	char err[512] = "";
	int ret;

	ret = config_parse(argc, argv, &d.config, err, sizeof(err));
	if (ret) {
		fprintf(stderr, "viaduct: %s\n", err);
		return 2;
	}
	log_set_level(d.config.log_level);
	d.loop = loop_create();
	ret = d.loop ? check_host(err, sizeof(err)) : -ENOMEM;
	if (!ret)
		ret = limits_raise_files(limits_files(d.config.ports, d.config.nports), err, sizeof(err));
	if (!ret)
		ret = begin(&d, successor, argc, argv, err, sizeof(err));
	if (ret < 0)
		fprintf(stderr, "viaduct: %s\n", *err ? err : strerror(-ret));
	else
		ret = serve(&d);
	stop(&d);
	config_free(&d.config);
	if (d.loop)
		loop_destroy(d.loop);
	return ret < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 1 ? argv[1] : "";

	if (!strcmp(cmd, "run"))
		return run(argc - 2, argv + 2);
	if (!strcmp(cmd, "status"))
		return client_status(argc - 2, argv + 2);
	if (!strcmp(cmd, "monitor"))
		return client_monitor(argc - 2, argv + 2);
	if (!strcmp(cmd, "port"))
		return client_port(argc - 2, argv + 2);
	if (!strcmp(cmd, "steer"))
		return client_steer(argc - 2, argv + 2);
	if (!strcmp(cmd, "link"))
		return client_link(argc - 2, argv + 2);
	if (!strcmp(cmd, "--version") || !strcmp(cmd, "version")) {
		printf("viaduct %s\n", VIADUCT_VERSION);
		return 0;
	}
	if (!strcmp(cmd, "help") || !strcmp(cmd, "--help") || !strcmp(cmd, "-h")) {
		usage(stdout);
		return 0;
	}
	fprintf(stderr, "viaduct: %s%s; `viaduct help` lists the commands\n",
		*cmd ? "unknown command " : "no command given", cmd);
	return 2;
}

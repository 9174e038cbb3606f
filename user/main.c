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

#include "base/log.h"
#include "base/sigbus.h"
#include "bridge/bridge.h"
#include "ctl/api.h"
#include "ctl/client.h"
#include "ctl/config.h"
#include "ctl/instance.h"
#include "ctl/limits.h"
#include "ctl/manage.h"

#define MIN_KERNEL_MAJOR 5	/* XDP bpf_link, xdp.frags and mmap-able maps are all there from 5.18 */
#define MIN_KERNEL_MINOR 18

struct daemon {
	const struct host_ops *host;
	struct config config;
	struct loop *loop;
	struct bridge *bridge;
	struct api *api;
	struct manage manage;
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
		"       viaduct help | --version\n\n"
		"options of run:\n");
	config_help(f);
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

static int start(struct daemon *d, char *err, size_t errlen)
{
	struct bridge_config bc = {
		.uplink = d->config.uplink,
		.wait = d->config.wait,
		.cpus = d->config.ncpus ? d->config.cpus : NULL,
		.ncpus = d->config.ncpus,
		.ports = d->config.ports,
		.nports = d->config.nports,
		.host_port = d->config.host_port,
		.aging_s = d->config.aging_s,
	};
	char path[108], kept[108];
	int ret;

	memcpy(bc.unknown_port, d->config.unknown_port, sizeof(bc.unknown_port));
	snprintf(path, sizeof(path), INSTANCE_DIR "/%.64s.sock", d->config.uplink.name);
	snprintf(kept, sizeof(kept), INSTANCE_DIR "/%.64s.rings", d->config.uplink.name);
	bc.kept = kept;
	ret = bridge_open(d->host, d->loop, &bc, on_event, d, &d->bridge, err, errlen);
	if (ret)
		return ret;
	instance_note(d->lock, uplink_info(d->bridge->uplink)->links_id);
	d->manage = (struct manage){ .bridge = d->bridge, .instance = d->config.uplink.name };
	ret = api_open(d->loop, d->host, path, &manage_ops, &d->manage, &d->api);
	if (ret)
		snprintf(err, errlen, "cannot open the control socket %s: %s", path, strerror(-ret));
	return ret;
}

static void stop(struct daemon *d)
{
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
	sd_notify(0, "READY=1");
	while (!d->stop && ret >= 0)
		ret = loop_once(d->loop, -1);
	sd_notify(0, "STOPPING=1");
	return ret < 0 ? ret : 0;
}

static int run(int argc, char **argv)
{
	struct daemon d = { .host = host_linux(), .lock = -1 };
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
		ret = setup_signals(&d);
	if (!ret)
		ret = sigbus_install();
	if (!ret)
		ret = d.lock = instance_lock(d.host, d.config.uplink.name, &d.config.uplink.dead_links, err,
					     sizeof(err));
	if (ret >= 0)
		ret = start(&d, err, sizeof(err));
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

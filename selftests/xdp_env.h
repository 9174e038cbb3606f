/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A private world for tests that need root: network namespace with a veth pair
 * ("nic" is the uplink, "wire" the other end), own bpffs and /run.
 */
#ifndef VIADUCT_SELFTESTS_XDP_ENV_H
#define VIADUCT_SELFTESTS_XDP_ENV_H

#include "base/host_linux.h"
#include "base/loop.h"
#include "xdp/uplink.h"

#define ENV_NIC "nic"
#define ENV_WIRE "wire"
#define ENV_PINS VD_PIN_ROOT "/t"

/* Unshares and mounts; once per process. Return: 0 or -errno. */
int env_enter(void);
/* Runs a shell command; false when it failed. */
bool env_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Makes the veth pair anew, with @queues queues at both ends, both up. */
void env_veth(unsigned queues);
/* Opens the uplink "nic" under the name "t"; the error goes to @err (256 bytes). */
int env_open(struct loop *loop, enum uplink_mode_wish mode, uint32_t queues, struct uplink **out, char *err);
/* True when @path exists. */
bool env_exists(const char *path);
/* Marks uplink and port 0 up, gives it @mac and @pairs queue pairs in turn. */
void env_port(struct uplink *u, const uint8_t mac[6], unsigned pairs);
/* What most tests open it with: small rings. */
struct uplink_config env_config(void);
/*
 * Opens it with @host's acts, and gives port 0 @mac and @pairs queue pairs. Ends the test when it cannot be opened, and
 * says why.
 */
struct uplink *env_open_with(const struct host_ops *host, struct loop *loop, const struct uplink_config *cfg,
			     const uint8_t mac[6], unsigned pairs);
/* The next frame that any NIC queue receives within a few seconds; NULL when there is none. */
struct nicq *env_receive(struct uplink *u, struct nicq_pkt *p);
/* Raw packet socket on the far end; it sees and sends whole frames. */
int env_wire_socket(void);

#endif

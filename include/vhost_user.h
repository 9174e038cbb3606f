/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost-user wire format, as the specification's "Message Specification"
 * section defines it. Shared by the back-end (user/vhost) and the front-end
 * (user/driver). Fields are in host byte order on the wire.
 */
#ifndef VHOST_USER_H
#define VHOST_USER_H

#include <assert.h>
#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_NONE = 0,
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_REQUEST_MAX
};

#define VHOST_USER_VERSION 0x1u
#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_REPLY (1u << 2)
#define VHOST_USER_NEED_REPLY (1u << 3)

/* What the back-end sends over the channel of SET_BACKEND_REQ_FD. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
};

#define VHOST_USER_F_PROTOCOL_FEATURES 30
#define VHOST_USER_PROTOCOL_F_MQ 0
#define VHOST_USER_PROTOCOL_F_LOG_SHMFD 1
#define VHOST_USER_PROTOCOL_F_RARP 2
#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_NET_MTU 4
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ 5
#define VHOST_USER_PROTOCOL_F_CONFIG 9
#define VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD 10
#define VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD 12
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE 13
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15
#define VHOST_USER_PROTOCOL_F_STATUS 16
#define VHOST_USER_PROTOCOL_F_DEVICE_STATE 19

#define VHOST_USER_MAX_REGIONS 8	/* in one SET_MEM_TABLE */
#define VHOST_USER_MAX_FDS 8

#define VHOST_USER_VRING_IDX_MASK 0xffull
#define VHOST_USER_VRING_NOFD (1ull << 8)

struct vhost_user_vring_state {
	uint32_t index, num;
};

struct vhost_user_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct vhost_user_mem_region {
	uint64_t guest_addr, size, user_addr, mmap_offset;
};

struct vhost_user_mem_table {
	uint32_t nregions, padding;
	struct vhost_user_mem_region region[VHOST_USER_MAX_REGIONS];
};

/* SET_LOG_BASE: where in the fd the log is, bytes */
struct vhost_user_log {
	uint64_t mmap_size, mmap_offset;
};

#define VHOST_USER_CONFIG_MAX 256	/* bytes of a device's configuration */
#define VHOST_USER_CONFIG_HDR 12	/* bytes before the data */

/* GET_CONFIG, SET_CONFIG: the message ends with the last byte of the data. */
struct vhost_user_config {
	uint32_t offset, size, flags;
	uint8_t data[VHOST_USER_CONFIG_MAX];
};

/* ADD_MEM_REG, REM_MEM_REG */
struct vhost_user_mem_reg {
	uint64_t padding;
	struct vhost_user_mem_region region;
};

struct vhost_user_hdr {
	uint32_t request, flags, size;
};

#define VHOST_USER_PAYLOAD_MAX 272	/* the largest we accept: a configuration, 12 + 256 = 268, rounded up */

union vhost_user_payload {
	uint64_t u64;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_mem_table mem;
	struct vhost_user_mem_reg mem_reg;
	struct vhost_user_log log;
	struct vhost_user_config config;
	uint8_t raw[VHOST_USER_PAYLOAD_MAX];
};

struct vhost_user_msg {
	struct vhost_user_hdr hdr;
	uint32_t unused;		/* not on the wire: aligns the payload */
	union vhost_user_payload payload;
};

static_assert(sizeof(struct vhost_user_hdr) == 12, "wire format");
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "wire format");
static_assert(sizeof(struct vhost_user_mem_table) == 264, "wire format");
static_assert(sizeof(struct vhost_user_mem_reg) == 40, "wire format");
static_assert(sizeof(struct vhost_user_config) == VHOST_USER_CONFIG_HDR + VHOST_USER_CONFIG_MAX, "wire format");
static_assert(sizeof(union vhost_user_payload) == VHOST_USER_PAYLOAD_MAX, "nothing is larger");

#endif

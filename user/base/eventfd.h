/* SPDX-License-Identifier: BSD-2-Clause */
/* Event fds that a peer sent: is it one, and signalling it without ever waiting. */
#ifndef VIADUCT_BASE_EVENTFD_H
#define VIADUCT_BASE_EVENTFD_H

/**
 * eventfd_check() - is @fd an eventfd?
 * @fd: descriptor a peer sent; made non-blocking when it is
 *
 * Semaphore eventfds count. Any thread. Needs /proc.
 * Return: 0, -EINVAL when it is something else, -errno.
 */
int eventfd_check(int fd);

/**
 * eventfd_notify() - add one to an eventfd's count
 * @fd: an eventfd that others hold too
 *
 * Never blocks, even when another holder clears O_NONBLOCK and fills the counter between our look
 * at it and our write: the kernel adds the one for us and saturates. A full counter is success.
 * Control thread only. Return: 0 or -errno.
 */
int eventfd_notify(int fd);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* How a worker waits for work. */
#ifndef VIADUCT_BASE_WAIT_H
#define VIADUCT_BASE_WAIT_H

enum wait_mode {
	WAIT_ADAPTIVE,	/* spin a little, then arm notifications and sleep */
	WAIT_BUSY,	/* never sleep */
	WAIT_INTERRUPT,	/* sleep as soon as there is nothing to do */
};

#endif

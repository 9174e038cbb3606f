/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NUMA nodes: where memory is, and where it should be. On a machine with one
 * node all of this does nothing. Control thread; node_count() opens paths when
 * it is first called, so call it before "ready".
 */
#ifndef VIADUCT_BASE_NODE_H
#define VIADUCT_BASE_NODE_H

#include <stdbool.h>
#include <stddef.h>

#define NODE_NONE (-1)

/* Nodes of the machine, at least 1. */
int node_count(void);

/* Numbers of nodes may have gaps. True on a machine with one, too, for the one that it has. */
bool node_exists(int node);

/* The node of a CPU, NODE_NONE when that is not known. */
int node_of_cpu(int cpu);

/**
 * node_of_memory() - the node of a page
 * @p: an address that can be read; it is, so that there is a page
 *
 * Return: the node, NODE_NONE when it is not known or there is only one.
 */
int node_of_memory(const void *p);

/* New memory that this thread touches comes from @node if it can; NODE_NONE: as before. */
void node_prefer(int node);

/**
 * node_move() - move memory that is in use
 * @p, @len: whole pages, mapped by this process alone
 *
 * Others may go on using it. Return: 0 or -errno; it works where it is in any case.
 */
int node_move(void *p, size_t len, int node);

#endif

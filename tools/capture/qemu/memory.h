/*
 * The memory of the guest's nodes: which physical addresses each has, and where QEMU keeps it. A node is one memory
 * backend of QEMU; its physical ranges, in order, are the backend's bytes from its start.
 */
#ifndef NODEWALK_MEMORY_H
#define NODEWALK_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PA_UNKNOWN UINT64_MAX
#define MAX_NODES 64
#define MAX_RANGES 4
#define MAX_CPUS 256

struct range {
    uint64_t from, bytes;
};

struct node {
    struct range ranges[MAX_RANGES];
    unsigned range_count;
    uint64_t bytes;
    /** What QEMU 7.2 reports as the address of the backend's first byte. */
    uint64_t reported;
    /** Where QEMU has the first byte; 0 until a mark told it. */
    _Atomic uintptr_t host;
};

static struct node nodes[MAX_NODES];
static unsigned node_count;

/**
 * QEMU 7.2 reports offset of the RAM block plus offset of the block in its container. Blocks of memory backends are laid out in
 * order, and so are the backends of -numa in their container: both offsets are the bytes before. Without -numa there is one block,
 * whose container on the Arm boards is the address space.
 */
static void lay_out(bool arm) {
    uint64_t before = 0;
    for (unsigned i = 0; i < node_count; i++) {
        nodes[i].reported = node_count > 1 ? 2 * before : arm ? nodes[i].ranges[0].from : 0;
        before += nodes[i].bytes;
    }
}

/** The physical address of a byte of a node. */
static uint64_t pa_of_offset(const struct node *node, uint64_t offset) {
    for (unsigned i = 0; i < node->range_count; i++) {
        if (offset < node->ranges[i].bytes) return node->ranges[i].from + offset;
        offset -= node->ranges[i].bytes;
    }
    return PA_UNKNOWN;
}

/** The physical address that QEMU 7.2 means, unknown outside of the nodes. */
static uint64_t pa_of_reported(uint64_t reported) {
    for (unsigned i = 0; i < node_count; i++) {
        uint64_t offset = reported - nodes[i].reported;
        if (offset < nodes[i].bytes) return pa_of_offset(&nodes[i], offset);
    }
    return PA_UNKNOWN;
}

/** The physical address of the guest's byte that QEMU has at `host`. */
static uint64_t pa_of_host(uintptr_t host) {
    for (unsigned i = 0; i < node_count; i++) {
        uintptr_t base = atomic_load_explicit(&nodes[i].host, memory_order_relaxed);
        if (base && host - base < nodes[i].bytes) return pa_of_offset(&nodes[i], host - base);
    }
    return PA_UNKNOWN;
}

/** Learns from one byte where QEMU has its node. False when it contradicts what was learnt before. */
static bool learn_host(uintptr_t host, uint64_t pa) {
    for (unsigned i = 0; i < node_count; i++) {
        uint64_t before = 0;
        for (unsigned k = 0; k < nodes[i].range_count; k++) {
            const struct range *range = &nodes[i].ranges[k];
            if (pa - range->from < range->bytes) {
                uintptr_t base = host - (before + pa - range->from), known = 0;
                return atomic_compare_exchange_strong(&nodes[i].host, &known, base) || known == base;
            }
            before += range->bytes;
        }
    }
    return true;
}

#endif

/*
 * A QEMU TCG plugin that records the memory accesses of a whole machine, kernel and user, with physical addresses, CPUs,
 * privilege and phases, in raw24: 24-byte records (docs/formats.md, docs/capture.md). The guest marks phases with mark.h.
 * Built for plugin API 1 (QEMU 7.2) and newer; from API 2 on (9.0) it also knows what TLB maintenance operates on and
 * which address space is active.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <qemu-plugin.h>

#include "control.h"
#include "memory.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#if QEMU_PLUGIN_VERSION >= 2
#define HAS_REGISTERS 1
#define READS_REGISTERS QEMU_PLUGIN_CB_R_REGS
#else
#define HAS_REGISTERS 0
#define READS_REGISTERS QEMU_PLUGIN_CB_NO_REGS
#endif

enum {
    KIND_FETCH,
    KIND_LOAD,
    KIND_STORE,
    KIND_MARKER,
    KIND_CONTROL,
    SIZE_SHIFT = 12,
    PRIVILEGE_SHIFT = 16,
    FLAG_MMIO = 1 << 18,
    FLAG_NO_PA = 1 << 19,
    LINE_SHIFT = 6,
    PAGE = 4096,
    REGISTERS = 32,
    BUFFER_RECORDS = 8192,
    BLOCK_CHUNKS = 1024,
};

/* Marker numbers. The first record tells what else is in the file: | 1 records of kind 4, | 2 the address spaces are known. */
enum {
    MARK_FEATURES = 0x10000,
    MARK_ON = 0xfffd,
    MARK_OFF = 0xfffc,
    MARK_END = 0xfffe,
    PHASE_FIRST = 0x100,
    END_FIRST = 0x800,
    GUEST_LEARN = 0xf00,
    GUEST_ON = 0xf01,
    GUEST_OFF = 0xf02,
    GUEST_QUIT = 0xf03,
};

struct record {
    uint64_t va, pa;
    uint32_t flags, last;
};
_Static_assert(sizeof(struct record) == 24, "raw24");

/** The instructions of a translation block that start in one line. They are translated from one physical page. */
struct chunk {
    uint64_t va;
    uintptr_t host;
    _Atomic uint64_t pa;
    uint16_t insns;
    uint8_t bytes;
};

struct chunk_block {
    struct chunk_block *next;
    unsigned used;
    struct chunk chunks[BLOCK_CHUNKS];
    struct control controls[BLOCK_CHUNKS / 16];
    unsigned controls_used;
};

/** A buffer has one writer, its vCPU; the lock is for those who write it out. */
struct vcpu {
    pthread_mutex_t lock;
    struct record *buffer;
    unsigned fill;
    uint64_t root;
    unsigned root_told;
#if HAS_REGISTERS
    struct qemu_plugin_register *registers[REGISTERS];
    GByteArray *value;
#endif
};

static struct vcpu vcpus[MAX_CPUS];
static unsigned vcpu_count;

static bool arm, whole_order = true, reported_by_block = QEMU_PLUGIN_VERSION == 1;
static struct range hyp_text;
static const char *phase_names[0x800];
static const char *out_path, *symbols_path, *levels = "4", *granule = "4096", *va_bits = "48";

static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER, mark_lock = PTHREAD_MUTEX_INITIALIZER,
                       chunk_lock = PTHREAD_MUTEX_INITIALIZER;
static int out_fd = -1;
static uint64_t written, limit = UINT64_MAX;
/** The vCPU whose records come now. */
static _Atomic unsigned owner;

static _Atomic bool recording;
/** Changes whenever recording begins: the address space of each vCPU is told anew. */
static _Atomic unsigned session;
static _Atomic uint32_t phase;
static unsigned open_phases;
static bool always_on;

static struct chunk_block *chunk_blocks;

static void complain(const char *what, const char *detail) {
    fprintf(stderr, "nodewalk: %s%s%s\n", what, *detail ? ": " : "", detail);
}

/* Output */

static void close_output(void) {
    if (out_fd >= 0 && close(out_fd) != 0) complain(out_path, strerror(errno));
    out_fd = -1;
    atomic_store(&recording, false);
}

/** Writes records; with the output's lock held. A full disk or a closed pipe ends the recording, not the guest. */
static void write_records(const struct record *records, unsigned count) {
    if (count > limit - written) count = limit - written;
    const char *at = (const char *)records, *end = (const char *)(records + count);
    while (out_fd >= 0 && at < end) {
        ssize_t done = write(out_fd, at, end - at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) {
            complain(out_path, strerror(errno));
            close_output();
            return;
        }
        at += done;
    }
    written += count;
    if (written == limit) close_output();
}

/** Writes out what a vCPU has; with its lock held. */
static void drain(struct vcpu *cpu) {
    if (cpu->fill == 0) return;
    pthread_mutex_lock(&out_lock);
    write_records(cpu->buffer, cpu->fill);
    pthread_mutex_unlock(&out_lock);
    cpu->fill = 0;
}

static void drain_unlocked(struct vcpu *cpu) {
    pthread_mutex_lock(&cpu->lock);
    drain(cpu);
    pthread_mutex_unlock(&cpu->lock);
}

/**
 * Appends a record. In one order of all vCPUs, which single-threaded TCG executes, a vCPU's records are written before
 * those of the next begin.
 */
static void append(unsigned index, struct record record) {
    struct vcpu *cpu = &vcpus[index];
    if (whole_order && atomic_load_explicit(&owner, memory_order_relaxed) != index)
        drain_unlocked(&vcpus[atomic_exchange(&owner, index)]);
    pthread_mutex_lock(&cpu->lock);
    if (cpu->fill == BUFFER_RECORDS) drain(cpu);
    cpu->buffer[cpu->fill++] = record;
    pthread_mutex_unlock(&cpu->lock);
}

/* A marker lies between all records before it and all after it, so it goes past the buffers. */
static void write_marker(unsigned index, uint64_t number) {
    for (unsigned i = 0; i < vcpu_count; i++) drain_unlocked(&vcpus[i]);
    pthread_mutex_lock(&out_lock);
    struct record record = {number, written, index | KIND_MARKER << 8, number & 0xffff};
    write_records(&record, 1);
    pthread_mutex_unlock(&out_lock);
}

/* Accesses */

static uint64_t physical_address(const struct qemu_plugin_hwaddr *hwaddr) {
    uint64_t address = qemu_plugin_hwaddr_phys_addr(hwaddr);
    if (!reported_by_block || qemu_plugin_hwaddr_is_io(hwaddr)) return address;
    return pa_of_reported(address);
}

static uint64_t pa_of_chunk(struct chunk *chunk) {
    uint64_t pa = atomic_load_explicit(&chunk->pa, memory_order_relaxed);
    if (pa == PA_UNKNOWN && chunk->host) {
        pa = pa_of_host(chunk->host);
        atomic_store_explicit(&chunk->pa, pa, memory_order_relaxed);
    }
    return pa;
}

/** 0 user, 1 kernel, 2 hypervisor: that of the code. */
static uint32_t privilege_of(struct chunk *chunk) {
    if (chunk->va >> 63) return 1;
    return hyp_text.bytes && pa_of_chunk(chunk) - hyp_text.from < hyp_text.bytes ? 2 : 0;
}

static uint32_t flags_of(unsigned index, uint32_t kind, struct chunk *chunk) {
    return index | kind << 8 | privilege_of(chunk) << PRIVILEGE_SHIFT;
}

static uint32_t phase_now(void) { return atomic_load_explicit(&phase, memory_order_relaxed); }

/** Tells the root that a vCPU had when recording began. */
static void tell_root(unsigned index) {
    struct vcpu *cpu = &vcpus[index];
    unsigned now = atomic_load_explicit(&session, memory_order_relaxed);
    if (cpu->root_told == now) return;
    cpu->root_told = now;
    if (cpu->root != PA_UNKNOWN)
        append(index, (struct record){cpu->root, PA_UNKNOWN, index | KIND_CONTROL << 8 | 1 << PRIVILEGE_SHIFT,
                                      phase_now() | CONTROL_ROOT << 16});
}

static void on_fetch(unsigned index, void *user) {
    if (!atomic_load_explicit(&recording, memory_order_relaxed)) return;
    struct chunk *chunk = user;
    uint64_t pa = pa_of_chunk(chunk);
    uint32_t flags = flags_of(index, KIND_FETCH, chunk) | LINE_SHIFT << SIZE_SHIFT;
    tell_root(index);
    append(index, (struct record){chunk->va, pa, pa == PA_UNKNOWN ? flags | FLAG_NO_PA : flags,
                                  phase_now() | chunk->insns << 16 | (uint32_t)chunk->bytes << 24});
}

static void on_access(unsigned index, qemu_plugin_meminfo_t info, uint64_t va, void *user) {
    if (!atomic_load_explicit(&recording, memory_order_relaxed)) return;
    struct qemu_plugin_hwaddr *hwaddr = qemu_plugin_get_hwaddr(info, va);
    uint64_t pa = hwaddr ? physical_address(hwaddr) : PA_UNKNOWN;
    uint32_t flags = flags_of(index, qemu_plugin_mem_is_store(info) ? KIND_STORE : KIND_LOAD, user);
    flags |= qemu_plugin_mem_size_shift(info) << SIZE_SHIFT;
    if (hwaddr && qemu_plugin_hwaddr_is_io(hwaddr)) flags |= FLAG_MMIO;
    if (pa == PA_UNKNOWN) flags |= FLAG_NO_PA;
    append(index, (struct record){va, pa, flags, phase_now()});
}

/* Maintenance */

#if HAS_REGISTERS
static void on_vcpu(qemu_plugin_id_t id, unsigned index) {
    static const char *const x86_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                            "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    (void)id;
    GArray *registers = qemu_plugin_get_registers();
    for (unsigned i = 0; i < registers->len; i++) {
        qemu_plugin_reg_descriptor *found = &g_array_index(registers, qemu_plugin_reg_descriptor, i);
        for (unsigned number = 0; number < (arm ? 31 : 16); number++) {
            char name[16];
            snprintf(name, sizeof name, "x%u", number);
            if (!strcmp(found->name, arm ? name : x86_names[number])) vcpus[index].registers[number] = found->handle;
        }
    }
    g_array_free(registers, true);
    vcpus[index].value = g_byte_array_new();
}

static uint64_t read_register(struct vcpu *cpu, int number) {
    uint64_t value = 0; /* What Arm's register 31 reads. */
    if (number == NO_REGISTER || !cpu->registers[number]) return value;
    g_byte_array_set_size(cpu->value, 0);
    qemu_plugin_read_register(cpu->registers[number], cpu->value);
    if (cpu->value->len == sizeof value) memcpy(&value, cpu->value->data, sizeof value);
    return value;
}
#endif

/** What an instruction operates on; of a root only the address of the table. */
static uint64_t operand_of(unsigned index, const struct control *control) {
#if HAS_REGISTERS
    struct vcpu *cpu = &vcpus[index];
    if (control->base == NO_REGISTER && control->index == NO_REGISTER) return PA_UNKNOWN;
    uint64_t value = read_register(cpu, control->base) + (read_register(cpu, control->index) << control->scale) +
                     (uint64_t)(int64_t)control->disp;
    if (control->code == CONTROL_ROOT) value &= arm ? 0x0000ffffffffffc0 : 0x000ffffffffff000;
    return value;
#else
    (void)index;
    (void)control;
    return PA_UNKNOWN;
#endif
}

static void on_control(unsigned index, void *user) {
    const struct control *control = user;
    uint64_t operand = operand_of(index, control);
    if (control->code == CONTROL_ROOT) vcpus[index].root = operand;
    if (!atomic_load_explicit(&recording, memory_order_relaxed)) return;
    uint32_t flags = index | KIND_CONTROL << 8 | (control->va >> 63) << PRIVILEGE_SHIFT;
    append(index, (struct record){operand, control->va, flags, phase_now() | (uint32_t)control->code << 16});
}

/* Marks */

static void record_from_now(bool on) {
    if (on && !recording) session++;
    atomic_store(&recording, on && out_fd >= 0);
}

static void obey(unsigned index, unsigned number) {
    if (number >= PHASE_FIRST && number < END_FIRST) {
        if (out_fd < 0) return;
        open_phases++;
        atomic_store(&phase, number);
        write_marker(index, number);
        record_from_now(true);
    } else if (number >= END_FIRST && number < GUEST_LEARN) {
        if (open_phases > 0) open_phases--;
        if (open_phases == 0) record_from_now(always_on);
        write_marker(index, number);
    } else if (number == GUEST_ON || number == GUEST_OFF) {
        always_on = number == GUEST_ON;
        if (!always_on) record_from_now(open_phases > 0);
        write_marker(index, always_on ? MARK_ON : MARK_OFF);
        if (always_on) record_from_now(true);
    } else if (number == GUEST_QUIT) {
        record_from_now(false);
        write_marker(index, MARK_END);
        close_output();
    } else if (number != GUEST_LEARN) {
        write_marker(index, number);
    }
}

/** The load of a mark. It also tells where QEMU has the page that holds both the code and the loaded byte. */
static void on_mark(unsigned index, qemu_plugin_meminfo_t info, uint64_t va, void *user) {
    struct chunk *chunk = user;
    struct qemu_plugin_hwaddr *hwaddr = qemu_plugin_get_hwaddr(info, va);
    pthread_mutex_lock(&mark_lock);
    if (hwaddr && chunk->host && va / PAGE == chunk->va / PAGE) {
        uint64_t pa = physical_address(hwaddr);
        if (pa != PA_UNKNOWN && !learn_host(chunk->host + (va - chunk->va), pa))
            complain("node= contradicts where QEMU has the memory", "are the nodes in the order of their memory backends?");
    }
    obey(index, va % PAGE);
    pthread_mutex_unlock(&mark_lock);
}

/* Translation */

/** Room for one more chunk and one more control; lives until QEMU forgets all its translations. */
static struct chunk_block *block_with_room(void) {
    struct chunk_block *block = chunk_blocks;
    if (block && block->used < BLOCK_CHUNKS && block->controls_used < BLOCK_CHUNKS / 16) return block;
    block = calloc(1, sizeof *block);
    if (!block) abort();
    block->next = chunk_blocks;
    return chunk_blocks = block;
}

static struct chunk *new_chunk(uint64_t va, uintptr_t host) {
    struct chunk_block *block = block_with_room();
    struct chunk *chunk = &block->chunks[block->used++];
    chunk->va = va;
    chunk->host = host;
    chunk->pa = PA_UNKNOWN;
    return chunk;
}

static void on_flush(qemu_plugin_id_t id) {
    (void)id;
    pthread_mutex_lock(&chunk_lock);
    while (chunk_blocks) {
        struct chunk_block *next = chunk_blocks->next;
        free(chunk_blocks);
        chunk_blocks = next;
    }
    pthread_mutex_unlock(&chunk_lock);
}

/** Copies an instruction's bytes, at most 16; returns how many. */
static size_t copy_insn(const struct qemu_plugin_insn *insn, uint8_t bytes[16]) {
    size_t size = qemu_plugin_insn_size(insn);
    if (size > 16) size = 16;
#if QEMU_PLUGIN_VERSION >= 3
    return qemu_plugin_insn_data(insn, bytes, size);
#else
    memcpy(bytes, qemu_plugin_insn_data(insn), size);
    return size;
#endif
}

/** How much of the mark's code this instruction completes: 0, or on Arm 1 of 2 instructions, or 2: all of it. */
static int mark_progress(int before, const uint8_t *bytes, size_t size) {
    static const uint8_t x86_nop[] = {0x0f, 0x1f, 0x80, 'w', 'a', 'l', 'k'};
    if (!arm) return size == sizeof x86_nop && !memcmp(bytes, x86_nop, size) ? 2 : 0;
    uint32_t word;
    memcpy(&word, bytes, 4);
    if (word == 0xd503201f + (110 << 5)) return 1;
    return word == 0xd503201f + (119 << 5) && before == 1 ? 2 : 0;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    struct chunk *chunk = NULL;
    int mark = 0;
    (void)id;
    pthread_mutex_lock(&chunk_lock);
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t va = qemu_plugin_insn_vaddr(insn), line = va >> LINE_SHIFT;
        uintptr_t host = (uintptr_t)qemu_plugin_insn_haddr(insn);
        uint8_t bytes[16];
        size_t size = copy_insn(insn, bytes);
        if (size == 0) continue;
        if (!chunk || chunk->va >> LINE_SHIFT != line) {
            chunk = new_chunk(va, host);
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fetch, QEMU_PLUGIN_CB_NO_REGS, chunk);
        }
        /* The first bytes of the line came with an instruction of the page before. */
        if (!chunk->host && host) chunk->host = host - (va - chunk->va);
        chunk->insns++;
        struct chunk *own = chunk;
        uint64_t end = va + size, next_line = (line + 1) << LINE_SHIFT;
        if (end > next_line) {
            chunk->bytes += next_line - va;
            chunk = new_chunk(next_line, host && next_line % PAGE ? host + (next_line - va) : 0);
            chunk->bytes = end - next_line;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fetch, QEMU_PLUGIN_CB_NO_REGS, chunk);
        } else {
            chunk->bytes += size;
        }
        struct control control = arm ? arm_control(bytes) : x86_control(bytes, size);
        if (control.code != CONTROL_NONE) {
            struct chunk_block *block = block_with_room();
            struct control *kept = &block->controls[block->controls_used++];
            *kept = control;
            kept->va = va;
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_control, READS_REGISTERS, kept);
        }
        /* Not MEM_R for a mark, which has only a load: QEMU 7.2 takes it for MEM_W. */
        qemu_plugin_register_vcpu_mem_cb(insn, mark == 2 ? on_mark : on_access, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, own);
        mark = mark_progress(mark, bytes, size);
    }
    pthread_mutex_unlock(&chunk_lock);
}

/* The machine, as convert reads it beside the capture */

static unsigned cpu_node[MAX_CPUS];

/** The symbols that say where the parts of the kernel's image lie, from a copy of /proc/kallsyms or a System.map. */
static bool write_symbols(FILE *json) {
    static const char *const wanted[] = {"_text",          "_stext",       "_etext",           "__start_rodata",
                                         "__end_rodata",   "_sdata",       "_edata",           "__bss_start",
                                         "_end",           "__init_begin", "__hyp_text_start", "__hyp_text_end"};
    char line[1024], name[512];
    const char *comma = "";
    unsigned long long address;
    if (!symbols_path) return true;
    FILE *map = fopen(symbols_path, "r");
    if (!map) return false;
    while (fgets(line, sizeof line, map)) {
        if (sscanf(line, "%llx %*c %511s", &address, name) != 2) continue;
        for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
            if (strcmp(name, wanted[i])) continue;
            fprintf(json, "%s\n    \"%s\": \"0x%llx\"", comma, name, address);
            comma = ",";
        }
    }
    return fclose(map) == 0;
}

static void write_machine(FILE *json) {
    fprintf(json, "{\n  \"arch\": \"%s\",\n", arm ? "arm64" : "x86-64");
    if (arm) fprintf(json, "  \"granule\": %s,\n  \"vaBits\": %s,\n", granule, va_bits);
    else fprintf(json, "  \"levels\": %s,\n", levels);
    fprintf(json, "  \"cpus\": {");
    for (unsigned i = 0; i < vcpu_count; i++) fprintf(json, "%s\"%u\": {}", i ? ", " : "", i);
    fprintf(json, "},\n  \"cpuNode\": [");
    for (unsigned i = 0; i < vcpu_count; i++) fprintf(json, "%s%u", i ? ", " : "", cpu_node[i]);
    fprintf(json, "],\n  \"nodes\": [");
    for (unsigned i = 0; i < node_count; i++) {
        fprintf(json, "%s\n    { \"node\": %u, \"ranges\": [", i ? "," : "", i);
        for (unsigned k = 0; k < nodes[i].range_count; k++) {
            const struct range *range = &nodes[i].ranges[k];
            fprintf(json, "%s{ \"from\": \"0x%" PRIx64 "\", \"to\": \"0x%" PRIx64 "\" }", k ? ", " : "", range->from,
                    range->from + range->bytes);
        }
        fprintf(json, "] }");
    }
    fprintf(json, "\n  ],\n  \"phases\": {");
    const char *comma = "";
    for (unsigned i = PHASE_FIRST; i < END_FIRST; i++) {
        if (!phase_names[i]) continue;
        fprintf(json, "%s\n    \"%u\": \"%s\"", comma, i, phase_names[i]);
        comma = ",";
    }
    fprintf(json, "\n  },\n  \"symbols\": {");
}

/** Writes OUT.json; false with errno set when that is impossible. */
static bool write_sidecar(void) {
    char path[4096], part[4096 + 8];
    if (snprintf(path, sizeof path, "%s.json", out_path) >= (int)sizeof path) return errno = ENAMETOOLONG, false;
    snprintf(part, sizeof part, "%s.part", path);
    FILE *json = fopen(part, "w");
    if (!json) return false;
    write_machine(json);
    bool whole = write_symbols(json);
    fprintf(json, "\n  }\n}\n");
    return fclose(json) == 0 && whole && rename(part, path) == 0;
}

/* Arguments */

static bool read_number(const char **at, uint64_t *value) {
    char *end;
    *value = strtoull(*at, &end, 0);
    if (end == *at) return false;
    uint64_t unit = *end == 'K' ? 1 << 10 : *end == 'M' ? 1 << 20 : *end == 'G' ? 1 << 30 : 1;
    *value *= unit;
    *at = unit > 1 ? end + 1 : end;
    return true;
}

/** FROM:BYTES */
static bool read_range(const char **at, struct range *range) {
    return read_number(at, &range->from) && *(*at)++ == ':' && read_number(at, &range->bytes) && range->bytes > 0;
}

/** CPU[-CPU][+CPU[-CPU]...]:FROM:BYTES[:FROM:BYTES...], or without CPUs :FROM:BYTES... */
static bool read_node(const char *at) {
    if (node_count == MAX_NODES) return false;
    struct node *node = &nodes[node_count];
    while (*at != ':') {
        uint64_t first, last;
        if (!read_number(&at, &first)) return false;
        last = first;
        if (*at == '-' && (at++, !read_number(&at, &last))) return false;
        if (last >= vcpu_count || first > last) return false;
        for (uint64_t cpu = first; cpu <= last; cpu++) cpu_node[cpu] = node_count;
        if (*at == '+') at++;
        else if (*at != ':') return false;
    }
    while (*at == ':') {
        at++;
        if (node->range_count == MAX_RANGES || !read_range(&at, &node->ranges[node->range_count])) return false;
        node->bytes += node->ranges[node->range_count++].bytes;
    }
    node_count++;
    return *at == '\0';
}

/** NUMBER:NAME */
static bool read_phase(const char *at) {
    uint64_t number;
    if (!read_number(&at, &number) || *at++ != ':' || number < PHASE_FIRST || number >= END_FIRST) return false;
    phase_names[number] = at;
    return *at && !strpbrk(at, "\"\\");
}

static bool read_argument(const char *argument) {
    const char *value = strchr(argument, '=');
    if (!value) return false;
    size_t length = value++ - argument;
#define IS(name) (length == strlen(name) && !strncmp(argument, name, length))
    if (IS("out")) return out_path = value, true;
    if (IS("node")) return read_node(value);
    if (IS("phase")) return read_phase(value);
    if (IS("levels")) return levels = value, !strcmp(value, "4") || !strcmp(value, "5");
    if (IS("granule")) return granule = value, !strcmp(value, "4096") || !strcmp(value, "16384") || !strcmp(value, "65536");
    if (IS("vabits")) return va_bits = value, atoi(value) >= 36 && atoi(value) <= 52 && strspn(value, "0123456789") == 2;
    if (IS("symbols")) return symbols_path = value, true;
    if (IS("hyp")) return read_range(&value, &hyp_text) && *value == '\0';
    if (IS("limit")) return read_number(&value, &limit) && *value == '\0' && limit > 0;
    if (IS("order")) return whole_order = !strcmp(value, "all"), whole_order || !strcmp(value, "vcpu");
    if (IS("phys")) return reported_by_block = !strcmp(value, "block"), reported_by_block || !strcmp(value, "guest");
    if (IS("start")) return always_on = !strcmp(value, "on"), always_on || !strcmp(value, "off");
#undef IS
    return false;
}

static void on_exit_of_qemu(qemu_plugin_id_t id, void *user) {
    (void)id;
    (void)user;
    for (unsigned i = 0; i < vcpu_count; i++) drain_unlocked(&vcpus[i]);
    close_output();
}

/** Installs the plugin; the arguments are described in docs/capture.md. */
QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    arm = !strcmp(info->target_name, "aarch64");
    if (!info->system_emulation || (!arm && strcmp(info->target_name, "x86_64"))) {
        complain("expected qemu-system-x86_64 or qemu-system-aarch64, found another program", info->target_name);
        return -1;
    }
    vcpu_count = info->system.max_vcpus;
    if (vcpu_count > MAX_CPUS) return complain("at most 256 vCPUs can be recorded", ""), -1;
    for (int i = 0; i < argc; i++) {
        if (!read_argument(argv[i])) return complain("not an argument, or not a value of it", argv[i]), -1;
    }
    if (!out_path) return complain("out=FILE is missing: where the records go", ""), -1;
    if (node_count == 0) return complain("node=CPUS:FROM:BYTES is missing: which memory there is", ""), -1;
    lay_out(arm);
    out_fd = open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out_fd < 0) return complain(out_path, strerror(errno)), -1;
    if (!write_sidecar()) return complain("the description beside the capture", strerror(errno)), -1;
    for (unsigned i = 0; i < vcpu_count; i++) {
        pthread_mutex_init(&vcpus[i].lock, NULL);
        vcpus[i].buffer = malloc(BUFFER_RECORDS * sizeof(struct record));
        if (!vcpus[i].buffer) return complain("no memory for the buffers", ""), -1;
        vcpus[i].root = PA_UNKNOWN;
    }
    write_marker(0, MARK_FEATURES | 1 | HAS_REGISTERS << 1);
    if (always_on) obey(0, GUEST_ON);
#if HAS_REGISTERS
    qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
#endif
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_flush_cb(id, on_flush);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}

/*
 * Marks phases of a guest program for the QEMU plugin nodewalk. A mark is an instruction that does nothing, at the start
 * of a page, and a load of one byte from that page: the offset of the byte is the number. It costs a few instructions,
 * needs no privilege and no change of the kernel, and without the plugin it does nothing.
 *
 *   nodewalk_begin(0x100);   // phases have the numbers 0x100 to 0x7ff
 *   ...
 *   nodewalk_end(0x100);
 */
#ifndef NODEWALK_MARK_H
#define NODEWALK_MARK_H

#include <string.h>
#include <sys/mman.h>

enum {
    NODEWALK_LEARN = 0xf00, /* only tells the plugin where the page with the mark lies in memory */
    NODEWALK_ON = 0xf01,    /* records outside of phases, too */
    NODEWALK_OFF = 0xf02,
    NODEWALK_QUIT = 0xf03, /* ends the recording and closes the file */
};

__asm__(".pushsection .text\n"
        ".balign 4096\n"
        "nodewalk_page:\n"
#if defined(__x86_64__)
        ".byte 0x0f, 0x1f, 0x80, 0x77, 0x61, 0x6c, 0x6b\n" /* nopl 0x6b6c6177(%rax) */
        "movzbl (%rdi), %eax\n"
        "ret\n"
#elif defined(__aarch64__)
        "hint #110\n"
        "hint #119\n"
        "ldrb w0, [x0]\n"
        "ret\n"
#else
#error "no mark for this architecture"
#endif
        ".balign 4096\n"
        ".popsection");

extern const char nodewalk_page[4096];

static inline void nodewalk_mark_at(const char *page, unsigned number) {
    ((void (*)(const char *))page)(page + number);
}

static inline void nodewalk_begin(unsigned phase) { nodewalk_mark_at(nodewalk_page, phase); }

static inline void nodewalk_end(unsigned phase) { nodewalk_mark_at(nodewalk_page, phase + 0x700); }

/*
 * Marks from a page that the running CPU has just touched first, so that it lies on that CPU's node. The plugin learns from it where the
 * memory of the node is, and knows the physical address of all code there. Returns 0, or -1 where no such page is allowed.
 */
static inline int nodewalk_learn(void) {
    char *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return -1;
    memcpy(page, nodewalk_page, 32);
    __builtin___clear_cache(page, page + 32);
    nodewalk_mark_at(page, NODEWALK_LEARN);
    return munmap(page, 4096);
}

#endif

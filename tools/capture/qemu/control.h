/*
 * Instructions that change what TLBs and caches hold: their recognition, and what they operate on. The codes are those
 * of raw24's records of kind 4 (docs/capture.md).
 * x86: Intel SDM volume 2, MOV to control registers, INVLPG, INVPCID. Arm: DDI 0487, C5.1.2 (op0 = 1: DC, IC, TLBI) and
 * the encodings of TTBR0_EL1 and TTBR1_EL1.
 */
#ifndef NODEWALK_CONTROL_H
#define NODEWALK_CONTROL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    CONTROL_NONE = 0,
    CONTROL_ROOT = 1, /* CR3 or TTBR0_EL1 written */
    CONTROL_INVLPG = 2,
    CONTROL_INVPCID = 3,
    CONTROL_CR4 = 4,
    CONTROL_TTBR1 = 5,
    CONTROL_SYS = 0x8000, /* | op1 << 11 | CRn << 7 | CRm << 3 | op2 */
};

enum { NO_REGISTER = -1 };

/** An instruction and its operand: base + (index << scale) + disp; an operand without registers is not known. */
struct control {
    uint64_t va;
    uint16_t code;
    int8_t base, index;
    uint8_t scale;
    int32_t disp;
};

static struct control arm_control(const uint8_t *bytes) {
    uint32_t word;
    memcpy(&word, bytes, 4);
    struct control found = {.index = NO_REGISTER, .base = word & 31};
    uint32_t crn = (word >> 12) & 15;
    if ((word & 0xffffffe0) == 0xd5182000) found.code = CONTROL_ROOT;
    if ((word & 0xffffffe0) == 0xd5182020) found.code = CONTROL_TTBR1;
    /* SYS; CRn 7 also has AT and the prediction restrictions, which leave TLBs and caches alone. */
    uint32_t crm = (word >> 8) & 15;
    if ((word & 0xfff80000) == 0xd5080000 && (crn == 8 || crn == 9 || (crn == 7 && crm != 8 && crm != 3)))
        found.code = CONTROL_SYS | ((word >> 16) & 7) << 11 | crn << 7 | crm << 3 | ((word >> 5) & 7);
    return found;
}

/** The memory operand after the ModRM byte at `at`. */
static void x86_memory(struct control *found, const uint8_t *at, const uint8_t *end, uint8_t rex) {
    uint8_t mod = at[0] >> 6, rm = at[0] & 7;
    size_t disp_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    const uint8_t *disp = at + 1;
    found->base = rm | (rex & 1) << 3;
    if (rm == 4 && at + 1 < end) {
        uint8_t sib = at[1];
        int8_t index = ((sib >> 3) & 7) | (rex & 2) << 2;
        disp++;
        found->base = (sib & 7) | (rex & 1) << 3;
        found->index = index == 4 ? NO_REGISTER : index;
        found->scale = sib >> 6;
        rm = sib & 7;
    }
    if (mod == 0 && rm == 5) {
        found->base = NO_REGISTER; /* Relative to RIP, or absolute: kernels do not use either here. */
        return;
    }
    if (disp + disp_bytes > end) return;
    if (disp_bytes == 1) found->disp = (int8_t)*disp;
    if (disp_bytes == 4) memcpy(&found->disp, disp, 4);
}

static struct control x86_control(const uint8_t *bytes, size_t size) {
    struct control found = {.base = NO_REGISTER, .index = NO_REGISTER};
    const uint8_t *at = bytes, *end = bytes + size;
    uint8_t rex = 0;
    while (at < end && (*at == 0x66 || *at == 0xf2 || *at == 0xf3 || *at == 0x3e || (*at & 0xf0) == 0x40)) {
        rex = (*at & 0xf0) == 0x40 ? *at : 0;
        at++;
    }
    if (end - at < 3 || at[0] != 0x0f) return found;
    uint8_t reg = (at[2] >> 3) & 7;
    if (at[1] == 0x22 && !(rex & 4) && (reg == 3 || reg == 4)) {
        found.code = reg == 3 ? CONTROL_ROOT : CONTROL_CR4;
        found.base = (at[2] & 7) | (rex & 1) << 3;
    } else if (at[1] == 0x01 && reg == 7 && at[2] >> 6 != 3) {
        found.code = CONTROL_INVLPG;
        x86_memory(&found, at + 2, end, rex);
    } else if (end - at > 3 && at[1] == 0x38 && at[2] == 0x82) {
        found.code = CONTROL_INVPCID;
    }
    return found;
}

#endif

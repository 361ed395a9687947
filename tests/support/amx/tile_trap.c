#include "tests/support/amx/tile_trap.h"

#include "tests/support/amx/tile_emulation.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#if defined(__x86_64__)

static struct sigaction action_before;

// An instruction with a three-byte VEX prefix: C4, RXB and opcode map, W vvvv L pp, opcode, ModRM, perhaps SIB and displacement.
typedef struct vex_instruction {
    uint8_t prefix; // pp: 0 none, 1 66, 2 F3, 3 F2
    uint8_t opcode;
    bool is_register; // the last operand
    int reg, rm;      // fields of ModRM; rm only where it names a register
    int other;        // vvvv
    char *base;       // of memory: base and displacement
    uint64_t stride;  // index times scale
    int length;
} vex_instruction;

static uint64_t general_register(const ucontext_t *at, int number) {
    static const int names[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t)at->uc_mcontext.gregs[names[number]];
}

// Memory operands through a register or SIB, not relative to the instruction pointer.
static bool read_memory(
    const uint8_t *code, const ucontext_t *at, int extend_base, int extend_index,
    vex_instruction *out) {
    const int mod = code[4] >> 6, rm = code[4] & 7;
    int n = 5;
    uint64_t base = 0;
    if (rm == 4) {
        const int sib = code[n++], index = (sib >> 3 & 7) + extend_index, low = sib & 7;
        if (low == 5 && mod == 0) return false;
        base = general_register(at, low + extend_base);
        if (index != 4) out->stride = general_register(at, index) << (sib >> 6);
    } else {
        if (rm == 5 && mod == 0) return false;
        base = general_register(at, rm + extend_base);
    }
    int32_t displacement = 0;
    if (mod == 1) {
        displacement = (int8_t)code[n++];
    } else if (mod == 2) {
        memcpy(&displacement, code + n, sizeof displacement);
        n += 4;
    }
    const uint64_t address = base + (uint64_t)(int64_t)displacement;
    memcpy(&out->base, &address, sizeof out->base);
    out->length = n;
    return true;
}

// The map of the tile instructions, 0F 38, with W and L zero; false for all others.
static bool read_vex(const uint8_t *code, const ucontext_t *at, vex_instruction *out) {
    *out = (vex_instruction){0};
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84) != 0) return false;
    const int extend_index = (code[1] & 0x40) != 0 ? 0 : 8,
              extend_base = (code[1] & 0x20) != 0 ? 0 : 8;
    out->prefix = code[2] & 3;
    out->other = ~code[2] >> 3 & 15;
    out->opcode = code[3];
    out->reg = (code[4] >> 3 & 7) + ((code[1] & 0x80) != 0 ? 0 : 8);
    out->is_register = code[4] >> 6 == 3;
    if (!out->is_register) return read_memory(code, at, extend_base, extend_index, out);
    out->rm = (code[4] & 7) + extend_base;
    out->length = 5;
    return true;
}

enum { NONE, P66, PF3, PF2 };

static bool emulate(const vex_instruction *i) {
    switch (i->opcode << 8 | i->prefix << 4 | i->is_register) {
    case 0x4900 | NONE << 4 | 0: tile_configure(i->base); return i->reg == 0;
    case 0x4900 | NONE << 4 | 1: tile_release(); return i->reg == 0 && i->rm == 0;
    case 0x4900 | PF2 << 4 | 1: tile_zero(i->reg); return i->rm == 0;
    case 0x4b00 | PF2 << 4 | 0: tile_load(i->reg, i->base, i->stride); return true;
    case 0x4b00 | PF3 << 4 | 0: tile_store(i->reg, i->base, i->stride); return true;
    case 0x5c00 | PF3 << 4 | 1: tile_dot_pairs(i->reg, i->rm, i->other); return true;
    case 0x5e00 | PF2 << 4 | 1: tile_dot(i->reg, i->rm, i->other, 1); return true;
    case 0x5e00 | PF3 << 4 | 1: tile_dot(i->reg, i->rm, i->other, 0); return true;
    default: return false;
    }
}

// Instructions that follow each other go together: to come here takes longer than to emulate one.
static void on_illegal(int signal_number, siginfo_t *info, void *context) {
    (void)info;
    ucontext_t *at = context;
    vex_instruction instruction;
    int n = 0;
    for (;; n++) {
        const uint8_t *code;
        memcpy(&code, &at->uc_mcontext.gregs[REG_RIP], sizeof code);
        if (!read_vex(code, at, &instruction) || !emulate(&instruction)) break;
        at->uc_mcontext.gregs[REG_RIP] += instruction.length;
    }
    // The first one runs again when this returns, and ends the program.
    if (n == 0) signal(signal_number, SIG_DFL);
}

#endif

void tile_trap_install(void) {
#if defined(__x86_64__)
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGILL, &action, &action_before) != 0) abort();
#endif
}

void tile_trap_remove(void) {
#if defined(__x86_64__)
    if (sigaction(SIGILL, &action_before, NULL) != 0) abort();
#endif
}

void tile_trap_unblock(void) {
    sigset_t illegal;
    sigemptyset(&illegal);
    sigaddset(&illegal, SIGILL);
    if (pthread_sigmask(SIG_UNBLOCK, &illegal, NULL) != 0) abort();
}

// The context switch: the registers that a call must preserve are pushed, the stack pointers exchanged. 30 ns; ucontext takes 500,
// because it saves the signal mask through the kernel.
#include "tests/support/cuda_shim/cuda_shim.h"

#include <stdint.h>
#include <string.h>

#if CUDA_SHIM_HAS_ASAN
#    include <sanitizer/asan_interface.h>
#    include <sanitizer/common_interface_defs.h>
#endif

// Saves this context in *save and continues the one at `to`.
void cuda_shim_switch_stack(void **save, void *to);

// clang-format off
#if defined(__x86_64__)
enum { SAVED_WORDS = 6 };
__asm__(
    ".text\n"
    ".hidden cuda_shim_switch_stack\n"
    ".globl cuda_shim_switch_stack\n"
    ".type cuda_shim_switch_stack, @function\n"
    "cuda_shim_switch_stack:\n"
    "    push %rbp\n"
    "    push %rbx\n"
    "    push %r12\n"
    "    push %r13\n"
    "    push %r14\n"
    "    push %r15\n"
    "    mov %rsp, (%rdi)\n"
    "    mov %rsi, %rsp\n"
    "    pop %r15\n"
    "    pop %r14\n"
    "    pop %r13\n"
    "    pop %r12\n"
    "    pop %rbx\n"
    "    pop %rbp\n"
    "    ret\n"
    ".size cuda_shim_switch_stack, . - cuda_shim_switch_stack\n");
#elif defined(__aarch64__)
enum { SAVED_WORDS = 20 };
__asm__(
    ".text\n"
    ".hidden cuda_shim_switch_stack\n"
    ".globl cuda_shim_switch_stack\n"
    ".type cuda_shim_switch_stack, %function\n"
    "cuda_shim_switch_stack:\n"
    "    sub sp, sp, #160\n"
    "    stp x19, x20, [sp]\n"
    "    stp x21, x22, [sp, #16]\n"
    "    stp x23, x24, [sp, #32]\n"
    "    stp x25, x26, [sp, #48]\n"
    "    stp x27, x28, [sp, #64]\n"
    "    stp x29, x30, [sp, #80]\n"
    "    stp d8, d9, [sp, #96]\n"
    "    stp d10, d11, [sp, #112]\n"
    "    stp d12, d13, [sp, #128]\n"
    "    stp d14, d15, [sp, #144]\n"
    "    mov x9, sp\n"
    "    str x9, [x0]\n"
    "    mov sp, x1\n"
    "    ldp x19, x20, [sp]\n"
    "    ldp x21, x22, [sp, #16]\n"
    "    ldp x23, x24, [sp, #32]\n"
    "    ldp x25, x26, [sp, #48]\n"
    "    ldp x27, x28, [sp, #64]\n"
    "    ldp x29, x30, [sp, #80]\n"
    "    ldp d8, d9, [sp, #96]\n"
    "    ldp d10, d11, [sp, #112]\n"
    "    ldp d12, d13, [sp, #128]\n"
    "    ldp d14, d15, [sp, #144]\n"
    "    add sp, sp, #160\n"
    "    ret\n"
    ".size cuda_shim_switch_stack, . - cuda_shim_switch_stack\n");
#else
#    error "cuda_shim has no context switch for this machine"
#endif
// clang-format on

void cuda_shim_fiber_start(cuda_shim_fiber *fiber, void (*function)(void)) {
#if CUDA_SHIM_HAS_ASAN
    // An earlier fiber on this stack may have been left in the middle; the few frames in which one ends are always there.
    enum { LAST_FRAMES_BYTES = 4096 };
    const size_t stale_bytes = fiber->is_empty ? LAST_FRAMES_BYTES : fiber->size_bytes;
    __asan_unpoison_memory_region(fiber->stack + fiber->size_bytes - stale_bytes, stale_bytes);
#endif
    fiber->is_empty = false;
    const uintptr_t top = ((uintptr_t)fiber->stack + fiber->size_bytes) & ~(uintptr_t)63;
    uintptr_t *saved = (uintptr_t *)top - (SAVED_WORDS + 2);
    memset(saved, 0, (SAVED_WORDS + 2) * sizeof *saved);
#if defined(__x86_64__)
    saved[SAVED_WORDS] =
        (uintptr_t)function; // where the switch returns to; above it a return address of 0
#else
    saved[11] = (uintptr_t)function; // x30
#endif
    fiber->stack_pointer = saved;
    fiber->sanitizer_stack = NULL;
}

#if CUDA_SHIM_HAS_ASAN
// The stack of whoever switched last: learnt at every entry, because the scheduler runs on the stack of the process.
static cuda_shim_fiber *left;

static void entered(cuda_shim_fiber *self) {
    const void *bottom = NULL;
    size_t size_bytes = 0;
    __sanitizer_finish_switch_fiber(
        self != NULL ? self->sanitizer_stack : NULL, &bottom, &size_bytes);
    if (left->stack == NULL) {
        left->stack = (char *)(uintptr_t)bottom;
        left->size_bytes = size_bytes;
    }
}
#endif

void cuda_shim_fiber_entered(void) {
#if CUDA_SHIM_HAS_ASAN
    entered(NULL);
#endif
}

void cuda_shim_fiber_switch(cuda_shim_fiber *from, cuda_shim_fiber *to, bool ends) {
#if CUDA_SHIM_HAS_ASAN
    left = from;
    __sanitizer_start_switch_fiber(ends ? NULL : &from->sanitizer_stack, to->stack, to->size_bytes);
#else
    (void)ends;
#endif
    cuda_shim_switch_stack(&from->stack_pointer, to->stack_pointer);
#if CUDA_SHIM_HAS_ASAN
    entered(from);
#endif
}

// tile_trap: runs compiled code with tile instructions on a processor that has none: each raises SIGILL, whose handler reads the
// instruction, does with tile_emulation.h what it says, and goes on behind it. Other unknown instructions end the program as ever.
// About ten microseconds an instruction. On a processor that has tiles nothing traps. x86-64, Linux.
#ifndef MLCC_TESTS_SUPPORT_AMX_TILE_TRAP_H
#define MLCC_TESTS_SUPPORT_AMX_TILE_TRAP_H

void tile_trap_install(void);
void tile_trap_remove(void);
// For a thread that blocks signals, as those of runtime/base/threads.h do: it would be ended otherwise.
void tile_trap_unblock(void);

#endif

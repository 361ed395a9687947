// What is known of shared bytes: which are written, and who touched each 4-byte word last, to find races.
//
// Two touches of a word race when different threads made them, at least one wrote, and nothing orders them: no barrier of the block between (the
// block's epoch), nor, within a warp, a bar.warp.sync (the warp's epoch). One record per word and kind is kept; it says which of its bytes it is
// about. A record is replaced by a later touch, so of several threads that share a word only the last is known: a race may be missed, none is
// invented.
#include "tests/support/ptx/ptx_space.h"

#include <string.h>

// A record: epoch of the block 24 bits | epoch of the warp 16 | thread 10 | bytes of the word 4 | flags 3
#define BYTES_SHIFT      4
#define THREAD_SHIFT     8
#define WARP_EPOCH_SHIFT 18
#define EPOCH_SHIFT      34

enum record_flag {
    BY_SEVERAL_LANES = 1, // of one warp, in one epoch of it
    BY_SEVERAL_WARPS = 2,
    BY_ATOMIC = 4
};

static uint64_t make_record(const ptx_warp *warp, int lane, uint32_t bytes, uint64_t flags) {
    const uint64_t thread = warp->first_thread + (uint32_t)lane;
    return (uint64_t)(warp->block->shadow.epoch & 0xffffffu) << EPOCH_SHIFT |
           (uint64_t)(warp->sync_epoch & 0xffffu) << WARP_EPOCH_SHIFT | thread << THREAD_SHIFT |
           (uint64_t)bytes << BYTES_SHIFT | flags;
}

static uint32_t thread_of(uint64_t record) {
    return (uint32_t)(record >> THREAD_SHIFT) & 1023u;
}

// The thread that touched these bytes before, unordered with `now`, or -1.
static int32_t unordered_thread(uint64_t before, uint64_t now) {
    if (before >> EPOCH_SHIFT != now >> EPOCH_SHIFT) return -1;
    if ((before & now & (15u << BYTES_SHIFT)) == 0) return -1;
    if ((before & now & BY_ATOMIC) != 0) return -1;
    const uint32_t first = thread_of(before), second = thread_of(now);
    if (first / PTX_LANES != second / PTX_LANES || (before & BY_SEVERAL_WARPS) != 0)
        return (int32_t)first;
    const bool is_same_warp_epoch =
        (before >> WARP_EPOCH_SHIFT & 0xffffu) == (now >> WARP_EPOCH_SHIFT & 0xffffu);
    if (!is_same_warp_epoch) return -1;
    return first != second || (before & BY_SEVERAL_LANES) != 0 ? (int32_t)first : -1;
}

static void fail_race(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t word, const char *verb,
    const char *verb_before, int32_t thread, uint32_t pc) {
    const ptx_insn *before = &warp->block->function->code[pc];
    ptx_fail(
        warp, insn, 1u << lane,
        "race: %s shared bytes %u … %u, which thread %d %s at PTX line %u ('%s') without a "
        "barrier between",
        verb, word * 4, word * 4 + 4, thread, verb_before, before->line, before->text);
}

// The bytes of `word` within offset … offset + n_bytes.
static uint32_t bytes_of_word(uint32_t word, uint32_t offset, uint32_t n_bytes) {
    if (n_bytes >= 4) return 15;
    (void)word;
    return ((1u << n_bytes) - 1) << (offset & 3u);
}

static uint32_t pc_of(const ptx_warp *warp, const ptx_insn *insn) {
    return (uint32_t)(insn - warp->block->function->code);
}

static void check_written(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    static const uint8_t written[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint8_t *state = warp->block->shadow.state + offset;
    if ((warp->block->checks & PTX_CHECK_SHARED_BYTES) == 0) return;
    if (n_bytes <= sizeof written && memcmp(state, written, n_bytes) == 0) return;
    for (uint32_t i = 0; i < n_bytes; i++) {
        if (state[i] == PTX_BYTE_WRITTEN) continue;
        ptx_fail(
            warp, insn, 1u << lane,
            state[i] == PTX_BYTE_COPYING
                ? "reads shared byte %u while a cp.async that fills it was not waited for"
                : "reads shared byte %u, which nothing has written",
            offset + i);
        return;
    }
}

void ptx_shadow_read(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    ptx_shadow *shadow = &warp->block->shadow;
    check_written(warp, insn, lane, offset, n_bytes);
    if ((warp->block->checks & PTX_CHECK_RACES) == 0) return;
    const uint32_t pc = pc_of(warp, insn);
    for (uint32_t word = offset / 4; word < (offset + n_bytes + 3) / 4; word++) {
        const uint64_t now = make_record(warp, lane, bytes_of_word(word, offset, n_bytes), 0);
        const int32_t writer = unordered_thread(shadow->writes[word], now);
        if (writer >= 0) {
            fail_race(warp, insn, lane, word, "reads", "wrote", writer, shadow->write_pcs[word]);
            return;
        }
        const uint64_t before = shadow->reads[word];
        uint64_t record = now;
        if (before >> EPOCH_SHIFT == now >> EPOCH_SHIFT) {
            const bool is_other_warp = thread_of(before) / PTX_LANES != thread_of(now) / PTX_LANES;
            record |= before & (15u << BYTES_SHIFT);
            if (is_other_warp || (before & BY_SEVERAL_WARPS) != 0) record |= BY_SEVERAL_WARPS;
            if (before >> WARP_EPOCH_SHIFT == now >> WARP_EPOCH_SHIFT &&
                (thread_of(before) != thread_of(now) || (before & BY_SEVERAL_LANES) != 0))
                record |= BY_SEVERAL_LANES;
        }
        shadow->reads[word] = record;
        shadow->read_pcs[word] = pc;
    }
}

static void write_words(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes,
    const uint8_t *data, uint64_t flags) {
    ptx_shadow *shadow = &warp->block->shadow;
    if ((warp->block->checks & PTX_CHECK_RACES) == 0) return;
    const uint32_t pc = pc_of(warp, insn);
    const bool changes = data == NULL || memcmp(warp->block->shared + offset, data, n_bytes) != 0;
    for (uint32_t word = offset / 4; word < (offset + n_bytes + 3) / 4; word++) {
        const uint64_t now = make_record(warp, lane, bytes_of_word(word, offset, n_bytes), flags);
        const int32_t writer = unordered_thread(shadow->writes[word], now);
        if (writer >= 0 && changes) {
            fail_race(warp, insn, lane, word, "writes", "wrote", writer, shadow->write_pcs[word]);
            return;
        }
        const int32_t reader = unordered_thread(shadow->reads[word], now);
        if (reader >= 0 && changes && (flags & BY_ATOMIC) == 0) {
            fail_race(warp, insn, lane, word, "writes", "read", reader, shadow->read_pcs[word]);
            return;
        }
        // The same thread's bytes add up: two halves of a word.
        const uint64_t before = shadow->writes[word];
        uint64_t record = now;
        if (before >> THREAD_SHIFT == now >> THREAD_SHIFT) record |= before & (15u << BYTES_SHIFT);
        shadow->writes[word] = record;
        shadow->write_pcs[word] = pc;
    }
}

void ptx_shadow_write(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes,
    const uint8_t *data) {
    write_words(warp, insn, lane, offset, n_bytes, data, 0);
    memset(warp->block->shadow.state + offset, PTX_BYTE_WRITTEN, n_bytes);
}

void ptx_shadow_atomic(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    check_written(warp, insn, lane, offset, n_bytes);
    write_words(warp, insn, lane, offset, n_bytes, NULL, BY_ATOMIC);
}

void ptx_shadow_copying(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    write_words(warp, insn, lane, offset, n_bytes, NULL, 0);
    memset(warp->block->shadow.state + offset, PTX_BYTE_COPYING, n_bytes);
}

void ptx_shadow_copied(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    write_words(warp, insn, lane, offset, n_bytes, NULL, 0);
    memset(warp->block->shadow.state + offset, PTX_BYTE_WRITTEN, n_bytes);
}

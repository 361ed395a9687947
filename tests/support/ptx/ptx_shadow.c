// What is known of shared bytes: which are written, and who touched each 4-byte word last, to find races.
//
// Two touches of a word race when different threads made them, at least one wrote, and nothing orders them. Warps are ordered by clocks: time goes on
// whenever a warp arrives at a barrier, and whoever waits there learns up to which time the others are over (ptx_clock). Within a warp bar.warp.sync
// orders too (the warp's epoch). One record per word and kind is kept; it says which of its bytes it is about. A record is replaced by a later touch:
// a race may be missed, none is invented.
//
// wgmma and bulk copies go by the async proxy: between a write by ordinary instructions and their read there must also be a fence.proxy.async.
#include "tests/support/ptx/ptx_space.h"

#include <string.h>

// A record: time 30 bits | epoch of the warp 16 | thread 10 | bytes of the word 4 | flags 4
#define BYTES_SHIFT      4
#define THREAD_SHIFT     8
#define WARP_EPOCH_SHIFT 18
#define TIME_SHIFT       34
#define LAST_TIME        (1u << 29) // at which records start anew with the next block

enum record_flag {
    BY_SEVERAL_LANES = 1, // of one warp, in one epoch of it
    BY_ATOMIC = 2,
    BY_ASYNC_PROXY = 4
};

// ---- clocks ------------------------------------------------------------------------------------------------------------------------------------

void ptx_clocks_start(ptx_block *block) {
    ptx_shadow *shadow = &block->shadow;
    if (shadow->time >= LAST_TIME) {
        const size_t n_words = block->shared_bytes / 4u + 1u;
        memset(shadow->reads, 0, n_words * sizeof *shadow->reads);
        memset(shadow->writes, 0, n_words * sizeof *shadow->writes);
        shadow->time = 0;
    }
    // All that earlier blocks did is over.
    for (uint32_t w = 0; w < block->n_warps; w++)
        for (uint32_t i = 0; i < block->n_warps; i++) {
            block->warps[w].clock.seen[i] = shadow->time;
            block->warps[w].clock.fenced[i] = shadow->time;
        }
    shadow->time++;
}

static void join(ptx_clock *into, const ptx_clock *from, uint32_t n_warps) {
    for (uint32_t i = 0; i < n_warps; i++) {
        if (from->seen[i] > into->seen[i]) into->seen[i] = from->seen[i];
        if (from->fenced[i] > into->fenced[i]) into->fenced[i] = from->fenced[i];
    }
}

void ptx_clock_release(ptx_warp *warp, ptx_clock *into) {
    ptx_block *block = warp->block;
    join(into, &warp->clock, block->n_warps);
    into->seen[warp->index] = block->shadow.time++;
}

void ptx_clock_acquire(ptx_warp *warp, const ptx_clock *from) {
    join(&warp->clock, from, warp->block->n_warps);
}

void ptx_clock_join(const ptx_block *block, ptx_clock *into, const ptx_clock *from) {
    join(into, from, block->n_warps);
}

void ptx_clock_fence(ptx_warp *warp) {
    memcpy(warp->clock.fenced, warp->clock.seen, sizeof warp->clock.fenced);
    warp->clock.fenced[warp->index] = warp->block->shadow.time++;
}

// ---- records -----------------------------------------------------------------------------------------------------------------------------------

static uint64_t make_record(const ptx_warp *warp, int lane, uint32_t bytes, uint64_t flags) {
    const uint64_t thread = warp->first_thread + (uint32_t)lane;
    return (uint64_t)warp->block->shadow.time << TIME_SHIFT |
           (uint64_t)(warp->sync_epoch & 0xffffu) << WARP_EPOCH_SHIFT | thread << THREAD_SHIFT |
           (uint64_t)bytes << BYTES_SHIFT | flags;
}

static uint32_t thread_of(uint64_t record) {
    return (uint32_t)(record >> THREAD_SHIFT) & 1023u;
}

static uint32_t warp_of(uint64_t record) {
    return (uint32_t)(record >> THREAD_SHIFT) / PTX_LANES & 31u;
}

static uint32_t time_of(uint64_t record) {
    return (uint32_t)(record >> TIME_SHIFT);
}

static bool is_over(const ptx_warp *warp, uint64_t record) {
    return time_of(record) <= warp->clock.seen[warp_of(record)];
}

// The thread that touched these bytes before, unordered with `now`, or -1.
static int32_t unordered_thread(const ptx_warp *warp, uint64_t before, uint64_t now) {
    if (is_over(warp, before)) return -1;
    if ((before & now & (15u << BYTES_SHIFT)) == 0) return -1;
    if ((before & now & BY_ATOMIC) != 0) return -1;
    const uint32_t first = thread_of(before), second = thread_of(now);
    if (first / PTX_LANES != second / PTX_LANES) return (int32_t)first;
    const bool is_same_warp_epoch =
        (before >> WARP_EPOCH_SHIFT & 0xffffu) == (now >> WARP_EPOCH_SHIFT & 0xffffu);
    if (!is_same_warp_epoch) return -1;
    return first != second || (before & BY_SEVERAL_LANES) != 0 ? (int32_t)first : -1;
}

// A thread of another warp that read the word, unordered with what this warp does now, or -1. Of several warps only the first time is known.
static int32_t unordered_reader(const ptx_warp *warp, uint32_t word, uint64_t now) {
    const ptx_shadow *shadow = &warp->block->shadow;
    const int32_t last = unordered_thread(warp, shadow->reads[word], now);
    if (last >= 0) return last;
    if ((shadow->reads[word] & now & (15u << BYTES_SHIFT)) == 0) return -1;
    for (uint32_t left = shadow->readers[word] & ~(1u << warp->index); left != 0;
         left &= left - 1) {
        const uint32_t reader = (uint32_t)__builtin_ctz(left);
        if (shadow->first_reads[word] > warp->clock.seen[reader])
            return (int32_t)(reader * PTX_LANES);
    }
    return -1;
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

// The bytes of each word within offset … offset + n_bytes, as a mask: accesses are aligned.
static uint32_t bytes_of_word(uint32_t offset, uint32_t n_bytes) {
    if (n_bytes >= 4) return 15;
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
            : state[i] == PTX_BYTE_OBJECT ? "reads shared byte %u, where an mbarrier lies"
                                          : "reads shared byte %u, which nothing has written",
            offset + i);
        return;
    }
}

static void record_read(ptx_warp *warp, uint32_t word, uint64_t now, uint32_t pc) {
    ptx_shadow *shadow = &warp->block->shadow;
    const uint64_t before = shadow->reads[word];
    uint64_t record = now;
    if (is_over(warp, before)) {
        shadow->readers[word] = 0;
        shadow->first_reads[word] = shadow->time;
    } else {
        record |= before & (15u << BYTES_SHIFT);
        if (warp_of(before) == warp->index &&
            (before >> WARP_EPOCH_SHIFT & 0xffffu) == (now >> WARP_EPOCH_SHIFT & 0xffffu) &&
            (thread_of(before) != thread_of(now) || (before & BY_SEVERAL_LANES) != 0))
            record |= BY_SEVERAL_LANES;
    }
    shadow->readers[word] |= 1u << warp->index;
    shadow->reads[word] = record;
    shadow->read_pcs[word] = pc;
}

void ptx_shadow_read(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    ptx_shadow *shadow = &warp->block->shadow;
    check_written(warp, insn, lane, offset, n_bytes);
    if ((warp->block->checks & PTX_CHECK_RACES) == 0) return;
    const uint32_t pc = pc_of(warp, insn);
    for (uint32_t word = offset / 4; word < (offset + n_bytes + 3) / 4; word++) {
        const uint64_t now = make_record(warp, lane, bytes_of_word(offset, n_bytes), 0);
        const int32_t writer = unordered_thread(warp, shadow->writes[word], now);
        if (writer >= 0) {
            fail_race(warp, insn, lane, word, "reads", "wrote", writer, shadow->write_pcs[word]);
            return;
        }
        record_read(warp, word, now, pc);
    }
}

// A write by ordinary instructions that the async proxy need not see yet; -1: there is none.
static int32_t unfenced_thread(const ptx_warp *warp, uint64_t written) {
    if ((written & BY_ASYNC_PROXY) != 0) return -1;
    const bool is_seen = time_of(written) <= warp->clock.fenced[warp_of(written)];
    return is_seen ? -1 : (int32_t)thread_of(written);
}

static void fail_unfenced(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t word, const char *verb,
    int32_t thread) {
    const ptx_insn *before = &warp->block->function->code[warp->block->shadow.write_pcs[word]];
    ptx_fail(
        warp, insn, 1u << lane,
        "%s shared bytes %u … %u by the async proxy, which thread %d wrote at PTX line %u ('%s') "
        "without a fence.proxy.async between",
        verb, word * 4, word * 4 + 4, thread, before->line, before->text);
}

static void write_words(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes,
    const uint8_t *data, uint64_t flags) {
    ptx_shadow *shadow = &warp->block->shadow;
    if ((warp->block->checks & PTX_CHECK_RACES) == 0) return;
    const uint32_t pc = pc_of(warp, insn);
    const bool changes = data == NULL || memcmp(warp->block->shared + offset, data, n_bytes) != 0;
    for (uint32_t word = offset / 4; word < (offset + n_bytes + 3) / 4; word++) {
        const uint64_t now = make_record(warp, lane, bytes_of_word(offset, n_bytes), flags);
        const int32_t writer = unordered_thread(warp, shadow->writes[word], now);
        if (writer >= 0 && changes) {
            fail_race(warp, insn, lane, word, "writes", "wrote", writer, shadow->write_pcs[word]);
            return;
        }
        const int32_t reader = unordered_reader(warp, word, now);
        if (reader >= 0 && changes && (flags & BY_ATOMIC) == 0) {
            fail_race(warp, insn, lane, word, "writes", "read", reader, shadow->read_pcs[word]);
            return;
        }
        if (shadow->under_way[word] != 0) {
            const ptx_insn *before = &warp->block->function->code[shadow->read_pcs[word]];
            ptx_fail(
                warp, insn, 1u << lane,
                "writes shared bytes %u … %u while PTX line %u ('%s') reads them: it has not been "
                "waited for",
                word * 4, word * 4 + 4, before->line, before->text);
            return;
        }
        if ((flags & BY_ASYNC_PROXY) != 0) {
            const int32_t unfenced = unfenced_thread(warp, shadow->writes[word]);
            if (unfenced >= 0) {
                fail_unfenced(warp, insn, lane, word, "writes", unfenced);
                return;
            }
        }
        // The same thread's bytes add up: two halves of a word.
        const uint64_t before = shadow->writes[word];
        uint64_t record = now;
        if (before >> THREAD_SHIFT == now >> THREAD_SHIFT) record |= before & (15u << BYTES_SHIFT);
        shadow->writes[word] = record;
        shadow->write_pcs[word] = pc;
    }
}

// False: an mbarrier lies there, and the launch failed.
static bool check_ordinary(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    const ptx_shadow *shadow = &warp->block->shadow;
    if (shadow->n_objects == 0 || memchr(shadow->state + offset, PTX_BYTE_OBJECT, n_bytes) == NULL)
        return true;
    ptx_fail(
        warp, insn, 1u << lane, "writes shared bytes %u … %u, where an mbarrier lies", offset,
        offset + n_bytes);
    return false;
}

void ptx_shadow_write(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes,
    const uint8_t *data) {
    if (!check_ordinary(warp, insn, lane, offset, n_bytes)) return;
    write_words(warp, insn, lane, offset, n_bytes, data, 0);
    memset(warp->block->shadow.state + offset, PTX_BYTE_WRITTEN, n_bytes);
}

void ptx_shadow_atomic(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    check_written(warp, insn, lane, offset, n_bytes);
    write_words(warp, insn, lane, offset, n_bytes, NULL, BY_ATOMIC);
}

void ptx_shadow_copying(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes,
    bool is_bulk) {
    if (!check_ordinary(warp, insn, lane, offset, n_bytes)) return;
    write_words(warp, insn, lane, offset, n_bytes, NULL, is_bulk ? BY_ASYNC_PROXY : 0);
    memset(warp->block->shadow.state + offset, PTX_BYTE_COPYING, n_bytes);
}

void ptx_shadow_copied(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    write_words(warp, insn, lane, offset, n_bytes, NULL, 0);
    memset(warp->block->shadow.state + offset, PTX_BYTE_WRITTEN, n_bytes);
}

// ---- the async proxy ---------------------------------------------------------------------------------------------------------------------------

void ptx_shadow_async_begin(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    ptx_shadow *shadow = &warp->block->shadow;
    ptx_shadow_read(warp, insn, lane, offset, n_bytes);
    if ((warp->block->checks & PTX_CHECK_RACES) == 0) return;
    for (uint32_t word = offset / 4; word < (offset + n_bytes) / 4; word++) {
        const int32_t unfenced = unfenced_thread(warp, shadow->writes[word]);
        if (unfenced >= 0) {
            fail_unfenced(warp, insn, lane, word, "reads", unfenced);
            return;
        }
        shadow->under_way[word]++;
    }
}

void ptx_shadow_async_end(
    ptx_warp *warp, const ptx_insn *insn, int lane, uint32_t offset, uint32_t n_bytes) {
    ptx_shadow *shadow = &warp->block->shadow;
    if ((warp->block->checks & PTX_CHECK_RACES) == 0) return;
    const uint32_t pc = pc_of(warp, insn);
    // It may have read until now: what comes behind must be ordered behind this.
    for (uint32_t word = offset / 4; word < (offset + n_bytes) / 4; word++) {
        shadow->under_way[word]--;
        record_read(warp, word, make_record(warp, lane, 15, 0), pc);
    }
}

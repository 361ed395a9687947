// The PTX interpreter on what sm_90 adds: mbarriers, bulk copies, named barriers and early launches. Every rule has a kernel that keeps it, with a
// result worked out otherwise, and one that breaks it. Products: ptx_products_test.c.
#include "tests/cuda/ptx_kernel.h"

// ---- mbarriers ---------------------------------------------------------------------------------------------------------------------------------

#define INIT(count) "@%p0 mbarrier.init.shared::cta.b64 [%r2], " #count "; bar.sync 0;"
#define FENCED_INIT(count) \
    "@%p0 mbarrier.init.shared::cta.b64 [%r2], " #count ";" \
    "@%p0 fence.mbarrier_init.release.cluster; bar.sync 0;"
// Waits for a phase of parity `p`; labels end in `n`.
#define WAIT(p, n) \
    "W" #n ": mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2], " #p ";" \
    "@%p1 bra D" #n "; bra W" #n "; D" #n ":"

static void test_mbarrier(void **state) {
    (void)state;
    // Warp 1 writes and arrives, warp 0 waits and reads: ordered. Twice, with both parities; warp 0 arrives at a second mbarrier between.
    fill_words();
    run_well(
        "@%p0 mbarrier.init.shared::cta.b64 [%r2+8], 32;" INIT(
            32) "setp.lt.u32 %p2, %r0, 32; @%p2 bra READ; st.shared.u32 [%r4], %r0;"
                "mbarrier.arrive.shared::cta.b64 _, [%r2]; add.u32 %r6, %r0, 100;"
                "W3: mbarrier.test_wait.parity.acquire.cta.shared::cta.b64 %p1, [%r2+8], 0; @!%p1 "
                "bra W3;"
                "st.shared.u32 [%r4], %r6; mbarrier.arrive.release.cta.shared::cta.b64 %rd5, "
                "[%r2], 1;"
                "bra.uni END; READ:" WAIT(0, 1) "ld.shared.u32 %r7, [%r4+128];"
                                                "mbarrier.arrive.shared::cta.b64 _, [%r2+8];" WAIT(
                                                    1,
                                                    2) "ld.shared.u32 %r8, [%r4+128]; add.u32 %r7, "
                                                       "%r7, %r8; st.global.u32 [%rd4], %r7; END:",
        64);
    for (uint32_t i = 0; i < 32; i++) assert_int_equal(data.out[i], 2 * (i + 32) + 100);
    // The state of an arrival names its phase; a lone waiter that missed nothing goes on at once.
    fill_words();
    run_well(
        INIT(1) "@!%p0 bra END; mbarrier.arrive.shared::cta.b64 %rd5, [%r2];"
                "mbarrier.test_wait.shared::cta.b64 %p1, [%r2], %rd5; selp.u32 %r6, 1, 0, %p1;"
                "st.global.u32 [%rd4], %r6; mbarrier.inval.shared::cta.b64 [%r2]; st.shared.u32 "
                "[%r2], %r6; END:",
        32);
    assert_int_equal(data.out[0], 1);
}

static void test_broken_mbarriers(void **state) {
    (void)state;
    static const broken snippets[] = {
        {"mbarrier.arrive.shared::cta.b64 %rd5, [%r2];", "no mbarrier was made"},
        {"@%p0 mbarrier.init.shared::cta.b64 [%r2+4], 1;", "misaligned"},
        {"@%p0 mbarrier.init.shared::cta.b64 [%r2], 0;", "of 0 arrivals"},
        {INIT(1) "@%p0 mbarrier.init.shared::cta.b64 [%r2], 1;",
         "lies at shared byte 4096 already"},
        {INIT(3) "mbarrier.arrive.shared::cta.b64 %rd5, [%r2], 2;", "2 arrivals at an mbarrier"},
        {INIT(1) "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 16; @%p0 "
                 "mbarrier.arrive.shared::cta.b64 _, [%r2];",
         "lacks 0 of 1 and 16 bytes"},
        {INIT(1) "ld.shared.u32 %r6, [%r2];", "where an mbarrier lies"},
        {INIT(1) "@%p0 st.shared.u32 [%r2], %r0;", "where an mbarrier lies"},
        {INIT(1) WAIT(2, 1), "waits for phase 2"},
        {INIT(1) WAIT(0, 1), "never come; mbarrier 0 in phase 0 lacks 1 of 1 arrivals and 0 bytes"},
        {INIT(1) "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 64;" WAIT(0, 1),
         "lacks 0 of 1 arrivals and 64 bytes"},
        {INIT(1) "@%p0 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r2], 2000000;",
         "more than an mbarrier counts"},
        // Made by warp 0, used by warp 1 without a barrier.
        {"@%p0 mbarrier.init.shared::cta.b64 [%r2], 1; setp.eq.u32 %p2, %r0, 32;"
         "@%p2 mbarrier.arrive.shared::cta.b64 _, [%r2];",
         "race: the mbarrier"},
        // Written after the arrival: the wait does not order it.
        {INIT(32) "setp.lt.u32 %p2, %r0, 32; @%p2 bra READ; mbarrier.arrive.shared::cta.b64 _, "
                  "[%r2]; st.shared.u32 [%r4], %r0; bra.uni END; READ:" WAIT(
                      0, 1) "ld.shared.u32 %r7, [%r4+128]; END:",
         "race: reads"},
        // Two phases behind.
        {INIT(1) "@!%p0 bra END; mbarrier.arrive.shared::cta.b64 %rd5, [%r2];"
                 "mbarrier.arrive.shared::cta.b64 _, [%r2]; mbarrier.test_wait.shared::cta.b64 "
                 "%p1, [%r2], %rd5; END:",
         "waits for phase 0 of an mbarrier in phase 2"},
    };
    CHECK_BROKEN(snippets, 64);
}

// ---- asynchronous copies -----------------------------------------------------------------------------------------------------------------------

#define BULK(to, from, bytes) \
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [" to "], [" from \
    "], " #bytes ", [%r2];"
#define EXPECT(bytes) "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], " #bytes ";"

static void test_bulk_copies(void **state) {
    (void)state;
    // In by two copies on one mbarrier, read by all; then doubled, and out again by one thread.
    fill_words();
    run_well(
        FENCED_INIT(1) "@!%p0 bra WAIT;" EXPECT(512) BULK("%r1", "%rd0", 256)
            BULK("%r1+256", "%rd0+1024", 256) "WAIT:" WAIT(
                0,
                1) "ld.shared.u32 %r6, [%r4]; add.u32 %r6, %r6, %r6; st.shared.u32 [%r4+2048], %r6;"
                   "fence.proxy.async.shared::cta; bar.sync 0; @!%p0 bra END;"
                   "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1+2048], 512;"
                   "cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0; END:",
        128);
    for (uint32_t i = 0; i < 128; i++)
        assert_int_equal(data.out[i], 2 * data.in[i < 64 ? i : i + 192]);
    // cp.async of every thread, waited for at an mbarrier; a policy and a prefetch change nothing.
    fill_words();
    run_well(
        INIT(64) "createpolicy.fractional.L2::evict_first.b64 %rd7, 1.0; add.s64 %rd8, %rd0, %rd3;"
                 "cp.async.ca.shared.global.L2::cache_hint [%r4], [%rd8], 4, %rd7;"
                 "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r2];"
                 "cp.async.bulk.prefetch.L2.global [%rd0], 256; prefetch.global.L2::evict_last "
                 "[%rd0];" WAIT(0, 1) "xor.b32 %r6, %r4, 128; ld.shared.u32 %r7, [%r6];"
                                      "st.global.L2::cache_hint.u32 [%rd4], %r7, %rd7;",
        64);
    for (uint32_t i = 0; i < 64; i++) assert_int_equal(data.out[i], data.in[i ^ 32u]);
}

static void test_broken_copies(void **state) {
    (void)state;
    static const broken snippets[] = {
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(64) BULK("%r1+8", "%rd0", 64) "END:", "misaligned"},
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(64) BULK("%r1", "%rd0+8", 64) "END:", "misaligned"},
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(24) BULK("%r1", "%rd0", 24) "END:",
         "no multiple of 16"},
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(64) BULK("%r1", "%rd0+65520", 64) "END:",
         "of 'in'"},
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(64) BULK("%r1+4064", "%rd0", 128) "END:",
         "shared address"},
        {INIT(1) "@!%p0 bra END;" EXPECT(64) BULK("%r1", "%rd0", 64) "END:", "fence.mbarrier_init"},
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(64) BULK("%r1", "%rd0", 64) "END:",
         "block ends before"},
        // Read without a look at the mbarrier.
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(64)
             BULK("%r1", "%rd0", 64) "ld.shared.u32 %r6, [%r1]; END:",
         "was not waited for"},
        // More is expected than comes.
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(80) BULK("%r1", "%rd0", 64) WAIT(0, 1) "END:",
         "and 16 bytes"},
        // Another thread's bytes are overwritten without a barrier, and one's own without a fence.
        {FENCED_INIT(1) "st.shared.u32 [%r4], %r0; @!%p0 bra END;" EXPECT(64)
             BULK("%r1+128", "%rd0", 64) "END:",
         "race: writes"},
        {FENCED_INIT(1) "st.shared.u32 [%r4], %r0; bar.sync 0; @!%p0 bra END;" EXPECT(64)
             BULK("%r1", "%rd0", 64) "END:",
         "without a fence.proxy.async"},
        // Out: what was just stored needs the fence, and must stay until it was read.
        {"st.shared.u32 [%r4], %r0; bar.sync 0; @!%p0 bra END; "
         "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 256; END:",
         "without a fence.proxy.async"},
        {"st.shared.u32 [%r4], %r0; fence.proxy.async; bar.sync 0; @!%p0 bra END; "
         "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 256;"
         "cp.async.bulk.commit_group; st.shared.u32 [%r1], %r2; END:",
         "it has not been waited for"},
        {"st.shared.u32 [%r4], %r0; fence.proxy.async; bar.sync 0; @!%p0 bra END; "
         "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 256;"
         "cp.async.bulk.commit_group; END:",
         "block ends before"},
        {"cp.async.ca.shared.global [%r4], [%rd0], 4; mov.u64 %rd7, 1; "
         "cp.async.bulk.prefetch.L2.global [%rd7], 16;",
         "multiples of 16"},
    };
    CHECK_BROKEN(snippets, 64);
}

// Places of the maps in `in`.
#define LOAD_MAP  65280
#define STORE_MAP 65408
#define BOX       "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "

// Boxes of 8 rows of 8 words at the edge of a tensor of 6 rows of 20: in with a swizzle of 32 bytes, out without.
static void test_tensors(void **state) {
    (void)state;
    fill_words();
    ptx_tensor_map map = {
        .mark = PTX_TENSOR_MARK,
        .address = (uint64_t)(uintptr_t)data.in,
        .row_bytes = 96,
        .columns = 20,
        .rows = 6,
        .box_columns = 8,
        .box_rows = 8,
        .element_bytes = 4,
        .swizzle_bytes = 32};
    memcpy((uint8_t *)data.in + LOAD_MAP, &map, sizeof map);
    map.address = (uint64_t)(uintptr_t)data.out;
    map.swizzle_bytes = 0;
    memcpy((uint8_t *)data.in + STORE_MAP, &map, sizeof map);
    static const char body[] =
        FENCED_INIT(1) "mov.u32 %r10, 16; mov.u32 %r11, -5; mov.u32 %r12, -2; add.s64 %rd8, %rd0, "
                       "65280; @!%p0 bra WAIT;" EXPECT(256) BOX
        "[%r1], [%rd8, {%r10, %r11}], [%r2]; WAIT:" WAIT(
            0, 1) "ld.shared.u32 %r6, [%r4]; st.shared.u32 [%r4+1024], %r6; st.global.u32 "
                  "[%rd4+8192], "
                  "%r6; fence.proxy.async; bar.sync 0; @!%p0 bra END;"
                  "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd8+128, {%r12, %r11}], "
                  "[%r1+1024]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; END:";
    run_well(body, 64);
    for (int row = 0; row < 8; row++)
        for (int i = 0; i < 8; i++) {
            // The second four rows have their halves the other way round.
            const int in_box = row * 8 + (row < 4 ? i : i ^ 4);
            const bool is_there = row >= 5 && i < 4;
            const uint32_t expected = is_there ? data.in[(row - 5) * 24 + 16 + i] : 0;
            assert_int_equal(data.out[2048 + in_box], expected);
            // Out without a swizzle: as it lies, two columns to the left of the tensor's first.
            if (row >= 5 && i >= 2)
                assert_int_equal(data.out[(row - 5) * 24 + i - 2], data.out[2048 + row * 8 + i]);
        }
    assert_int_equal(data.out[6], 0);
    memset((uint8_t *)data.in + LOAD_MAP, 0, 8);
    mlcc_status *status = run_kernel(body, 64, NULL);
    assert_non_null(status);
    assert_non_null(strstr(mlcc_status_message(status), "no tensor map lies there"));
    mlcc_status_free(status);
}

// ---- barriers of the block, single instructions ------------------------------------------------------------------------------------------------

static void test_named_barriers(void **state) {
    (void)state;
    // Warp 1 hands over by bar.arrive, warp 0 takes; the other way round by barrier 2. Three rounds over the same word.
    fill_words();
    run_well(
        "mov.u32 %r6, 0; mov.u32 %r9, 0; setp.lt.u32 %p2, %r0, 32; @%p2 bra TAKE;"
        "GIVE: setp.eq.u32 %p3, %r6, 0; @!%p3 bar.sync 2, 64; add.u32 %r7, %r6, %r0; st.shared.u32 "
        "[%r4], %r7;"
        "bar.arrive 1, 64; add.u32 %r6, %r6, 1; setp.lt.u32 %p4, %r6, 3; @%p4 bra GIVE; bra.uni "
        "END;"
        "TAKE: bar.sync 1, 64; ld.shared.u32 %r8, [%r4+128]; add.u32 %r9, %r9, %r8; add.u32 %r6, "
        "%r6, 1;"
        "setp.eq.u32 %p3, %r6, 3; @%p3 bra LAST; bar.arrive 2, 64; bra.uni TAKE; LAST: "
        "st.global.u32 [%rd4], %r9; END:",
        64);
    for (uint32_t i = 0; i < 32; i++) assert_int_equal(data.out[i], 3 * (i + 32) + 3);
    // One elected lane a warp; sleeping; registers handed over between whole warpgroups.
    fill_words();
    run_well(
        "elect.sync %r6|%p1, -1; nanosleep.u32 20; fence.acq_rel.gpu; membar.cta; @%p1 "
        "red.release.gpu.global.add.u32 [%rd1], 1;"
        "@%p1 atom.acquire.gpu.global.add.u32 %r7, [%rd1+4], 1; ld.acquire.gpu.global.u32 %r8, "
        "[%rd1]; st.release.gpu.global.u32 [%rd1+8], %r8;"
        "setp.lt.u32 %p2, %r0, 128; @%p2 bra FEW; setmaxnreg.inc.sync.aligned.u32 240; bra.uni "
        "END; FEW: setmaxnreg.dec.sync.aligned.u32 40; END:",
        256);
    assert_int_equal(data.out[0], 8);
    assert_int_equal(data.out[1], 8);
}

static void test_broken_barriers(void **state) {
    (void)state;
    static const broken snippets[] = {
        {"bar.sync 1, 40;", "no whole number of warps"},
        {"setp.lt.u32 %p1, %r0, 32; @%p1 bar.sync 1, 64; @!%p1 bar.sync 1, 96;",
         "where others expect 64"},
        {"setp.lt.u32 %p1, %r0, 32; @%p1 bar.arrive 1, 128; @!%p1 bar.sync 1, 128;", "never come"},
        // The one that only arrives is not held back.
        {"setp.lt.u32 %p1, %r0, 32; @%p1 bra A; st.shared.u32 [%r4], %r0; bar.sync 1, 64; bra.uni "
         "END;"
         "A: bar.arrive 1, 64; ld.shared.u32 %r6, [%r4+128]; END:",
         "shared byte"},
        {"elect.sync %r6|%p1, 0xf;", "is not among the members"},
        {"setp.lt.u32 %p1, %r0, 32; @%p1 setmaxnreg.dec.sync.aligned.u32 40;",
         "needs all 128 threads"},
    };
    CHECK_BROKEN(snippets, 64);
    static const broken groups[] = {
        {"setp.lt.u32 %p1, %r0, 32; @%p1 setmaxnreg.dec.sync.aligned.u32 40;",
         "others of its warpgroup do"},
        {"setp.lt.u32 %p1, %r0, 32; @%p1 setmaxnreg.dec.sync.aligned.u32 40; @!%p1 "
         "setmaxnreg.dec.sync.aligned.u32 48;",
         "another warp of the warpgroup"},
        {"setp.lt.u32 %p1, %r0, 16; @%p1 setmaxnreg.dec.sync.aligned.u32 40;",
         "needs all 128 threads"},
    };
    CHECK_BROKEN(groups, 128);
}

// ---- launches that begin early -----------------------------------------------------------------------------------------------------------------

static void test_early_launches(void **state) {
    (void)state;
    // The launch before writes out[0 … 63] and reads in[0 … 63].
    static const char first[] =
        "add.s64 %rd5, %rd0, %rd3; ld.global.u32 %r6, [%rd5]; st.global.u32 [%rd4], %r6;";
    static const struct {
        const char *body;
        const char *reports; // NULL: nothing
    } cases[] = {
        {"ld.global.u32 %r6, [%rd4+256]; add.s64 %rd5, %rd0, %rd3; ld.global.u32 %r7, [%rd5]; "
         "st.global.u32 [%rd4+512], %r7; griddepcontrol.launch_dependents;",
         NULL},
        {"griddepcontrol.wait; ld.global.u32 %r6, [%rd4]; st.global.u32 [%rd4], %r6;", NULL},
        {"ld.global.u32 %r6, [%rd4]; griddepcontrol.wait;",
         "'ld.global.u32', block (0, 0, 0), thread 0: reads 4 bytes at address 0x"},
        {"st.global.u32 [%rd4], %r0; griddepcontrol.wait;",
         "which a launch before writes: griddepcontrol.wait must come first"},
        {"add.s64 %rd5, %rd0, %rd3; st.global.u32 [%rd5], %r0; griddepcontrol.wait;",
         "which a launch before reads"},
        {"@%p0 griddepcontrol.wait; ld.global.u32 %r6, [%rd4];", "thread 1: reads"},
        {FENCED_INIT(1) "@!%p0 bra END;" EXPECT(64) BULK("%r1", "%rd1+128", 64) WAIT(0, 1) "END:",
         "reads 64 bytes"},
    };
    ptx_history *history = ptx_history_create();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int is_dependent = 0; is_dependent < 2; is_dependent++) {
            ptx_options options = {.checks = PTX_CHECK_ALL, .history = history};
            fill_words();
            assert_null(run_kernel(first, 64, &options));
            options.is_dependent = is_dependent;
            mlcc_status *status = run_kernel(cases[i].body, 64, &options);
            const bool is_right =
                !is_dependent || cases[i].reports == NULL
                    ? status == NULL
                    : status != NULL &&
                          strstr(mlcc_status_message(status), cases[i].reports) != NULL;
            if (!is_right)
                fail_msg(
                    "%s: %s", cases[i].body,
                    status == NULL ? "nothing is reported" : mlcc_status_message(status));
            mlcc_status_free(status);
        }
    // All launches between count: the second leaves out[0 … 63] alone, the third may not.
    ptx_options options = {.checks = PTX_CHECK_ALL, .history = history};
    assert_null(run_kernel(first, 64, &options));
    options.is_dependent = true;
    assert_null(run_kernel("griddepcontrol.wait; st.global.u32 [%rd4+1024], %r0;", 64, &options));
    mlcc_status *status = run_kernel("ld.global.u32 %r6, [%rd4];", 64, &options);
    assert_non_null(status);
    mlcc_status_free(status);
    ptx_history_clear(history);
    assert_null(run_kernel("ld.global.u32 %r6, [%rd4];", 64, &options));
    ptx_history_free(history);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mbarrier),        cmocka_unit_test(test_broken_mbarriers),
        cmocka_unit_test(test_bulk_copies),     cmocka_unit_test(test_broken_copies),
        cmocka_unit_test(test_tensors),         cmocka_unit_test(test_named_barriers),
        cmocka_unit_test(test_broken_barriers), cmocka_unit_test(test_early_launches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

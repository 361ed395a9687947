// clock: time goes forward, and the peak of resident memory counts from where it is told to.
#include "runtime/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 64 << 20, LESS_BYTES = 48 << 20 };

static void time_goes_forward(void **state) {
    (void)state;
    const double before_s = mlcc_clock_s();
    const struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
    assert_true(mlcc_clock_s() - before_s >= 0.002);
}

static void touch_and_free(void) {
    void *block =
        mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(block, MAP_FAILED);
    memset(block, 1, BLOCK_BYTES);
    munmap(block, BLOCK_BYTES);
}

static void peak_counts_anew(void **state) {
    (void)state;
    const uint64_t before = mlcc_peak_rss_bytes();
    touch_and_free();
    const uint64_t peak = mlcc_peak_rss_bytes();
    assert_true(peak >= before && peak >= LESS_BYTES);
    mlcc_peak_rss_restart();
    const uint64_t after = mlcc_peak_rss_bytes();
    assert_true(after > 0);
    if (access("/proc/self/clear_refs", W_OK) == 0) assert_true(after + LESS_BYTES <= peak);
    touch_and_free();
    assert_true(mlcc_peak_rss_bytes() >= LESS_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_goes_forward),
        cmocka_unit_test(peak_counts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

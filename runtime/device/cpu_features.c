#include "runtime/device/cpu_features.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#    include <cpuid.h>
#    include <errno.h>
#    include <sys/syscall.h>
#    include <unistd.h>

enum { EAX, EBX, ECX, EDX };

// Register state that the operating system must have enabled in XCR0 (Intel SDM vol. 1, chapter
// 13).
enum { NONE = 0, AVX = 0x6, AVX512 = 0xe6, AMX = 0x60000 };

typedef struct cpu_feature {
    const char *name;
    uint32_t leaf, subleaf;
    int reg, bit;
    uint32_t state;
} cpu_feature;

// clang-format off
static const cpu_feature cpu_features[] = {
    {"x87",                1, 0, EDX,  0, NONE},   {"cx8",                1, 0, EDX,  8, NONE},
    {"cmov",               1, 0, EDX, 15, NONE},   {"mmx",                1, 0, EDX, 23, NONE},
    {"fxsr",               1, 0, EDX, 24, NONE},   {"sse",                1, 0, EDX, 25, NONE},
    {"sse2",               1, 0, EDX, 26, NONE},
    {"sse3",               1, 0, ECX,  0, NONE},   {"pclmul",             1, 0, ECX,  1, NONE},
    {"ssse3",              1, 0, ECX,  9, NONE},   {"fma",                1, 0, ECX, 12, AVX},
    {"cx16",               1, 0, ECX, 13, NONE},   {"sse4.1",             1, 0, ECX, 19, NONE},
    {"sse4.2",             1, 0, ECX, 20, NONE},   {"crc32",              1, 0, ECX, 20, NONE},
    {"movbe",              1, 0, ECX, 22, NONE},   {"popcnt",             1, 0, ECX, 23, NONE},
    {"aes",                1, 0, ECX, 25, NONE},   {"xsave",              1, 0, ECX, 26, NONE},
    {"avx",                1, 0, ECX, 28, AVX},    {"f16c",               1, 0, ECX, 29, AVX},
    {"rdrnd",              1, 0, ECX, 30, NONE},
    {"fsgsbase",           7, 0, EBX,  0, NONE},   {"sgx",                7, 0, EBX,  2, NONE},
    {"bmi",                7, 0, EBX,  3, NONE},   {"avx2",               7, 0, EBX,  5, AVX},
    {"bmi2",               7, 0, EBX,  8, NONE},   {"invpcid",            7, 0, EBX, 10, NONE},
    {"rtm",                7, 0, EBX, 11, NONE},   {"avx512f",            7, 0, EBX, 16, AVX512},
    {"evex512",            7, 0, EBX, 16, AVX512}, {"avx512dq",           7, 0, EBX, 17, AVX512},
    {"rdseed",             7, 0, EBX, 18, NONE},   {"adx",                7, 0, EBX, 19, NONE},
    {"avx512ifma",         7, 0, EBX, 21, AVX512}, {"clflushopt",         7, 0, EBX, 23, NONE},
    {"clwb",               7, 0, EBX, 24, NONE},   {"avx512cd",           7, 0, EBX, 28, AVX512},
    {"sha",                7, 0, EBX, 29, NONE},   {"avx512bw",           7, 0, EBX, 30, AVX512},
    {"avx512vl",           7, 0, EBX, 31, AVX512},
    {"prefetchwt1",        7, 0, ECX,  0, NONE},   {"avx512vbmi",         7, 0, ECX,  1, AVX512},
    {"pku",                7, 0, ECX,  4, NONE},   {"waitpkg",            7, 0, ECX,  5, NONE},
    {"avx512vbmi2",        7, 0, ECX,  6, AVX512}, {"shstk",              7, 0, ECX,  7, NONE},
    {"gfni",               7, 0, ECX,  8, NONE},   {"vaes",               7, 0, ECX,  9, AVX},
    {"vpclmulqdq",         7, 0, ECX, 10, AVX},    {"avx512vnni",         7, 0, ECX, 11, AVX512},
    {"avx512bitalg",       7, 0, ECX, 12, AVX512}, {"avx512vpopcntdq",    7, 0, ECX, 14, AVX512},
    {"rdpid",              7, 0, ECX, 22, NONE},   {"kl",                 7, 0, ECX, 23, NONE},
    {"cldemote",           7, 0, ECX, 25, NONE},   {"movdiri",            7, 0, ECX, 27, NONE},
    {"movdir64b",          7, 0, ECX, 28, NONE},   {"enqcmd",             7, 0, ECX, 29, NONE},
    {"uintr",              7, 0, EDX,  5, NONE},   {"avx512vp2intersect", 7, 0, EDX,  8, AVX512},
    {"serialize",          7, 0, EDX, 14, NONE},   {"tsxldtrk",           7, 0, EDX, 16, NONE},
    {"pconfig",            7, 0, EDX, 18, NONE},   {"amx-bf16",           7, 0, EDX, 22, AMX},
    {"avx512fp16",         7, 0, EDX, 23, AVX512}, {"amx-tile",           7, 0, EDX, 24, AMX},
    {"amx-int8",           7, 0, EDX, 25, AMX},
    {"sha512",             7, 1, EAX,  0, AVX},    {"sm3",                7, 1, EAX,  1, AVX},
    {"sm4",                7, 1, EAX,  2, AVX},    {"raoint",             7, 1, EAX,  3, NONE},
    {"avxvnni",            7, 1, EAX,  4, AVX},    {"avx512bf16",         7, 1, EAX,  5, AVX512},
    {"cmpccxadd",          7, 1, EAX,  7, NONE},   {"amx-fp16",           7, 1, EAX, 21, AMX},
    {"hreset",             7, 1, EAX, 22, NONE},   {"avxifma",            7, 1, EAX, 23, AVX},
    {"avxvnniint8",        7, 1, EDX,  4, AVX},    {"avxneconvert",       7, 1, EDX,  5, AVX},
    {"amx-complex",        7, 1, EDX,  8, AMX},    {"avxvnniint16",       7, 1, EDX, 10, AVX},
    {"prefetchi",          7, 1, EDX, 14, NONE},   {"usermsr",            7, 1, EDX, 15, NONE},
    {"xsaveopt",          13, 1, EAX,  0, NONE},   {"xsavec",            13, 1, EAX,  1, NONE},
    {"xsaves",            13, 1, EAX,  3, NONE},
    {"ptwrite",           20, 0, EBX,  4, NONE},   {"widekl",            25, 0, EBX,  2, NONE},
    {"sahf",      0x80000001, 0, ECX,  0, NONE},   {"lzcnt",     0x80000001, 0, ECX,  5, NONE},
    {"sse4a",     0x80000001, 0, ECX,  6, NONE},   {"prfchw",    0x80000001, 0, ECX,  8, NONE},
    {"xop",       0x80000001, 0, ECX, 11, AVX},    {"lwp",       0x80000001, 0, ECX, 15, NONE},
    {"fma4",      0x80000001, 0, ECX, 16, AVX},    {"tbm",       0x80000001, 0, ECX, 21, NONE},
    {"mwaitx",    0x80000001, 0, ECX, 29, NONE},   {"64bit",     0x80000001, 0, EDX, 29, NONE},
    {"clzero",    0x80000008, 0, EBX,  0, NONE},   {"rdpru",     0x80000008, 0, EBX,  4, NONE},
    {"wbnoinvd",  0x80000008, 0, EBX,  9, NONE},
};
// clang-format on

static uint64_t enabled_state(void) {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx >> 27 & 1) == 0) return 0; // OSXSAVE
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

bool mlcc_cpu_has(const char *feature) {
    for (size_t i = 0; i < sizeof cpu_features / sizeof cpu_features[0]; i++) {
        const cpu_feature *row = &cpu_features[i];
        if (strcmp(row->name, feature) != 0) continue;
        uint32_t reg[4] = {0};
        if (!__get_cpuid_count(
                row->leaf, row->subleaf, &reg[EAX], &reg[EBX], &reg[ECX], &reg[EDX])) {
            return false;
        }
        if ((reg[row->reg] >> row->bit & 1) == 0) return false;
        return (enabled_state() & row->state) == row->state;
    }
    return false;
}

const char *mlcc_cpu_architecture(void) {
    return "x86-64";
}

int mlcc_cpu_elf_machine(void) {
    return EM_X86_64;
}

const char *mlcc_cpu_baseline(void) {
    // The levels of the x86-64 psABI, section 3.1.1.
    static const char *const levels[][2] = {
        {"x86-64-v4", "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,bmi2,fma,f16c,lzcnt,movbe"},
        {"x86-64-v3", "avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe,xsave"},
        {"x86-64-v2", "cx16,sahf,popcnt,sse3,sse4.1,sse4.2,ssse3"},
    };
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (mlcc_cpu_missing(levels[i][1], NULL) == 0) return levels[i][0];
    }
    return "x86-64";
}

mlcc_status *mlcc_cpu_request(const char *features) {
    if (strstr(features, "amx-") == NULL) return NULL;
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILEDATA = 18 };
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA) == 0) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED,
        "the kernel does not grant AMX tiles to this process (%s): compile with --target %s",
        strerror(errno), mlcc_cpu_baseline());
}

// What LLVM lists beside instruction sets: how to schedule, not what to have.
static bool is_tuning(const char *feature) {
    static const char *const prefixes[] = {"fast-",       "slow-",    "prefer-", "false-deps-",
                                           "tuning-",     "idiv",     "branch",  "macrofusion",
                                           "no-bypass-",  "sbb-dep-", "nopl",    "vzeroupper",
                                           "allow-light-"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (mlcc_text_starts_with(feature, prefixes[i])) return true;
    }
    return false;
}

#elif defined(__aarch64__)

#    include <sys/auxv.h>

typedef struct cpu_feature {
    const char *name;
    unsigned long kind; // AT_HWCAP or AT_HWCAP2
    int bit;            // of arch/arm64/include/uapi/asm/hwcap.h
} cpu_feature;

// clang-format off
static const cpu_feature cpu_features[] = {
    {"fp-armv8",      AT_HWCAP,   0}, {"neon",          AT_HWCAP,   1}, {"aes",           AT_HWCAP,   3},
    {"sha2",          AT_HWCAP,   6}, {"crc",           AT_HWCAP,   7}, {"lse",           AT_HWCAP,   8},
    {"fullfp16",      AT_HWCAP,  10}, {"rdm",           AT_HWCAP,  12}, {"jsconv",        AT_HWCAP,  13},
    {"complxnum",     AT_HWCAP,  14}, {"rcpc",          AT_HWCAP,  15}, {"ccpp",          AT_HWCAP,  16},
    {"sha3",          AT_HWCAP,  17}, {"sm4",           AT_HWCAP,  19}, {"dotprod",       AT_HWCAP,  20},
    {"sve",           AT_HWCAP,  22}, {"fp16fml",       AT_HWCAP,  23}, {"dit",           AT_HWCAP,  24},
    {"lse2",          AT_HWCAP,  25}, {"rcpc-immo",     AT_HWCAP,  26}, {"flagm",         AT_HWCAP,  27},
    {"ssbs",          AT_HWCAP,  28}, {"sb",            AT_HWCAP,  29}, {"pauth",         AT_HWCAP,  30},
    {"ccdp",          AT_HWCAP2,  0}, {"sve2",          AT_HWCAP2,  1}, {"sve2-aes",      AT_HWCAP2,  2},
    {"sve2-bitperm",  AT_HWCAP2,  4}, {"sve2-sha3",     AT_HWCAP2,  5}, {"sve2-sm4",      AT_HWCAP2,  6},
    {"altnzcv",       AT_HWCAP2,  7}, {"fptoint",       AT_HWCAP2,  8}, {"f32mm",         AT_HWCAP2, 10},
    {"f64mm",         AT_HWCAP2, 11}, {"i8mm",          AT_HWCAP2, 13}, {"bf16",          AT_HWCAP2, 14},
    {"rand",          AT_HWCAP2, 16}, {"bti",           AT_HWCAP2, 17}, {"mte",           AT_HWCAP2, 18},
    {"sme",           AT_HWCAP2, 23},
};
// clang-format on

bool mlcc_cpu_has(const char *feature) {
    for (size_t i = 0; i < sizeof cpu_features / sizeof cpu_features[0]; i++) {
        const cpu_feature *row = &cpu_features[i];
        if (strcmp(row->name, feature) == 0) return (getauxval(row->kind) >> row->bit & 1) != 0;
    }
    return false;
}

const char *mlcc_cpu_architecture(void) {
    return "aarch64";
}

int mlcc_cpu_elf_machine(void) {
    return EM_AARCH64;
}

const char *mlcc_cpu_baseline(void) {
    return "aarch64";
}

mlcc_status *mlcc_cpu_request(const char *features) {
    (void)features;
    return NULL;
}

// Names that every 64-bit Arm machine has or that only steer the compiler.
static bool is_tuning(const char *feature) {
    return strcmp(feature, "v8a") == 0 || strcmp(feature, "outline-atomics") == 0 ||
           strcmp(feature, "ete") == 0 || strcmp(feature, "trbe") == 0 ||
           strcmp(feature, "perfmon") == 0 || mlcc_text_starts_with(feature, "use-") ||
           mlcc_text_starts_with(feature, "fuse-");
}

#else
#    error "cpu_features.c: this machine needs a feature table"
#endif

int mlcc_cpu_missing(const char *features, mlcc_str *missing) {
    int n_missing = 0;
    while (*features != '\0') {
        size_t length = strcspn(features, ",");
        char name[64];
        bool fits = length < sizeof name;
        if (fits) {
            memcpy(name, features, length);
            name[length] = '\0';
        }
        if (length > 0 && !(fits && (is_tuning(name) || mlcc_cpu_has(name)))) {
            if (missing != NULL) {
                if (n_missing > 0) mlcc_str_puts(missing, ", ");
                mlcc_str_append(missing, features, length);
            }
            n_missing++;
        }
        features += length + (features[length] == ',');
    }
    return n_missing;
}

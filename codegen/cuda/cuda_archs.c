#include "codegen/cuda/cuda_archs.h"

#include "runtime/base/str.h"

#include <stdlib.h>
#include <string.h>

// Kernels use cp.async and mma.sync of f16; the "a" variants begin with Hopper.
enum { FIRST_ARCH = 80, FIRST_SPECIFIC_ARCH = 90 };

static const char *const standard[] = {"sm_80", "sm_86", "sm_87", "sm_89", "sm_90a", "compute_80"};
enum { N_STANDARD = sizeof standard / sizeof standard[0] };
// What stands in where NVRTC is too old for one.
static const char *const standard_before[N_STANDARD] = {[4] = "sm_90"};

static bool is_supported(const nvrtc_library *nvrtc, int32_t number) {
    size_t n_archs = 0;
    const int *archs = nvrtc_archs(nvrtc, &n_archs);
    for (size_t i = 0; i < n_archs; i++) {
        if (archs[i] == number) return true;
    }
    return false;
}

// The "a" variants came with NVRTC 12.
static bool has_specific(const nvrtc_library *nvrtc) {
    int major = 0, minor = 0;
    nvrtc_version(nvrtc, &major, &minor);
    return major >= 12;
}

// "sm_90a" and "compute_80" as numbers; false for anything that this NVRTC or our kernels cannot take.
static bool parse_arch(const nvrtc_library *nvrtc, const char *text, cuda_arch *arch) {
    *arch = (cuda_arch){.text = text, .is_ptx = mlcc_text_starts_with(text, "compute_")};
    if (!arch->is_ptx && !mlcc_text_starts_with(text, "sm_")) return false;
    const char *digits = strchr(text, '_') + 1;
    const size_t n_digits = strspn(digits, "0123456789");
    if (n_digits < 2 || n_digits > 3) return false;
    arch->number = (int32_t)strtol(digits, NULL, 10);
    const char *suffix = digits + n_digits;
    arch->is_specific =
        strcmp(suffix, "a") == 0 && !arch->is_ptx && arch->number >= FIRST_SPECIFIC_ARCH;
    if (suffix[0] != '\0' && !arch->is_specific) return false;
    if (arch->is_specific && !has_specific(nvrtc)) return false;
    return arch->number >= FIRST_ARCH && is_supported(nvrtc, arch->number);
}

// "sm_80, sm_86, …, sm_90, sm_90a, …; compute_80, …"
static void put_accepted(const nvrtc_library *nvrtc, mlcc_str *out) {
    size_t n_archs = 0;
    const int *archs = nvrtc_archs(nvrtc, &n_archs);
    for (size_t i = 0; i < n_archs; i++) {
        if (archs[i] < FIRST_ARCH) continue;
        mlcc_str_printf(out, "%ssm_%d", out->length > 0 ? ", " : "", archs[i]);
        if (archs[i] >= FIRST_SPECIFIC_ARCH && has_specific(nvrtc))
            mlcc_str_printf(out, ", sm_%da", archs[i]);
    }
    mlcc_str_puts(out, " for cubins, compute_ and the same numbers for PTX");
}

static int compare_archs(const void *a, const void *b) {
    const cuda_arch *x = a, *y = b;
    if (x->is_ptx != y->is_ptx) return x->is_ptx - y->is_ptx;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return x->is_specific - y->is_specific;
}

static void sort_and_unite(cuda_arch *archs, size_t *n_archs) {
    qsort(archs, *n_archs, sizeof *archs, compare_archs);
    size_t n = 0;
    for (size_t i = 0; i < *n_archs; i++) {
        if (n == 0 || compare_archs(&archs[n - 1], &archs[i]) != 0) archs[n++] = archs[i];
    }
    *n_archs = n;
}

static mlcc_status *unknown_arch(const nvrtc_library *nvrtc, const char *text) {
    int major = 0, minor = 0;
    nvrtc_version(nvrtc, &major, &minor);
    mlcc_str accepted = {0};
    put_accepted(nvrtc, &accepted);
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED,
        "'%s' is no architecture that mlcc compiles for with NVRTC %d.%d; accepted: %s", text,
        major, minor, mlcc_str_text(&accepted));
    mlcc_str_free(&accepted);
    return status;
}

mlcc_status *cuda_device_check(const char *device) {
    if (strcmp(device, "cuda") == 0 || mlcc_text_starts_with(device, "cuda:")) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED,
        "device '%s' is not supported; accepted: cpu, cuda, cuda:sm_80,sm_90a,…, cuda:native",
        device);
}

mlcc_status *cuda_archs_parse(
    const char *device, const nvrtc_library *nvrtc, mlcc_arena *keep, cuda_arch **out,
    size_t *n_archs) {
    *out = NULL;
    *n_archs = 0;
    MLCC_TRY(cuda_device_check(device));
    const size_t capacity = strlen(device) + N_STANDARD;
    cuda_arch *archs = MLCC_NEW_ARRAY(keep, cuda_arch, capacity);
    if (strcmp(device, "cuda") == 0) {
        for (size_t i = 0; i < N_STANDARD; i++) {
            const bool is_known = parse_arch(nvrtc, standard[i], &archs[*n_archs]) ||
                                  (standard_before[i] != NULL &&
                                   parse_arch(nvrtc, standard_before[i], &archs[*n_archs]));
            *n_archs += is_known;
        }
        if (*n_archs == 0) return unknown_arch(nvrtc, "cuda");
    } else {
        const char *p = device + strlen("cuda:");
        for (;;) {
            const size_t length = strcspn(p, ",");
            const char *text = mlcc_arena_strndup(keep, p, length);
            if (!parse_arch(nvrtc, text, &archs[(*n_archs)++])) return unknown_arch(nvrtc, text);
            if (p[length] == '\0') break;
            p += length + 1;
        }
    }
    sort_and_unite(archs, n_archs);
    *out = archs;
    return NULL;
}

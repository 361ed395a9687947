// The three forms of a bench's rows.
#include "dist/cli/run/bench_inside.h"
#include "runtime/base/clock.h"
#include "runtime/base/json.h"

#include <stdio.h>
#include <string.h>

static bool is_on_cpu(const benching *b) {
    return strcmp(b->info.device, "cpu") == 0;
}

// Percent of a ceiling, "-" where it is unknown.
static const char *share(double value, double limit, char text[16]) {
    if (limit <= 0.0) return "-";
    snprintf(text, 16, "%.0f %%", value / limit * 100);
    return text;
}

static double ratio(double value, double limit) {
    return limit > 0.0 ? value / limit : 0.0;
}

static bench_limit limit_of(const benching *b, const bench_row *r) {
    const double memory = ratio(r->gb_per_s, b->machine.gb_per_s);
    const double arithmetic = ratio(r->gflop_per_s, b->gflop_per_s);
    if (memory >= arithmetic) return (bench_limit){"memory read", memory};
    return (bench_limit){b->arithmetic_name, arithmetic};
}

// Every arithmetic unit that this machine has: "1200 int8 AVX-512 VNNI, …".
static void print_units(const benching *b) {
    const char *before = "";
    for (size_t i = 0; i < n_ceiling_units; i++) {
        if (b->machine.unit_gop_per_s[i] <= 0.0) continue;
        printf("%s%.0f %s", before, b->machine.unit_gop_per_s[i], ceiling_units[i].name);
        before = ", ";
    }
}

static void print_heading(const benching *b) {
    if (is_on_cpu(b)) {
        printf(
            "%s, %s, %s, %d threads; ceilings measured now: %.1f GB/s read; 10^9 operations/s: ",
            b->label, b->info.quantization, b->info.target, b->info.n_threads, b->machine.gb_per_s);
        print_units(b);
        printf("\nlinears: compared with %s\n\n", b->arithmetic_name);
        return;
    }
    printf(
        "%s, %s, %s, %s; ceilings: %.0f GB/s copied now (data sheet %.0f), data sheet %.0f TFLOP/s "
        "%s; 0: unknown\n\n",
        b->label, b->info.quantization, b->info.device, b->info.device_description,
        b->machine.gb_per_s, b->machine.sheet_gb_per_s, b->gflop_per_s * 1e-3,
        b->is_fp8 ? "fp8" : "f16");
}

static void print_markdown(const benching *b) {
    print_heading(b);
    printf("| test | batch | tokens/s | spread | MB/token | GB/s | of ceiling | GFLOP/s | of "
           "ceiling | limit |\n"
           "|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        char test[64], depth[32] = "", bytes[16], flop[16];
        if (r->depth > 0) snprintf(depth, sizeof depth, " at %lld", (long long)r->depth);
        snprintf(
            test, sizeof test, "%s %lld%s", r->gen_tokens > 0 ? "decode" : "prefill",
            (long long)(r->gen_tokens > 0 ? r->gen_tokens : r->prompt_tokens), depth);
        printf(
            "| %s | %lld | %.2f | %.1f %% | %.3g | %.2f | %s | %.1f | %s | %s |\n", test,
            (long long)r->batch, r->tokens_per_s, r->spread * 100, r->bytes_per_token * 1e-6,
            r->gb_per_s, share(r->gb_per_s, b->machine.gb_per_s, bytes), r->gflop_per_s,
            share(r->gflop_per_s, b->gflop_per_s, flop), limit_of(b, r).name);
    }
}

static void print_csv(const benching *b) {
    printf("model,quantization,target,prompt_tokens,gen_tokens,depth,batch,threads,tokens_per_s,"
           "spread,bytes_per_token,gb_per_s,"
           "gflop_per_s,ceiling_gb_per_s,ceiling_gflop_per_s,limit,limit_share\n");
    for (size_t i = 0; i < b->n_rows; i++) {
        const bench_row *r = &b->rows[i];
        const bench_limit limit = limit_of(b, r);
        printf(
            "%s,%s,%s,%lld,%lld,%lld,%lld,%d,%.4f,%.4f,%.0f,%.4f,%.4f,%.4f,%.4f,%s,%.4f\n",
            b->label, b->info.quantization, b->info.target, (long long)r->prompt_tokens,
            (long long)r->gen_tokens, (long long)r->depth, (long long)r->batch, b->info.n_threads,
            r->tokens_per_s, r->spread, r->bytes_per_token, r->gb_per_s, r->gflop_per_s,
            b->machine.gb_per_s, b->gflop_per_s, limit.name, limit.share);
    }
}

static void put_text(mlcc_json_writer *w, const char *key, const char *value) {
    mlcc_json_key(w, key);
    mlcc_json_put_text(w, value);
}

static void put_samples(mlcc_json_writer *w, const benching *b, const bench_row *r) {
    mlcc_json_key(w, "samples_tokens_per_s");
    mlcc_json_begin_array(w);
    for (int64_t i = 0; i < b->n_repetitions; i++) mlcc_json_put_f64(w, r->samples[i]);
    mlcc_json_end(w);
}

// All that was measured, not only what the row is compared with.
static void put_ceilings(mlcc_json_writer *w, const benching *b) {
    mlcc_json_key(w, "ceilings_gop_per_s");
    mlcc_json_begin_object(w);
    for (size_t i = 0; i < n_ceiling_units; i++) {
        if (b->machine.unit_gop_per_s[i] <= 0.0) continue;
        mlcc_json_key(w, ceiling_units[i].name);
        mlcc_json_put_f64(w, b->machine.unit_gop_per_s[i]);
    }
    mlcc_json_end(w);
}

static void put_row(mlcc_json_writer *w, const benching *b, const bench_row *r) {
    const bench_limit limit = limit_of(b, r);
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {
        {"prompt_tokens", r->prompt_tokens},
        {"gen_tokens", r->gen_tokens},
        {"depth", r->depth},
        {"batch", r->batch},
        {"threads", b->info.n_threads},
        {"repetitions", b->n_repetitions},
        {"mapped_weight_bytes", (int64_t)b->info.mapped_weight_bytes},
    };
    const struct {
        const char *key;
        double value;
    } reals[] = {
        {"tokens_per_s", r->tokens_per_s},
        {"spread", r->spread},
        {"bytes_per_token", r->bytes_per_token},
        {"gb_per_s", r->gb_per_s},
        {"gflop_per_s", r->gflop_per_s},
        {"ceiling_gb_per_s", b->machine.gb_per_s},
        {"ceiling_gflop_per_s", b->gflop_per_s},
        {"sheet_gb_per_s", b->machine.sheet_gb_per_s},
        {"share_of_gb_per_s", ratio(r->gb_per_s, b->machine.gb_per_s)},
        {"share_of_sheet_gb_per_s", ratio(r->gb_per_s, b->machine.sheet_gb_per_s)},
        {"share_of_gflop_per_s", ratio(r->gflop_per_s, b->gflop_per_s)},
        {"limit_share", limit.share},
        {"load_s", b->info.load_s},
    };
    mlcc_json_begin_object(w);
    put_text(w, "model", b->label);
    put_text(w, "quantization", b->info.quantization);
    put_text(w, "target", b->info.target);
    put_text(w, "device", is_on_cpu(b) ? b->info.device : b->info.device_description);
    put_text(w, "arithmetic", b->arithmetic_name);
    put_text(w, "limit", limit.name);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        mlcc_json_key(w, counts[i].key);
        mlcc_json_put_i64(w, counts[i].value);
    }
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        mlcc_json_key(w, reals[i].key);
        mlcc_json_put_f64(w, reals[i].value);
    }
    mlcc_json_key(w, "peak_rss_bytes");
    mlcc_json_put_i64(w, (int64_t)mlcc_peak_rss_bytes());
    put_samples(w, b, r);
    put_ceilings(w, b);
    mlcc_json_end(w);
}

static void print_json(const benching *b) {
    mlcc_str out = {0};
    mlcc_json_writer w;
    mlcc_json_writer_init(&w, &out, 1, false);
    mlcc_json_begin_array(&w);
    for (size_t i = 0; i < b->n_rows; i++) put_row(&w, b, &b->rows[i]);
    mlcc_json_end(&w);
    printf("%s\n", mlcc_str_text(&out));
    mlcc_str_free(&out);
}

void bench_print(const benching *b, const char *format) {
    if (strcmp(format, "json") == 0) {
        print_json(b);
    } else if (strcmp(format, "csv") == 0) {
        print_csv(b);
    } else {
        print_markdown(b);
    }
}

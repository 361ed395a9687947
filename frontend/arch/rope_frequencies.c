#include "frontend/arch/rope_frequencies.h"

#include <math.h>

static const double two_pi = 6.283185307179586476925286766559;

// What a scaling is computed from.
typedef struct rope_input {
    const hf_model_config *config;
    const hf_rope_scaling *scaling;
    double theta, original_context;
    const mlcc_json_value *factors; // longrope: the list in force
    double low, high;               // yarn: ends of the ramp, in pairs
} rope_input;

static double scale_llama3(const rope_input *input, double frequency) {
    const hf_rope_scaling *scaling = input->scaling;
    double wavelength = two_pi / frequency;
    double original = input->original_context;
    if (wavelength < original / scaling->high_freq_factor) return frequency;
    if (wavelength > original / scaling->low_freq_factor) return frequency / scaling->factor;
    double smooth = (original / wavelength - scaling->low_freq_factor) /
                    (scaling->high_freq_factor - scaling->low_freq_factor);
    return (1 - smooth) * frequency / scaling->factor + smooth * frequency;
}

// The pair that turns `turns` times within the original context.
static double yarn_pair(const rope_input *input, double turns) {
    return (double)input->config->rotary_dim * log(input->original_context / (turns * two_pi)) /
           (2 * log(input->theta));
}

static void prepare_yarn(rope_input *input) {
    const hf_rope_scaling *scaling = input->scaling;
    input->low = yarn_pair(input, scaling->beta_fast);
    input->high = yarn_pair(input, scaling->beta_slow);
    if (scaling->truncates) {
        input->low = floor(input->low);
        input->high = ceil(input->high);
    }
    input->low = fmax(input->low, 0);
    input->high = fmin(input->high, (double)input->config->rotary_dim - 1);
    if (input->low >= input->high && input->low <= input->high) input->high += 0.001;
}

static double scale_yarn(const rope_input *input, double frequency, int64_t pair) {
    double ramp = ((double)pair - input->low) / (input->high - input->low);
    ramp = fmin(fmax(ramp, 0), 1);
    return frequency / input->scaling->factor * ramp + frequency * (1 - ramp);
}

static mlcc_status *check_factors(
    const hf_model_config *config, const char *name, const mlcc_json_value *factors) {
    if ((int64_t)mlcc_json_count(factors) == config->rotary_dim / 2) return NULL;
    return MLCC_ERROR(
        INVALID, "rope_scaling's %s has %zu entries; expected %lld, half the rotated columns", name,
        mlcc_json_count(factors), (long long)(config->rotary_dim / 2));
}

static mlcc_status *prepare_longrope(rope_input *input, double *magnitude) {
    const hf_model_config *config = input->config;
    const hf_rope_scaling *scaling = input->scaling;
    const bool has_end = config->context_window_size > 0;
    const bool is_long = !has_end || (double)config->context_window_size > input->original_context;
    if (!has_end && !(scaling->factor > 0) && !(scaling->magnitude > 0))
        return MLCC_ERROR(
            INVALID,
            "rope_scaling needs key 'factor' or 'attention_factor': with a sliding window the "
            "context has no end to compute them from");
    MLCC_TRY(check_factors(config, "short_factor", scaling->short_factors));
    MLCC_TRY(check_factors(config, "long_factor", scaling->long_factors));
    input->factors = is_long ? scaling->long_factors : scaling->short_factors;
    const double stretch = scaling->factor > 0
                               ? scaling->factor
                               : (double)config->max_position / input->original_context;
    *magnitude = scaling->magnitude;
    if (!(*magnitude > 0))
        *magnitude = stretch <= 1 ? 1 : sqrt(1 + log(stretch) / log(input->original_context));
    return NULL;
}

static mlcc_status *prepare(rope_input *input, double *magnitude) {
    const hf_rope_scaling *scaling = input->scaling;
    if (scaling->kind == HF_ROPE_NONE || scaling->kind == HF_ROPE_LINEAR) return NULL;
    const int64_t original =
        scaling->original_context > 0 ? scaling->original_context : input->config->original_context;
    if (original <= 0)
        return MLCC_ERROR(
            INVALID, "rope_scaling needs key 'original_max_position_embeddings' beside it");
    input->original_context = (double)original;
    if (scaling->kind == HF_ROPE_LONGROPE) return prepare_longrope(input, magnitude);
    if (scaling->kind == HF_ROPE_YARN) {
        prepare_yarn(input);
        *magnitude = scaling->magnitude;
    }
    return NULL;
}

mlcc_status *arch_rope_frequencies(
    const hf_model_config *config, bool is_local, float *frequencies, double *magnitude) {
    static const hf_rope_scaling none = {.kind = HF_ROPE_NONE};
    const bool is_own = is_local && config->rope_local_theta > 0;
    rope_input input = {
        .config = config,
        .scaling = is_own ? &none : &config->rope_scaling,
        .theta = is_own ? config->rope_local_theta : config->rope_theta};
    *magnitude = 1;
    MLCC_TRY(prepare(&input, magnitude));
    if (!isfinite(*magnitude))
        return MLCC_ERROR(INVALID, "rope_scaling makes the rotation's length %g", *magnitude);
    for (int64_t i = 0; frequencies != NULL && i < config->rotary_dim / 2; i++) {
        double frequency = pow(input.theta, -(double)(2 * i) / (double)config->rotary_dim);
        switch (input.scaling->kind) {
        case HF_ROPE_NONE: break;
        case HF_ROPE_LINEAR: frequency /= input.scaling->factor; break;
        case HF_ROPE_LLAMA3: frequency = scale_llama3(&input, frequency); break;
        case HF_ROPE_YARN: frequency = scale_yarn(&input, frequency, i); break;
        case HF_ROPE_LONGROPE:
            frequency /= mlcc_json_number(mlcc_json_at(input.factors, (size_t)i));
            break;
        }
        frequencies[i] = (float)frequency;
    }
    return NULL;
}

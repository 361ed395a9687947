#include "frontend/arch/rope_frequencies.h"

#include <math.h>

static double scale_llama3(double frequency, const hf_rope_scaling *scaling) {
    const double two_pi = 6.283185307179586476925286766559;
    double wavelength = two_pi / frequency;
    double original = (double)scaling->original_context;
    if (wavelength < original / scaling->high_freq_factor) return frequency;
    if (wavelength > original / scaling->low_freq_factor) return frequency / scaling->factor;
    double smooth = (original / wavelength - scaling->low_freq_factor) /
                    (scaling->high_freq_factor - scaling->low_freq_factor);
    return (1 - smooth) * frequency / scaling->factor + smooth * frequency;
}

void arch_rope_frequencies(const hf_model_config *config, float *frequencies) {
    const hf_rope_scaling *scaling = &config->rope_scaling;
    for (int64_t i = 0; i < config->head_dim / 2; i++) {
        double frequency = pow(config->rope_theta, -(double)(2 * i) / (double)config->head_dim);
        switch (scaling->kind) {
        case HF_ROPE_NONE: break;
        case HF_ROPE_LINEAR: frequency /= scaling->factor; break;
        case HF_ROPE_LLAMA3: frequency = scale_llama3(frequency, scaling); break;
        }
        frequencies[i] = (float)frequency;
    }
}

/* What happens to samples as they arrive. */
#include "bits.h"

/* NaN and infinite samples become 0, the others are clipped to [-1, 1]; both are counted. By the bits of their
 * exponents, for a compiler that was told to be fast may believe that there is no NaN. */
static void clean(float *samples, int count, uint32_t *repaired, uint32_t *clipped)
{
    uint32_t broken = 0, beyond = 0;
    for (int i = 0; i < count; i++) {
        const uint32_t magnitude = bits_of(samples[i]) & 0x7fffffffu;
        const uint32_t one = 0x3f800000u, infinite = 0x7f800000u;
        const float sign = samples[i] < 0.0f ? -1.0f : 1.0f;
        broken += magnitude >= infinite;
        beyond += magnitude > one && magnitude < infinite;
        samples[i] = magnitude >= infinite ? 0.0f : magnitude > one ? sign : samples[i];
    }
    *repaired += broken;
    *clipped += beyond;
}

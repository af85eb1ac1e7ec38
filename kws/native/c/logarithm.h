/* The natural logarithm in float32.
 *
 * No branches and no tables, so that a compiler computes as many at once as the processor has lanes. The polynomial is
 * a minimax fit over the range that is left. Whatever goes in, NaN included, a finite number comes out.
 */
#pragma once
#include "bits.h"

/* Natural logarithm of a positive number, to 1e-7 of itself or of 1; of 0 about -88. */
static inline float logarithm(float x)
{
    const uint32_t root_of_half = 0x3f3504f3u;
    const uint32_t bits = bits_of(x) + (0x3f800000u - root_of_half);
    const float power = (float)((int32_t)(bits >> 23) - 127);
    const float f = float_of((bits & 0x007fffffu) + root_of_half) - 1.0f; /* from √½ - 1 to √2 - 1 */
    float p = -7.6365486e-2f;
    p = p * f + 1.2764676e-1f;
    p = p * f - 1.3160890e-1f;
    p = p * f + 1.4201395e-1f;
    p = p * f - 1.6623253e-1f;
    p = p * f + 2.0001239e-1f;
    p = p * f - 2.5000823e-1f;
    p = p * f + 3.3333331e-1f;
    const float square = f * f;
    const float rest = p * (square * f) - power * 2.12194440e-4f;
    return ((rest - 0.5f * square) + f) + power * 0.693359375f;
}

/* The exponential in float32.
 *
 * No branches and no tables, so that a compiler computes as many at once as the processor has lanes. The polynomial is
 * a minimax fit over the range that is left. Whatever goes in, NaN included, a finite number comes out.
 */
#pragma once
#include "bits.h"

/* e^x to 1e-7 of itself; below -87 it stays at e^-87, above 88 at e^88. */
static inline float exponential(float x)
{
    x = x > -87.0f ? x : -87.0f; /* so written, NaN becomes a number too */
    x = x < 88.0f ? x : 88.0f;
    const float whole = x * 1.44269504f;
    const int32_t power = (int32_t)(whole + (whole < 0.0f ? -0.5f : 0.5f));
    /* x - power·ln 2, with ln 2 in two parts, the first of which has few digits. */
    const float n = (float)power;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.3814467e-3f;
    p = p * r + 8.3687808e-3f;
    p = p * r + 4.1668393e-2f;
    p = p * r + 1.6666520e-1f;
    p = p * r + 5.0e-1f;
    return (p * (r * r) + r + 1.0f) * float_of((uint32_t)(power + 127) << 23);
}

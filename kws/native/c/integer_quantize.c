#include "integer_arithmetic.h"

/* To the nearest integer, halves to the even one, whatever the processor's rounding is set to; |x| up to 32767. */
static inline int16_t nearest(float x)
{
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole;
    const int32_t odd = whole & 1;
    const int32_t up = rest > 0.5f || (rest == 0.5f && odd), down = rest < -0.5f || (rest == -0.5f && odd);
    return (int16_t)(whole + up - down);
}

/* y = (x - mean) · factor as integers; NaN becomes -32767. Difference and product are rounded each, as nothing is
 * added to the product that a processor could take together with it. */
static void integer_quantize(int16_t *y, const float *x, int count, const float *mean, const float *factor)
{
    for (int i = 0; i < count; i++) {
        const float difference = x[i] - mean[i];
        float scaled = difference * factor[i];
        scaled = scaled > 32767.0f ? 32767.0f : scaled;
        scaled = scaled > -32767.0f ? scaled : -32767.0f;
        y[i] = nearest(scaled);
    }
}

#include "integer_arithmetic.h"

/* y = a · gain_a + b · gain_b, shifted to the right; gains are powers of two, which bring a and b to one fraction.
 * `low` is -32767, or 0 where a ReLU follows. */
static void integer_add(int16_t *y, const int16_t *a, int32_t gain_a, const int16_t *b, int32_t gain_b, int count,
                        int right, int32_t low)
{
    for (int i = 0; i < count; i++) {
        y[i] = (int16_t)between(low, rounded_shift(a[i] * gain_a + b[i] * gain_b, right), 32767);
    }
}

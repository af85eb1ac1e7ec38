#include "integer_arithmetic.h"

/* y = max(x, slope · x, lowest), the slope of fraction 15. */
static void integer_leaky_relu(int16_t *y, const int16_t *x, int count, int32_t slope, int32_t lowest)
{
    for (int i = 0; i < count; i++) {
        const int32_t leak = rounded_shift(slope * x[i], 15);
        y[i] = (int16_t)between(leak > lowest ? leak : lowest, x[i], 32767);
    }
}

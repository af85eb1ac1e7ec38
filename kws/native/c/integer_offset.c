#include "integer_arithmetic.h"

/* y = x + offset, shifted to the right. */
static void integer_offset(int16_t *y, const int16_t *x, int count, const int32_t *offset, int right)
{
    for (int i = 0; i < count; i++) {
        y[i] = (int16_t)between(-32767, rounded_shift(x[i] + offset[i], right), 32767);
    }
}

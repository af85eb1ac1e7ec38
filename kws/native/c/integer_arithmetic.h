/* Numbers in fixed point: an integer that stands for integer / 2^fraction.
 *
 * Everything here is exact and the same on every machine: int32 throughout, which nothing leaves, but for one product.
 */
#pragma once
#include <stdint.h>

/* C leaves >> of a negative number to the compiler. Here it rounds towards minus infinity, as with every compiler that
 * we know of; another one is stopped by this line. */
typedef char right_shifts_keep_the_sign[(-3 >> 1) == -2 && ((int64_t)-3 >> 1) == -2 ? 1 : -1];

static inline int32_t between(int32_t low, int32_t x, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* x / 2^bits to nearest, halves upwards; bits from 0 to 30. */
static inline int32_t rounded_shift(int32_t x, int bits)
{
    return (x + (((int32_t)1 << bits) >> 1)) >> bits;
}

/* A sum of products to the fraction in which it is used: total · multiplier / 2^(16 + bits). */
static inline int32_t requantize(int32_t total, int16_t multiplier, int8_t bits)
{
    return rounded_shift((int32_t)(((int64_t)total * multiplier) >> 16), bits);
}

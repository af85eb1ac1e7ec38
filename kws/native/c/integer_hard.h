/* Straight lines in the place of the logistic function and of the hyperbolic tangent, from the fraction 12 to 15. */
#pragma once
#include "integer_arithmetic.h"

/* 0.2 x + 0.5 between 0 and 1. */
static inline int32_t integer_hard_logistic(int32_t x)
{
    return between(0, 16384 + ((26214 * between(-65535, x, 65535) + 8192) >> 14), 32767);
}

static inline int32_t integer_hard_tangent(int32_t x)
{
    return between(-32767, 8 * between(-4096, x, 4096), 32767);
}

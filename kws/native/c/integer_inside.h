#pragma once
#include "integer_arithmetic.h"
#include "integer_convolution.h"

/* A kernel that begins at the filter `first`: its filters `from` to `to` lie inside the picture, others see zeros. */
static void inside(const integer_convolution *c, int first, int *from, int *to)
{
    *from = between(0, -first, c->width);
    *to = between(*from, c->filters - first, c->width);
}

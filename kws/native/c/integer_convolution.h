/* Convolutions in integers over the frames so far and the neighbouring filters.
 *
 * A picture lies filter after filter, the channels of one side by side: (filters, channels).
 */
#pragma once
#include "integer_arithmetic.h"
#include <stddef.h>
#include <string.h>

/* The shape of a convolution. */
typedef struct integer_convolution {
    int channels, filters;       /* of the picture it reads */
    int outputs, output_filters; /* of the picture it makes */
    int frames, width;           /* its kernel, over frames and over filters */
    int stride, padding;         /* over filters; zeros at both ends */
    int dilation;                /* over frames */
    int groups;
    int32_t low; /* of its results: -32767, or 0 where a ReLU follows */
} integer_convolution;

/* The frame of the picture that a frame of the kernel sees. `past` holds those before the present one, the oldest
 * first. */
static const int16_t *frame_of(const integer_convolution *c, const int16_t *past, const int16_t *x, int frame)
{
    return frame == c->frames - 1 ? x : past + frame * c->dilation * c->filters * c->channels;
}

/* A kernel that begins at the filter `first`: its filters `from` to `to` lie inside the picture, others see zeros. */
static void inside(const integer_convolution *c, int first, int *from, int *to)
{
    *from = between(0, -first, c->width);
    *to = between(*from, c->filters - first, c->width);
}

/* The present frame becomes the last one of the past. */
static void keep_frame(const integer_convolution *c, int16_t *past, const int16_t *x)
{
    const int size = c->filters * c->channels, frames = (c->frames - 1) * c->dilation;
    if (frames > 0) {
        memmove(past, past + size, (size_t)((frames - 1) * size) * sizeof *past);
        memcpy(past + (frames - 1) * size, x, (size_t)size * sizeof *past);
    }
}

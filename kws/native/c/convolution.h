/* Convolutions and pools over the frames so far and the neighbouring filters.
 *
 * A picture lies filter after filter, the channels of one side by side: (filters, channels). So the sums of all output
 * channels grow side by side.
 */
#pragma once

#include "copy.h"
#include <string.h>

/* The shape of a convolution, or of a pool, which has no padding and no groups. */
typedef struct convolution {
    int channels, filters;                /* of the picture it reads */
    int outputs, output_filters;          /* of the picture it makes */
    int frames, width;                    /* its kernel, over frames and over filters */
    int stride, padding;                  /* over filters; zeros at both ends */
    int dilation;                         /* over frames */
    int groups;
} convolution;

/* What the kernel sees of a frame at a place: NULL where that is padding. `past` holds the frames before the present
 * one, the oldest first. */
static const float *seen(const convolution *c, const float *past, const float *x, int frame, int filter)
{
    const int size = c->filters * c->channels;
    if (filter < 0 || filter >= c->filters) {
        return NULL;
    }
    return (frame == c->frames - 1 ? x : past + frame * c->dilation * size) + filter * c->channels;
}

/* The present frame becomes the last one of the past. */
static void remember(const convolution *c, float *past, const float *x)
{
    const int size = c->filters * c->channels, frames = (c->frames - 1) * c->dilation;
    if (frames > 0) {
        memmove(past, past + size, (size_t)((frames - 1) * size) * sizeof *past);
        copy(past + (frames - 1) * size, x, size);
    }
}

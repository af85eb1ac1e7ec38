/* Convolutions and pools in integers over the frames so far and the neighbouring filters.
 *
 * A picture lies filter after filter, the channels of one side by side: (filters, channels).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The shape of a convolution, or of a pool, which has no padding and no groups. */
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

/* The present frame becomes the last one of the past. */
static void keep_frame(const integer_convolution *c, int16_t *past, const int16_t *x)
{
    const int size = c->filters * c->channels, frames = (c->frames - 1) * c->dilation;
    if (frames > 0) {
        memmove(past, past + size, (size_t)((frames - 1) * size) * sizeof *past);
        memcpy(past + (frames - 1) * size, x, (size_t)size * sizeof *past);
    }
}

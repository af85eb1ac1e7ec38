#include "integer_inside.h"
#include "integer_product.h"

/* A convolution of every channel for itself: y (output filters, channels) from x (filters, channels). weights (frames,
 * width, channels), bias, multipliers and shifts (channels), their channels filled up to whole tiles; behind x and the
 * past something lies that the missing ones may read. `sums` takes the channels. */
static void integer_convolve_channels(const integer_convolution *c, int16_t *y, const int16_t *x, int16_t *past,
                                      const int8_t *weights, const int32_t *bias, const int16_t *multipliers,
                                      const int8_t *shifts, int32_t *restrict sums)
{
    const int channels = c->channels, filled = (channels + TILE - 1) / TILE * TILE;
    for (int place = 0; place < c->output_filters; place++, y += channels) {
        const int first = place * c->stride - c->padding;
        int from, to;
        inside(c, first, &from, &to);
        memcpy(sums, bias, (size_t)filled * sizeof *sums);
        for (int frame = 0; frame < c->frames && from < to; frame++) {
            const int16_t *seen = frame_of(c, past, x, frame) + (first + from) * channels;
            const int8_t *w = weights + (frame * c->width + from) * filled;
            for (int k = from; k < to; k++, seen += channels, w += filled) {
                for (int i = 0; i < filled; i++) {
                    sums[i] += w[i] * seen[i];
                }
            }
        }
        requantize_rows(sums, filled, multipliers, shifts);
        for (int i = 0; i < channels; i++) {
            y[i] = (int16_t)between(c->low, sums[i], 32767);
        }
    }
    keep_frame(c, past, x);
}

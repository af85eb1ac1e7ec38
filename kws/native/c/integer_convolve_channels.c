#include "integer_convolution.h"

/* A convolution of every channel for itself: y (output filters, channels) from x (filters, channels). weights (frames,
 * width, channels), bias, multipliers and shifts (channels); `sums` takes as many. */
static void integer_convolve_channels(const integer_convolution *c, int16_t *y, const int16_t *x, int16_t *past,
                                      const int8_t *weights, const int32_t *bias, const int16_t *multipliers,
                                      const int8_t *shifts, int32_t *sums)
{
    const int channels = c->channels;
    for (int place = 0; place < c->output_filters; place++, y += channels) {
        const int8_t *w = weights;
        memcpy(sums, bias, (size_t)channels * sizeof *sums);
        for (int frame = 0; frame < c->frames; frame++) {
            const int16_t *const picture = frame_of(c, past, x, frame);
            for (int k = 0; k < c->width; k++, w += channels) {
                const int filter = place * c->stride - c->padding + k;
                if (filter < 0 || filter >= c->filters) {
                    continue; /* zeros beside the picture */
                }
                const int16_t *const from = picture + filter * channels;
                for (int i = 0; i < channels; i++) {
                    sums[i] += w[i] * from[i];
                }
            }
        }
        for (int i = 0; i < channels; i++) {
            y[i] = (int16_t)between(c->low, requantize(sums[i], multipliers[i], shifts[i]), 32767);
        }
    }
    keep_frame(c, past, x);
}

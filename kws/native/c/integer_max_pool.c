#include "integer_convolution.h"

/* The largest number of each channel that the kernel sees: y (output filters, channels) from x (filters, channels). */
static void integer_max_pool(const integer_convolution *c, int16_t *y, const int16_t *x, int16_t *past)
{
    for (int place = 0; place < c->output_filters; place++, y += c->channels) {
        for (int k = 0; k < c->frames * c->width; k++) {
            const int filter = place * c->stride + k % c->width;
            const int16_t *from = frame_of(c, past, x, k / c->width) + filter * c->channels;
            for (int i = 0; i < c->channels; i++) {
                y[i] = k == 0 || from[i] > y[i] ? from[i] : y[i];
            }
        }
    }
    keep_frame(c, past, x);
}

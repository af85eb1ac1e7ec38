#include "convolution.h"

/* The largest number of each channel that the kernel sees: y (output filters, channels) from x (filters, channels). */
static void max_pool(const convolution *c, float *y, const float *x, float *past)
{
    for (int place = 0; place < c->output_filters; place++, y += c->channels) {
        for (int k = 0; k < c->frames * c->width; k++) {
            const float *from = seen(c, past, x, k / c->width, place * c->stride + k % c->width);
            for (int i = 0; i < c->channels; i++) {
                y[i] = k == 0 || from[i] > y[i] ? from[i] : y[i];
            }
        }
    }
    remember(c, past, x);
}

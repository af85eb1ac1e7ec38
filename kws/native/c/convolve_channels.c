#include "begin.h"
#include "convolution.h"

/* A convolution of every channel for itself: y (output filters, channels) from x (filters, channels). weights (frames,
 * width, channels) in memory, bias (channels) or NULL. */
static void convolve_channels(const convolution *c, float *y, const float *x, float *past, const float *weights,
                              const float *bias)
{
    for (int place = 0; place < c->output_filters; place++, y += c->outputs) {
        const float *w = weights;
        begin(y, bias, c->outputs);
        for (int frame = 0; frame < c->frames; frame++) {
            for (int k = 0; k < c->width; k++, w += c->channels) {
                const float *from = seen(c, past, x, frame, place * c->stride + k - c->padding);
                for (int i = 0; from != NULL && i < c->channels; i++) {
                    y[i] += w[i] * from[i];
                }
            }
        }
    }
    remember(c, past, x);
}

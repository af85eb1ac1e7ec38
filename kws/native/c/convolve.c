#include "begin.h"
#include "convolution.h"
#include "product.h"

/* y (output filters, outputs) from x (filters, channels). weights (groups, frames · width · channels / groups,
 * outputs / groups) in memory, bias (outputs) or NULL. `work` takes what the kernel sees of one group at one place. */
static void convolve(const convolution *c, float *y, const float *x, float *past, const float *weights,
                     const float *bias, float *work)
{
    const int inputs = c->channels / c->groups, outputs = c->outputs / c->groups;
    const int columns = c->frames * c->width * inputs;
    for (int place = 0; place < c->output_filters; place++, y += c->outputs) {
        begin(y, bias, c->outputs);
        if (c->groups * c->frames * c->width == 1 && c->padding == 0) { /* it sees x as it lies */
            add_product(y, weights, outputs, columns, x + place * c->stride * columns);
            continue;
        }
        for (int group = 0; group < c->groups; group++) {
            float *next = work;
            for (int frame = 0; frame < c->frames; frame++) {
                for (int k = 0; k < c->width; k++, next += inputs) {
                    const float *from = seen(c, past, x, frame, place * c->stride + k - c->padding);
                    if (from != NULL) {
                        copy(next, from + group * inputs, inputs);
                    } else {
                        memset(next, 0, (size_t)inputs * sizeof *next);
                    }
                }
            }
            add_product(y + group * outputs, weights + group * columns * outputs, outputs, columns, work);
        }
    }
    remember(c, past, x);
}

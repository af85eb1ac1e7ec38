#include "copy.h"
#include "product.h"

/* y = weights · x + bias: (outputs) from (inputs), weights (inputs, outputs) in memory. */
static void linear(float *y, int outputs, const float *x, int inputs, const float *weights, const float *bias)
{
    copy(y, bias, outputs);
    add_product(y, weights, outputs, inputs, x);
}

/* An LSTM layer as PyTorch has it, a = W_i x + b_i + W_h h + b_h for each of the gates i, f, g, o:
 *
 *     c' = σ(f) ∘ c + σ(i) ∘ tanh(g)        h' = σ(o) ∘ tanh(c')
 */
#include "copy.h"
#include "tangent.h"
#include "product.h"

/* h and c (units) become h' and c'. W_i (inputs, 4·units) and W_h (units, 4·units) with the gates i, f, g, o side by
 * side, bias (4·units) the sum of both. `work` takes 4·units numbers. */
static void lstm(float *restrict h, float *restrict c, int units, const float *x, int inputs, const float *W_i,
                 const float *W_h, const float *bias, float *work)
{
    const float *restrict i = work, *restrict f = i + units, *restrict g = f + units, *restrict o = g + units;
    copy(work, bias, 4 * units);
    add_product(work, W_i, 4 * units, inputs, x);
    add_product(work, W_h, 4 * units, units, h);
    for (int k = 0; k < units; k++) {
        c[k] = logistic(f[k]) * c[k] + logistic(i[k]) * tangent(g[k]);
        h[k] = logistic(o[k]) * tangent(c[k]);
    }
}

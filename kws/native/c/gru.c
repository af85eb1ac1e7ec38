/* A GRU layer as PyTorch has it, its reset gate after the product:
 *
 *     r = σ(W_ir x + b_ir + W_hr h + b_hr)        n = tanh(W_in x + b_in + r ∘ (W_hn h + b_hn))
 *     z = σ(W_iz x + b_iz + W_hz h + b_hz)        h' = n + z ∘ (h - n)
 */
#include "copy.h"
#include "tangent.h"
#include "product.h"

/* h (units) becomes h'. W_i (inputs, 3·units) with the gates r, z, n side by side and bias (3·units), in which b_hr and
 * b_hz are contained; W_hrz (units, 2·units); W_hn (units, units) with bias_n (units). `work` takes 4·units numbers. */
static void gru(float *h, int units, const float *x, int inputs, const float *W_i, const float *bias,
                const float *W_hrz, const float *W_hn, const float *bias_n, float *work)
{
    float *restrict r = work, *restrict z = r + units, *restrict n = z + units, *restrict hn = n + units;
    copy(work, bias, 3 * units);
    copy(hn, bias_n, units);
    add_product(work, W_i, 3 * units, inputs, x);
    add_product(work, W_hrz, 2 * units, units, h);
    add_product(hn, W_hn, units, units, h);
    for (int i = 0; i < units; i++) {
        const float new = tangent(n[i] + logistic(r[i]) * hn[i]);
        h[i] = new + logistic(z[i]) * (h[i] - new);
    }
}

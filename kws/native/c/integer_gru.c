/* A GRU layer in integers, gates r, z, n as in gru.c. Sums come in the fraction 12, those of r and z halved for the
 * logistic function; gates and states have the fraction 15. */
#include "integer_product.h"
#include "integer_tangent.h"

/* h (units) becomes h'. bias (3·units) belongs to W_i, bias_n (units) to the gate n of W_h. `work` takes the rows of
 * both matrices. */
static void integer_gru(int16_t *h, int units, const int16_t *x, const integer_matrix *W_i, const int32_t *bias,
                        const integer_matrix *W_h, const int32_t *bias_n, int32_t *work)
{
    const int rows = W_i->rows;
    int32_t *const a = work, *const b = work + rows;
    product(a, rows, W_i->weights, W_i->columns, x);
    add_bias(a, bias, 3 * units);
    requantize_rows(a, rows, W_i->multipliers, W_i->shifts);
    product(b, rows, W_h->weights, W_h->columns, h);
    add_bias(b + 2 * units, bias_n, units);
    requantize_rows(b, rows, W_h->multipliers, W_h->shifts);
    for (int i = 0; i < units; i++) {
        const int32_t r = integer_logistic(a[i] + b[i]), z = integer_logistic(a[units + i] + b[units + i]);
        const int32_t inner = (r * between(-65535, b[2 * units + i], 65535) + 16384) >> 15;
        const int32_t n = integer_tangent(a[2 * units + i] + inner);
        h[i] = (int16_t)(n + ((z * (h[i] - n) + 16384) >> 15));
    }
}

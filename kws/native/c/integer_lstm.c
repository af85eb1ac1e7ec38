/* An LSTM layer in integers, gates i, f, g, o as in lstm.c. Sums come in the fraction 12, those of i, f and o halved
 * for the logistic function; gates and h have the fraction 15, c one of its own. */
#include "integer_product.h"
#include "integer_tangent.h"

/* h and c (units) become h' and c', c of the given fraction. bias (4·units) belongs to W_i. `work` takes the rows of
 * both matrices. */
static void integer_lstm(int16_t *h, int16_t *c, int units, int fraction, const int16_t *x, const integer_matrix *W_i,
                         const int32_t *bias, const integer_matrix *W_h, int32_t *work)
{
    const int rows = W_i->rows;
    const int32_t gain = (int32_t)1 << (12 - fraction);
    int32_t *const a = work, *const b = work + rows;
    product(a, rows, W_i->weights, W_i->columns, x);
    add_bias(a, bias, 4 * units);
    requantize_rows(a, rows, W_i->multipliers, W_i->shifts);
    product(b, rows, W_h->weights, W_h->columns, h);
    requantize_rows(b, rows, W_h->multipliers, W_h->shifts);
    add_bias(a, b, 4 * units);
    for (int k = 0; k < units; k++) {
        const int32_t i = integer_logistic(a[k]), f = integer_logistic(a[units + k]);
        const int32_t g = integer_tangent(a[2 * units + k]), o = integer_logistic(a[3 * units + k]);
        const int32_t sum = f * c[k] + ((i * g) >> (15 - fraction));
        const int32_t cell = between(-32767, (sum + 16384) >> 15, 32767);
        c[k] = (int16_t)cell;
        h[k] = (int16_t)((o * integer_tangent(cell * gain) + 16384) >> 15);
    }
}

/* An LSTM layer in integers, gates i, f, g, o as in lstm.c. Sums come in the fraction 12, those of i, f and o halved for
 * the logistic function; gates and h have the fraction 15, c one of its own. */
#include "integer_product.h"
#include "integer_tangent.h"

/* h and c (units) become h' and c'. The rows of W_i and W_h are tiles of the gates i, f, g, o in turn, bias as them.
 * `next` takes h', whose place is still needed. Units count up to the next multiple of eight. */
static void integer_lstm(int16_t *h, int16_t *c, int units, int fraction, const int16_t *x, const integer_matrix *W_i,
                         const int32_t *bias, const integer_matrix *W_h, int16_t *next)
{
    enum { I = 0, F = TILE, G = 2 * TILE, O = 3 * TILE, ALL = 4 * TILE };
    const int32_t gain = (int32_t)1 << (12 - fraction);
    for (int first = 0; first < units; first += TILE) {
        int32_t a[ALL], b[ALL];
        rows_of(a, 4, W_i, 4 * first, bias, x);
        rows_of(b, 4, W_h, 4 * first, NULL, h);
        for (int k = 0; k < TILE; k++) {
            const int32_t i = integer_logistic(a[I + k] + b[I + k]), f = integer_logistic(a[F + k] + b[F + k]);
            const int32_t g = integer_tangent(a[G + k] + b[G + k]), o = integer_logistic(a[O + k] + b[O + k]);
            const int32_t sum = f * c[first + k] + ((i * g) >> (15 - fraction));
            const int32_t cell = between(-32767, (sum + 16384) >> 15, 32767);
            c[first + k] = (int16_t)cell;
            next[first + k] = (int16_t)((o * integer_tangent(cell * gain) + 16384) >> 15);
        }
    }
    memcpy(h, next, (size_t)units * sizeof *h);
}

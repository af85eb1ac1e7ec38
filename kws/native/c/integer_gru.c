/* A GRU layer in integers, gates r, z, n as in gru.c. Sums come in the fraction 12, those of r and z halved for the
 * logistic function; gates and states have the fraction 15. */
#include "integer_product.h"
#include "integer_tangent.h"

/* h (units) becomes h'. The rows of W_i and W_h are tiles of the gates r, z, n in turn, bias as them; bias_n (units) is of
 * W_h and n alone. `next` takes h', whose place is still needed. Units count up to the next multiple of eight. */
static void integer_gru(int16_t *h, int units, const int16_t *x, const integer_matrix *W_i, const int32_t *bias,
                        const integer_matrix *W_h, const int32_t *bias_n, int16_t *next)
{
    enum { R = 0, Z = TILE, N = 2 * TILE, ALL = 3 * TILE };
    for (int first = 0; first < units; first += TILE) {
        int32_t a[ALL], b[ALL];
        rows_of(a, 3, W_i, 3 * first, bias, x);
        product(b, 3, W_h->weights + 3 * first * W_h->columns, W_h->columns, h);
        add_bias(b + N, bias_n + first, TILE);
        requantize_rows(b, ALL, W_h, 3 * first);
        for (int i = 0; i < TILE; i++) {
            const int32_t r = integer_logistic(a[R + i] + b[R + i]);
            const int32_t z = integer_logistic(a[Z + i] + b[Z + i]);
            const int32_t inner = (r * between(-65535, b[N + i], 65535) + 16384) >> 15;
            const int32_t n = integer_tangent(a[N + i] + inner);
            next[first + i] = (int16_t)(n + ((z * (h[first + i] - n) + 16384) >> 15));
        }
    }
    memcpy(h, next, (size_t)units * sizeof *h);
}

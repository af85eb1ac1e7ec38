/* A FastGRNN layer in integers, see fastgrnn.c. Sums have the fraction 12, gates 15, the state one of its own. */
#include "integer_hard.h"
#include "integer_product.h"
#include "integer_tangent.h"

/* One of the layer's matrices; or, with a rank above 0, the product of `second` with `first`. */
typedef struct integer_factors {
    integer_matrix first, second;
    int rank;
} integer_factors;

/* Eight rows of a matrix from `row` on. */
static void eight_rows(int32_t *y, const integer_matrix *matrix, int row, const int16_t *x)
{
    product(y, TILE, matrix->weights + row * matrix->columns, matrix->columns, x);
    requantize_rows(y, TILE, matrix->multipliers + row, matrix->shifts + row);
}

/* What the last matrix of a layer reads: x itself, or with a rank above 0 what the first one makes of it. */
static const int16_t *inner_of(const integer_factors *factors, const int16_t *x, int16_t *inner)
{
    if (factors->rank == 0) {
        return x;
    }
    for (int row = 0; row < factors->rank; row += TILE) {
        int32_t y[TILE];
        eight_rows(y, &factors->first, row, x);
        for (int i = 0; i < TILE; i++) {
            inner[row + i] = (int16_t)between(-32767, y[i], 32767);
        }
    }
    return inner;
}

static const integer_matrix *last_of(const integer_factors *factors)
{
    return factors->rank == 0 ? &factors->first : &factors->second;
}

/* Eight sums, within ±2^28. */
static void side(int32_t *y, const integer_matrix *matrix, int row, const int16_t *x)
{
    eight_rows(y, matrix, row, x);
    for (int i = 0; i < TILE; i++) {
        y[i] = between(-(1 << 28), y[i], 1 << 28);
    }
}

/* h (units) becomes h', both of the given fraction. b_z and b_h (units) are the biases of gate and update; zeta and
 * nu have the fraction 15. `work` takes h', and what lies between the two matrices of W and of U. Units and ranks are
 * filled up to whole tiles. */
static void integer_fastgrnn(int16_t *h, int units, int fraction, const int16_t *x, const integer_factors *W,
                             const integer_factors *U, const int32_t *b_z, const int32_t *b_h, int32_t zeta, int32_t nu,
                             int hard_gate, int hard_update, int16_t *work)
{
    const int padded = (units + TILE - 1) / TILE * TILE;
    int16_t *const next = work, *const of_x = next + padded, *const of_h = of_x + (W->rank + TILE - 1) / TILE * TILE;
    const int16_t *const inner_x = inner_of(W, x, of_x), *const inner_h = inner_of(U, h, of_h);
    for (int first = 0; first < units; first += TILE) {
        int32_t u[TILE], v[TILE];
        side(u, last_of(W), first, inner_x);
        side(v, last_of(U), first, inner_h);
        for (int i = 0; i < TILE; i++) {
            const int32_t sum = u[i] + v[i], gate = sum + b_z[first + i], update = sum + b_h[first + i];
            const int32_t z = hard_gate ? integer_hard_logistic(gate) : integer_logistic((gate + 1) >> 1);
            const int32_t new = hard_update ? integer_hard_tangent(update) : integer_tangent(update);
            const int32_t full = ((zeta * (32768 - z) + 16384) >> 15) + nu, gain = full < 65535 ? full : 65535;
            const int32_t total = ((gain * new) >> (16 - fraction)) + ((z * h[first + i]) >> 1);
            next[first + i] = (int16_t)between(-32767, (total + 8192) >> 14, 32767);
        }
    }
    memcpy(h, next, (size_t)units * sizeof *h);
}

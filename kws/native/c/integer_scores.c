#include "integer_product.h"

/* y (outputs) = totals · scale, the one place where integers become floats again. totals (outputs) = weights · x +
 * bias, with weights in tiles. */
static void integer_scores(float *y, int32_t *totals, int outputs, const int16_t *x, int columns, const int8_t *weights,
                           const int32_t *bias, const float *scale)
{
    for (int row = 0; row < outputs; row += TILE) {
        const int count = outputs - row < TILE ? outputs - row : TILE;
        int32_t sums[TILE];
        product(sums, TILE, weights + row * columns, columns, x);
        add_bias(sums, bias + row, count);
        memcpy(totals + row, sums, (size_t)count * sizeof *totals);
    }
    for (int i = 0; i < outputs; i++) {
        y[i] = (float)totals[i] * scale[i];
    }
}

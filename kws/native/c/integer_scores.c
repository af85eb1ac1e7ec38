#include "integer_product.h"

/* y (outputs) = totals · scale, the one place where integers become numbers again. totals (outputs) = weights · x + bias,
 * weights in tiles. */
static void integer_scores(float *y, int32_t *totals, int outputs, const int16_t *x, int columns, const int8_t *weights,
                           const int32_t *bias, const float *scale)
{
    for (int row = 0; row < outputs; row += TILE) {
        int32_t sums[TILE];
        product(sums, 1, weights + row * columns, columns, x);
        for (int i = 0; i < TILE && row + i < outputs; i++) {
            totals[row + i] = sums[i] + bias[row + i];
            y[row + i] = (float)totals[row + i] * scale[row + i];
        }
    }
}

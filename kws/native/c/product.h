/* Matrix times vector, where nearly all of the time goes.
 *
 * A matrix lies column after column. So the sums of all rows grow side by side, and any compiler computes as many at
 * once as the processor has lanes. Eight columns at a time: each sum is fetched and put back once for eight products.
 */
#pragma once

/* sums += weights · x, with weights (columns, rows) in memory. */
static void add_product(float *restrict sums, const float *restrict weights, int rows, int columns,
                        const float *restrict x)
{
    int column = 0;
    for (; column + 8 <= columns; column += 8) {
        const float x0 = x[column], x1 = x[column + 1], x2 = x[column + 2], x3 = x[column + 3];
        const float x4 = x[column + 4], x5 = x[column + 5], x6 = x[column + 6], x7 = x[column + 7];
        const float *const w0 = weights, *const w1 = w0 + rows, *const w2 = w1 + rows, *const w3 = w2 + rows;
        const float *const w4 = w3 + rows, *const w5 = w4 + rows, *const w6 = w5 + rows, *const w7 = w6 + rows;
        for (int row = 0; row < rows; row++) {
            sums[row] += ((w0[row] * x0 + w1[row] * x1) + (w2[row] * x2 + w3[row] * x3)) +
                         ((w4[row] * x4 + w5[row] * x5) + (w6[row] * x6 + w7[row] * x7));
        }
        weights += 8 * rows;
    }
    for (; column < columns; column++) {
        const float x0 = x[column];
        for (int row = 0; row < rows; row++) {
            sums[row] += weights[row] * x0;
        }
        weights += rows;
    }
}

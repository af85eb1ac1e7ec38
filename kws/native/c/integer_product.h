/* Matrix times vector in integers, where nearly all of the time goes.
 *
 * A matrix of int8 lies in tiles of eight rows: (tiles, columns / 4, 8, 4), see integer_lanes.h; rows and columns that
 * are missing are zeros. No sum leaves int32, in whatever order its products are added.
 */
#pragma once
#include "integer_arithmetic.h"
#include "integer_lanes.h"

enum { TILE = 8, AT_ONCE = 4 };

/* A matrix, and how its sums become the next numbers, row by row. */
typedef struct integer_matrix {
    const int8_t *weights;
    const int16_t *multipliers;
    const int8_t *shifts;
    int rows, columns; /* filled up to whole tiles and fours; of x, something must lie where columns are missing */
} integer_matrix;

#if defined(LANES_OF_SMLAD)
/* y (rows) = weights (rows, columns) in tiles · x. Four rows at a time, for which there are registers. */
static void product(int32_t *y, int rows, const int8_t *weights, int columns, const int16_t *x)
{
    const int16_t *const end = x + columns;
    for (int row = 0; row < rows; row += 4, y += 4) {
        const int8_t *w = weights + row / TILE * TILE * columns + row % TILE * 4;
        int32_t y0 = 0, y1 = 0, y2 = 0, y3 = 0;
        for (const int16_t *next = x; next < end; next += 4, w += 4 * TILE) {
            const int32_t x01 = pair(next), x23 = pair(next + 2);
            y0 = row_add(y0, w, x01, x23);
            y1 = row_add(y1, w + 4, x01, x23);
            y2 = row_add(y2, w + 8, x01, x23);
            y3 = row_add(y3, w + 12, x01, x23);
        }
        y[0] = y0;
        y[1] = y1;
        y[2] = y2;
        y[3] = y3;
    }
}

#else
/* Some tiles, which share what is fetched of x. */
static inline void product_of_tiles(int tiles, int32_t *y, const int8_t *weights, int columns, const int16_t *x)
{
    lanes sums[AT_ONCE];
    for (int i = 0; i < tiles; i++) {
        sums[i] = lanes_zero();
    }
    for (int column = 0; column < columns; column += 4, weights += 4 * TILE) {
        for (int i = 0; i < tiles; i++) {
            sums[i] = lanes_add(sums[i], weights + i * TILE * columns, x + column);
        }
    }
    for (int i = 0; i < tiles; i++) {
        lanes_store(y + TILE * i, sums[i]);
    }
}

/* y (rows) = weights (rows, columns) in tiles · x. */
static void product(int32_t *y, int rows, const int8_t *weights, int columns, const int16_t *x)
{
    int row = 0;
    for (; row + AT_ONCE * TILE <= rows; row += AT_ONCE * TILE) {
        product_of_tiles(AT_ONCE, y + row, weights + row * columns, columns, x);
    }
    for (; row < rows; row += TILE) {
        product_of_tiles(1, y + row, weights + row * columns, columns, x);
    }
}
#endif

static void add_bias(int32_t *y, const int32_t *bias, int count)
{
    for (int i = 0; i < count; i++) {
        y[i] += bias[i];
    }
}

/* Sums become the next numbers. */
static void requantize_rows(int32_t *y, int count, const int16_t *multipliers, const int8_t *shifts)
{
    for (int i = 0; i < count; i++) {
        y[i] = requantize(y[i], multipliers[i], shifts[i]);
    }
}

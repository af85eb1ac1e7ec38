/* Matrix times vector in integers, where nearly all of the time goes.
 *
 * A matrix of int8 lies in tiles of eight rows: (tiles, columns / 4, 8, 4), see integer_lanes.h; rows and columns that
 * are missing are zeros. No sum leaves int32, in whatever order its products are added.
 */
#pragma once
#include "integer_arithmetic.h"
#include "integer_lanes.h"

enum { TILE = 8, MOST_TILES = 4 };

/* A matrix, and how its sums become the next numbers, row by row. */
typedef struct integer_matrix {
    const int8_t *weights;
    const int16_t *multipliers;
    const int8_t *shifts;
    int columns; /* of which x must have as many, a multiple of four */
} integer_matrix;

#if defined(LANES_OF_SMLAD)
/* y (8 · tiles) = weights (tiles, …) · x. Four rows at a time, for which there are registers. */
static inline void product(int32_t *y, int tiles, const int8_t *weights, int columns, const int16_t *x)
{
    for (int half = 0; half < 2 * tiles; half++, y += 4) {
        const int8_t *w = weights + half / 2 * TILE * columns + half % 2 * 16;
        int32_t y0 = 0, y1 = 0, y2 = 0, y3 = 0;
        for (int column = 0; column < columns; column += 4, w += 4 * TILE) {
            const int32_t x01 = pair(x + column), x23 = pair(x + column + 2);
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
/* y (8 · tiles) = weights (tiles, …) · x; up to MOST_TILES at a time share what is fetched of x. */
static inline void product(int32_t *y, int tiles, const int8_t *weights, int columns, const int16_t *x)
{
    lanes sums[MOST_TILES];
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
#endif

static inline void add_bias(int32_t *y, const int32_t *bias, int count)
{
    for (int i = 0; i < count; i++) {
        y[i] += bias[i];
    }
}

/* The sums of the rows from `row` on become the next numbers. */
static inline void requantize_rows(int32_t *y, int count, const integer_matrix *matrix, int row)
{
    for (int i = 0; i < count; i++) {
        y[i] = requantize(y[i], matrix->multipliers[row + i], matrix->shifts[row + i]);
    }
}

/* y (8 · tiles) = the rows of a matrix from `row` on times x, as the next numbers; bias (rows) of the sums or NULL. */
static inline void rows_of(int32_t *y, int tiles, const integer_matrix *matrix, int row, const int32_t *bias,
                           const int16_t *x)
{
    product(y, tiles, matrix->weights + row * matrix->columns, matrix->columns, x);
    if (bias != NULL) {
        add_bias(y, bias + row, TILE * tiles);
    }
    requantize_rows(y, TILE * tiles, matrix, row);
}

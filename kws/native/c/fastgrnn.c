/* A FastGRNN layer (Kusupati et al., 2018), gate and update from the same products:
 *
 *     z = σ(W x + U h + b_z)        h' = (ζ (1 - z) + ν) ∘ tanh(W x + U h + b_h) + z ∘ h
 */
#include "copy.h"
#include "tangent.h"
#include "hard.h"
#include "product.h"
#include <string.h>

/* One of the layer's matrices: (columns, rows) in memory; or, with a rank above 0, the product of `second` (rank, rows)
 * with `first` (columns, rank). */
typedef struct factors {
    const float *first, *second;
    int rank;
} factors;

static void add_factors(float *sums, int rows, const factors *matrix, const float *x, int columns, float *inner)
{
    if (matrix->rank == 0) {
        add_product(sums, matrix->first, rows, columns, x);
        return;
    }
    memset(inner, 0, (size_t)matrix->rank * sizeof *inner);
    add_product(inner, matrix->first, matrix->rank, columns, x);
    add_product(sums, matrix->second, rows, matrix->rank, inner);
}

/* h (units) becomes h'. bias (units) is b_z, difference (units) b_h - b_z. The hard nonlinearities are straight lines
 * between their ends. `work` takes as many numbers as there are units, and as the largest rank. */
static void fastgrnn(float *restrict h, int units, const float *x, int inputs, const factors *W, const factors *U,
                     const float *bias, const float *restrict difference, float zeta, float nu, int hard_gate,
                     int hard_update, float *restrict work)
{
    copy(work, bias, units);
    add_factors(work, units, W, x, inputs, work + units);
    add_factors(work, units, U, h, units, work + units);
    for (int i = 0; i < units; i++) {
        const float z = hard_gate ? hard_logistic(work[i]) : logistic(work[i]);
        const float argument = work[i] + difference[i];
        const float new = hard_update ? hard_tangent(argument) : tangent(argument);
        h[i] = (zeta * (1.0f - z) + nu) * new + z * h[i];
    }
}

#include <stdint.h>

/* Sums of the bins under triangles. Filter i weighs the `counts[i]` bins from `starts[i]` on; weights lie filter after
 * filter. */
static void filterbank(float *y, int filters, const float *bins, const uint16_t *starts, const uint16_t *counts,
                       const float *weights)
{
    for (int i = 0; i < filters; i++) {
        const float *x = bins + starts[i];
        const int count = counts[i];
        float sum = 0.0f;
        for (int k = 0; k < count; k++) {
            sum += x[k] * weights[k];
        }
        y[i] = sum;
        weights += count;
    }
}

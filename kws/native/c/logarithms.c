#include "logarithm.h"

/* ln(x + delta) */
static void logarithms(float *y, const float *x, int count, float delta)
{
    for (int i = 0; i < count; i++) {
        y[i] = logarithm(x[i] + delta);
    }
}

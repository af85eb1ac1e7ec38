#include <math.h>

/* Squares become their roots. */
static void magnitude(float *x, int count)
{
    for (int i = 0; i < count; i++) {
        x[i] = sqrtf(x[i]);
    }
}

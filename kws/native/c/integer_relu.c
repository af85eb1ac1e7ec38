#include <stdint.h>

static void integer_relu(int16_t *y, const int16_t *x, int count)
{
    for (int i = 0; i < count; i++) {
        y[i] = x[i] > 0 ? x[i] : 0;
    }
}

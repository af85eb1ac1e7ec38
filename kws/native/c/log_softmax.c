/* Scores to log-probabilities. The largest score is taken off first, so that no exponential overflows. */
#include "exponential.h"
#include "logarithm.h"

static void log_softmax(float *y, const float *x, int count)
{
    float largest = x[0], sum = 0.0f;
    for (int i = 1; i < count; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    for (int i = 0; i < count; i++) {
        sum += exponential(x[i] - largest);
    }
    const float rest = logarithm(sum);
    for (int i = 0; i < count; i++) {
        y[i] = (x[i] - largest) - rest;
    }
}

/* y[t] = x[t] - factor · x[t-1]. From the last sample to the first, so that each still finds the one before it. */
static void pre_emphasis(float *samples, int count, float factor, float *previous)
{
    if (count == 0) {
        return;
    }
    const float last = samples[count - 1];
    for (int i = count - 1; i > 0; i--) {
        samples[i] -= factor * samples[i - 1];
    }
    samples[0] -= factor * *previous;
    *previous = last;
}

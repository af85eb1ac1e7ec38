/* y = max(x, slope · x, lowest). */
static void leaky_relu(float *y, const float *x, int count, float slope, float lowest)
{
    for (int i = 0; i < count; i++) {
        const float leak = slope * x[i] > lowest ? slope * x[i] : lowest;
        y[i] = x[i] > leak ? x[i] : leak;
    }
}

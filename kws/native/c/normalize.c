/* (x - mean) / deviation */
static void normalize(float *y, const float *x, int count, const float *mean, const float *deviation)
{
    for (int i = 0; i < count; i++) {
        y[i] = (x[i] - mean[i]) / deviation[i];
    }
}

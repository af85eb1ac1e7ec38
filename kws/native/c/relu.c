static void relu(float *y, const float *x, int count)
{
    for (int i = 0; i < count; i++) {
        y[i] = x[i] > 0.0f ? x[i] : 0.0f;
    }
}

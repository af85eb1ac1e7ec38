static void add(float *y, const float *a, const float *b, int count)
{
    for (int i = 0; i < count; i++) {
        y[i] = a[i] + b[i];
    }
}

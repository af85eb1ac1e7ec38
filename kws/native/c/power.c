/* Squares become shares of the number of points. */
static void power(float *x, int count, float share)
{
    for (int i = 0; i < count; i++) {
        x[i] *= share;
    }
}

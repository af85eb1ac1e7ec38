/* The Fourier transform of real samples, where their number is no power of two: bin by bin. */

/* Squared magnitudes (points / 2 + 1) of the transform of `count` samples and zeros behind them, `points` in all. sine
 * and cosine (points) are one turn of them. */
static void squared_bins(float *restrict squares, const float *samples, int count, int points, const float *sine,
                         const float *cosine)
{
    for (int k = 0; k <= points / 2; k++) {
        float re = 0.0f, im = 0.0f;
        int turn = 0; /* k · i, in parts of a circle */
        for (int i = 0; i < count; i++) {
            re += samples[i] * cosine[turn];
            im -= samples[i] * sine[turn];
            turn += k;
            turn -= turn >= points ? points : 0;
        }
        squares[k] = re * re + im * im;
    }
}

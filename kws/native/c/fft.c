/* The Fourier transform of real samples, where their number is a power of two.
 *
 * Even and odd samples are the real and imaginary parts of half as many complex numbers; these go through a transform
 * that divides by four in every pass and leaves its results in order (after Stockham; see Van Loan, "Computational
 * Frameworks for the Fast Fourier Transform", 1992, section 1.7); then the spectrum of the real samples is put together
 * from pairs of its results. Complex numbers lie as all real parts, then all imaginary parts.
 */
#include <string.h>

/* A pass over `size` complex numbers: transforms of `count` of them become four times as many of a fourth of that.
 * sine[i] = sin(2πi / points). */
static void divide_by_four(float *restrict to, const float *restrict from, int size, int count, const float *sine,
                           int points)
{
    const int quarter = size / 4, stride = size / count;
    const float *cosine = sine + points / 4;
    for (int p = 0; p < count / 4; p++) {
        const int turn = p * (points / count); /* of e^(-2πi p / count), in parts of a circle */
        const float c1 = cosine[turn], c2 = cosine[2 * turn], c3 = cosine[3 * turn];
        const float s1 = sine[turn], s2 = sine[2 * turn], s3 = sine[3 * turn];
        const float *re = from + p * stride, *im = re + size;
        float *to_re = to + 4 * p * stride, *to_im = to_re + size;
        for (int q = 0; q < stride; q++) {
            const float a_re = re[q], b_re = re[q + quarter], c_re = re[q + 2 * quarter], d_re = re[q + 3 * quarter];
            const float a_im = im[q], b_im = im[q + quarter], c_im = im[q + 2 * quarter], d_im = im[q + 3 * quarter];
            const float sum_re = a_re + c_re, sum_im = a_im + c_im, rest_re = a_re - c_re, rest_im = a_im - c_im;
            const float even_re = b_re + d_re, even_im = b_im + d_im, odd_re = b_re - d_re, odd_im = b_im - d_im;
            const float y1_re = rest_re + odd_im, y1_im = rest_im - odd_re;
            const float y2_re = sum_re - even_re, y2_im = sum_im - even_im;
            const float y3_re = rest_re - odd_im, y3_im = rest_im + odd_re;
            to_re[q] = sum_re + even_re;
            to_im[q] = sum_im + even_im;
            to_re[q + stride] = y1_re * c1 + y1_im * s1;
            to_im[q + stride] = y1_im * c1 - y1_re * s1;
            to_re[q + 2 * stride] = y2_re * c2 + y2_im * s2;
            to_im[q + 2 * stride] = y2_im * c2 - y2_re * s2;
            to_re[q + 3 * stride] = y3_re * c3 + y3_im * s3;
            to_im[q + 3 * stride] = y3_im * c3 - y3_re * s3;
        }
    }
}

/* The last pass where the size is no power of four. */
static void divide_by_two(float *restrict to, const float *restrict from, int size)
{
    const int half = size / 2;
    for (int q = 0; q < half; q++) {
        to[q] = from[q] + from[q + half];
        to[q + half] = from[q] - from[q + half];
        to[q + size] = from[q + size] + from[q + half + size];
        to[q + half + size] = from[q + size] - from[q + half + size];
    }
}

/* Squared magnitudes (points / 2 + 1) of the transform of `count` samples and zeros behind them, `points` in all, which
 * is a power of two from 2 on. The samples' place has room for as many, and they are lost; `work` takes as many too.
 * sine (points) is one turn of it. */
static void squared_spectrum(float *restrict squares, float *restrict samples, int count, int points, const float *sine,
                             float *restrict work)
{
    const int size = points / 2;
    const float *cosine = sine + points / 4;
    float *z = work, *other = samples;
    memset(samples + count, 0, (size_t)(points - count) * sizeof *samples);
    for (int i = 0; i < size; i++) {
        work[i] = samples[2 * i];
        work[i + size] = samples[2 * i + 1];
    }
    for (int left = size; left > 1; left /= 4) {
        if (left == 2) {
            divide_by_two(other, z, size);
        } else {
            divide_by_four(other, z, size, left, sine, points);
        }
        float *const next = other;
        other = z;
        z = next;
    }
    const float *restrict re = z, *restrict im = z + size;
    squares[0] = (re[0] + im[0]) * (re[0] + im[0]);
    squares[size] = (re[0] - im[0]) * (re[0] - im[0]);
    for (int k = 1; k <= size / 2; k++) {
        const int l = size - k;
        const float even_re = 0.5f * (re[k] + re[l]), even_im = 0.5f * (im[k] - im[l]);
        const float odd_re = 0.5f * (im[k] + im[l]), odd_im = 0.5f * (re[l] - re[k]);
        const float turned_re = odd_re * cosine[k] + odd_im * sine[k];
        const float turned_im = odd_im * cosine[k] - odd_re * sine[k];
        const float low_re = even_re + turned_re, low_im = even_im + turned_im;
        const float high_re = even_re - turned_re, high_im = even_im - turned_im;
        squares[k] = low_re * low_re + low_im * low_im;
        squares[l] = high_re * high_re + high_im * high_im;
    }
}

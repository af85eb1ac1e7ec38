/* Hyperbolic tangent and logistic function in float32.
 *
 * No branches and no tables, so that a compiler computes as many at once as the processor has lanes. The polynomials
 * are a minimax fit. Whatever goes in, NaN included, a finite number comes out.
 */
#pragma once

/* tanh x to 3e-7 of itself: x·P(x²)/Q(x²). */
static inline float tangent(float x)
{
    x = x > -9.01f ? x : -9.01f; /* beyond which it is ±1 */
    x = x < 9.01f ? x : 9.01f;
    const float u = x * x;
    float p = 1.3319254e-8f;
    p = p * u + 2.0583629e-5f;
    p = p * u + 3.4940443e-3f;
    p = p * u + 1.3379726e-1f;
    p = p * u + 1.0f;
    float q = 7.7620987e-7f;
    q = q * u + 3.2831082e-4f;
    q = q * u + 2.5871111e-2f;
    q = q * u + 4.6713042e-1f;
    q = q * u + 1.0f;
    return x * p / q;
}

/* 1 / (1 + e^-x) to 2e-7. */
static inline float logistic(float x)
{
    return 0.5f + 0.5f * tangent(0.5f * x);
}

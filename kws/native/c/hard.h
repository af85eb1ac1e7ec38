/* Straight lines in the place of the logistic function and of the hyperbolic tangent. */
#pragma once

/* 0.2 x + 0.5 between 0 and 1. */
static inline float hard_logistic(float x)
{
    const float y = 0.2f * x + 0.5f;
    return y > 0.0f ? (y < 1.0f ? y : 1.0f) : 0.0f;
}

static inline float hard_tangent(float x)
{
    return x > -1.0f ? (x < 1.0f ? x : 1.0f) : -1.0f;
}

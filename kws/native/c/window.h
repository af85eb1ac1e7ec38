/* The window of samples that is looked at. */
#pragma once
#include <string.h>

/* The `size` samples that were heard last, times weights (size), or times `scale` where these are NULL. */
static void weigh(float *y, const float *heard, int size, const float *weights, float scale)
{
    for (int i = 0; i < size; i++) {
        y[i] = heard[i] * (weights == NULL ? scale : weights[i]);
    }
}

/* The samples of a hop leave the window, the others move to its beginning. */
static void advance(float *heard, int size, int hop)
{
    memmove(heard, heard + hop, (size_t)(size - hop) * sizeof *heard);
}

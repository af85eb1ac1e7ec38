/* Hears hops of floats from a file, and writes what a network of integers makes of them into another.
 *
 *     drive in out        in: for each hop a byte, 1 where the network is to forget before it, and KWS_HOP floats
 *                         out: for each hop KWS_LABELS totals (int32)
 */
#include "kws_model.h"
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **names)
{
    FILE *const in = count == 3 ? fopen(names[1], "rb") : NULL, *const out = count == 3 ? fopen(names[2], "wb") : NULL;
    /* On the heap, so that a step over the end is noticed. */
    kws_state *const state = malloc(sizeof *state);
    float *const samples = malloc(KWS_HOP * sizeof *samples);
    if (in == NULL || out == NULL) {
        return 1;
    }
    kws_init(state);
    for (int forget; (forget = getc(in)) != EOF && fread(samples, sizeof *samples, KWS_HOP, in) == KWS_HOP;) {
        if (forget) {
            kws_reset(state, KWS_NETWORK);
        }
        kws_process_float(state, samples, NULL);
        fwrite(state->totals, sizeof *state->totals, KWS_LABELS, out);
    }
    free(state);
    free(samples);
    return fclose(out);
}

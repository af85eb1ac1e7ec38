/* From log-probabilities to detections:
 *
 *     mean over the last hops ─► best word ─► threshold ─► so many hops in a row ─► not soon after the last one,
 *                                                                                   and only of a sound
 */
#include "exponential.h"
#include "gate.c"
#include "kws_model.h"
#include <string.h>

/* The best word by its mean probability over the last `hops`, and that mean. A word whose threshold is above 1 is no
 * candidate; where that leaves none, the first word stands there, and reaches no threshold. */
static float best_of(const kws_decoder *d, const float *thresholds, int hops, int *word)
{
    float sums[KWS_WORDS] = {0.0f};
    int slot = d->newest + KWS_MAX_SMOOTHING - (hops - 1);
    for (int hop = 0; hop < hops; hop++, slot++) { /* from the oldest on */
        const float *const heard = d->probabilities[slot % KWS_MAX_SMOOTHING];
        for (int i = 0; i < KWS_WORDS; i++) {
            sums[i] += heard[i];
        }
    }
    for (int i = 0; i < KWS_WORDS; i++) {
        sums[i] /= (float)hops;
    }
    int best = -1;
    for (int i = 0; i < KWS_WORDS; i++) {
        if (thresholds[kws_words[i]] <= 1.0f && (best < 0 || sums[i] > sums[best])) {
            best = i;
        }
    }
    *word = best < 0 ? 0 : best;
    return best < 0 ? 0.0f : sums[best];
}

int kws_decode(kws_state *state, const float *log_probabilities, kws_detection *detection)
{
    kws_decoder *const d = &state->decoder;
    const kws_settings *const settings = &state->settings;
    const int hops = settings->smoothing < 1                   ? 1
                     : settings->smoothing > KWS_MAX_SMOOTHING ? KWS_MAX_SMOOTHING
                                                               : (int)settings->smoothing;
    d->newest = (d->newest + 1) % KWS_MAX_SMOOTHING;
    for (int i = 0; i < KWS_WORDS; i++) {
        d->probabilities[d->newest][i] = exponential(log_probabilities[kws_words[i]]);
    }
    int word;
    const float score = best_of(d, settings->threshold, hops, &word);
    const int label = kws_words[word];
    const int hit = score >= settings->threshold[label];
    if (!hit || label != d->label) { /* the run of hits of the same word ends */
        d->run = 0;
        d->reported = 0;
    }
    if (hit && d->run == 0) { /* what is said before there is any sound, is not said of that sound */
        d->reported = d->gate.stands == CLOSED;
    }
    d->label = label;
    d->run += hit && d->run < INT32_MAX;
    d->hops++;
    d->score = score;
    /* The average may still hold hops in which the gate was open: voice ends with the word, and closes it. */
    d->lately = d->gate.stands == OPEN ? hops : d->lately - (d->lately > 0);
    const int allowed = d->wait == 0;
    d->wait -= !allowed;
    if (!hit || d->run < settings->consecutive || d->reported || !allowed || d->lately == 0) {
        return 0;
    }
    d->reported = 1;
    d->wait = settings->refractory > 0 ? settings->refractory : 0;
    if (detection != NULL) {
        detection->label = label;
        detection->confidence = score;
        detection->sample = d->hops * (uint64_t)KWS_HOP;
    }
    return 1;
}

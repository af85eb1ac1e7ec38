/* What a program in another language needs besides kws_model.h: sizes, and many streams at once. */
#include "kws_model.h"

size_t kws_library_state_bytes(void)
{
    return sizeof(kws_state);
}

size_t kws_library_settings_bytes(void)
{
    return sizeof(kws_settings);
}

size_t kws_library_detection_bytes(void)
{
    return sizeof(kws_detection);
}

/* Sample rate, hop, labels, words, features, detector, most hops that are averaged. */
int kws_library_number(int which)
{
    const int numbers[] = {
        KWS_SAMPLE_RATE, KWS_HOP, KWS_LABELS, KWS_WORDS, KWS_FEATURES, KWS_DETECTOR, KWS_MAX_SMOOTHING,
    };
    return which >= 0 && which < (int)(sizeof numbers / sizeof numbers[0]) ? numbers[which] : -1;
}

/* The name of a label; NULL beyond the last one. */
const char *kws_library_label(int label)
{
    return label >= 0 && label < KWS_LABELS ? kws_labels[label] : NULL;
}

kws_settings *kws_library_settings(kws_state *state)
{
    return &state->settings;
}

/* Where the detector stands: its level and its noise floor; zeros where there is none. */
void kws_library_detector(const kws_state *state, float *level, float *noise_floor)
{
#if KWS_DETECTOR
    *level = state->detector.level;
    *noise_floor = state->detector.noise_floor;
#else
    (void)state;
    *level = *noise_floor = 0.0f;
#endif
}

/* The integers behind the last hop's log-probabilities, totals (labels); gives 0 where the network has none. */
int kws_library_totals(const kws_state *state, int32_t *totals)
{
#if KWS_INTEGERS
    for (int i = 0; i < KWS_LABELS; i++) {
        totals[i] = state->totals[i];
    }
#else
    (void)state;
    (void)totals;
#endif
    return KWS_INTEGERS;
}

/* Hear `hops` hops of each of `streams` streams, whose states lie one after the other. samples (streams, hops · hop),
 * log_probabilities (streams, hops, labels), voice (streams, hops), features (streams, hops, features); the last two may
 * be NULL. */
void kws_library_process(kws_state *states, size_t streams, size_t hops, const float *samples, float *log_probabilities,
                         uint8_t *voice, float *features)
{
    for (size_t hop = 0; hop < hops; hop++) {
        for (size_t stream = 0; stream < streams; stream++) {
            const size_t at = stream * hops + hop;
            kws_state *const state = states + stream;
            const int speaks = kws_process_float(state, samples + at * KWS_HOP, log_probabilities + at * KWS_LABELS);
            if (voice != NULL) {
                voice[at] = (uint8_t)speaks;
            }
            for (size_t i = 0; features != NULL && i < KWS_FEATURES; i++) {
                features[at * KWS_FEATURES + i] = state->features[i];
            }
        }
    }
}

/* What a program calls, see kws_model.h. */
#include "kws_model.h"
#include "window.h"
#include <string.h>

void kws_init(kws_state *state)
{
    memset(state, 0, sizeof *state);
    state->settings = stored_settings;
}

void kws_reset(kws_state *state, kws_part part)
{
    if (part == KWS_NETWORK) {
        forget(state);
        shut_gate(&state->decoder.gate);
    } else {
        const kws_settings settings = state->settings;
        memset(state, 0, sizeof *state);
        state->settings = settings;
    }
}

/* Where the next samples go: behind those of the window that have been heard and those that wait. */
static float *free_place(kws_state *state)
{
    return state->heard + (WINDOW - KWS_HOP) + state->waiting;
}

static void take(kws_state *state, const int16_t *samples, int count)
{
    float *const place = free_place(state);
    for (int i = 0; i < count; i++) {
        place[i] = (float)samples[i] * (1.0f / 32768.0f);
    }
    receive(state, place, count);
    state->waiting += count;
}

static void take_float(kws_state *state, const float *samples, int count)
{
    float *const place = free_place(state);
    memcpy(place, samples, (size_t)count * sizeof *place);
    receive(state, place, count);
    state->waiting += count;
}

/* The window is full. */
static int finish_hop(kws_state *state, float *log_probabilities)
{
    listen(state);
    judge_hop(&state->decoder.gate, state->voice);
    advance(state->heard, WINDOW, KWS_HOP);
    state->waiting = 0;
    if (log_probabilities != NULL) {
        memcpy(log_probabilities, state->log_probabilities, sizeof state->log_probabilities);
    }
    return state->voice;
}

/* Samples that wait for the rest of their hop are lost. */
static void drop_waiting(kws_state *state)
{
    state->waiting = 0;
    begin_hop(&state->decoder.gate);
}

int kws_process(kws_state *state, const int16_t *samples, float *log_probabilities)
{
    drop_waiting(state);
    take(state, samples, KWS_HOP);
    return finish_hop(state, log_probabilities);
}

int kws_process_float(kws_state *state, const float *samples, float *log_probabilities)
{
    drop_waiting(state);
    take_float(state, samples, KWS_HOP);
    return finish_hop(state, log_probabilities);
}

void kws_gate_hop(kws_state *state, const float *samples, int voice)
{
    kws_gate *const gate = &state->decoder.gate;
    begin_hop(gate);
    measure_hop(gate, samples, KWS_HOP);
    judge_hop(gate, voice);
}

/* How many of `count` samples the hop has room for. */
static int room(const kws_state *state, size_t count)
{
    const int missing = KWS_HOP - (int)state->waiting;
    return count < (size_t)missing ? (int)count : missing;
}

/* A word may be reported in a hop that is full. */
static size_t report(kws_state *state, kws_detection *found, size_t already, size_t capacity)
{
    if (state->waiting < KWS_HOP) {
        return 0;
    }
    finish_hop(state, NULL);
    return (size_t)kws_decode(state, state->log_probabilities, already < capacity ? found + already : NULL);
}

size_t kws_hear(kws_state *state, const int16_t *samples, size_t count, kws_detection *found, size_t capacity)
{
    size_t reported = 0;
    while (count > 0) {
        const int many = room(state, count);
        take(state, samples, many);
        samples += many;
        count -= (size_t)many;
        reported += report(state, found, reported, capacity);
    }
    return reported;
}

size_t kws_hear_float(kws_state *state, const float *samples, size_t count, kws_detection *found, size_t capacity)
{
    size_t reported = 0;
    while (count > 0) {
        const int many = room(state, count);
        take_float(state, samples, many);
        samples += many;
        count -= (size_t)many;
        reported += report(state, found, reported, capacity);
    }
    return reported;
}

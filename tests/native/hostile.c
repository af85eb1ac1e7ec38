/* A million blocks of random sizes and hostile samples through two streams, settings out of range among them. Run with
 * AddressSanitizer and UndefinedBehaviorSanitizer. Prints what it has seen; 1 where something is not a finite number. */
#include "kws_model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 1;

static uint32_t next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static float hostile_float(void)
{
    static const uint32_t special[] = {
        0x7fc00000u, 0xffc00001u, 0x7f800001u, 0x7f800000u, 0xff800000u, 0x7f7fffffu, 0xff7fffffu,
        0x00000001u, 0x80000001u, 0x00800000u, 0x80000000u, 0x3f800000u, 0xbf800000u, 0x3f800001u,
    };
    const uint32_t kind = next_random() % 40;
    uint32_t bits = kind < 14 ? special[kind] : kind == 14 ? next_random() << 8 | (next_random() & 255u) : 0;
    float sample;
    memcpy(&sample, &bits, sizeof sample);
    return kind < 15 ? sample : (float)(next_random() % 2001) / 1000.0f - 1.0f;
}

static int16_t hostile_integer(void)
{
    static const int16_t special[] = {-32768, 32767, 0, -1};
    const uint32_t kind = next_random() % 8;
    return kind < 4 ? special[kind] : (int16_t)((int32_t)(next_random() % 65536) - 32768);
}

static int finite_state(const kws_state *state)
{
    for (int i = 0; i < KWS_LABELS; i++) {
        if (!isfinite(state->log_probabilities[i])) {
            return 0;
        }
    }
    for (int i = 0; i < KWS_FEATURES; i++) {
        if (!isfinite(state->features[i])) {
            return 0;
        }
    }
    return 1;
}

int main(int count, char **arguments)
{
    const long blocks = count > 1 ? atol(arguments[1]) : 1000000;
    size_t words = 0;
    uint64_t samples = 0;
    /* On the heap, so that a step over the end is noticed. */
    kws_state *states[2] = {malloc(sizeof(kws_state)), malloc(sizeof(kws_state))};
    float *floats = malloc((3 * KWS_HOP + 1) * sizeof *floats);
    int16_t *integers = malloc((3 * KWS_HOP + 1) * sizeof *integers);
    kws_detection *found = malloc(2 * sizeof *found);
    kws_init(states[0]);
    kws_init(states[1]);
    for (long block = 0; block < blocks; block++) {
        kws_state *const state = states[next_random() % 2];
        const uint32_t kind = next_random() % 1000;
        size_t size = next_random() % 16;
        if (kind < 10) {
            size = next_random() % (3 * KWS_HOP);
        }
        if (kind == 11) {
            kws_reset(state, KWS_NETWORK);
        } else if (kind == 12 && next_random() % 8 == 0) {
            kws_reset(state, KWS_ALL);
        } else if (kind == 13) {
            state->settings.smoothing = (int32_t)(next_random() % 2000) - 1000;
            state->settings.consecutive = (int32_t)(next_random() % 9) - 4;
            state->settings.refractory = next_random() % 4 == 0 ? INT32_MIN : (int32_t)(next_random() % 5);
            state->settings.threshold[next_random() % KWS_LABELS] = (float)(next_random() % 100) / 100.0f;
        } else if (kind == 14) {
            kws_process(state, integers, NULL);
        } else if (kind == 15) {
            kws_process_float(state, floats, floats + KWS_HOP);
        }
        if (next_random() % 2 == 0) {
            /* The array ends with the last sample, so that one that is read too many is noticed. */
            float *const end = floats + 3 * KWS_HOP + 1 - size;
            for (size_t i = 0; i < size; i++) {
                end[i] = hostile_float();
            }
            words += kws_hear_float(state, end, size, found, next_random() % 3);
        } else {
            int16_t *const end = integers + 3 * KWS_HOP + 1 - size;
            for (size_t i = 0; i < size; i++) {
                end[i] = hostile_integer();
            }
            words += kws_hear(state, end, size, NULL, 0);
        }
        samples += size;
        if (!finite_state(state)) {
            printf("a number that is not finite after block %ld\n", block);
            return 1;
        }
    }
    printf("%ld blocks, %lu samples, %lu words, %lu repaired\n", blocks, (unsigned long)samples, (unsigned long)words,
           (unsigned long)states[0]->repaired);
    free(states[0]);
    free(states[1]);
    free(floats);
    free(integers);
    free(found);
    return 0;
}

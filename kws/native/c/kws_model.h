/* @title@
 *
 * @summary@
 *
 *     kws_state state;                                      no other memory is used, and none is allocated
 *     kws_detection found[4];
 *     kws_init(&state);
 *     while (record(samples, count)) {                      any number of samples
 *         size_t many = kws_hear(&state, samples, count, found, 4);
 *         for (size_t i = 0; i < many; i++) {
 *             use(kws_labels[found[i].label], found[i].confidence);
 *         }
 *     }
 *
 * One state for each stream of audio; as many as there is memory for. Nothing else is kept, so streams may be heard in
 * several threads, each in one at a time. A state is plain bytes: a copy of it is a second stream that goes on from
 * there.
 *
 * @origin@
 */
#ifndef KWS_MODEL_H
#define KWS_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KWS_SAMPLE_RATE @sample_rate@ /* Hz, one channel */
#define KWS_HOP @hop@ /* samples between two answers, @milliseconds@ ms */
#define KWS_LABELS @labels@ /* what the network tells apart */
#define KWS_WORDS @words@ /* those of them that can be reported */
#define KWS_FEATURES @features@ /* numbers that the featurizer makes of a hop */
#define KWS_DETECTOR @detector@ /* 1: a voice activity detector resets the network where speech ends; 0: none does */
#define KWS_INTEGERS @integers@ /* 1: the network computes in integers, of equal features the same everywhere; 0: in floats */
#define KWS_STATE_BYTES sizeof(kws_state)

/* Most hops over which probabilities can be averaged. Each takes 4 · KWS_WORDS bytes of a state. Whoever sets it sets it
 * for every file that includes this one. */
#ifndef KWS_MAX_SMOOTHING
#define KWS_MAX_SMOOTHING @max_smoothing@
#endif

/* Hops in a time, for the settings below. */
#define KWS_HOPS(seconds) ((int32_t)((seconds) * KWS_SAMPLE_RATE / KWS_HOP + 0.5))

/* What the network tells apart, by its number. */
extern const char *const kws_labels[KWS_LABELS];

/* The numbers of the labels that can be reported. */
extern const uint16_t kws_words[KWS_WORDS];
@detector_types@
/* What may be changed at any time, also while a stream is heard; it counts from the next hop on. */
typedef struct kws_settings {
    float threshold[KWS_LABELS]; /* least averaged probability with which a label is reported, 0 to 1; a label whose is above
                                  * 1 is no candidate: neither reported nor in another's way */
    int32_t smoothing;           /* hops over which probabilities are averaged, 1 to KWS_MAX_SMOOTHING */
    int32_t consecutive;         /* hops in a row in which the threshold must be reached, from 1 */
    int32_t refractory;          /* hops after a report in which nothing is reported, from 0 */
@detector_settings@} kws_settings;

/* A word that was heard. */
typedef struct kws_detection {
    int32_t label;    /* its number: kws_labels[label] is its name */
    float confidence; /* its averaged probability, 0 to 1 */
    uint64_t sample;  /* when: samples from the stream's start to the end of the hop in which it was reported */
} kws_detection;

/* Where the decoder's noise gate stands. */
typedef struct kws_gate {
    float background; /* power of the softest sound since the network started from zeros; 0 before the first hop */
    int32_t heard;    /* hops with sound, … */
    int32_t quiet;    /* … and hops since the last of them */
    int32_t voice;    /* the detector's signal in the last hop */
    int32_t stands;   /* 0 closed, 1 ajar, 2 open */
    int32_t count;    /* samples of this hop, and sums over them */
    float first, last, sum, pairs, squares;
} kws_gate;

/* Where the decoder stands. */
typedef struct kws_decoder {
    float probabilities[KWS_MAX_SMOOTHING][KWS_WORDS]; /* of the last hops, as a ring … */
    int32_t newest;                                    /* … and where the last one lies in it */
    int32_t label;                                     /* best by its averaged probability in the last hop, … */
    float score;                                       /* … and that probability */
    int32_t run;                                       /* hops in a row in which it reached its threshold, … */
    int32_t reported;                                  /* … and whether it has been reported in this run, or never is */
    int32_t wait;                                      /* hops in which nothing may be reported yet */
    int32_t lately;                                    /* hops for which the gate counts as open, since it was */
    uint64_t hops;                                     /* heard so far */
    kws_gate gate;                                     /* no word is reported unless there was a sound */
} kws_decoder;

/* Where one stream stands. Only `settings` is meant to be written to. */
typedef struct kws_state {
    kws_settings settings;
    float features[KWS_FEATURES];        /* of the last hop, before they are normalised */
    float log_probabilities[KWS_LABELS]; /* of the last hop, natural logarithms */
@totals@    int32_t voice;                       /* 1 while somebody speaks, else 0; always 1 where KWS_DETECTOR is 0 */
    uint32_t repaired;                   /* samples so far that were NaN or infinite, and counted as 0 */
    uint32_t clipped;                    /* samples so far beyond -1 or 1, and counted as that */
    int32_t waiting;                     /* samples that kws_hear has taken, and that do not fill a hop yet */
@detector_state@    kws_decoder decoder;
    float heard[@window@];
@states@@work@} kws_state;

/* What kws_reset sets back. */
typedef enum kws_part {
    KWS_ALL,    /* everything but the settings: the stream begins again */
    KWS_NETWORK /* what the network remembers, as after the end of a word */
} kws_part;

/* Begin a stream: nothing heard yet, settings as they were stored with the model. */
void kws_init(kws_state *state);

void kws_reset(kws_state *state, kws_part part);

/* Hear one hop: KWS_HOP samples. log_probabilities takes KWS_LABELS numbers, natural logarithms of probabilities that
 * add up to 1; or NULL (they lie in the state too). Gives 1 while somebody speaks, else 0; always 1 where KWS_DETECTOR
 * is 0. Samples that kws_hear has left waiting for the rest of their hop are lost. */
int kws_process(kws_state *state, const int16_t *samples, float *log_probabilities);

/* The same for samples from -1 to 1. NaN and infinite ones count as 0, others are clipped. */
int kws_process_float(kws_state *state, const float *samples, float *log_probabilities);

/* What the log-probabilities of the hop that kws_process has heard last (KWS_LABELS) mean: 1 where a word is to be reported, which is then in
 * *detection (or NULL), else 0. kws_hear does this by itself; after kws_process, call it once for each hop. */
int kws_decode(kws_state *state, const float *log_probabilities, kws_detection *detection);

/* For a hop whose log-probabilities and voice something else has computed: its KWS_HOP samples from -1 to 1, for the
 * decoder's noise gate. Call it before kws_decode, in the place of kws_process. */
void kws_gate_hop(kws_state *state, const float *samples, int voice);

/* Hear any number of samples; what does not fill a hop waits for the next ones. Gives the number of words reported in
 * them, of which the first `capacity` are in `found`; more than one for each hop there cannot be. */
size_t kws_hear(kws_state *state, const int16_t *samples, size_t count, kws_detection *found, size_t capacity);

/* The same for samples from -1 to 1. NaN and infinite ones count as 0, others are clipped. */
size_t kws_hear_float(kws_state *state, const float *samples, size_t count, kws_detection *found, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif

/* The noise gate of the decoder: has there been anything to hear at all?
 *
 * A network that starts from zeros must answer something. So a word is reported only while there is a sound that it may
 * have been: one that rose above everything softer since the network started from zeros, and a short while ago at most.
 */
#include "kws_model.h"

enum { CLOSED, AJAR, OPEN };

/* A hop begins. */
static void begin_hop(kws_gate *g)
{
    g->count = 0;
    g->first = g->last = g->sum = g->pairs = g->squares = 0.0f;
}

/* Samples of the hop as they arrive. Its level is that of sums of neighbouring samples, halved, about their mean; they
 * are taken less the hop's first sample, so that a constant costs no digits. */
static void measure_hop(kws_gate *g, const float *samples, int count)
{
    for (int i = 0; i < count; i++) {
        if (g->count == 0) {
            g->first = samples[i];
        }
        const float x = samples[i] - g->first;
        const float pair = 0.5f * (x + g->last);
        if (g->count > 0) { /* the first sample has no neighbour yet */
            g->pairs += pair;
            g->squares += pair * pair;
        }
        g->sum += x;
        g->last = x;
        g->count++;
    }
}

/* Mean square of a hop whose samples have been measured. */
static float level_of_hop(const kws_gate *g)
{
    if (KWS_HOP == 1) { /* a hop of one sample has no mean but itself */
        return g->first * g->first;
    }
    const float mean = g->sum / (float)KWS_HOP, pairs = (float)(KWS_HOP - 1);
    const float level = (g->squares - 2.0f * mean * g->pairs) / pairs + mean * mean;
    return level > 0.0f ? level : 0.0f;
}

/* The network starts from zeros. */
static void shut_gate(kws_gate *g)
{
    g->background = 0.0f; /* nothing heard yet */
    g->heard = 0;
    g->quiet = 0;
}

/* The hop is over; voice is the detector's signal in it. */
static void judge_hop(kws_gate *g, int voice)
{
    const float level = level_of_hop(g);
    if (g->background == 0.0f || level < g->background * GATE_GROWTH) {
        g->background = level;
    } else {
        g->background *= GATE_GROWTH;
    }
    g->background = g->background > GATE_FLOOR ? g->background : GATE_FLOOR;
    const int sound = level > g->background * GATE_RISE;
    g->quiet = sound ? 0 : g->quiet + (g->quiet < INT32_MAX);
    g->heard = g->quiet > GATE_HOLD ? 0 : g->heard + (sound && g->heard < INT32_MAX);
    g->stands = g->heard == 0 ? CLOSED : g->heard < GATE_ATTACK ? AJAR : OPEN;
    if (KWS_DETECTOR && g->voice && !voice) { /* the hop in which voice ends is the last one before the reset */
        shut_gate(g);
    }
    g->voice = voice;
    begin_hop(g);
}

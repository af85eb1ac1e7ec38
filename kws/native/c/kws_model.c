/* @title@
 *
 * @summary@
 *
 * In this file, from top to bottom: what the steps compute, in the order of the road; the road itself, a line for each
 * step (`receive` as samples arrive, `listen` once for each hop); what a program calls; the weights.
 *
 * @origin@
 */
#include "kws_model.h"

@includes@
/* Weights begin where a cache's line does. */
#if defined(__GNUC__)
#define ALIGNED __attribute__((aligned(64)))
#else
#define ALIGNED
#endif

#define WINDOW @window@ /* samples that are looked at in a hop */

/* Of the noise gate: least background, how far a sound is above it, how it grows in a hop (all of power); hops of sound
 * that open it, hops without that close it. */
@gate@
const char *const kws_labels[KWS_LABELS] = {
@label_names@};

const uint16_t kws_words[KWS_WORDS] = {@word_numbers@};

/* ---- What the steps compute ------------------------------------------------------------------------------------- */

@kernels@
/* ---- The road --------------------------------------------------------------------------------------------------- */

/* The weights, which lie at the end of this file. */
@declarations@
static const kws_settings stored_settings = {
@settings@};

/* As samples arrive. */
static void receive(kws_state *state, float *samples, int count)
{
@arrival@}

/* What the network remembers becomes nothing. */
static void forget(kws_state *state)
{
@forget@}

/* Once for each hop, when the window is full. */
static void listen(kws_state *state)
{
@hop@}

/* ---- What a program calls, see kws_model.h ----------------------------------------------------------------------- */

@interface@
/* ---- The weights ------------------------------------------------------------------------------------------------ */

@definitions@

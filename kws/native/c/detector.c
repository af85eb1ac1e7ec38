/* ELL's voice activity detector: is somebody speaking in this frame?
 *
 * The level of a frame is compared with a noise floor that follows it slowly upwards and quickly downwards. Every
 * result is rounded to float32 before it is used, in ELL's order, so that the signal is ELL's on every frame.
 */
#include "kws_model.h"

/* Keeps a compiler from multiplying and adding in one step, which would round once where ELL rounds twice. */
static float rounded(float x)
{
    volatile float stored = x;
    return stored;
}

/* Whether somebody speaks. weights (features) of each in the level; duration of a frame in seconds. In the first frame
 * the noise floor is `initial`. */
static int detect(kws_detector *d, const kws_detector_settings *settings, const float *features, const float *weights,
                  float duration, float initial)
{
    float level = 0.0f;
    for (int i = 0; i < KWS_FEATURES; i++) {
        level += rounded(features[i] * weights[i]);
    }
    level /= (float)KWS_FEATURES;

    /* ELL's clock counts in float32 too: after minutes a frame is no longer quite as long as it was. */
    const float now = rounded((float)d->hops * duration);
    const float before = d->hops == 0 ? now : rounded((float)(d->hops - 1) * duration);
    const float elapsed = now - before;
    float floor = d->hops == 0 ? initial : d->noise_floor;
    const float distance = level - floor;
    if (level < floor) {
        floor = floor + rounded(elapsed / settings->tau_down * distance);
        floor = floor > level ? floor : level;
    } else {
        const float gain = level > settings->large_input * floor ? settings->gain_att : 1.0f;
        floor = floor + rounded(gain * elapsed / settings->tau_up * distance);
        floor = floor < level ? floor : level;
    }
    const int spoke = d->voice;
    const int begins = level > settings->threshold_up * floor && level > settings->level_threshold;
    const int ends = level < settings->threshold_down * floor;
    d->voice = (spoke || begins) && !ends;
    d->fell = spoke && !d->voice;
    d->level = level;
    d->noise_floor = floor;
    d->hops += d->hops < UINT32_MAX;
    return d->voice;
}

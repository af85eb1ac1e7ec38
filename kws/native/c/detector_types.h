
/* Parameters of the voice activity detector. */
typedef struct kws_detector_settings {
@members@} kws_detector_settings;

/* Where the voice activity detector stands. */
typedef struct kws_detector {
    float level;       /* of the last hop, … */
    float noise_floor; /* … and the noise floor after it; voice begins and ends by their ratio */
    int32_t voice;     /* 1 while somebody speaks */
    int32_t fell;      /* 1 where speech ended with the last hop */
    uint32_t hops;     /* heard so far; the detector's clock */
} kws_detector;

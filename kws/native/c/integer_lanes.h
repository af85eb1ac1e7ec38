/* Eight sums of products of int8 and int16 side by side, with whatever a processor has for it.
 *
 * `lanes_add` takes four columns of eight rows of weights, four numbers a row in the order of the columns 0, 2, 1, 3:
 * seen as pairs of bytes, the low ones are then the columns 0 and 1, the high ones 2 and 3, and a shift leaves pairs of
 * int16 as pmaddwd and SMLAD multiply and add them. With KWS_PORTABLE defined it is C alone that computes, the same.
 */
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(KWS_PORTABLE)
#define LANES_OF_C
#elif defined(__AVX2__)
#define LANES_OF_AVX2
#elif defined(__SSE2__)
#define LANES_OF_SSE2
#elif defined(__wasm_simd128__)
#define LANES_OF_WASM
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN)
#define LANES_OF_NEON
#elif defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_BIG_ENDIAN)
#define LANES_OF_SMLAD
#else
#define LANES_OF_C
#endif

#ifndef LANES_OF_C
/* Two numbers of int16 that lie side by side, at once. */
static inline int32_t pair(const int16_t *x)
{
    int32_t both;
    memcpy(&both, x, sizeof both);
    return both;
}
#endif

#if defined(LANES_OF_AVX2)
# include <immintrin.h>
typedef struct lanes {
    __m256i of[2]; /* even and odd columns apart, so that the one need not wait for the other */
} lanes;

static inline lanes lanes_zero(void)
{
    const lanes none = {{_mm256_setzero_si256(), _mm256_setzero_si256()}};
    return none;
}

/* Sums of pairs of products. */
static inline __m256i pairs_add(__m256i sums, __m256i w, __m256i x)
{
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpwssd_epi32(sums, w, x);
#else
    return _mm256_add_epi32(sums, _mm256_madd_epi16(w, x));
#endif
}

static inline lanes lanes_add(lanes sums, const int8_t *weights, const int16_t *x)
{
    const __m256i w = _mm256_loadu_si256((const void *)weights);
    const __m256i low = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), high = _mm256_srai_epi16(w, 8);
    sums.of[0] = pairs_add(sums.of[0], low, _mm256_set1_epi32(pair(x)));
    sums.of[1] = pairs_add(sums.of[1], high, _mm256_set1_epi32(pair(x + 2)));
    return sums;
}

static inline void lanes_store(int32_t *y, lanes sums)
{
    _mm256_storeu_si256((void *)y, _mm256_add_epi32(sums.of[0], sums.of[1]));
}

#elif defined(LANES_OF_SSE2)
# include <emmintrin.h>
typedef struct lanes {
    __m128i of[2];
} lanes;

static inline lanes lanes_zero(void)
{
    const lanes none = {{_mm_setzero_si128(), _mm_setzero_si128()}};
    return none;
}

static inline lanes lanes_add(lanes sums, const int8_t *weights, const int16_t *x)
{
    const __m128i x01 = _mm_set1_epi32(pair(x)), x23 = _mm_set1_epi32(pair(x + 2));
    for (int i = 0; i < 2; i++) {
        const __m128i w = _mm_loadu_si128((const void *)(weights + 16 * i));
        const __m128i low = _mm_srai_epi16(_mm_slli_epi16(w, 8), 8), high = _mm_srai_epi16(w, 8);
        sums.of[i] = _mm_add_epi32(sums.of[i], _mm_madd_epi16(low, x01));
        sums.of[i] = _mm_add_epi32(sums.of[i], _mm_madd_epi16(high, x23));
    }
    return sums;
}

static inline void lanes_store(int32_t *y, lanes sums)
{
    _mm_storeu_si128((void *)y, sums.of[0]);
    _mm_storeu_si128((void *)(y + 4), sums.of[1]);
}

#elif defined(LANES_OF_WASM)
# include <wasm_simd128.h>
typedef struct lanes {
    v128_t of[2];
} lanes;

static inline lanes lanes_zero(void)
{
    const lanes none = {{wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0)}};
    return none;
}

static inline lanes lanes_add(lanes sums, const int8_t *weights, const int16_t *x)
{
    const v128_t x01 = wasm_i32x4_splat(pair(x)), x23 = wasm_i32x4_splat(pair(x + 2));
    for (int i = 0; i < 2; i++) {
        const v128_t w = wasm_v128_load(weights + 16 * i);
        const v128_t low = wasm_i16x8_shr(wasm_i16x8_shl(w, 8), 8), high = wasm_i16x8_shr(w, 8);
        sums.of[i] = wasm_i32x4_add(sums.of[i], wasm_i32x4_dot_i16x8(low, x01));
        sums.of[i] = wasm_i32x4_add(sums.of[i], wasm_i32x4_dot_i16x8(high, x23));
    }
    return sums;
}

static inline void lanes_store(int32_t *y, lanes sums)
{
    wasm_v128_store(y, sums.of[0]);
    wasm_v128_store(y + 4, sums.of[1]);
}

#elif defined(LANES_OF_NEON)
# include <arm_neon.h>
typedef struct lanes {
    int32x4_t of[4]; /* each of two rows, even and odd columns apart */
} lanes;

static inline lanes lanes_zero(void)
{
    const lanes none = {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}};
    return none;
}

static inline lanes lanes_add(lanes sums, const int8_t *weights, const int16_t *x)
{
    const int16x4_t x01 = vreinterpret_s16_s32(vdup_n_s32(pair(x)));
    const int16x4_t x23 = vreinterpret_s16_s32(vdup_n_s32(pair(x + 2)));
    for (int i = 0; i < 2; i++) {
        const int16x8_t w = vreinterpretq_s16_s8(vld1q_s8(weights + 16 * i));
        const int16x8_t low = vshrq_n_s16(vshlq_n_s16(w, 8), 8), high = vshrq_n_s16(w, 8);
        sums.of[2 * i] = vmlal_s16(sums.of[2 * i], vget_low_s16(low), x01);
        sums.of[2 * i] = vmlal_s16(sums.of[2 * i], vget_low_s16(high), x23);
        sums.of[2 * i + 1] = vmlal_s16(sums.of[2 * i + 1], vget_high_s16(low), x01);
        sums.of[2 * i + 1] = vmlal_s16(sums.of[2 * i + 1], vget_high_s16(high), x23);
    }
    return sums;
}

static inline void lanes_store(int32_t *y, lanes sums)
{
    vst1q_s32(y, vpaddq_s32(sums.of[0], sums.of[1]));
    vst1q_s32(y + 4, vpaddq_s32(sums.of[2], sums.of[3]));
}

#elif defined(LANES_OF_SMLAD)
# include <arm_acle.h>

/* The high bytes of both halves; compilers do not find by themselves that this is one instruction. */
static inline int32_t high_bytes(uint32_t w)
{
    int32_t bytes;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(bytes) : "r"(w));
    return bytes;
}

/* The sum of one row and its four columns. */
static inline int32_t row_add(int32_t sum, const int8_t *weights, int32_t x01, int32_t x23)
{
    uint32_t w;
    memcpy(&w, weights, sizeof w);
    sum = __smlad(__sxtb16((int8x4_t)w), x01, sum);
    return __smlad(high_bytes(w), x23, sum);
}

#else
typedef struct lanes {
    int32_t of[8];
} lanes;

static inline lanes lanes_zero(void)
{
    const lanes none = {{0}};
    return none;
}

static inline lanes lanes_add(lanes sums, const int8_t *weights, const int16_t *x)
{
    for (int i = 0; i < 8; i++) {
        const int8_t *const w = weights + 4 * i;
        sums.of[i] += (w[0] * x[0] + w[2] * x[1]) + (w[1] * x[2] + w[3] * x[3]);
    }
    return sums;
}

static inline void lanes_store(int32_t *y, lanes sums)
{
    memcpy(y, sums.of, sizeof sums.of);
}
#endif

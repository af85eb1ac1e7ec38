/* Words in a recording, one a line: when in seconds, the word, how sure.
 *
 *     kws sound.wav           PCM of 8, 16, 24 or 32 bits or floating point, any number of channels
 *     … | kws                 16-bit samples without a header, one channel, in the machine's byte order
 *
 *        12.48 s  yes  0.97
 */
#include "kws_model.h"
#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, PCM = 1, FLOATING = 3, EXTENSIBLE = 0xfffe };

/* What a WAV file says of its samples. */
typedef struct wav_format {
    unsigned coding, channels, rate, bits;
} wav_format;

static unsigned little_endian(const unsigned char *bytes, int count)
{
    unsigned value = 0;
    while (count > 0) {
        value = value << 8 | bytes[--count];
    }
    return value;
}

static int refuse(const char *name, const char *why)
{
    fprintf(stderr, "%s: %s\n", name, why);
    return 1;
}

/* Skip bytes of a file that may be a pipe; whether they were there. */
static int skip(FILE *file, unsigned count)
{
    while (count > 0 && getc(file) != EOF) {
        count--;
    }
    return count == 0;
}

/* Read up to the first sample; how many bytes of samples follow. 0: this is no WAV file that can be heard. */
static unsigned open_wav(FILE *file, wav_format *found)
{
    unsigned char head[40];
    memset(found, 0, sizeof *found);
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) {
        return 0;
    }
    while (fread(head, 1, 8, file) == 8) {
        const unsigned size = little_endian(head + 4, 4);
        if (memcmp(head, "data", 4) == 0) {
            return size;
        }
        unsigned rest = size + (size & 1u); /* chunks begin at even places */
        if (memcmp(head, "fmt ", 4) == 0 && size >= 16) {
            const unsigned many = size < sizeof head ? size : (unsigned)sizeof head;
            if (fread(head, 1, many, file) != many) {
                return 0;
            }
            rest -= many;
            found->coding = little_endian(head, 2);
            found->channels = little_endian(head + 2, 2);
            found->rate = little_endian(head + 4, 4);
            found->bits = little_endian(head + 14, 2);
            if (found->coding == EXTENSIBLE && many >= 26) {
                found->coding = little_endian(head + 24, 2);
            }
        }
        if (!skip(file, rest)) {
            return 0;
        }
    }
    return 0;
}

/* One sample as a number from -1 to 1. */
static float decoded(const wav_format *format, const unsigned char *bytes)
{
    const unsigned value = little_endian(bytes, (int)format->bits / 8);
    if (format->coding == FLOATING) {
        float sample;
        memcpy(&sample, &value, sizeof sample);
        return sample;
    }
    if (format->bits == 8) {
        return ((float)value - 128.0f) / 128.0f;
    }
    /* With the sign in the highest bit of 32. */
    const unsigned high = value << (32 - format->bits);
    return (high >= 0x80000000u ? -(float)(~high) - 1.0f : (float)high) / 2147483648.0f;
}

static void print(const kws_detection *found, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double seconds = (double)found[i].sample / KWS_SAMPLE_RATE;
        printf("%7.2f s  %s  %.2f\n", seconds, kws_labels[found[i].label], (double)found[i].confidence);
    }
    fflush(stdout);
}

static int hear_wav(const char *name, FILE *file)
{
    static kws_state state;
    static float samples[BLOCK];
    kws_detection found[BLOCK];
    unsigned char bytes[8];
    wav_format format;
    size_t count = 0;
    unsigned left = open_wav(file, &format);
    const int known = format.coding == PCM ? format.bits % 8 == 0 && format.bits >= 8 && format.bits <= 32
                                           : format.coding == FLOATING && format.bits == 32;
    if (left == 0 && format.rate == 0) {
        return refuse(name, "this is no WAV file.");
    }
    if (!known || format.channels == 0) {
        return refuse(name, "its samples are neither PCM of 8, 16, 24 or 32 bits nor floating point of 32 bits.");
    }
    if (format.rate != KWS_SAMPLE_RATE) {
        fprintf(stderr, "%s: it has %u Hz, but this model hears %d Hz; resample it first.\n", name, format.rate,
                KWS_SAMPLE_RATE);
        return 1;
    }
    kws_init(&state);
    const unsigned width = format.bits / 8;
    for (int whole = 1; whole && left >= width * format.channels;) {
        float sum = 0.0f;
        for (unsigned channel = 0; channel < format.channels && whole; channel++) {
            whole = fread(bytes, 1, width, file) == width;
            sum += whole ? decoded(&format, bytes) : 0.0f;
            left -= width;
        }
        if (whole) {
            samples[count++] = sum / (float)format.channels;
        }
        if (count == BLOCK || !whole || left < width * format.channels) {
            print(found, kws_hear_float(&state, samples, count, found, BLOCK));
            count = 0;
        }
    }
    return 0;
}

static int hear_raw(FILE *file)
{
    static kws_state state;
    static int16_t samples[BLOCK];
    kws_detection found[BLOCK];
    kws_init(&state);
    for (size_t count; (count = fread(samples, sizeof *samples, BLOCK, file)) > 0;) {
        print(found, kws_hear(&state, samples, count, found, BLOCK));
    }
    return 0;
}

int main(int count, char **arguments)
{
    if (count > 2 || (count == 2 && arguments[1][0] == '-')) {
        fprintf(stderr, "usage: %s [sound.wav]\n", arguments[0]);
        fprintf(stderr, "Without a file it hears 16-bit samples of %d Hz on standard input.\n", KWS_SAMPLE_RATE);
        return 2;
    }
    if (count < 2) {
        return hear_raw(stdin);
    }
    FILE *file = fopen(arguments[1], "rb");
    if (file == NULL) {
        return refuse(arguments[1], "it cannot be opened.");
    }
    const int failed = hear_wav(arguments[1], file);
    fclose(file);
    return failed;
}

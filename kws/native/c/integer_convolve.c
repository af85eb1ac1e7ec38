#include "integer_inside.h"
#include "integer_product.h"

/* What the kernel sees of a group's channels from the filter `first` on: (frames, width, channels / groups). */
static void gather(const integer_convolution *c, int16_t *seen, const int16_t *past, const int16_t *x, int first,
                   int group)
{
    const int inputs = c->channels / c->groups;
    int from, to;
    inside(c, first, &from, &to);
    if (to - from < c->width) {
        memset(seen, 0, (size_t)(c->frames * c->width * inputs) * sizeof *seen);
    }
    for (int frame = 0; frame < c->frames && from < to; frame++, seen += c->width * inputs) {
        const int16_t *filters = frame_of(c, past, x, frame) + (first + from) * c->channels + group * inputs;
        if (c->groups == 1) { /* they lie side by side */
            memcpy(seen + from * inputs, filters, (size_t)((to - from) * inputs) * sizeof *seen);
            continue;
        }
        for (int k = from; k < to; k++, filters += c->channels) {
            memcpy(seen + k * inputs, filters, (size_t)inputs * sizeof *seen);
        }
    }
}

/* y (output filters, outputs) from x (filters, channels). The matrix has a row for each output, those of a group filled
 * up to whole tiles, and a column for each (frame, width, channel) of a group; bias as the rows. `seen` takes the
 * columns. */
static void integer_convolve(const integer_convolution *c, int16_t *y, const int16_t *x, int16_t *past,
                             const integer_matrix *matrix, const int32_t *bias, int16_t *seen)
{
    const int outputs = c->outputs / c->groups;
    const int as_it_lies = c->groups * c->frames * c->width == 1 && c->padding == 0;
    for (int place = 0; place < c->output_filters; place++) {
        const int first = place * c->stride - c->padding;
        for (int group = 0, row = 0; group < c->groups; group++) {
            const int16_t *columns = seen;
            if (as_it_lies) {
                columns = x + first * c->channels;
            } else {
                gather(c, seen, past, x, first, group);
            }
            for (int left = outputs; left > 0; left -= TILE, row += TILE) {
                int32_t sums[TILE];
                product(sums, TILE, matrix->weights + row * matrix->columns, matrix->columns, columns);
                add_bias(sums, bias + row, TILE);
                requantize_rows(sums, TILE, matrix->multipliers + row, matrix->shifts + row);
                for (int i = 0; i < TILE && i < left; i++) {
                    *y++ = (int16_t)between(c->low, sums[i], 32767);
                }
            }
        }
    }
    keep_frame(c, past, x);
}

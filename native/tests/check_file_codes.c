/* check_file_codes.c: the formats of files, taken apart by bn_tmat_pack, against their descriptions, weight by weight.
 *
 * Data lies against guard pages, and is drawn twice: as encoders write it, and at random, where every weight that the
 * description calls none must be refused. */
#include <stdlib.h>
#include <string.h>

#include "bitnet.h"
#include "check.h"
#include "check_plan.h"

/* ---- The formats by their descriptions ---- */

/* A code of 0..2, or 3. Bytes of five trits: v = 0..242 as ceil(256 v / 243). */
static unsigned trit_of(unsigned byte, unsigned place)
{
    for (unsigned v = 0; v < 243; v++)
        if ((256 * v + 242) / 243 == byte) {
            while (place-- > 0)
                v /= 3;
            return v % 3;
        }
    return 3;
}

static unsigned field(unsigned byte, unsigned shift)
{
    return byte >> shift & 3;
}

/* Each gives the code of weight j of the block at `b`. */
static unsigned i2_s(const uint8_t *b, size_t j, size_t row)
{
    (void)row;
    return field(b[j % 32], 6 - 2 * (unsigned)(j / 32));
}

static unsigned i2_s_arm(const uint8_t *b, size_t j, size_t row)
{
    (void)row;
    return field(b[j % 16], 6 - 2 * (unsigned)(j / 16));
}

static unsigned tq1_0(const uint8_t *b, size_t j, size_t row)
{
    (void)row;
    if (j < 160)
        return trit_of(b[j % 32], 4 - (unsigned)(j / 32));
    if (j < 240)
        return trit_of(b[32 + (j - 160) % 16], 4 - (unsigned)((j - 160) / 16));
    if (trit_of(b[48 + j % 4], 0) != 0)
        return 3;
    return trit_of(b[48 + j % 4], 4 - (unsigned)((j - 240) / 4));
}

static unsigned tq2_0(const uint8_t *b, size_t j, size_t row)
{
    (void)row;
    return field(b[j / 128 * 32 + j % 32], 2 * (unsigned)(j % 128 / 32));
}

static unsigned iq1_bn(const uint8_t *b, size_t j, size_t row)
{
    (void)row;
    if (j % 16 < 15)
        return trit_of(b[j / 16 * 3 + j % 16 / 5], (unsigned)(j % 16 % 5));
    if (trit_of(b[12], 4) != 0)
        return 3;
    return trit_of(b[12], (unsigned)(j / 16));
}

static unsigned iq2_bn(const uint8_t *b, size_t j, size_t row)
{
    (void)row;
    return field(b[j % 16], 2 * (unsigned)(j / 16));
}

static unsigned iq2_bn_r4(const uint8_t *b, size_t j, size_t row)
{
    return field(b[j / 16 * 16 + row % 4 * 4 + j % 4], 2 * (unsigned)(j % 16 / 4));
}

static unsigned q2_0(const uint8_t *b, size_t j, size_t row)
{
    (void)row;
    return field(b[2 + j / 4], 2 * (unsigned)(j % 4));
}

static const struct {
    const char *name;
    bn_pack_format format;
    size_t cols, bytes;         /* of a block of one row */
    size_t scale;               /* bytes in front of a row, or of rows together */
    size_t rows;                /* that are stored together */
    unsigned (*code)(const uint8_t *block, size_t j, size_t row);
} formats[] = {
    {"I2_S", BN_PACK_I2_S, 128, 32, 0, 1, i2_s},
    {"I2_S of ARM", BN_PACK_I2_S_ARM, 64, 16, 0, 1, i2_s_arm},
    {"TQ1_0", BN_PACK_TQ1_0, 256, 54, 0, 1, tq1_0},
    {"TQ2_0", BN_PACK_TQ2_0, 256, 66, 0, 1, tq2_0},
    {"IQ1_BN", BN_PACK_IQ1_BN, 64, 13, 2, 1, iq1_bn},
    {"IQ1_BN without scales", BN_PACK_IQ1_BN, 64, 13, 0, 1, iq1_bn},
    {"IQ2_BN", BN_PACK_IQ2_BN, 64, 16, 4, 1, iq2_bn},
    {"IQ2_BN without scales", BN_PACK_IQ2_BN, 64, 16, 0, 1, iq2_bn},
    {"IQ2_BN_R4", BN_PACK_IQ2_BN_R4, 64, 16, 4, 4, iq2_bn_r4},
    {"Q2_0", BN_PACK_Q2_0, 64, 18, 0, 1, q2_0},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

static size_t bytes_of(size_t f, size_t rows, size_t cols)
{
    return rows * (formats[f].scale + cols / formats[f].cols * formats[f].bytes);
}

/* The trit of a weight, 2 if there is none. */
static int8_t trit_at(size_t f, const uint8_t *data, size_t cols, size_t row, size_t col)
{
    size_t together = formats[f].rows, first = row / together * together;
    const uint8_t *blocks = data + bytes_of(f, first, cols) + together * formats[f].scale;
    blocks += col / formats[f].cols * formats[f].bytes * together;
    return (int8_t)((int)formats[f].code(blocks, col % formats[f].cols, row) - 1);
}

/* ---- The checks ---- */

/* Random bytes; with a `share` of 0 all of them such as encoders write, where the format has only one kind of them. */
static void fill(uint8_t *data, size_t n, size_t f, size_t share)
{
    int base3 = formats[f].format == BN_PACK_TQ1_0 || formats[f].format == BN_PACK_IQ1_BN;
    for (size_t i = 0; i < n; i++) {
        unsigned v = (unsigned)check_below(81), byte = 0;
        if (base3) {                        /* in some bytes one digit is not used and must be 0 */
            byte = (256 * v * (formats[f].format == BN_PACK_TQ1_0 ? 3 : 1) + 242) / 243;
        } else {
            for (unsigned digit = 0; digit < 4; digit++, v /= 3)
                byte |= v % 3 << 2 * digit;
        }
        data[i] = share && check_below(share) == 0 ? (uint8_t)check_random() : (uint8_t)byte;
    }
}

static void check_matrix(bn_ctx *ctx, check_guard *guard, size_t f, bn_layout layout, size_t rows, size_t cols, size_t share)
{
    static const float one = 1.0f;
    size_t n = bytes_of(f, rows, cols);
    check_case("%s, %zu rows, %zu cols, layout %d, one in %zu bytes at random", formats[f].name, rows, cols, (int)layout,
               share);
    uint8_t *data = check_alloc(guard, n, 1, check_below(2) ? CHECK_AT_START : CHECK_AT_END);
    int8_t *expected = malloc(rows * cols), *found = malloc(rows * cols);
    int ternary = 1;
    bn_tmat *mat = NULL;
    fill(data, n, f, share);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            expected[r * cols + c] = trit_at(f, data, cols, r, c);
            ternary &= expected[r * cols + c] < 2;
        }
    bn_status status = bn_tmat_pack(ctx, formats[f].format, layout, data, n, rows, cols, NULL, &one, 1, 1, &mat);
    check(status == (ternary ? BN_OK : BN_ERR_CODE), "refused exactly if a weight is none");
    check(share || ternary, "what encoders write is ternary");
    if (status == BN_OK)
        check(bn_tmat_unpack(mat, found) == BN_OK && memcmp(found, expected, rows * cols) == 0, "the weights described");
    bn_tmat_free(mat);
    free(found);
    free(expected);
}

/* One damaged byte in an otherwise sound matrix, wherever it may be, is seen. */
static void check_one_byte(bn_ctx *ctx, check_guard *guard, size_t f)
{
    static const float one = 1.0f;
    size_t rows = 4, cols = 1024, n = bytes_of(f, rows, cols);
    for (int i = 0; i < 40; i++) {
        uint8_t *data = check_alloc(guard, n, 1, CHECK_AT_END);
        int ternary = 1;
        bn_tmat *mat = NULL;
        fill(data, n, f, 0);
        size_t at = check_below(n);
        data[at] = (uint8_t)check_random();
        check_case("%s with byte %zu of %zu = %d", formats[f].name, at, n, data[at]);
        for (size_t j = 0; j < rows * cols; j++)
            ternary &= trit_at(f, data, cols, j / cols, j % cols) < 2;
        bn_status status = bn_tmat_pack(ctx, formats[f].format, BN_LAYOUT_L3, data, n, rows, cols, NULL, &one, 1, 1, &mat);
        check(status == (ternary ? BN_OK : BN_ERR_CODE), "seen exactly if it matters");
        bn_tmat_free(mat);
    }
}

static void check_sizes(bn_ctx *ctx, size_t f)
{
    static uint8_t data[1 << 16];
    static const float one = 1.0f;
    size_t cols = formats[f].cols, n = bytes_of(f, 4, cols);
    bn_pack_format format = formats[f].format;
    bn_tmat *mat = NULL;
    memset(data, 0, sizeof data);
    check_case("arguments of %s", formats[f].name);
    check(bn_tmat_pack(ctx, format, BN_LAYOUT_T2, data, n, 4, cols, NULL, &one, 1, 1, &mat) == BN_OK, "its own size");
    bn_tmat_free(mat);
    check(bn_tmat_pack(ctx, format, BN_LAYOUT_T2, data, n - 1, 4, cols, NULL, &one, 1, 1, &mat) == BN_ERR_ARG, "too short");
    check(bn_tmat_pack(ctx, format, BN_LAYOUT_T2, data, n + 1, 4, cols, NULL, &one, 1, 1, &mat) == BN_ERR_ARG, "too long");
    check(bn_tmat_pack(ctx, format, BN_LAYOUT_T2, data, 0, 4, cols, NULL, &one, 1, 1, &mat) == BN_ERR_ARG, "nothing");
    check(bn_tmat_pack(ctx, format, BN_LAYOUT_T2, data, n / 2, 4, cols / 2, NULL, &one, 1, 1, &mat) == BN_ERR_ARG,
          "half a block");
    if (formats[f].rows > 1)
        check(bn_tmat_pack(ctx, format, BN_LAYOUT_T2, data, bytes_of(f, 3, cols), 3, cols, NULL, &one, 1, 1, &mat) ==
                  BN_ERR_ARG,
              "rows that are not together");
}

void check_file_codes(int quick)
{
    static const size_t row_counts[] = {1, 3, 4, 16, 33, 260};
    static const size_t col_counts[] = {64, 128, 256, 704, 768, 1024, 1792};
    static check_guard guard;
    bn_ctx *ctx;
    check_case("context");
    if (!check(bn_ctx_create(NULL, 2, &ctx) == BN_OK, "create"))
        return;
    for (size_t f = 0; f < N_FORMATS; f++) {
        for (size_t r = 0; r < sizeof row_counts / sizeof row_counts[0]; r++)
            for (size_t c = 0; c < sizeof col_counts / sizeof col_counts[0]; c++) {
                size_t rows = row_counts[r], cols = col_counts[c];
                if (rows % formats[f].rows || cols % formats[f].cols || (quick && rows * cols > 1 << 15))
                    continue;
                bn_layout layout = (bn_layout)((r + c) % 4);
                check_matrix(ctx, &guard, f, layout, rows, cols, 0);
                check_matrix(ctx, &guard, f, layout, rows, cols, rows * cols / 4);
                check_matrix(ctx, &guard, f, layout, rows, cols, 1);
            }
        check_one_byte(ctx, &guard, f);
        check_sizes(ctx, f);
    }
    bn_ctx_free(ctx);
}

/* check_file_codes_tl.c: TL1 and TL2, taken apart by bn_tmat_pack, against their address formulas, weight by weight.
 *
 * As in check_file_codes.c, data lies against guard pages and is drawn as encoders write it, damaged, and at random. */
#include <stdlib.h>
#include <string.h>

#include "bitnet.h"
#include "check.h"
#include "check_plan.h"

/* ---- The formats by their descriptions ---- */

/* The trit of column x, 0 or 1, of a pair; 2 if the code is none. */
static int8_t of_pair(unsigned code, size_t x)
{
    return code > 8 ? 2 : (int8_t)((x ? code % 3 : code / 3) - 1);
}

static unsigned nibble(uint8_t byte, int high)
{
    return high ? byte >> 4 : byte & 15;
}

static int8_t tl1_at(const uint8_t *data, bn_tiling t, size_t cols, size_t m, size_t k)
{
    size_t outer = (size_t)t.rows_outer, tile = (size_t)t.cols, inner = (size_t)t.rows_inner, by = 256 / inner;
    size_t tm = m / outer, tb = m % outer / inner, mc = m % outer % inner / 16, ml = m % 16;
    size_t tk = k / tile, ty = k % tile / by, gq = k % tile % by / 4, x = k % 4;
    size_t at = tm * (outer * cols / 4) + tk * (outer * tile / 4) + tb * (inner * tile / 4) + ty * 64 +
                mc * (by / 4 * 16) + gq * 16 + ml;
    return of_pair(nibble(data[at], x < 2), x % 2);
}

static int8_t tl2_at(const uint8_t *data, bn_tiling t, size_t rows, size_t cols, size_t m, size_t k)
{
    static const size_t order[4] = {0, 2, 1, 3};
    size_t outer = (size_t)t.rows_outer, tile = (size_t)t.cols, k3 = cols / tile * tile, k2 = cols - k3;
    size_t tm = m / outer, tb = m % outer / 32, r = m % 32, pos = order[r / 8] * 8 + r % 8;
    const uint8_t *signs = data + rows * k3 / 6, *pairs = signs + rows * k3 / 24;
    if (k >= k3) {
        k -= k3;
        size_t at = tm * (outer * k2 / 4) + k / 32 * (outer * 8) + tb * 256 + k % 32 / 4 * 32 + pos;
        return of_pair(nibble(pairs[at], k % 4 < 2), k % 2);
    }
    size_t tk = k / tile, x = k % tile;
    unsigned index = nibble(data[tm * (outer * k3 / 6) + tk * (outer * tile / 6) + tb * (32 * tile / 6) + x / 6 * 32 + pos],
                            x % 6 < 3);
    const uint8_t *word = signs + tm * (outer * k3 / 24) + tk * (outer * tile / 24) + tb * (32 * tile / 24) +
                          x / 24 * 32 + 2 * (r % 16);
    unsigned bit = 15 - (unsigned)(2 * (x % 24 / 3) + r / 16);
    if (index > 13)
        return 2;
    int v = ((word[0] | word[1] << 8) >> bit & 1) ? -(int)index : (int)index;
    return (int8_t)((k % 3 == 0 ? (v + 13) / 9 : k % 3 == 1 ? (v + 13) / 3 % 3 : (v + 13) % 3) - 1);
}

static size_t bytes_of(bn_pack_format format, bn_tiling t, size_t rows, size_t cols)
{
    size_t k3 = format == BN_PACK_TL2 ? cols / (size_t)t.cols * (size_t)t.cols : 0;
    return rows * k3 / 6 + rows * k3 / 24 + rows * (cols - k3) / 4;
}

/* ---- The checks ---- */

static const float one = 1.0f;

typedef struct {
    bn_pack_format format;
    size_t rows, cols;
    bn_tiling tiling;
} tiled_case;

static const tiled_case cases[] = {
    {BN_PACK_TL1, 32, 8, {32, 8, 32}},          {BN_PACK_TL1, 64, 4, {64, 4, 64}},
    {BN_PACK_TL1, 64, 24, {32, 8, 32}},         {BN_PACK_TL1, 128, 132, {64, 12, 64}},
    {BN_PACK_TL1, 160, 640, {160, 64, 32}},     {BN_PACK_TL1, 320, 768, {320, 128, 64}},
    {BN_PACK_TL1, 256, 1600, {128, 80, 32}},    {BN_PACK_TL1, 544, 520, {544, 520, 32}},
    {BN_PACK_TL1, 576, 1540, {192, 220, 64}},
    {BN_PACK_TL2, 32, 24, {32, 24, 32}},        {BN_PACK_TL2, 32, 32, {32, 96, 32}},
    {BN_PACK_TL2, 64, 96, {64, 96, 32}},        {BN_PACK_TL2, 96, 160, {32, 96, 32}},
    {BN_PACK_TL2, 128, 288, {128, 192, 32}},    {BN_PACK_TL2, 160, 640, {160, 96, 32}},
    {BN_PACK_TL2, 256, 800, {128, 768, 32}},    {BN_PACK_TL2, 288, 864, {96, 192, 32}},
    {BN_PACK_TL2, 320, 1600, {320, 96, 32}},    {BN_PACK_TL2, 544, 1568, {544, 1440, 32}},
    {BN_PACK_TL2, 32, 256, {32, 2147483640, 32}},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static int8_t trit_at(const tiled_case *c, const uint8_t *data, size_t row, size_t col)
{
    return c->format == BN_PACK_TL1 ? tl1_at(data, c->tiling, c->cols, row, col)
                                    : tl2_at(data, c->tiling, c->rows, c->cols, row, col);
}

/* Codes such as encoders write; one byte in `share` is any byte. */
static void fill(uint8_t *data, const tiled_case *c, size_t share)
{
    size_t n = bytes_of(c->format, c->tiling, c->rows, c->cols);
    size_t k3 = c->format == BN_PACK_TL2 ? c->cols / (size_t)c->tiling.cols * (size_t)c->tiling.cols : 0;
    size_t signs = c->rows * k3 / 6, pairs = signs + c->rows * k3 / 24;
    for (size_t i = 0; i < n; i++) {
        size_t codes = i < signs ? 14 : i < pairs ? 16 : 9;
        uint8_t byte = (uint8_t)(check_below(codes) << 4 | check_below(codes));
        data[i] = share && check_below(share) == 0 ? (uint8_t)check_random() : byte;
    }
}

static void check_one(bn_ctx *ctx, const tiled_case *c, bn_layout layout, size_t share)
{
    static check_guard guard;
    size_t n = bytes_of(c->format, c->tiling, c->rows, c->cols);
    check_case("%s, %zu rows, %zu cols, tiling %d,%d,%d, layout %d, one in %zu bytes at random",
               c->format == BN_PACK_TL1 ? "TL1" : "TL2", c->rows, c->cols, (int)c->tiling.rows_outer,
               (int)c->tiling.cols, (int)c->tiling.rows_inner, (int)layout, share);
    uint8_t *data = check_alloc(&guard, n, 1, check_below(2) ? CHECK_AT_START : CHECK_AT_END);
    int8_t *expected = malloc(c->rows * c->cols), *found = malloc(c->rows * c->cols);
    int ternary = 1;
    bn_tmat *mat = NULL;
    fill(data, c, share);
    for (size_t r = 0; r < c->rows; r++)
        for (size_t k = 0; k < c->cols; k++) {
            expected[r * c->cols + k] = trit_at(c, data, r, k);
            ternary &= expected[r * c->cols + k] < 2;
        }
    bn_status status =
        bn_tmat_pack(ctx, c->format, layout, data, n, c->rows, c->cols, &c->tiling, &one, 1, 1, &mat);
    check(status == (ternary ? BN_OK : BN_ERR_CODE), "refused exactly if a weight is none");
    check(share || ternary, "sound data is ternary");
    if (status == BN_OK)
        check(bn_tmat_unpack(mat, found) == BN_OK && memcmp(found, expected, c->rows * c->cols) == 0,
              "the weights described");
    bn_tmat_free(mat);
    free(found);
    free(expected);
}

/* The tiling decides where is read, so every number that does not fit is refused before anything is. */
static void check_tilings(bn_ctx *ctx)
{
    static const int32_t numbers[] = {0, -1, -32, 1, 2, 3, 8, 16, 24, 31, 32, 33, 64, 65, 96, 128, 192, 255, 256, 257,
                                      288, 384, 768, 1 << 20, INT32_MAX - 7, INT32_MAX, INT32_MIN};
    enum { N = sizeof numbers / sizeof numbers[0], ROWS = 192, COLS = 384 };
    static check_guard guard;
    bn_tmat *mat = NULL;
    size_t accepted = 0;
    for (int format = BN_PACK_TL1; format <= BN_PACK_TL2; format++)
        for (size_t i = 0; i < (size_t)N * N * N; i++) {
            bn_tiling t = {numbers[i / N / N], numbers[i / N % N], numbers[i % N]};
            check_case("format %d, tiling %d,%d,%d", format, (int)t.rows_outer, (int)t.cols, (int)t.rows_inner);
            int fits = t.rows_outer > 0 && t.cols > 0 && ROWS % t.rows_outer == 0;
            if (format == BN_PACK_TL1)
                fits = fits && (t.rows_inner == 32 || t.rows_inner == 64) && t.rows_outer % t.rows_inner == 0 &&
                       COLS % t.cols == 0 && t.cols % (256 / t.rows_inner) == 0;
            else
                fits = fits && t.rows_inner == 32 && t.rows_outer % 32 == 0 && t.cols % 24 == 0 && COLS % t.cols % 32 == 0;
            size_t n = fits ? bytes_of((bn_pack_format)format, t, ROWS, COLS) : ROWS * COLS / 4;
            uint8_t *data = check_alloc(&guard, fits ? n : 1, 1, CHECK_AT_END);
            memset(data, 0x44, fits ? n : 1);
            bn_status status = bn_tmat_pack(ctx, (bn_pack_format)format, BN_LAYOUT_T2, data, n, ROWS, COLS, &t, &one, 1,
                                            1, &mat);
            check(status == (fits ? BN_OK : BN_ERR_ARG), "taken exactly if it fits");
            accepted += status == BN_OK;
            if (status == BN_OK)
                bn_tmat_free(mat);
        }
    check_case("tilings of %d rows and %d cols", ROWS, COLS);
    check(accepted > 20, "some fit");
}

static void check_sizes(bn_ctx *ctx, const tiled_case *c)
{
    size_t n = bytes_of(c->format, c->tiling, c->rows, c->cols);
    uint8_t *data = calloc(n + 1, 1);
    bn_tmat *mat = NULL;
    check_case("arguments of format %d", (int)c->format);
    for (size_t wrong = 0; wrong < 4; wrong++) {
        size_t size = wrong == 0 ? n - 1 : wrong == 1 ? n + 1 : wrong == 2 ? 0 : n / 2;
        check(bn_tmat_pack(ctx, c->format, BN_LAYOUT_T2, data, size, c->rows, c->cols, &c->tiling, &one, 1, 1, &mat) ==
                  BN_ERR_ARG, "another size");
    }
    check(bn_tmat_pack(ctx, c->format, BN_LAYOUT_T2, data, n, c->rows, c->cols, NULL, &one, 1, 1, &mat) == BN_ERR_ARG,
          "no tiling");
    check(bn_tmat_pack(ctx, BN_PACK_TRITS, BN_LAYOUT_T2, data, 32, 4, 8, &c->tiling, &one, 1, 1, &mat) == BN_ERR_ARG,
          "a tiling where there is none");
    free(data);
}

void check_file_codes_tl(int quick)
{
    bn_ctx *ctx;
    check_case("context");
    if (!check(bn_ctx_create(NULL, 2, &ctx) == BN_OK, "create"))
        return;
    for (size_t i = 0; i < N_CASES; i++) {
        const tiled_case *c = &cases[i];
        if (quick && c->rows * c->cols > 1 << 18)
            continue;
        for (int layout = BN_LAYOUT_T2; layout <= BN_LAYOUT_L3; layout++) {
            check_one(ctx, c, (bn_layout)layout, 0);
            check_one(ctx, c, (bn_layout)layout, c->rows * c->cols / 2);
            check_one(ctx, c, (bn_layout)layout, 1);
        }
    }
    check_tilings(ctx);
    check_sizes(ctx, &cases[0]);
    check_sizes(ctx, &cases[N_CASES - 2]);
    bn_ctx_free(ctx);
}

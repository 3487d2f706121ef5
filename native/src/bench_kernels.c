/* bench_kernels.c: the time of one call of every kernel, on inputs of a real model's sizes, by one thread.
 *
 * A kernel is a row of the table below and the call that goes with it; the sizes are those of a model of width 2560 with
 * feed-forward layers of 6912. Weights that a model streams come to more than the caches hold; everything else is at
 * hand in a cache, as it is when a model runs. */
#include <stdlib.h>
#include <string.h>

#include "bitnet.h"
#include "dense_tiles.h"
#include "dispatch.h"
#include "entries.h"
#include "os.h"

enum { WIDTH = 2560, FFN = 6912, LAYERS = 16, TOKENS = 256, GROUP = 128, HEAD_ROWS = 32768 };
enum { HEAD_DIM = 128, N_HEADS = 20, POSITIONS = 512, QUERIES = 32 };
enum { MATRIX_BYTES = LAYERS * FFN * (WIDTH / 4), TILES = LAYERS * FFN / BN_TILE_ROWS, BLOCKS = WIDTH / BN_BLOCK_COLS };
enum { PANEL_BLOCKS = 64, PANEL_COLS = PANEL_BLOCKS * BN_BLOCK_COLS, PANEL_BYTES = BN_GEMM_TILES * PANEL_BLOCKS * 256 };
enum { SLABS = LAYERS * FFN / BN_SLAB_ROWS, LOOKUPS = (WIDTH + BN_LOOKUP_COLS - 1) / BN_LOOKUP_COLS };
enum { HEAD_TILES = HEAD_ROWS / BN_TILE_ROWS, READ_LINES = 1 << 21, PROBE_STEPS = 1 << 12, HALF_ROWS = HEAD_ROWS / 2 };

/* What an argument points to, and of what its count is one. */
typedef enum {
    NONE,
    FLOATS,         /* [-1, 1) */
    COSINES, SINES, /* of one angle: turning by it again and again keeps lengths */
    HALVES,         /* f16, [-1, 1) */
    INT8,           /* any */
    INT32,          /* small */
    PACKED,         /* bytes of four ternary codes */
    PACKED_HALF,    /* the same, of which a call reads every other row or col */
    CODES,          /* bytes 0..2 */
    BYTES,          /* random bits that are not NaN as floats of any kind */
    EVERY_OTHER,    /* uint32 0, 2, 4, .. */
    ACTS,           /* a bn_acts_i16 of one token with this many cols */
    ROOM            /* bytes to write to */
} content;

typedef struct {
    content content;
    size_t count;
} argument;

enum { MAX_ARGUMENTS = 6, SLACK = 1024 };       /* every argument is followed by zeros */

typedef struct {
    const char *kernel;
    void (*call)(void (*fn)(void), void *const *arg);
    uint64_t products;
    argument argument[MAX_ARGUMENTS];
} row;

/* ---- The calls: arg[i] is what the row says in its place. ---- */

#define CALL(kernel, ...)                                                                                              \
    static void call_##kernel(void (*fn)(void), void *const *arg)                                                      \
    {                                                                                                                  \
        ((__typeof__(((bn_kernels *)0)->kernel))fn)(__VA_ARGS__);                                                      \
    }
#define ROW(kernel, products, ...) {#kernel, call_##kernel, products, {__VA_ARGS__}},

/* All slabs of g2, one after the other, with scales of f16. */
#define CALL_SLABS(kernel, group_blocks, n_groups)                                                                     \
    static void call_##kernel(void (*fn)(void), void *const *arg)                                                      \
    {                                                                                                                  \
        for (size_t slab = 0; slab < SLABS; slab++)                                                                    \
            ((__typeof__(((bn_kernels *)0)->kernel))fn)((const uint8_t *)arg[0] + slab * SLAB_BYTES, n_groups,         \
                                                        group_blocks, 1, arg[1], arg[2],                               \
                                                        (float *)arg[3] + slab * BN_SLAB_ROWS);                        \
    }

enum { SLAB_BYTES = BN_SLAB_ROWS * (WIDTH / 4 + WIDTH / GROUP * 2) };

CALL(gemv_t2_i8, arg[0], TILES, BLOCKS, arg[1], arg[2])
CALL_SLABS(gemv_g2_i8, GROUP / BN_BLOCK_COLS, WIDTH / GROUP)
CALL(gemv_r2_i8, arg[0], WIDTH / BN_GROUP_COLS, arg[1], LAYERS * FFN / 2, arg[2], arg[3])
CALL(gemv_c2_i8, arg[0], WIDTH / BN_STRIP_ROWS, arg[1], arg[2], LAYERS * FFN / 2, arg[3])
CALL(table_l3_i8, arg[0], LOOKUPS, arg[1])
CALL(gemv_l3_i8, arg[0], SLABS, LOOKUPS, arg[1], 0, arg[2])
CALL(unpack_l3, arg[0], LOOKUPS * BN_LOOKUP_BYTES, 0, BN_GEMM_TILES, 0, PANEL_BLOCKS - PANEL_BLOCKS % 3, arg[1])
CALL(unpack_t2, arg[0], BLOCKS * BN_BLOCK_BYTES, 0, BN_GEMM_TILES, 0, PANEL_BLOCKS, arg[1])
CALL(unpack_r2, arg[0], WIDTH / 4, 0, BN_GEMM_TILES, 0, PANEL_BLOCKS, arg[1])
CALL(unpack_c2, arg[0], 64, 0, BN_GEMM_TILES, 0, PANEL_BLOCKS, arg[1])
CALL(gemm_panel_i8, arg[0], BN_GEMM_TILES, PANEL_BLOCKS, arg[1], PANEL_COLS, TOKENS, 1, arg[2])
CALL(live_f32, arg[0], FFN, 0, arg[1])
CALL(live_i8, arg[0], FFN, 0, arg[1])
CALL(rmsnorm_f32, arg[0], arg[1], WIDTH, 1e-5f, arg[2])
CALL(quant_i8, arg[0], WIDTH, arg[1], arg[2], arg[3])
CALL(descale_f32, arg[0], FFN, 3, 2.0f, 0.5f, 0, arg[1])
CALL(descale_rows_f32, arg[0], FFN, 3, 2.0f, arg[1], 0, arg[2])
CALL(group_sums_i8, arg[0], WIDTH / GROUP, GROUP, arg[1])
CALL(add_scaled_f32, arg[0], BN_GEMM_TILES * BN_TILE_ROWS, TOKENS, arg[1], 1, arg[2], arg[3])
CALL(rope_f32, arg[0], N_HEADS, HEAD_DIM, HEAD_DIM, 1, arg[1], arg[2])
#define SLABS_CALL arg[0], HEAD_DIM, QUERIES, arg[1], HEAD_DIM * 16, POSITIONS / 16, HEAD_DIM, 0, arg[2], POSITIONS
CALL(slabs_f32, SLABS_CALL)
CALL(slabs_f16, SLABS_CALL)
CALL(slabs_i8, SLABS_CALL)
CALL(softmax_f32, arg[0], POSITIONS, 0.1f, NULL, NULL)
CALL(glu_relu2_f32, arg[0], arg[1], FFN, arg[2])
CALL(glu_silu_f32, arg[0], arg[1], FFN, arg[2])
CALL(glu_gelu_f32, arg[0], arg[1], FFN, arg[2])
CALL(f16_from_f32, arg[0], WIDTH, arg[1])
CALL(dequant_f32, arg[0], WIDTH, arg[1])
CALL(dequant_f16, arg[0], WIDTH, arg[1])
CALL(dequant_bf16, arg[0], WIDTH, arg[1])
CALL(dequant_q8_0, arg[0], WIDTH, arg[1])
CALL(dequant_q6_k, arg[0], WIDTH, arg[1])
CALL(dequant_q4_0, arg[0], WIDTH, arg[1])
CALL(dequant_q2_0, arg[0], WIDTH, arg[1])
CALL(gemv_f32_f32, arg[0], WIDTH * 4, HALF_ROWS, WIDTH, arg[1], arg[2])
CALL(gemv_f16_f32, arg[0], WIDTH * 2, HEAD_ROWS, WIDTH, arg[1], arg[2])
CALL(gemv_bf16_f32, arg[0], WIDTH * 2, HEAD_ROWS, WIDTH, arg[1], arg[2])
CALL(quant_i16, arg[0], WIDTH, 16, 32, arg[1], arg[2], arg[3], arg[4])
CALL(probe_read, arg[0], READ_LINES)
CALL(probe_int8, arg[0], arg[1], PROBE_STEPS)

/* All tiles of a head, one after the other. */
#define CALL_TILES(kernel, tile_bytes, block_cols)                                                                     \
    static void call_##kernel(void (*fn)(void), void *const *arg)                                                      \
    {                                                                                                                  \
        for (size_t tile = 0; tile < HEAD_TILES; tile++)                                                               \
            ((__typeof__(((bn_kernels *)0)->kernel))fn)((const uint8_t *)arg[0] + tile * (tile_bytes),                 \
                                                        WIDTH / (block_cols), arg[1],                                  \
                                                        1, (float *)arg[2] + tile * BN_TILE_ROWS);                     \
    }

enum { SCALES = BN_TILE_SCALE_BYTES };
enum { Q8_0_TILE = WIDTH / 32 * 512 + WIDTH / 64 * SCALES, Q4_0_TILE = WIDTH / 32 * 256 + WIDTH / 64 * SCALES };
enum { Q2_0_TILE = WIDTH / 64 * 256 + WIDTH / 128 * SCALES };
enum { Q6_K_TILE = WIDTH / 256 * (256 + 16 * 192) + WIDTH / 512 * SCALES };
CALL_TILES(gemm_q8_0_i16, Q8_0_TILE, 32)
CALL_TILES(gemm_q6_k_i16, Q6_K_TILE, 256)
CALL_TILES(gemm_q4_0_i16, Q4_0_TILE, 32)
CALL_TILES(gemm_q2_0_i16, Q2_0_TILE, 64)

/* ---- The table: kernel, products of a call, and its arguments. What a call reads and writes are their bytes. ---- */

#define SLABS_PRODUCTS ((uint64_t)QUERIES * POSITIONS * HEAD_DIM)
#define LIVE_PRODUCTS ((uint64_t)LAYERS * FFN / 2 * WIDTH)

static const row rows[] = {
    ROW(gemv_t2_i8, (uint64_t)LAYERS * FFN * WIDTH, {PACKED, MATRIX_BYTES}, {INT8, WIDTH}, {ROOM, LAYERS * FFN * 4})
    ROW(gemv_g2_i8, (uint64_t)LAYERS * FFN * WIDTH, {PACKED, SLABS * SLAB_BYTES}, {INT8, WIDTH}, {INT32, WIDTH / GROUP},
        {ROOM, LAYERS * FFN * 4})
    ROW(gemv_r2_i8, LIVE_PRODUCTS, {PACKED_HALF, MATRIX_BYTES}, {EVERY_OTHER, LAYERS * FFN / 2}, {INT8, WIDTH},
        {ROOM, LAYERS * FFN / 2 * 4})
    ROW(gemv_c2_i8, LIVE_PRODUCTS, {PACKED_HALF, MATRIX_BYTES}, {EVERY_OTHER, LAYERS * FFN / 2}, {INT8, LAYERS * FFN / 2},
        {ROOM, WIDTH * 4})
    ROW(table_l3_i8, 0, {INT8, LOOKUPS * BN_LOOKUP_COLS}, {ROOM, LOOKUPS * BN_TABLE_BYTES})
    ROW(gemv_l3_i8, (uint64_t)LAYERS * FFN * WIDTH, {INT8, SLABS * LOOKUPS * BN_LOOKUP_BYTES},
        {ROOM, LOOKUPS * BN_TABLE_BYTES}, {ROOM, LAYERS * FFN * 4})
    ROW(unpack_l3, 0, {ROOM, LOOKUPS * BN_LOOKUP_BYTES}, {ROOM, PANEL_BYTES})
    ROW(unpack_t2, 0, {PACKED, BN_GEMM_TILES * BLOCKS * BN_BLOCK_BYTES}, {ROOM, PANEL_BYTES})
    ROW(unpack_r2, 0, {PACKED, BN_GEMM_TILES * BN_TILE_ROWS * (WIDTH / 4)}, {ROOM, PANEL_BYTES})
    ROW(unpack_c2, 0, {PACKED, PANEL_COLS * 64}, {ROOM, PANEL_BYTES})
    ROW(gemm_panel_i8, (uint64_t)TOKENS * BN_GEMM_TILES * BN_TILE_ROWS * PANEL_COLS, {CODES, PANEL_BYTES},
        {INT8, TOKENS * PANEL_COLS}, {ROOM, TOKENS * BN_GEMM_TILES * BN_TILE_ROWS * 4})
    ROW(live_f32, 0, {FLOATS, FFN}, {ROOM, FFN * 4})
    ROW(live_i8, 0, {INT8, FFN}, {ROOM, FFN * 4})
    ROW(rmsnorm_f32, 0, {FLOATS, WIDTH}, {FLOATS, WIDTH}, {ROOM, WIDTH * 4})
    ROW(quant_i8, 0, {FLOATS, WIDTH}, {ROOM, WIDTH}, {ROOM, 4}, {ROOM, 4})
    ROW(descale_f32, 0, {INT32, FFN}, {ROOM, FFN * 4})
    ROW(descale_rows_f32, 0, {INT32, FFN}, {FLOATS, FFN}, {ROOM, FFN * 4})
    ROW(group_sums_i8, 0, {INT8, WIDTH}, {ROOM, WIDTH / GROUP * 4})
    ROW(add_scaled_f32, 0, {INT32, TOKENS * BN_GEMM_TILES * BN_TILE_ROWS}, {INT32, TOKENS},
        {FLOATS, BN_GEMM_TILES * BN_TILE_ROWS}, {FLOATS, TOKENS * BN_GEMM_TILES * BN_TILE_ROWS})
    ROW(rope_f32, 0, {FLOATS, N_HEADS * HEAD_DIM}, {COSINES, HEAD_DIM / 2}, {SINES, HEAD_DIM / 2})
    ROW(slabs_f32, SLABS_PRODUCTS, {FLOATS, QUERIES * HEAD_DIM}, {FLOATS, POSITIONS * HEAD_DIM},
        {ROOM, QUERIES * POSITIONS * 4})
    ROW(slabs_f16, SLABS_PRODUCTS, {FLOATS, QUERIES * HEAD_DIM}, {HALVES, POSITIONS * HEAD_DIM},
        {ROOM, QUERIES * POSITIONS * 4})
    ROW(slabs_i8, SLABS_PRODUCTS, {FLOATS, QUERIES * HEAD_DIM}, {INT8, POSITIONS * HEAD_DIM},
        {ROOM, QUERIES * POSITIONS * 4})
    ROW(softmax_f32, 0, {FLOATS, POSITIONS})
    ROW(glu_relu2_f32, 0, {FLOATS, FFN}, {FLOATS, FFN}, {ROOM, FFN * 4})
    ROW(glu_silu_f32, 0, {FLOATS, FFN}, {FLOATS, FFN}, {ROOM, FFN * 4})
    ROW(glu_gelu_f32, 0, {FLOATS, FFN}, {FLOATS, FFN}, {ROOM, FFN * 4})
    ROW(f16_from_f32, 0, {FLOATS, WIDTH}, {ROOM, WIDTH * 2})
    ROW(dequant_f32, 0, {FLOATS, WIDTH}, {ROOM, WIDTH * 4})
    ROW(dequant_f16, 0, {HALVES, WIDTH}, {ROOM, WIDTH * 4})
    ROW(dequant_bf16, 0, {BYTES, WIDTH * 2}, {ROOM, WIDTH * 4})
    ROW(dequant_q8_0, 0, {BYTES, WIDTH / 32 * 34}, {ROOM, WIDTH * 4})
    ROW(dequant_q6_k, 0, {BYTES, WIDTH / 256 * 210}, {ROOM, WIDTH * 4})
    ROW(dequant_q4_0, 0, {BYTES, WIDTH / 32 * 18}, {ROOM, WIDTH * 4})
    ROW(dequant_q2_0, 0, {BYTES, WIDTH / 64 * 18}, {ROOM, WIDTH * 4})
    ROW(gemv_f32_f32, (uint64_t)HALF_ROWS * WIDTH, {FLOATS, HALF_ROWS * WIDTH}, {FLOATS, WIDTH}, {ROOM, HALF_ROWS * 4})
    ROW(gemv_f16_f32, (uint64_t)HEAD_ROWS * WIDTH, {HALVES, HEAD_ROWS * WIDTH}, {FLOATS, WIDTH}, {ROOM, HEAD_ROWS * 4})
    ROW(gemv_bf16_f32, (uint64_t)HEAD_ROWS * WIDTH, {BYTES, HEAD_ROWS * WIDTH * 2}, {FLOATS, WIDTH},
        {ROOM, HEAD_ROWS * 4})
    ROW(quant_i16, 0, {FLOATS, WIDTH}, {ROOM, WIDTH * 2}, {ROOM, WIDTH * 2}, {ROOM, WIDTH / 16 * 4}, {ROOM, 4})
    ROW(gemm_q8_0_i16, (uint64_t)HEAD_ROWS * WIDTH, {BYTES, HEAD_TILES * Q8_0_TILE}, {ACTS, WIDTH},
        {ROOM, HEAD_ROWS * 4})
    ROW(gemm_q6_k_i16, (uint64_t)HEAD_ROWS * WIDTH, {BYTES, HEAD_TILES * Q6_K_TILE}, {ACTS, WIDTH},
        {ROOM, HEAD_ROWS * 4})
    ROW(gemm_q4_0_i16, (uint64_t)HEAD_ROWS * WIDTH, {BYTES, HEAD_TILES * Q4_0_TILE}, {ACTS, WIDTH},
        {ROOM, HEAD_ROWS * 4})
    ROW(gemm_q2_0_i16, (uint64_t)HEAD_ROWS * WIDTH, {BYTES, HEAD_TILES * Q2_0_TILE}, {ACTS, WIDTH},
        {ROOM, HEAD_ROWS * 4})
    ROW(probe_read, 0, {BYTES, (size_t)READ_LINES * 64})
    ROW(probe_int8, (uint64_t)PROBE_STEPS * BN_PROBE_PRODUCTS, {CODES, 64}, {INT8, 64})
};

static const row *find_row(const char *kernel)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].kernel, kernel) == 0)
            return &rows[i];
    return NULL;
}

/* ---- Inputs ---- */

typedef struct {
    uint8_t *pages;
    size_t size, used;
} arena;

/* Room for n_bytes and slack, at a multiple of 64; the zeros are the system's. */
static void *take(arena *a, size_t n_bytes)
{
    uint8_t *at = a->pages + a->used;
    a->used += (n_bytes + SLACK + 63) / 64 * 64;
    return at;
}

static size_t element_bytes(content c)
{
    return c == FLOATS || c == COSINES || c == SINES || c == INT32 || c == EVERY_OTHER ? 4 : c == HALVES ? 2 : c == ACTS ? 4 : 1;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Random bits as eight bytes of content `c`. */
static uint64_t eight_bytes(content c, uint64_t bits)
{
    const uint64_t odd = 0x5555555555555555u, ones = 0x0101010101010101u;
    switch (c) {
    case PACKED:
    case PACKED_HALF: return bits & ~((bits & odd) << 1);                /* 3 becomes 1 */
    case CODES: return bits & 3 * ones & ~((bits & ones) << 1);
    case INT32: return bits & 0x00000fff00000fffu;
    case HALVES: return bits & 0xbbffbbffbbffbbffu;                 /* an exponent below that of 1 */
    case BYTES: return bits & 0xbbbbbbbbbbbbbbbbu;                  /* the same in every byte */
    default: return bits;
    }
}

static void fill(content c, size_t count, void *data, uint64_t *state)
{
    size_t n_bytes = count * element_bytes(c);
    if (c == FLOATS)
        for (size_t i = 0; i < count; i++)
            ((float *)data)[i] = (float)(int32_t)(next_random(state) >> 32) * 0x1p-31f;
    else if (c == COSINES || c == SINES)
        for (size_t i = 0; i < count; i++)
            ((float *)data)[i] = c == COSINES ? 0.6f : 0.8f;
    else if (c == EVERY_OTHER)
        for (size_t i = 0; i < count; i++)
            ((uint32_t *)data)[i] = (uint32_t)(2 * i);
    else
        for (size_t i = 0; i < n_bytes; i += 8) {       /* what is too much falls into the slack and is cleared */
            uint64_t word = eight_bytes(c, next_random(state));
            memcpy((uint8_t *)data + i, &word, sizeof word);
        }
    memset((uint8_t *)data + n_bytes, 0, 8);
}

/* A hidden state of `cols` values: 16-bit numbers, their digits, an offset for every group and a scale of 1. */
static bn_acts_i16 *make_acts(arena *a, size_t cols, uint64_t *state)
{
    bn_acts_i16 *acts = take(a, sizeof *acts);
    int8_t *digits = take(a, cols * 2);
    int16_t *x = take(a, cols * 2);
    float *s = take(a, sizeof *s);
    fill(INT8, cols * 2, digits, state);
    for (size_t i = 0; i < cols; i++)
        x[i] = (int16_t)(256 * digits[i / 4 * 8 + i % 4] + digits[i / 4 * 8 + 4 + i % 4]);
    *s = 1.0f;
    *acts = (bn_acts_i16){.x = x, .digits = digits, .offset = take(a, cols * sizeof(int32_t)), .s = s};
    return acts;
}

static void *make(arena *a, argument what, uint64_t *state)
{
    if (what.content == ACTS)
        return make_acts(a, what.count, state);
    void *data = take(a, what.count * element_bytes(what.content));
    if (what.content == ROOM)
        memset(data, 0, what.count);
    else
        fill(what.content, what.count, data, state);
    return data;
}

/* ---- Time ---- */

enum { MAX_SAMPLES = 1000, SAMPLE_NS = 20000 };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double call_ns(const row *r, void (*fn)(void), void *const *arg, size_t n_calls)
{
    uint64_t started = bn_os_now_ns();
    for (size_t i = 0; i < n_calls; i++)
        r->call(fn, arg);
    return (double)(bn_os_now_ns() - started) / (double)n_calls;
}

/* One call to warm up, which is all if no time is to be spent; then samples of as many calls as the clock can tell. */
static void measure(const row *r, void (*fn)(void), void *const *arg, double min_seconds, bn_bench_result *out)
{
    double sample[MAX_SAMPLES] = {call_ns(r, fn, arg, 1)}, spent = 0;
    size_t n_calls = sample[0] < SAMPLE_NS ? (size_t)(SAMPLE_NS / (sample[0] + 1)) + 1 : 1, n = 0;
    while (n < MAX_SAMPLES && spent < min_seconds * 1e9) {
        sample[n] = call_ns(r, fn, arg, n_calls);
        spent += sample[n++] * (double)n_calls;
    }
    n += n == 0;
    qsort(sample, n, sizeof sample[0], by_size);
    out->median_ns = sample[n / 2];
    out->min_ns = sample[0];
}

static const char *name_of(bn_isa isa)
{
    bn_isa found;
    for (int32_t i = 0; i < bn_isa_count(); i++)
        if (bn_isa_find(bn_isa_name(i), &found) == BN_OK && found == isa)
            return bn_isa_name(i);
    return NULL;
}

size_t bn_bench_count(void)
{
    return bn_n_entries;
}

const char *bn_bench_isa(size_t index)
{
    return index < bn_n_entries ? name_of(bn_entries[index].isa) : NULL;
}

bn_status bn_bench_run(size_t index, double min_seconds, bn_bench_result *result)
{
    if (!result || index >= bn_n_entries || !(min_seconds >= 0 && min_seconds <= 60))
        return BN_ERR_ARG;
    const bn_entry *entry = &bn_entries[index];
    const row *r = find_row(entry->kernel);
    *result = (bn_bench_result){.kernel = entry->kernel, .isa = name_of(entry->isa)};
    if (!result->isa)
        return BN_ERR_ISA;
    if (!r)
        return BN_ERR_ARG;
    result->products = r->products;
    arena a = {.size = (size_t)16 * WIDTH + (size_t)8 * SLACK};
    for (size_t i = 0; i < MAX_ARGUMENTS; i++) {
        size_t n_bytes = r->argument[i].count * element_bytes(r->argument[i].content);
        result->bytes += r->argument[i].content == PACKED_HALF ? n_bytes / 2 : n_bytes;
        a.size += n_bytes + 2 * SLACK;
    }
    a.pages = bn_os_pages_alloc(a.size, 1);
    if (!a.pages)
        return BN_ERR_NOMEM;
    void *arg[MAX_ARGUMENTS] = {NULL};
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < MAX_ARGUMENTS && r->argument[i].content != NONE; i++)
        arg[i] = make(&a, r->argument[i], &state);
    measure(r, entry->fn, arg, min_seconds, result);
    bn_os_pages_free(a.pages, a.size);
    return BN_OK;
}

/* roofline.c: what this machine gives at most: bytes that all threads read per second, products that they multiply.
 *
 * The probes are kernels of the table, so a context measures what its ISA can reach. Work is handed out in small pieces,
 * because one core may be slower than another; the best of several passes counts: disturbances only take. */
#include <string.h>

#include "ctx.h"
#include "os.h"

enum { PIECE_LINES = 1 << 14, PIECE_STEPS = 1 << 12, MIN_PASSES = 3, MAX_PASSES = 64 };
enum { PASS_NS = 10000000, MAX_NS = 400000000 };      /* a pass of products lasts at least, all passes at most */

typedef struct {
    bn_ctx *ctx;
    uint8_t *data;
    size_t n_lines;
    int64_t n_pieces;
    uint64_t result[256];       /* of each thread: what a probe returns must go somewhere */
} probe;

static size_t lines_of(const probe *p, int64_t piece, const uint8_t **data)
{
    size_t first = (size_t)piece * PIECE_LINES, left = p->n_lines - first;
    *data = p->data + first * 64;
    return left < PIECE_LINES ? left : PIECE_LINES;
}

/* Writes every page, so that there is memory behind it, each thread a share of it. */
static void touch(void *arg, int32_t thread)
{
    probe *p = arg;
    const uint8_t *data;
    for (int64_t piece; (piece = bn_pool_next(p->ctx->pool, thread, p->n_pieces)) >= 0;) {
        size_t n = lines_of(p, piece, &data);
        memset(p->data + (data - p->data), 0x5a, n * 64);
    }
}

static void read_pieces(void *arg, int32_t thread)
{
    probe *p = arg;
    const uint8_t *data;
    for (int64_t piece; (piece = bn_pool_next(p->ctx->pool, thread, p->n_pieces)) >= 0;) {
        size_t n = lines_of(p, piece, &data);
        p->result[thread] += p->ctx->kernels.probe_read(data, n);
    }
}

static void multiply_pieces(void *arg, int32_t thread)
{
    probe *p = arg;
    while (bn_pool_next(p->ctx->pool, thread, p->n_pieces) >= 0)
        p->result[thread] += p->ctx->kernels.probe_int8(p->data, (const int8_t *)p->data, PIECE_STEPS);
}

static uint64_t pass_ns(probe *p, void (*work)(void *, int32_t))
{
    uint64_t started = bn_os_now_ns();
    bn_pool_run(p->ctx->pool, work, p);
    uint64_t ns = bn_os_now_ns() - started;
    return ns > 0 ? ns : 1;
}

/* Nanoseconds of the fastest of several passes. */
static uint64_t best_ns(probe *p, void (*work)(void *, int32_t))
{
    uint64_t best = UINT64_MAX, spent = 0;
    for (int pass = 0; pass < MIN_PASSES || (pass < MAX_PASSES && spent < MAX_NS); pass++) {
        uint64_t ns = pass_ns(p, work);
        best = ns < best ? ns : best;
        spent += ns;
    }
    return best;
}

bn_status bn_roofline_bandwidth(bn_ctx *ctx, size_t n_bytes, double *gb_per_s)
{
    if (!ctx || !gb_per_s || n_bytes < (size_t)PIECE_LINES * 64)
        return BN_ERR_ARG;
    *gb_per_s = 0;
    if (!bn_pool_is_alive(ctx->pool))
        return BN_ERR_THREAD;
    probe p = {.ctx = ctx, .n_lines = n_bytes / 64};
    p.n_pieces = (int64_t)((p.n_lines + PIECE_LINES - 1) / PIECE_LINES);
    p.data = bn_os_pages_alloc(n_bytes, 1);
    if (!p.data)
        return BN_ERR_NOMEM;
    bn_pool_run(ctx->pool, touch, &p);
    *gb_per_s = (double)p.n_lines * 64 / (double)best_ns(&p, read_pieces);
    bn_os_pages_free(p.data, n_bytes);
    return BN_OK;
}

bn_status bn_roofline_int8(bn_ctx *ctx, double *gmac_per_s)
{
    if (!ctx || !gmac_per_s)
        return BN_ERR_ARG;
    *gmac_per_s = 0;
    if (!bn_pool_is_alive(ctx->pool))
        return BN_ERR_THREAD;
    _Alignas(64) uint8_t ones[64];
    memset(ones, 1, sizeof ones);
    probe p = {.ctx = ctx, .data = ones, .n_pieces = bn_pool_n_threads(ctx->pool)};
    while (pass_ns(&p, multiply_pieces) < PASS_NS)
        p.n_pieces *= 2;
    *gmac_per_s = (double)p.n_pieces * PIECE_STEPS * BN_PROBE_PRODUCTS / (double)best_ns(&p, multiply_pieces);
    return BN_OK;
}

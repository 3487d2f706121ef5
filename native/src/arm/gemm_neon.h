/* gemm_neon.h: how a panel meets its tokens, for all AArch64 ISAs; included once by each ternary_<isa>.c, which has
 * defined how many tokens share the codes of a tile, TOKENS, with a TOKEN_COUNTS that names each count up to it, and
 * TOKEN_STEP, of which a round had better take a multiple. */
#ifndef BN_GEMM_NEON_H
#define BN_GEMM_NEON_H

/* sums[t][16] (+)= blocks of one tile @ q[t]. The groups of the tile lie `step` bytes apart, the sums of the tokens
 * sums_stride numbers. */
typedef void panel_fn(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                      size_t n_tokens, int add, int32_t *sums, size_t sums_stride);

#define BN_TOKENS_CASE(dot, n)                                                                                         \
    case n: dot(panel, step, n_blocks, q, q_stride, n, add, sums, sums_stride); break;

/* dot##_any, which hands the number of tokens on as a constant, so that the sums stay in registers. */
#define BN_ANY_TOKENS(dot)                                                                                             \
    static void dot##_any(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,        \
                          size_t n_tokens, int add, int32_t *sums, size_t sums_stride)                                 \
    {                                                                                                                  \
        switch (n_tokens) {                                                                                            \
            TOKEN_COUNTS(BN_TOKENS_CASE, dot)                                                                          \
        }                                                                                                              \
    }

/* sums[t][16*n_tiles] (+)= n_blocks blocks of the panel @ q[t]. Tokens are dealt evenly: with TOKENS = 6, 7 of them are
 * met as 4 and 3, not as 6 and 1. */
static void meet_tokens(panel_fn *dot, const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q,
                        size_t q_stride, size_t n_tokens, int add, int32_t *sums)
{
    for (size_t t = 0, n; t < n_tokens; t += n) {
        size_t left = n_tokens - t, n_rounds = (left + TOKENS - 1) / TOKENS;
        n = (left + n_rounds * TOKEN_STEP - 1) / (n_rounds * TOKEN_STEP) * TOKEN_STEP;
        n = n < left ? n : left;
        for (size_t i = 0; i < n_tiles; i++)
            dot(panel + i * BN_BLOCK_BYTES, n_tiles * BN_BLOCK_BYTES, n_blocks, q + t * q_stride, q_stride, n, add,
                sums + (t * n_tiles + i) * BN_TILE_ROWS, n_tiles * BN_TILE_ROWS);
    }
}

#endif

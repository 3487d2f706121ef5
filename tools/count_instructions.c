/* count_instructions.c: calls one kernel on a matrix of a real shape, again and again, for count_instructions.sh.
 *
 *   count_instructions KERNEL ISA ROWS COLS TOKENS CALLS     calls the kernel, and prints the products of one call
 *   count_instructions --list                                prints every KERNEL ISA it knows
 *
 * Products are weights times tokens; for unpack_* codes, for table_l3_i8 activations. Kernels for several tokens see two tiles of rows (heads one),
 * as they do in a plan; rows and cols of r2 and c2 are every second one. ROWS and COLS are multiples of 256; l3 pads its cols.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dense_tiles.h"
#include "entries.h"

static const struct { const char *kernel, *isa; void (*fn)(void); } entries[] = {
#define BN_KERNEL(kernel, isa) {#kernel, #isa, (void (*)(void))bn_##kernel##__##isa},
#include "kernels.def"
#undef BN_KERNEL
};
enum { N_ENTRIES = sizeof entries / sizeof entries[0], PANEL_BLOCKS = 32 };

typedef struct {
    const char *kernel;
    void (*fn)(void);
    size_t rows, cols, tokens;
    uint8_t *weights, *panel;
    int8_t *q;                      /* [tokens][cols + 64] */
    int16_t *x;
    uint32_t *index;
    int32_t *sums;
    float *floats;
} job;

#define CALL(slot) ((__typeof__(((bn_kernels *)0)->slot))j->fn)

/* Groups of l3 in a row. */
static size_t lookups(const job *j)
{
    return (j->cols + BN_LOOKUP_COLS - 1) / BN_LOOKUP_COLS;
}

/* Returns the products of the call, or 0 if the kernel is not one of those that are counted. */
static size_t gemv(const job *j)
{
    if (strcmp(j->kernel, "gemv_t2_i8") == 0) {
        CALL(gemv_t2_i8)(j->weights, j->rows / 16, j->cols / 16, j->q, j->sums);
        return j->rows * j->cols;
    }
    if (strcmp(j->kernel, "gemv_r2_i8") == 0) {
        CALL(gemv_r2_i8)(j->weights, j->cols / 256, j->index, j->rows / 2, j->q, j->sums);
        return j->rows / 2 * j->cols;
    }
    if (strcmp(j->kernel, "gemv_c2_i8") == 0) {
        CALL(gemv_c2_i8)(j->weights, j->rows / 256, j->index, j->q, j->cols / 2, j->sums);
        return j->rows * (j->cols / 2);
    }
    if (strcmp(j->kernel, "gemv_l3_i8") == 0) {
        CALL(gemv_l3_i8)(j->weights, j->rows / BN_SLAB_ROWS, lookups(j), j->panel, 0, j->sums);
        return j->rows * j->cols;
    }
    if (strcmp(j->kernel, "table_l3_i8") == 0) {
        CALL(table_l3_i8)(j->q, lookups(j), j->panel);
        return j->cols;
    }
    return 0;
}

/* All cols of two tiles, a panel after the other. */
static size_t panels(const job *j)
{
    char layout = j->kernel[7];
    size_t n_blocks = j->cols / 16, stride = layout == 't' ? n_blocks * 64 : layout == 'r' ? j->cols / 4 : j->rows / 4;
    int is_gemm = strcmp(j->kernel, "gemm_panel_i8") == 0;
    size_t most = PANEL_BLOCKS;
    if (layout == 'l') {
        n_blocks = 3 * lookups(j);
        stride = lookups(j) * BN_LOOKUP_BYTES;
        most = PANEL_BLOCKS / 3 * 3;
    }
    if (!is_gemm && strncmp(j->kernel, "unpack_", 7) != 0)
        return 0;
    for (size_t first = 0; first < n_blocks; first += most) {
        size_t n = n_blocks - first < most ? n_blocks - first : most;
        if (is_gemm)
            CALL(gemm_panel_i8)(j->panel, 2, n, j->q + 16 * first, j->cols + 64, j->tokens, first > 0, j->sums);
        else
            CALL(unpack_t2)(j->weights, stride, 0, 2, first, n, j->panel);
    }
    return 32 * j->cols * (is_gemm ? j->tokens : 1);
}

static size_t head(const job *j)
{
    bn_type type = strstr(j->kernel, "q8_0") ? BN_TYPE_Q8_0 : strstr(j->kernel, "q4_0") ? BN_TYPE_Q4_0 : BN_TYPE_Q6_K;
    size_t len = strlen(j->kernel);
    if (len < 4 || strcmp(j->kernel + len - 4, "_i16") != 0 || strncmp(j->kernel, "gemm_", 5) != 0)
        return 0;
    bn_acts_i16 acts = {j->x, j->q, j->sums, j->floats};
    CALL(gemm_q8_0_i16)(j->weights, j->cols / bn_tile_format_of(type).cols, &acts, j->tokens, j->floats + j->tokens);
    return 16 * j->cols * j->tokens;
}

static void *zeros(size_t n)
{
    void *p = aligned_alloc(64, (n + 127) / 64 * 64);
    if (!p)
        exit(1);
    return memset(p, 0, (n + 127) / 64 * 64);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < N_ENTRIES; i++)
            printf("%s %s\n", entries[i].kernel, entries[i].isa);
        return 0;
    }
    if (argc != 7)
        return 2;
    job j = {.kernel = argv[1], .rows = strtoul(argv[3], NULL, 10), .cols = strtoul(argv[4], NULL, 10),
             .tokens = strtoul(argv[5], NULL, 10)};
    for (size_t i = 0; i < N_ENTRIES; i++)
        if (strcmp(entries[i].kernel, argv[1]) == 0 && strcmp(entries[i].isa, argv[2]) == 0)
            j.fn = entries[i].fn;
    if (!j.fn)
        return 2;
    j.weights = zeros(j.rows * j.cols / 4 + 32 * j.cols);
    j.panel = zeros(PANEL_BLOCKS * 512 + lookups(&j) * BN_TABLE_BYTES);
    j.q = zeros((j.tokens + 1) * (2 * j.cols + 64));
    j.x = zeros((j.tokens + 1) * j.cols * sizeof *j.x);
    j.index = zeros((j.rows + j.cols + BN_AHEAD) * sizeof *j.index);
    j.sums = zeros((j.rows + j.tokens * (32 + j.cols)) * sizeof *j.sums);
    j.floats = zeros(j.tokens * 17 * sizeof *j.floats);
    size_t limit = (strstr(j.kernel, "c2") ? j.cols : j.rows) / 2;
    for (size_t i = 0; i < limit + BN_AHEAD; i++)
        j.index[i] = (uint32_t)(i < limit ? 2 * i : 2 * (limit - 1));
    size_t products = 0;
    for (unsigned long call = 0; call < strtoul(argv[6], NULL, 10); call++)
        products = gemv(&j) + panels(&j) + head(&j);
    printf("%zu\n", products);
    return 0;
}

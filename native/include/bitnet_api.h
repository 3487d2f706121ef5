/* Declarations of libbitnet. No preprocessor here: this file is read by the C compiler (through bitnet.h) and by cffi.
 *
 * Words: rows = outputs, cols = inputs, n_tokens = tokens evaluated together, pos = position of the first of them.
 * Every function that can fail returns a bn_status and hands its result out through the last argument.
 * The library never prints, exits, reads the environment or keeps global state. Distinct contexts are independent; one
 * context and everything made from it may be used by one caller at a time. */

typedef enum {
    BN_OK = 0,
    BN_ERR_NOMEM = 1,   /* allocation failed */
    BN_ERR_ARG = 2,     /* an argument is out of its documented range */
    BN_ERR_ISA = 3,     /* the ISA is unknown, not compiled in, or not supported by this CPU */
    BN_ERR_CODE = 4,    /* packed weights hold a code that is not -1, 0 or +1 */
    BN_ERR_THREAD = 5,  /* a thread could not be started, or the threads stayed behind in a fork */
    BN_ERR_SCALE = 6    /* a scale is an infinity or a NaN */
} bn_status;

/* One English sentence without final period for a status; never NULL. */
const char *bn_status_str(bn_status status);

/* ---- Instruction sets. Index 0 is `scalar`; later ones are stronger. ---- */

int32_t bn_isa_count(void);                 /* ISAs compiled into this library */
const char *bn_isa_name(int32_t index);     /* `scalar`, `avx2`, `avxvnni`, `avx512icl`, `neon`, `dotprod`, `i8mm`; NULL past the end */
int32_t bn_isa_supported(int32_t index);    /* 1 if this CPU and operating system can run it */
int32_t bn_cpu_physical_cores(void);        /* physical cores this process may run on; at least 1 */
const char *bn_compiler(void);              /* name and version of the compiler that built the library */
const char *bn_commit(void);                /* short hash of the checkout it was built from, `-dirty` if changed, or "" */

/* ---- Context: a kernel table for one ISA and a pool of threads. ---- */

typedef struct bn_ctx bn_ctx;

/* isa: a name from bn_isa_name, or NULL for the strongest supported. n_threads: 1..256. */
bn_status bn_ctx_create(const char *isa, int32_t n_threads, bn_ctx **out);
void bn_ctx_free(bn_ctx *ctx);              /* NULL is allowed; free plans before their context */
const char *bn_ctx_isa(const bn_ctx *ctx);
int32_t bn_ctx_n_threads(const bn_ctx *ctx);
/* ISA whose implementation serves `kernel` (a member name of struct bn_kernels, such as `gemv_t2_i8`) in this context;
 * NULL if there is no such kernel. Shows that a forced ISA really runs. */
const char *bn_ctx_kernel_isa(const bn_ctx *ctx, const char *kernel);

/* ---- Ternary matrix: weights -1, 0, +1 times scales, in the layout the kernels read. ---- */

typedef struct bn_tmat bn_tmat;

/* Where weights come from: the bytes of a file's tensor without what follows the codes, such as a scale for all. */
typedef enum {
    BN_PACK_TRITS = 0,      /* int8 -1, 0, +1, row-major [rows][cols] */
    BN_PACK_I2_S = 1,       /* 2-bit codes of GGUF I2_S, layout A (128/32), rows*cols/4 bytes, the scale not included */
    BN_PACK_I2_S_ARM = 2,   /* the same in the layout of ARM builds (64/16) */
    BN_PACK_TQ1_0 = 3,
    BN_PACK_TQ2_0 = 4,
    BN_PACK_IQ1_BN = 5,
    BN_PACK_IQ2_BN = 6,
    BN_PACK_IQ2_BN_R4 = 7,
    BN_PACK_Q2_0 = 8,
    BN_PACK_TL1 = 9,        /* with a tiling */
    BN_PACK_TL2 = 10        /* with a tiling */
} bn_pack_format;

/* How TL1 and TL2 cut a matrix into tiles. */
typedef struct {
    int32_t rows_outer;     /* rows of a tile (BM) */
    int32_t cols;           /* cols of a tile (BK) */
    int32_t rows_inner;     /* rows that a kernel takes at once (bm) */
} bn_tiling;

/* How the weights lie in memory; results do not depend on it. */
typedef enum {
    BN_LAYOUT_T2 = 0,   /* tiles, streamed from end to end */
    BN_LAYOUT_R2 = 1,   /* rows: those whose gate is shut are skipped (GATED_MATMUL with relu2) */
    BN_LAYOUT_C2 = 2,   /* cols: those that meet a zero are skipped; alone in its MATMUL */
    BN_LAYOUT_L3 = 3,   /* lookups, streamed from end to end: 5/3 bits a weight instead of 2 */
    BN_LAYOUT_G2 = 4    /* tiles group after group of cols, with their scales: for a matrix with scales per group */
} bn_layout;

/* Copies `data` (n_bytes long, checked against rows, cols and format) into a new matrix. cols of BN_PACK_I2_S must be a
 * multiple of 128. tiling: of BN_PACK_TL1 and _TL2, else NULL.
 * scales: float32 [n_scale_rows][n_scale_cols], copied: [1][1] for the tensor, [rows][1] for each row, or
 * [rows][cols / group] for each group of 64, 128 or 256 cols. Those per group need BN_LAYOUT_G2, which is for nothing
 * else. They may have any sign, but must be finite: else BN_ERR_SCALE.
 * BN_ERR_CODE if a weight is not ternary. The matrix owns its memory and is immutable. */
bn_status bn_tmat_pack(bn_ctx *ctx, bn_pack_format format, bn_layout layout, const void *data, size_t n_bytes,
                       size_t rows, size_t cols, const bn_tiling *tiling, const float *scales, size_t n_scale_rows,
                       size_t n_scale_cols, bn_tmat **out);
/* Writes the weights back as int8 [rows][cols], row-major. */
bn_status bn_tmat_unpack(const bn_tmat *mat, int8_t *trits);
void bn_tmat_free(bn_tmat *mat);            /* NULL is allowed */
size_t bn_tmat_rows(const bn_tmat *mat);
size_t bn_tmat_cols(const bn_tmat *mat);
size_t bn_tmat_bytes(const bn_tmat *mat);   /* memory held for weights */

/* Counts how often each 2-bit code occurs in n_bytes of packed codes. */
void bn_count_codes(const uint8_t *data, size_t n_bytes, uint64_t *counts);

/* ---- Dense matrices: the embedding, read by rows where the file is mapped, and the head. ---- */

typedef enum {              /* the numbers of GGUF tensor types */
    BN_TYPE_F32 = 0,
    BN_TYPE_F16 = 1,
    BN_TYPE_Q4_0 = 2,
    BN_TYPE_Q8_0 = 8,
    BN_TYPE_Q6_K = 14,
    BN_TYPE_BF16 = 30,
    BN_TYPE_Q2_0 = 42       /* blocks of 64; a dense one may hold its fourth value, twice the scale */
} bn_type;

/* Bytes of one row of `cols` values; 0 if the type is unknown or cols is not a multiple of its block. */
size_t bn_type_row_bytes(bn_type type, size_t cols);

/* The head: logits = mat @ hidden state. */
typedef struct bn_dmat bn_dmat;

/* Copies rows as GGUF stores them, data [rows][bn_type_row_bytes(type, cols)], n_bytes long, into a new matrix in the
 * layout the kernels read. The matrix owns its memory and is immutable. */
bn_status bn_dmat_pack(bn_ctx *ctx, bn_type type, const void *data, size_t n_bytes, size_t rows, size_t cols,
                       bn_dmat **out);
/* The same weights, trit * scale, in the smallest type that holds them exactly: BN_TYPE_Q2_0 if all scales are numbers
 * of f16 and cols is a multiple of 64, BN_TYPE_F16 if it is not, BN_TYPE_F32 for other scales. */
bn_status bn_dmat_from_tmat(bn_ctx *ctx, const bn_tmat *mat, bn_dmat **out);
/* Writes the rows back as GGUF stores them: [rows][bn_type_row_bytes(type, cols)]. */
bn_status bn_dmat_unpack(const bn_dmat *mat, void *data);
void bn_dmat_free(bn_dmat *mat);            /* NULL is allowed */
bn_type bn_dmat_type(const bn_dmat *mat);
size_t bn_dmat_rows(const bn_dmat *mat);
size_t bn_dmat_cols(const bn_dmat *mat);
size_t bn_dmat_bytes(const bn_dmat *mat);   /* memory held for weights */

/* ---- KV cache: keys and values as float32, f16, or int8 with one scale per position and head. ---- */

typedef struct bn_kv bn_kv;

typedef enum { BN_KV_F32 = 0, BN_KV_F16 = 1, BN_KV_I8 = 2 } bn_kv_type;

bn_status bn_kv_create(bn_kv_type type, size_t n_layers, size_t n_kv_heads, size_t head_dim, size_t n_ctx,
                       bn_kv **out);
void bn_kv_free(bn_kv *kv);                 /* NULL is allowed */
size_t bn_kv_bytes(const bn_kv *kv);        /* address space reserved; pages are taken as positions are written */

/* ---- Plan: a list of ops over named buffers, played by all threads in the order of the list. ---- */

typedef enum {
    BN_OP_EMBED = 0,      /* out[t] = row tokens[t] of dense, or of head if dense is NULL, times scale unless that is 0 */
    BN_OP_NORM = 1,       /* out[t] (+)= weight * (in[t] / sqrt(mean(in[t]^2) + eps)), of each head alone if head_dim is
                           * set; out may be in, but not to add to */
    BN_OP_QUANT = 2,      /* out (int8 buffer) = round(in * 127 / absmax(in)) per token, of NORM(in) if weight is set */
    BN_OP_MATMUL = 3,     /* out_i[t] (+)= mat_i @ in[t] for up to three matrices that share the int8 input */
    BN_OP_ROPE = 4,       /* rotates the heads of in (queries) and in2 (keys) in place */
    BN_OP_KV_STORE = 5,   /* keys in, values in2 -> cache of `layer` at pos.. */
    BN_OP_ATTENTION = 6,  /* out[t] = softmax(scale * in[t] . keys) . values, causal, grouped heads, of the last `window`
                           * positions, the token's own included, or of all if window is 0 */
    BN_OP_GATED_MATMUL = 7,   /* out[t] = act(in2[t]) * (mat @ in[t]); one matrix; out is not in2 */
    BN_OP_HEAD = 8        /* logits[t] = head @ in[t], for the tokens the caller asks for */
} bn_op_kind;

typedef enum { BN_ACT_RELU2 = 0, BN_ACT_SILU = 1, BN_ACT_GELU = 2 } bn_act;    /* GELU by its tanh formula */
typedef enum { BN_ROPE_NEOX = 0, BN_ROPE_NORM = 1 } bn_rope;   /* pairs (i, i + n_rot/2) or (2i, 2i + 1) */
typedef enum { BN_BUF_F32 = 0, BN_BUF_I8 = 1 } bn_buf_kind;

typedef struct {
    int32_t kind;         /* bn_buf_kind */
    int32_t width;        /* values per token */
} bn_buf;

/* Fields an op does not use are 0 or NULL; a buffer it does not use is -1. Pointers stay the caller's and must outlive
 * the plan. */
typedef struct {
    int32_t kind;                   /* bn_op_kind */
    int32_t in, in2;                /* buffer indices */
    int32_t out[3];                 /* buffer indices; MATMUL uses as many as n_mats, all others the first */
    int32_t n_mats;                 /* MATMUL: 1..3; GATED_MATMUL: 1 */
    int32_t add;                    /* MATMUL, NORM: 1 adds to out instead of replacing it (the residual) */
    const bn_tmat *mat[3];          /* MATMUL, GATED_MATMUL */
    const float *weight;            /* NORM, QUANT: [width]; NORM of heads: [head_dim]; QUANT: NULL for no norm */
    float eps;                      /* NORM, QUANT */
    int32_t dense_type;             /* EMBED: bn_type */
    const void *dense;              /* EMBED: [dense_rows][width of out] */
    size_t dense_rows;              /* EMBED: vocabulary */
    const bn_dmat *head;            /* HEAD, EMBED */
    int32_t layer;                  /* KV_STORE, ATTENTION */
    int32_t n_heads, n_kv_heads;    /* ROPE, KV_STORE, ATTENTION */
    int32_t head_dim;               /* ROPE, KV_STORE, ATTENTION; NORM: 0 for the whole width, or a divisor of it */
    int32_t n_rot;                  /* ROPE: values of each head that turn, even, <= head_dim */
    int32_t rope;                   /* ROPE: bn_rope */
    const float *rope_cos;          /* ROPE: [n_ctx][n_rot/2] */
    const float *rope_sin;          /* ROPE: [n_ctx][n_rot/2] */
    float scale;                    /* ATTENTION: 1/sqrt(head_dim); EMBED */
    int32_t window;                 /* ATTENTION */
    int32_t act;                    /* GATED_MATMUL: bn_act */
} bn_op;

typedef struct bn_plan bn_plan;

/* Checks every op against the buffers and copies both lists. max_tokens: the most tokens of one run. */
bn_status bn_plan_create(bn_ctx *ctx, const bn_op *ops, size_t n_ops, const bn_buf *bufs, size_t n_bufs, size_t n_ctx,
                         size_t max_tokens, bn_plan **out);
void bn_plan_free(bn_plan *plan);           /* NULL is allowed */

/* Plays ops first..end-1 for tokens[n_tokens] at positions pos..pos+n_tokens-1. HEAD writes the logits of the last
 * n_logits tokens to logits [n_logits][rows of head]. kv must have been created with the plan's shapes. */
bn_status bn_plan_run(bn_plan *plan, bn_kv *kv, const int32_t *tokens, size_t n_tokens, size_t pos, size_t first,
                      size_t end, float *logits, size_t n_logits);

/* A buffer's memory, for tests and tools. F32: [max_tokens][width] floats. I8: rows of `stride` bytes, with one scale and
 * one sum per token. Pointers that do not apply are set to NULL. */
typedef struct {
    float *f32;
    int8_t *i8;
    float *scale;         /* s of each token: q = round(x * s) */
    int32_t *sum;         /* sum of q of each token */
    size_t stride;        /* values from one token to the next */
} bn_buf_view;

bn_status bn_plan_buf(bn_plan *plan, int32_t index, bn_buf_view *out);

/* Nanoseconds spent in each op since creation or the last reset, in the order of the ops: times[n_ops]. */
bn_status bn_plan_times(bn_plan *plan, uint64_t *times, int32_t reset);

/* ---- Measuring: what this machine gives, and what every kernel makes of it. ---- */

/* Bytes, in 10^9 per second, that all threads of the context read together from n_bytes of memory; the best of several
 * passes, in about a second. n_bytes >= 2^20, and much more than the caches hold. */
bn_status bn_roofline_bandwidth(bn_ctx *ctx, size_t n_bytes, double *gb_per_s);
/* int8 multiply-adds, in 10^9 per second, that all threads do together with the best instruction of the context's ISA. */
bn_status bn_roofline_int8(bn_ctx *ctx, double *gmac_per_s);

typedef struct {
    const char *kernel;     /* member of struct bn_kernels */
    const char *isa;
    double median_ns;       /* of a call */
    double min_ns;
    uint64_t bytes;         /* that a call reads and writes, each counted once */
    uint64_t products;      /* that a call adds up or multiplies; 0 where that is not its work */
} bn_bench_result;

size_t bn_bench_count(void);                /* kernels of all ISAs compiled in */
const char *bn_bench_isa(size_t index);     /* ISA of kernel `index`; NULL past the end */
/* Calls kernel `index` on inputs of a real model's sizes, by the calling thread alone, until min_seconds are spent, at
 * least once. BN_ERR_ISA if this CPU does not run it. The result is the caller's; its names live on. */
bn_status bn_bench_run(size_t index, double min_seconds, bn_bench_result *result);

/* check_kernels.h: what the rooms of check_kernels share: the kernel under check and the inputs it must survive. */
#ifndef BN_CHECK_KERNELS_H
#define BN_CHECK_KERNELS_H

#include "check.h"
#include "entries.h"

typedef struct {
    const char *kernel;         /* member of bn_kernels */
    const char *isa;            /* name for messages */
    bn_isa which;
    void (*fn)(void);           /* the function; cast to its slot's type with TARGET_FN */
    int is_scalar;              /* the reference itself: compared with what it claims, too */
    int quick;                  /* fewer sizes, for emulators */
} target;

typedef struct {
    const char *kernel;
    void (*check)(const target *t);
} kernel_check;

/* The function under check as `kernel`'s type. */
#define TARGET_FN(t, kernel) ((__typeof__(((bn_kernels *)0)->kernel))(t)->fn)

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* One table per room, ended by a NULL name. */
extern const kernel_check ternary_checks[];
extern const kernel_check live_checks[];
extern const kernel_check quant_checks[];
extern const kernel_check float_checks[];
extern const kernel_check attention_checks[];
extern const kernel_check half_checks[];
extern const kernel_check dense_checks[];
extern const kernel_check head_checks[];
extern const kernel_check probe_checks[];

/* ---- Inputs ---- */

typedef enum {
    FLOATS_UNIFORM,             /* [-4, 4) */
    FLOATS_ZERO,
    FLOATS_MINUS_ZERO,
    FLOATS_CONSTANT,
    FLOATS_OUTLIER,             /* one value dwarfs all others */
    FLOATS_SUBNORMAL,           /* both signs */
    FLOATS_HUGE,                /* squares and sums overflow */
    FLOATS_WIDE,                /* finite, any exponent */
    FLOATS_TIES,                /* multiples of a half up to 127: ties of the rounding, and zeros of both signs */
    FLOATS_INF,                 /* uniform with a few infinities */
    FLOATS_NAN,                 /* uniform with a few NaNs, never the first */
    FLOATS_NAN_FIRST,
    FLOATS_BITS,                /* random bits */
    FLOATS_COUNT
} float_pattern;

const char *float_pattern_name(float_pattern pattern);
void fill_floats(float *x, size_t n, float_pattern pattern);

typedef enum { HALVES_UNIFORM, HALVES_ZERO, HALVES_SUBNORMAL, HALVES_MAX, HALVES_BITS, HALVES_COUNT } half_pattern;

const char *half_pattern_name(half_pattern pattern);
void fill_halves(uint16_t *h, size_t n, half_pattern pattern);

void fill_bytes(void *p, size_t n);             /* random bits */

/* Memory for masters and expected results: at least `size` bytes, kept for the next call with the same slot. */
typedef struct {
    void *data;
    size_t capacity;
} scratch;

void *scratch_get(scratch *s, size_t size);

/* Sizes of elementwise operations: index 0.. ; returns 0 and sets *n, or -1 past the last. */
int element_count(size_t index, int quick, size_t *n);

#endif

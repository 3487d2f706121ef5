/* live_scalar.c: the reference for finding what is not skipped: open gates and activations that are not zero. */
#include "../kernels.h"

size_t bn_live_f32__scalar(const float *x, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        index[found] = first + (uint32_t)i;
        found += x[i] > 0.0f;
    }
    return found;
}

size_t bn_live_i8__scalar(const int8_t *q, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        index[found] = first + (uint32_t)i;
        found += q[i] != 0;
    }
    return found;
}

/* lanes_x86.h: what both ISAs say in the same words about groups of 16, above all the sum of lanes.h. */
#ifndef BN_LANES_X86_H
#define BN_LANES_X86_H

#include "../lanes.h"

/* x[n], n <= 16: whole registers are faster than masks where n is 16. */
ALWAYS_INLINE group group_load_up_to(const float *x, size_t n)
{
    return n == BN_LANES ? group_load(x) : group_load_tail(x, n);
}

ALWAYS_INLINE void group_store_up_to(float *y, size_t n, group g)
{
    if (n == BN_LANES)
        group_store(y, g);
    else
        group_store_tail(y, n, g);
}

/* lanes + a * b: two operations, as in the scalar files. Lanes start at +0 and so never become -0: adding the product
 * of two paddings, +0, changes nothing. */
ALWAYS_INLINE group group_add_product(group lanes, group a, group b)
{
    return group_add(lanes, group_mul(a, b));
}

/* The sum of bn_lanes_sum. */
ALWAYS_INLINE float group_sum(group lanes)
{
    __m128 four = group_fold_to_4(lanes);
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* Four such sums at once. */
ALWAYS_INLINE __m128 group_sum_of_each(const group lanes[4])
{
    __m128 a = group_fold_to_4(lanes[0]), b = group_fold_to_4(lanes[1]);
    __m128 c = group_fold_to_4(lanes[2]), d = group_fold_to_4(lanes[3]);
    __m128 ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    __m128 cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    return _mm_hadd_ps(ab, cd);
}

#endif

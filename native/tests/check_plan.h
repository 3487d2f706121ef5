/* check_plan.h: the parts of check_library that play plans and read formats. */
#ifndef BN_CHECK_PLAN_H
#define BN_CHECK_PLAN_H

/* The same logits from every ISA, number of threads and split of the tokens. */
void check_models(int quick);
/* One quantised matrix product against plain integer arithmetic on the trits. */
void check_matmuls(int quick);
/* Logits of one head against the dot products of its rows as floats. */
void check_heads(int quick);
/* Attention far from the start: the same results from every number of threads and split of the tokens. */
void check_far(void);
/* Every format of files gives the weights that its description says, and damage is seen. */
void check_file_codes(int quick);
void check_file_codes_tl(int quick);
/* Wrong plans and wrong runs are refused; whatever is not refused runs without harm. */
void check_plan_arguments(int quick);

#endif

/* header_test.c: bitnet.h compiles alone, as C and as C++, and links. Compiled as both. */
#include "bitnet.h"

/* Before any other header: nothing that bitnet.h uses may be missing. */
#include <stdio.h>
#include <string.h>

int main(void)
{
    bn_ctx *ctx = NULL;
    int32_t n = bn_isa_count();
    int ok = n >= 1 && bn_isa_name(n) == NULL && bn_isa_name(-1) == NULL && strcmp(bn_isa_name(0), "scalar") == 0 &&
             bn_isa_supported(0) && strlen(bn_status_str(BN_ERR_CODE)) > 0 && strlen(bn_compiler()) > 0 && bn_commit() &&
             bn_cpu_physical_cores() >= 1 && bn_ctx_create("scalar", 1, &ctx) == BN_OK &&
             strcmp(bn_ctx_isa(ctx), "scalar") == 0 && bn_ctx_n_threads(ctx) == 1;
    bn_ctx_free(ctx);
    printf("%d passed, %d failed\n", ok, !ok);
    return !ok;
}

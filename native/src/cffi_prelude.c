#include "bitnet.h"

#define GRAMIAN_ISA avx2
#include "cpu/kernels.inc.hpp"

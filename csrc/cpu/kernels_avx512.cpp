#define GRAMIAN_ISA avx512
#include "cpu/kernels.inc.hpp"

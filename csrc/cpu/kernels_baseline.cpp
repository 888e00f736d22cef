#define GRAMIAN_ISA baseline
#include "cpu/kernels.inc.hpp"

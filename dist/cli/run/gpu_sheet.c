#include "dist/cli/run/gpu_sheet.h"

#include <string.h>

// NVIDIA's data sheets and the CUDA programming guide's table of compute capabilities. Of names that hold each other the longer stands first.
// clang-format off
static const gpu_sheet rows[] = {
    // name            arch  SMs  GHz    GB/s   f16   fp8   shared threads blocks L2
    {"B200",           100,  148, 1.87,  8000, 2250, 4500,  228,   2048,   32,    126},
    {"H200",           90,   132, 1.755, 4800,  989, 1979,  228,   2048,   32,    50},
    {"H100 PCIe",      90,   114, 1.755, 2000,  756, 1513,  228,   2048,   32,    50},
    {"H100 NVL",       90,   132, 1.755, 3900,  835, 1671,  228,   2048,   32,    50},
    {"H100",           90,   132, 1.755, 3350,  989, 1979,  228,   2048,   32,    50},
    {"A100-SXM4-40GB", 80,   108, 1.41,  1555,  312,    0,  164,   2048,   32,    40},
    {"A100-PCIE-40GB", 80,   108, 1.41,  1555,  312,    0,  164,   2048,   32,    40},
    {"A100",           80,   108, 1.41,  2039,  312,    0,  164,   2048,   32,    40},
    {"L40S",           89,   142, 2.52,   864,  362,  733,  100,   1536,   24,    96},
    {"RTX 4090",       89,   128, 2.52,  1008,  165,  330,  100,   1536,   24,    72},
    {"L4",             89,   58,  2.04,   300,  121,  242,  100,   1536,   24,    48},
    {"RTX 3090",       86,   82,  1.695,  936,   71,    0,  100,   1536,   16,    6},
    {"A10",            86,   72,  1.695,  600,  125,    0,  100,   1536,   16,    6},
    {"Orin",           87,   16,  1.3,    205,   43,    0,  164,   1536,   16,    4},
};
// clang-format on

const gpu_sheet *gpu_sheet_table(size_t *n_rows) {
    *n_rows = sizeof rows / sizeof rows[0];
    return rows;
}

const gpu_sheet *gpu_sheet_find(const char *device_name) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strstr(device_name, rows[i].name) != NULL) return &rows[i];
    }
    return NULL;
}

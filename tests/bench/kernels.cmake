# bench_kernels: every kernel file compiled natively by clang, once per element type, with plain C hooks (kernel_unit.c). `bench_kernels --check`
# is a test; without arguments it prints a table of rates.
set(unit_flags -std=c11 -O3 -ffreestanding -fno-builtin -fno-math-errno -ffp-contract=fast -fno-strict-aliasing -fPIE -Wall -Wextra -Wconversion
    -Wsign-conversion -I${CMAKE_SOURCE_DIR})
if(MLCC_WERROR)
    list(APPEND unit_flags -Werror)
endif()
set(unit_folder ${CMAKE_BINARY_DIR}/kernel_units)
file(MAKE_DIRECTORY ${unit_folder})
file(GLOB unit_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/codegen/cpu/kernels/*.h)
set(unit_objects)
set(unit_names)

# mlcc_kernel_units(VARIANT MARCH KERNEL DTYPE…): names of enum kernel_dtype without KERNEL_.
function(mlcc_kernel_units variant march kernel)
    set(file ${CMAKE_SOURCE_DIR}/codegen/cpu/kernels/${variant}/${kernel}.c)
    foreach(dtype ${ARGN})
        set(name unit_${variant}_${kernel}_${dtype})
        set(object ${unit_folder}/${name}.o)
        set(prepare)
        if(kernel MATCHES "^prepare_")
            set(prepare -DUNIT_PREPARE)
        elseif(kernel STREQUAL "encode_activation")
            set(prepare -DUNIT_WHOLE_NUMBERS)
        elseif(kernel STREQUAL "paged_attention")
            set(prepare -DUNIT_FINISH)
        endif()
        add_custom_command(OUTPUT ${object}
            COMMAND ${MLCC_CLANG} ${unit_flags} ${march} -DUNIT_NAME=${name} -DUNIT_KERNEL=${kernel} "-DUNIT_VARIANT=\"${variant}\""
                "-DUNIT_FILE=\"${file}\"" -DUNIT_DTYPE=KERNEL_${dtype} ${prepare} -c ${CMAKE_CURRENT_SOURCE_DIR}/bench/kernel_unit.c -o ${object}
            DEPENDS ${file} ${unit_headers} bench/kernel_unit.c bench/kernel_unit.h ${CMAKE_SOURCE_DIR}/codegen/cpu/knobs.def COMMENT "kernel unit ${variant}/${kernel} ${dtype}" VERBATIM)
        list(APPEND unit_objects ${object})
        list(APPEND unit_names ${name})
    endforeach()
    set(unit_objects ${unit_objects} PARENT_SCOPE)
    set(unit_names ${unit_names} PARENT_SCOPE)
endfunction()

# Of formats that differ in storage or group size only, one.
set(plain F32 F16 BF16)
set(int4 Q4G32_F16 Q4G32_F32 U4G32_F16 U4G128_F16 Q4FT_F16)
set(weights ${plain} ${int4} Q3G40_F16 Q8G32_F16 E4M3_F32 E5M2)
set(portable_march)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(portable_march -march=x86-64-v2)
    mlcc_kernel_units(x86_avx2 -march=x86-64-v3 linear_panel16 ${weights})
    mlcc_kernel_units(x86_avx2 -march=x86-64-v3 paged_attention ${plain})
    mlcc_kernel_units(x86_avx512 -march=x86-64-v4 linear_panel16 ${weights})
    mlcc_kernel_units(x86_avx512 -march=x86-64-v4 paged_attention ${plain})
    mlcc_kernel_units(x86_avx512vnni "-march=x86-64-v4;-mavx512vnni" linear_panel16 ${int4})
    mlcc_kernel_units(x86_avx2 -march=x86-64-v3 linear_scaled_panel16 ${int4} Q8G32_F16)
    mlcc_kernel_units(x86_avxvnni "-march=x86-64-v3;-mavxvnni" linear_scaled_panel16 ${int4} Q8G32_F16)
    mlcc_kernel_units(x86_avx512vnni "-march=x86-64-v4;-mavx512vnni" linear_scaled_panel16 ${int4} Q8G32_F16)
    mlcc_kernel_units(x86_avx512bf16 "-march=x86-64-v4;-mavx512bf16" linear_bf16_panel16 BF16)
    mlcc_kernel_units(x86_amx "-march=x86-64-v4;-mamx-tile;-mamx-bf16" linear_bf16_panel16 BF16)
    mlcc_kernel_units(x86_amx "-march=x86-64-v4;-mavx512vnni;-mamx-tile;-mamx-int8" linear_scaled_panel16 ${int4} Q8G32_F16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    mlcc_kernel_units(arm_dotprod -march=armv8.2-a+dotprod linear_scaled_panel16 ${int4} Q8G32_F16)
    mlcc_kernel_units(arm_i8mm -march=armv8.2-a+i8mm linear_scaled_panel16 ${int4} Q8G32_F16)
endif()
mlcc_kernel_units(portable "${portable_march}" linear_panel16 ${weights})
mlcc_kernel_units(portable "${portable_march}" prepare_panel16 ${weights})
mlcc_kernel_units(portable "${portable_march}" embedding_panel16 ${plain} Q4G32_F16 Q3G40_F16 Q8G32_F16)
foreach(kernel paged_attention kv_append rms_norm)
    mlcc_kernel_units(portable "${portable_march}" ${kernel} ${plain})
endforeach()
mlcc_kernel_units(portable "${portable_march}" rope_table F32)
mlcc_kernel_units(portable "${portable_march}" take_rows F32)
mlcc_kernel_units(portable "${portable_march}" quantize_activation F32)
mlcc_kernel_units(portable "${portable_march}" observe_max F32)
mlcc_kernel_units(portable "${portable_march}" encode_activation F32)

set(unit_table "#include \"tests/bench/kernel_unit.h\"\n")
foreach(name ${unit_names})
    string(APPEND unit_table "extern const kernel_unit ${name};\n")
endforeach()
string(APPEND unit_table "const kernel_unit *const kernel_units[] = {\n")
foreach(name ${unit_names})
    string(APPEND unit_table "    &${name},\n")
endforeach()
string(APPEND unit_table "    NULL,\n};\n")
file(CONFIGURE OUTPUT ${unit_folder}/units.c CONTENT "${unit_table}" @ONLY)

# The ceilings use the widest vectors of the machine that builds.
add_custom_command(OUTPUT ${unit_folder}/kernel_ceilings.o
    COMMAND ${MLCC_CLANG} -std=c11 -O3 -march=native -D_GNU_SOURCE -fPIE -Wall -Wextra -I${CMAKE_SOURCE_DIR}
        -c ${CMAKE_CURRENT_SOURCE_DIR}/bench/kernel_ceilings.c -o ${unit_folder}/kernel_ceilings.o
    DEPENDS bench/kernel_ceilings.c bench/kernel_run.h ${unit_headers} COMMENT "kernel ceilings" VERBATIM)
add_executable(bench_kernels ${CMAKE_SOURCE_DIR}/codegen/cpu/knobs.c bench/kernels_bench.c bench/kernel_bf16.c bench/kernel_check.c bench/kernel_knobs.c bench/kernel_run.c bench/kernel_scaled.c ${unit_folder}/units.c ${unit_folder}/kernel_ceilings.o
    ${unit_objects})
target_link_libraries(bench_kernels PRIVATE mlcc_quantization mlcc_runtime)
add_test(NAME kernels_units COMMAND bench_kernels --check WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(kernels_units PROPERTIES LABELS kernels TIMEOUT 600)

# Units with tile instructions on machines that have none.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    add_executable(kernels_tiles kernels/tiles.c bench/kernel_bf16.c bench/kernel_run.c bench/kernel_scaled.c ${unit_folder}/units.c ${unit_folder}/kernel_ceilings.o
        ${unit_objects})
    target_link_libraries(kernels_tiles PRIVATE mlcc_test_support mlcc_runtime)
    add_test(NAME kernels_tiles COMMAND kernels_tiles WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(kernels_tiles PROPERTIES LABELS kernels SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()

# What the thread pool costs.
add_executable(bench_pool bench/pool_bench.c)
target_link_libraries(bench_pool PRIVATE mlcc_base)

# Every kernel file becomes LLVM bitcode at build time and is embedded in mlcc_codegen. What needs no shapes is done here once (inlining within
# the file, full unrolling of register tiles), which halves the time of `mlcc compile`; vectorising waits until mlcc knows shapes and hooks. Portable kernels are compiled once per architecture family.
set(MLCC_KERNEL_FLAGS -std=c11 -O2 -fno-vectorize -fno-slp-vectorize -fno-unroll-loops -Wno-pass-failed -ffreestanding -fno-builtin -fno-math-errno -ffp-contract=fast -fno-strict-aliasing
    -fomit-frame-pointer -fno-stack-protector -fPIC -emit-llvm -c -I${CMAKE_SOURCE_DIR} -Wall -Wextra -Wconversion -Wsign-conversion)

# Files whose loops unroll over the codes of a weight are compiled once per kind of code (enum kernel_code): NAME.int4 and so on.
set(linear_panel16_codes PLAIN INT3 INT4 INT8 E4M3 E5M2)

set(kernel_table)
function(mlcc_kernel_variant variant source_dir)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/codegen/cpu/kernels/${source_dir}/*.c)
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/codegen/cpu/kernels/*.h ${CMAKE_SOURCE_DIR}/codegen/cpu/kernels/${source_dir}/*.h
        ${CMAKE_SOURCE_DIR}/codegen/cuda/kernels/tile16.h)
    foreach(file ${files})
        get_filename_component(name ${file} NAME_WE)
        set(codes "-")
        if(DEFINED ${name}_codes)
            set(codes ${${name}_codes})
        endif()
        foreach(code ${codes})
            set(define)
            set(suffix)
            if(NOT code STREQUAL "-")
                string(TOLOWER .${code} suffix)
                set(define -DLINEAR_CODE=KERNEL_CODE_${code})
            endif()
            set(bitcode ${CMAKE_BINARY_DIR}/kernels/${variant}/${name}${suffix}.bc)
            file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/kernels/${variant})
            add_custom_command(OUTPUT ${bitcode}
                COMMAND ${MLCC_CLANG} ${MLCC_KERNEL_FLAGS} ${ARGN} ${define} ${file} -o ${bitcode}
                DEPENDS ${file} ${headers} COMMENT "kernel ${variant}/${name}${suffix}" VERBATIM)
            set(kernel_table ${kernel_table} ${variant}/${name}${suffix})
            set(kernel_files ${kernel_files} ${bitcode})
        endforeach()
    endforeach()
    set(kernel_table ${kernel_table} PARENT_SCOPE)
    set(kernel_files ${kernel_files} PARENT_SCOPE)
endfunction()

mlcc_kernel_variant(x86_portable portable --target=x86_64-unknown-linux-gnu -march=x86-64-v2)
mlcc_kernel_variant(arm_portable portable --target=aarch64-unknown-linux-gnu)
mlcc_kernel_variant(x86_avx2 x86_avx2 --target=x86_64-unknown-linux-gnu -march=x86-64-v3)
mlcc_kernel_variant(x86_avx512 x86_avx512 --target=x86_64-unknown-linux-gnu -march=x86-64-v4)
set(linear_panel16_codes INT4)
mlcc_kernel_variant(x86_avx512vnni x86_avx512vnni --target=x86_64-unknown-linux-gnu -march=x86-64-v4 -mavx512vnni)

# One assembly file with .incbin per bitcode and a table { name, begin, end } (codegen/cpu/bitcode.h declares it).
set(embed ${CMAKE_BINARY_DIR}/kernels/embed.S)
set(text ".section .rodata\n")
set(rows "")
foreach(name ${kernel_table})
    string(REGEX REPLACE "[^a-zA-Z0-9]" "_" symbol ${name})
    string(APPEND text ".balign 16\nbitcode_${symbol}:\n.incbin \"${CMAKE_BINARY_DIR}/kernels/${name}.bc\"\nbitcode_${symbol}_end:\n.byte 0\nname_${symbol}: .asciz \"${name}\"\n")
    string(APPEND rows ".quad name_${symbol}\n.quad bitcode_${symbol}\n.quad bitcode_${symbol}_end\n")
endforeach()
string(APPEND text ".section .data.rel.ro,\"aw\"\n.balign 16\n.globl codegen_bitcode_table\n.hidden codegen_bitcode_table\ncodegen_bitcode_table:\n${rows}.quad 0\n.quad 0\n.quad 0\n.section .note.GNU-stack,\"\",%progbits\n")
file(CONFIGURE OUTPUT ${embed} CONTENT "${text}" @ONLY)
get_target_property(codegen_type mlcc_codegen TYPE)
if(kernel_files AND NOT codegen_type STREQUAL "INTERFACE_LIBRARY")
    set_source_files_properties(${embed} PROPERTIES OBJECT_DEPENDS "${kernel_files}")
    target_sources(mlcc_codegen PRIVATE ${embed})
endif()

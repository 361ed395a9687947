# NVRTC that compiles nothing, and one of an old version, which lacks a function.
foreach(name nvrtc_fake nvrtc_fake_old)
    add_library(${name} MODULE ${CMAKE_CURRENT_LIST_DIR}/nvrtc_fake.c)
    target_link_libraries(${name} PRIVATE mlcc_flags)
    set_target_properties(${name} PROPERTIES PREFIX "" C_EXTENSIONS ON)
endforeach()
target_compile_definitions(nvrtc_fake_old PRIVATE nvrtcGetCUBIN=nvrtcGetCUBIN_of_later)
add_dependencies(cuda_nvrtc nvrtc_fake nvrtc_fake_old)

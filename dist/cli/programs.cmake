# mlcc holds every command; mlcc-run only the run side (links neither LLVM nor the compiler). dist/cli/run/ holds what both share.
file(GLOB cli_run CONFIGURE_DEPENDS dist/cli/run/*.c)
file(GLOB cli_compile CONFIGURE_DEPENDS dist/cli/compile/*.c)
add_library(mlcc_cli_run STATIC ${cli_run})
target_link_libraries(mlcc_cli_run PUBLIC mlcc_runtime PRIVATE PkgConfig::LIBEDIT)
add_executable(mlcc dist/cli/mlcc.c ${cli_compile})
target_link_libraries(mlcc PRIVATE mlcc_cli_run mlcc_artifact)
add_executable(mlcc-run dist/cli/mlcc_run.c)
target_link_libraries(mlcc-run PRIVATE mlcc_cli_run)

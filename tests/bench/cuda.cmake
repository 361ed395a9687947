# Kernels on a CUDA device, and what compiled kernels promise without one.
add_executable(cuda_bench bench/cuda_bench.c bench/cuda_bench_run.c)
target_link_libraries(cuda_bench PRIVATE mlcc_cli_run mlcc_artifact mlcc_runtime mlcc_test_support)
add_executable(cuda_budgets bench/cuda_budgets.c)
target_link_libraries(cuda_budgets PRIVATE mlcc_cli_run mlcc_artifact mlcc_test_support)

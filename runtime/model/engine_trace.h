// engine_trace: where the time of a step goes, for `bench`; not part of the public API.
#ifndef MLCC_RUNTIME_MODEL_ENGINE_TRACE_H
#define MLCC_RUNTIME_MODEL_ENGINE_TRACE_H

#include "runtime/device/device.h"
#include "runtime/mlcc.h"

// The stretches of every pass's function "forward" from now on; what is there after a step is its last pass. `trace` is the caller's and must
// outlive the engine, or NULL ends it. Which launches a stretch holds is in the library's metadata ("stretches").
void mlcc_engine_trace(mlcc_engine *engine, mlcc_run_trace *trace);

#endif

// compile_device: the device that a library is compiled for, where it is this machine's.
#ifndef MLCC_DIST_ARTIFACT_COMPILE_DEVICE_H
#define MLCC_DIST_ARTIFACT_COMPILE_DEVICE_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

// "cuda:native" becomes the architectures of the devices that the driver sees, each once: "cuda:sm_89,sm_90a". Everything else is given back as it
// is. Errors of runtime/device/cuda_driver.h: only this name needs a driver and a device.
mlcc_status *compile_device_resolve(const char *device, mlcc_arena *keep, const char **out);

#endif

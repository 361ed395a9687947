// torch_archive: the zip file around a torch checkpoint; the only door to libzip.
//
//   <prefix>/data.pkl      the pickle program
//   <prefix>/data/<key>    one storage each, stored or deflated
//   <prefix>/byteorder     "little" (absent in older files)
//   <prefix>/version       a number (absent in some)
//
// Nothing is unpacked to disk and no entry name becomes a path. What the archive claims about an entry (size, method, encryption) is checked
// before it is read, and again while it is read: an entry that ends early, goes on or has another checksum is an error.
// Source: caffe2/serialize/inline_container.cc of pytorch. Thread rule: one reader at a time.
#ifndef MLCC_FRONTEND_HF_TORCH_ARCHIVE_H
#define MLCC_FRONTEND_HF_TORCH_ARCHIVE_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hf_torch_archive hf_torch_archive;

// Opens the file and checks that it is torch's. INVALID names what it is instead: a git-LFS pointer, an archive of something else;
// UNSUPPORTED: torch's format from before zip (torch < 1.6), TorchScript, big-endian data. The caller ends it with hf_torch_archive_close.
mlcc_status *hf_torch_archive_open(const char *path, hf_torch_archive **out);
// The same for a file in memory, which must outlive the archive; `what` names it in errors.
mlcc_status *hf_torch_archive_open_memory(
    const void *data, size_t size_bytes, const char *what, hf_torch_archive **out);
void hf_torch_archive_close(hf_torch_archive *archive); // NULL is fine

// The pickle program, freed with free(); at most max_bytes.
mlcc_status *hf_torch_archive_read_pickle(
    hf_torch_archive *archive, size_t max_bytes, void **data, size_t *size_bytes);

// Finds the entry of storage `key`, which must have exactly `expected_bytes`. *entry is what hf_torch_archive_read takes.
mlcc_status *hf_torch_archive_find(
    hf_torch_archive *archive, const char *key, uint64_t expected_bytes, uint64_t *entry);
// Bytes [offset, offset + size_bytes) of an entry. Reading on from where the last call ended costs nothing extra; a deflated entry is read
// again from its beginning when the offset lies before that.
mlcc_status *hf_torch_archive_read(
    hf_torch_archive *archive, uint64_t entry, uint64_t offset, uint64_t size_bytes, void *buffer);

#endif

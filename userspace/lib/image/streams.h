// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_STREAMS_H_
#define SOCKREPAIR_LIB_IMAGE_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "image/record.h"
#include "sockrepair/fd.h"
#include "sockrepair/result.h"

// Bytes from and to descriptors, buffered. None of these owns its descriptor.
namespace sockrepair::internal {

// write(2), at the descriptor's own position. What was written may wait until flush().
class FdSink : public ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Result<void> write(std::span<const std::uint8_t> from) override;
  Result<void> flush();

 private:
  int fd_;
  Bytes buffer_;
};

// pread(2) from the beginning of the file; neither uses nor changes the descriptor's position.
class FileSource : public ByteSource {
 public:
  explicit FileSource(int fd) : fd_(fd) {}
  Result<std::size_t> read(std::span<std::uint8_t> to) override;

 private:
  int fd_;
  std::uint64_t offset_ = 0;  // of the next byte that is not in the buffer
  Bytes buffer_;
  std::size_t used_ = 0;  // of the buffer
};

// read(2), and all that was read goes to `copy` as well. Not buffered beyond what is asked for.
class CopyingSource : public ByteSource {
 public:
  CopyingSource(int fd, ByteSink& copy) : fd_(fd), copy_(&copy) {}
  Result<std::size_t> read(std::span<std::uint8_t> to) override;

 private:
  int fd_;
  ByteSink* copy_;
};

// An empty file without a name, in $TMPDIR, /var/tmp or /tmp, the first of them that can hold one.
Result<Fd> open_unnamed_file();

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_STREAMS_H_

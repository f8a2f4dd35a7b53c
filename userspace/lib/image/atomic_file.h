// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_LIB_IMAGE_ATOMIC_FILE_H_
#define SOCKREPAIR_LIB_IMAGE_ATOMIC_FILE_H_

#include <string>

#include "sockrepair/fd.h"
#include "sockrepair/result.h"

namespace sockrepair::internal {

// A file that appears under its name when it is complete, and not before.
//
//   Result<AtomicFile> file = AtomicFile::create("/var/lib/x.img");
//   write(file->fd(), ...);
//   file->commit();
//
// Move-only. Without commit() the name stays what it was, and nothing is left behind.
class AtomicFile {
 public:
  // For `path`, with mode 0600. A symbolic link is followed. What exists under the name and is not
  // a regular file is opened for writing instead; commit() then has nothing to do.
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  int fd() const { return file_.get(); }

  // Gives the file its name, replacing what had it. The data are on the disk before, the name when
  // this returns. Once.
  Result<void> commit();

 private:
  AtomicFile() = default;
  Result<void> open_temporary();
  Result<void> name_temporary();
  void discard();

  Fd directory_;  // empty: not a regular file
  Fd file_;
  std::string name_;       // in the directory
  std::string temporary_;  // the file's name until it has the right one; empty: it has none
};

}  // namespace sockrepair::internal

#endif  // SOCKREPAIR_LIB_IMAGE_ATOMIC_FILE_H_

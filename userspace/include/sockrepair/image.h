// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_IMAGE_H_
#define SOCKREPAIR_IMAGE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sockrepair/export.h"
#include "sockrepair/process.h"
#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/tcp_time_wait.h"
#include "sockrepair/udp_socket.h"

// Sockets in a file: an image. The format is described in Documentation/image.md.
//
//   Result<ImageWriter> writer = ImageWriter::create("sockets.img");
//   if (!writer) return writer.error();
//   Result<void> added = writer->add(ImageProcess{.pid = pid, .comm = comm});
//   for (...) if (added) added = writer->add(ImageSocket{...});
//   if (added) added = writer->finish();     // only now there is a sockets.img
//   if (!added) return added.error();
//
//   Result<ImageReader> reader = ImageReader::open("sockets.img");
//   if (!reader) return reader.error();      // nothing was given out that is not checked
//   for (;;) {
//     Result<std::optional<ImageEntry>> entry = reader->next();
//     if (!entry) return entry.error();
//     if (!*entry) break;
//     if (const auto* socket = std::get_if<ImageSocket>(&**entry)) use(*socket);
//   }
//
// Writer and reader hold one socket at a time, whatever the number of sockets. An image can be read
// any number of times, by several readers at once.
//
// What is wrong with an image is said with its place: the record (counted from 0), the byte offset
// in the file, the field and the limit, as in
//
//   record 4 (UdpPacketEntry) at offset 310: field received.source.port at offset 332: 70000, must
//   be 0 to 65535: EBADMSG (Bad message)
//
// Errors of the content are EBADMSG; of a version that this library does not read ENOTSUP; of a
// value that cannot be stored EINVAL or EMSGSIZE; others are those of the system calls.
//
// Nothing here throws. One object is for one thread at a time.
namespace SOCKREPAIR_EXPORT sockrepair {

// A number by which a process referred to a socket.
struct ImageDescriptor {
  std::int32_t number = 0;     // 0 to 2^30 - 1, what fs.nr_open allows
  bool close_on_exec = false;  // FD_CLOEXEC, which belongs to the number
  // By which epoll instances of the process; at most kWatchesMax.
  std::vector<EpollWatch> watches;

  static constexpr std::size_t kWatchesMax = 64;

  bool operator==(const ImageDescriptor&) const = default;
};

// The process that the sockets after it are from. A value.
struct ImageProcess {
  std::int32_t pid = 0;         // in the pid namespace of who dumped; at least 1
  std::string comm;             // as in /proc/PID/comm without the newline: 0 to 15 bytes, no NUL
  std::uint64_t dumped_at = 0;  // ns of CLOCK_REALTIME when its dump began; 0: not known

  bool operator==(const ImageProcess&) const = default;
};

// A socket of the last ImageProcess before it. A value.
struct ImageSocket {
  // At most kDescriptorsMax, by ascending number, none twice. Empty: nobody held it by a number.
  std::vector<ImageDescriptor> descriptors;
  std::variant<UdpSocket, TcpSocket> socket;

  static constexpr std::size_t kDescriptorsMax = 4096;

  bool operator==(const ImageSocket&) const = default;
};

// TcpTimeWait: a connection that is over, at the address and port of a socket of the last process.
// They come after all its sockets.
using ImageEntry = std::variant<ImageProcess, ImageSocket, TcpTimeWait>;

// What there is in an image, known once all of it was checked. A value.
struct ImageSummary {
  std::uint16_t major_version = 0;
  std::uint16_t minor_version = 0;
  std::uint64_t bytes = 0;    // of the whole image
  std::uint64_t records = 0;  // with the end record
  std::uint64_t processes = 0;
  std::uint64_t sockets = 0;
  std::uint64_t datagrams = 0;  // in both queues of all sockets
  std::uint64_t time_waits = 0;

  bool operator==(const ImageSummary&) const = default;
};

// Writes an image, entry by entry. Move-only.
//
// A regular file appears under its name in one step, with mode 0600, and only when finish()
// succeeds: until then, and when the writer goes away before, whatever was there is as it was. What
// it holds is on the disk before the name shows it, and the name when finish() returns. The data
// wait in an unnamed file of the same directory, which a killed process does not leave behind
// (O_TMPFILE; where the file system has no such files, in one named .NAME.XXXXXX).
//
// What is not a regular file (a pipe, a terminal, /dev/stdout) is written to at once. A reader sees
// by the missing end that it has not got all; nothing is synced.
class ImageWriter {
 public:
  // For `path`. A symbolic link is followed: the file that it names is replaced. The directory has
  // to exist and to be writable.
  static Result<ImageWriter> create(const std::string& path);
  // To the descriptor `fd`, which stays the caller's and must stay open until finish(). Keys of
  // TCP-AO are not written to a file that has a name and that group or others have any right to:
  // EACCES of add().
  static Result<ImageWriter> to_descriptor(int fd);

  ImageWriter(ImageWriter&&) noexcept;
  ImageWriter& operator=(ImageWriter&&) noexcept;
  ~ImageWriter();

  // Every value is checked as ImageReader will; one that is out of its range is EINVAL, one too
  // long EMSGSIZE, and the error names it. The first entry has to be a process, and no socket
  // comes after the TcpTimeWait of a process. After an error the
  // writer takes nothing more (ECANCELED): there will be no image.
  Result<void> add(const ImageProcess& process);
  Result<void> add(const ImageSocket& socket);
  Result<void> add(const TcpTimeWait& connection);

  // Completes the image. Once: EALREADY the second time.
  Result<void> finish();

 private:
  class State;
  explicit ImageWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct ImageReaderOptions {
  // The entries of an image of at most so many bytes stay in memory from the check on, and are not
  // decoded again, which takes longer than anything else does here. There they take a few times as
  // much; those of a larger image one at a time.
  std::uint64_t keep_bytes = 0;
};

// Reads an image, entry by entry, from a descriptor that it keeps open. Move-only.
//
// All of the image is checked before the first entry is given out: magic, version, every checksum,
// the order of records, every length and every value against its range and the others. What is read
// is then checked again, unless it was kept, so that somebody who changes the file in between gains
// nothing but an error. A field or record that this library does not know is an error, in whatever
// version of the format: what would be passed over would be lost.
//
// A regular file is read where it is. What cannot be read twice (a pipe, a socket) is copied, while
// it is checked, into an unnamed file in $TMPDIR, /var/tmp or /tmp, the first of them that can hold
// one; the image is to end where the stream ends.
class ImageReader {
 public:
  // EISDIR, ENOENT, ... as open(2) has them.
  static Result<ImageReader> open(const std::string& path, const ImageReaderOptions& options = {});
  // From the descriptor `fd`, which stays the caller's and may be closed afterwards. A regular file
  // is read from its beginning; its file position is neither used nor changed.
  static Result<ImageReader> from_descriptor(int fd, const ImageReaderOptions& options = {});

  ImageReader(ImageReader&&) noexcept;
  ImageReader& operator=(ImageReader&&) noexcept;
  ~ImageReader();

  const ImageSummary& summary() const;

  // The next process, socket or connection; nothing at the end of the image, also if asked again.
  Result<std::optional<ImageEntry>> next();

  // Starts over with the first entry.
  void rewind();

 private:
  class State;
  explicit ImageReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sockrepair

#endif  // SOCKREPAIR_IMAGE_H_

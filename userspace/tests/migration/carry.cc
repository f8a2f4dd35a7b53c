// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/carry.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "migration/network.h"
#include "sockrepair/connection_lock.h"
#include "sockrepair/image.h"
#include "sockrepair/syscall.h"
#include "sockrepair/tcp_socket.h"
#include "try.h"

namespace sockrepair::test {

namespace {

// The kernel does not tell whether the program chose its address; it did, and restored it is so.
constexpr char kUntold[] = "local address";

Result<void> nothing_lost(const std::vector<Loss>& losses) {
  std::string text;
  for (const Loss& loss : losses)
    if (loss.subject != kUntold) text += (text.empty() ? "" : "; ") + loss.describe();
  if (text.empty()) return {};
  return Error{ENODATA, "lost: " + text};
}

Result<Fd> new_file() {
  Fd fd(::memfd_create("image", MFD_CLOEXEC));
  if (!fd) return Error{errno, "memfd_create()"};
  return fd;
}

Result<Bytes> image_of(const TcpSocket& socket) {
  SOCKREPAIR_TRY_ASSIGN(const Fd file, new_file());
  SOCKREPAIR_TRY_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(file.get()));
  SOCKREPAIR_TRY(writer.add(ImageProcess{.pid = ::getpid(), .comm = "migration_host"}));
  SOCKREPAIR_TRY(writer.add(ImageSocket{{}, socket}));
  SOCKREPAIR_TRY(writer.finish());
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size < 0) return Error{errno, "lseek() in an image"};
  Bytes image(static_cast<std::size_t>(size));
  if (::pread(file.get(), image.data(), image.size(), 0) != size)
    return Error{errno, "pread() of an image"};
  return image;
}

Result<TcpSocket> socket_in(std::span<const std::uint8_t> image) {
  SOCKREPAIR_TRY_ASSIGN(const Fd file, new_file());
  if (::write(file.get(), image.data(), image.size()) != static_cast<ssize_t>(image.size()))
    return Error{errno, "write() of an image"};
  SOCKREPAIR_TRY_ASSIGN(ImageReader reader, ImageReader::from_descriptor(file.get()));
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) return Error{ENOENT, "an image without a TCP socket"};
    auto* socket = std::get_if<ImageSocket>(&*entry);
    if (socket == nullptr) continue;
    if (auto* tcp = std::get_if<TcpSocket>(&socket->socket)) return std::move(*tcp);
  }
}

Result<ConnectionLock> lock(const FourTuple& connection) {
  SOCKREPAIR_TRY_ASSIGN(ConnectionLock lock, ConnectionLock::create());
  SOCKREPAIR_TRY(lock.add({&connection, 1}));
  return lock;
}

}  // namespace

Result<Carried> leave(Fd fd) {
  SOCKREPAIR_TRY_ASSIGN(const SocketAddress own, sys::getsockname(fd.get()));
  SOCKREPAIR_TRY_ASSIGN(const SocketAddress peer, sys::getpeername(fd.get()));
  FourTuple connection;
  SOCKREPAIR_TRY_ASSIGN(connection.local, own.endpoint());
  SOCKREPAIR_TRY_ASSIGN(connection.peer, peer.endpoint());

  SOCKREPAIR_TRY_ASSIGN(const ConnectionLock held, lock(connection));
  SOCKREPAIR_TRY_ASSIGN(const TcpSocket socket, dump_tcp_socket(fd, {.leave_in_repair = true}));
  SOCKREPAIR_TRY(nothing_lost(socket.losses));
  if (!socket.connection) return Error{ENOTCONN, "the connection is over"};
  fd.reset();
  SOCKREPAIR_TRY(remove_moved_address(connection.local.address.family()));
  SOCKREPAIR_TRY_ASSIGN(Bytes image, image_of(socket));
  return Carried{std::move(image), socket.connection->receive_queue.size(),
                 socket.connection->send_queue.size()};
}

Result<Fd> arrive(std::span<const std::uint8_t> image, const Pause& pause) {
  SOCKREPAIR_TRY_ASSIGN(const TcpSocket socket, socket_in(image));
  if (!socket.local || !socket.peer) return Error{ENOTCONN, "the connection has no addresses"};
  TcpRestoreOptions options;
  options.pause = pause.age_us;
  options.count_pause = pause.count;
  options.segments_dropped = true;
  options.keep_repair = true;

  SOCKREPAIR_TRY_ASSIGN(ConnectionLock held, lock({*socket.local, *socket.peer}));
  SOCKREPAIR_TRY(add_moved_address(socket.local->address.family()));
  SOCKREPAIR_TRY_ASSIGN(RestoredTcpSocket restored, restore_tcp_socket(socket, options));
  SOCKREPAIR_TRY(nothing_lost(restored.losses));
  if (restored.method != TcpMethod::kControlBlock)
    return Error{EPROTO, std::string("restored by ") + tcp_method_name(restored.method)};
  held.release();
  SOCKREPAIR_TRY(resume_tcp_socket(restored.fd, socket, options));
  return std::move(restored.fd);
}

}  // namespace sockrepair::test

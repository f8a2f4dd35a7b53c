// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "c_call.h"
#include "sockrepair/bridge.h"
#include "sockrepair/image.h"
#include "sockrepair/sockrepair_image.h"
#include "try.h"

using sockrepair::Error;
using sockrepair::ImageEntry;
using sockrepair::ImageProcess;
using sockrepair::ImageReader;
using sockrepair::ImageSocket;
using sockrepair::ImageWriter;
using sockrepair::Result;
using sockrepair::TcpSocket;
using sockrepair::UdpSocket;
using sockrepair::internal::c_call;
using sockrepair::internal::null_pointer;

namespace {

void free_both(const sockrepair_image_socket& socket) {
  sockrepair_udp_free(socket.udp);
  sockrepair_tcp_free(socket.tcp);
}

// Objects that nobody else has yet.
class Owned {
 public:
  Owned() = default;
  Owned(Owned&&) noexcept = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { std::for_each(sockets_.begin(), sockets_.end(), free_both); }

  Result<void> add(ImageSocket socket) {
    sockrepair_image_socket& one = sockets_.emplace_back();
    if (auto* udp = std::get_if<UdpSocket>(&socket.socket))
      one.udp = sockrepair::to_c(std::move(*udp));
    else
      one.tcp = sockrepair::to_c(std::get<TcpSocket>(std::move(socket.socket)));
    if (one.udp == nullptr && one.tcp == nullptr) return Error{ENOMEM, "allocation"};
    return {};
  }

  // In an array of malloc(3); nullptr for none.
  Result<sockrepair_image_socket*> release() {
    if (sockets_.empty()) return nullptr;
    auto* array = static_cast<sockrepair_image_socket*>(
        calloc(sockets_.size(), sizeof(sockrepair_image_socket)));
    if (array == nullptr) return Error{ENOMEM, "allocation"};
    std::copy(sockets_.begin(), sockets_.end(), array);
    sockets_.clear();
    return array;
  }

  std::size_t size() const { return sockets_.size(); }

 private:
  std::vector<sockrepair_image_socket> sockets_;
};

ImageProcess this_process() {
  ImageProcess process;
  process.pid = getpid();
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  process.dumped_at =
      static_cast<std::uint64_t>(now.tv_sec) * 1000000000 + static_cast<std::uint64_t>(now.tv_nsec);
  std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/proc/self/comm", "re"), &fclose);
  std::array<char, 32> name{};
  if (file && fgets(name.data(), name.size(), file.get()) != nullptr)
    process.comm = std::string(name.data(), strcspn(name.data(), "\n"));
  return process;
}

Result<ImageSocket> entry_of(const sockrepair_image_socket& socket, std::size_t index) {
  if ((socket.udp == nullptr) == (socket.tcp == nullptr))
    return Error{EINVAL, "sockrepair_image_write: socket " + std::to_string(index) + ": " +
                             (socket.udp == nullptr ? "neither" : "both") +
                             " of udp and tcp, must be one"};
  if (socket.udp != nullptr) return ImageSocket{{}, sockrepair::from_c(*socket.udp)};
  return ImageSocket{{}, sockrepair::from_c(*socket.tcp)};
}

Result<void> write_all(int fd, const sockrepair_image_socket* sockets, std::size_t count) {
  SOCKREPAIR_TRY_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(fd));
  SOCKREPAIR_TRY(writer.add(this_process()));
  for (std::size_t i = 0; i < count; ++i) {
    SOCKREPAIR_TRY_ASSIGN(ImageSocket entry, entry_of(sockets[i], i));
    SOCKREPAIR_TRY(writer.add(entry));
  }
  return writer.finish();
}

Result<Owned> read_all(int fd) {
  SOCKREPAIR_TRY_ASSIGN(ImageReader reader, ImageReader::from_descriptor(fd));
  Owned sockets;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) return sockets;
    if (std::holds_alternative<sockrepair::TcpTimeWait>(*entry)) {
      return Error{EPROTONOSUPPORT,
                   "sockrepair_image_read(): the image has TIME_WAIT connections, which C has no "
                   "type for"};
    }
    if (auto* socket = std::get_if<ImageSocket>(&*entry))
      SOCKREPAIR_TRY(sockets.add(std::move(*socket)));
  }
}

}  // namespace

int sockrepair_image_write(int fd, const struct sockrepair_image_socket* sockets, size_t count,
                           sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (sockets == nullptr && count != 0) return null_pointer("sockrepair_image_write", "sockets");
    return write_all(fd, sockets, count);
  });
}

int sockrepair_image_read(int fd, struct sockrepair_image_socket** sockets, size_t* count,
                          sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (sockets == nullptr) return null_pointer("sockrepair_image_read", "sockets");
    if (count == nullptr) return null_pointer("sockrepair_image_read", "count");
    *sockets = nullptr;
    *count = 0;
    SOCKREPAIR_TRY_ASSIGN(Owned read, read_all(fd));
    const std::size_t size = read.size();
    SOCKREPAIR_TRY_ASSIGN(*sockets, read.release());
    *count = size;
    return {};
  });
}

void sockrepair_image_free(struct sockrepair_image_socket* sockets, size_t count) {
  if (sockets == nullptr) return;
  std::for_each(sockets, sockets + count, free_both);
  free(sockets);
}

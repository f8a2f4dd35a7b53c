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
#include "c_objects.h"
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
using sockrepair::TcpTimeWait;
using sockrepair::UdpSocket;
using sockrepair::internal::c_call;
using sockrepair::internal::check_socket;
using sockrepair::internal::null_pointer;

namespace {

void free_both(const sockrepair_socket& socket) {
  sockrepair_udp_free(socket.udp);
  sockrepair_tcp_free(socket.tcp);
}

struct FreeList {
  void operator()(sockrepair_time_wait* list) const { sockrepair_time_wait_free(list); }
};
using TimeWaitList = std::unique_ptr<sockrepair_time_wait, FreeList>;

// Objects that nobody else has yet.
class Owned {
 public:
  Owned() = default;
  Owned(Owned&&) noexcept = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { std::for_each(sockets_.begin(), sockets_.end(), free_both); }

  Result<void> add(ImageSocket socket) {
    sockrepair_socket& one = sockets_.emplace_back();
    if (auto* udp = std::get_if<UdpSocket>(&socket.socket))
      one.udp = sockrepair::to_c(std::move(*udp));
    else
      one.tcp = sockrepair::to_c(std::get<TcpSocket>(std::move(socket.socket)));
    if (one.udp == nullptr && one.tcp == nullptr) return Error{ENOMEM, "allocation"};
    return {};
  }

  // In an array of malloc(3); nullptr for none.
  Result<sockrepair_socket*> release() {
    if (sockets_.empty()) return nullptr;
    auto* array =
        static_cast<sockrepair_socket*>(calloc(sockets_.size(), sizeof(sockrepair_socket)));
    if (array == nullptr) return Error{ENOMEM, "allocation"};
    std::copy(sockets_.begin(), sockets_.end(), array);
    sockets_.clear();
    return array;
  }

  std::size_t size() const { return sockets_.size(); }

 private:
  std::vector<sockrepair_socket> sockets_;
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

ImageSocket entry_of(const sockrepair_socket& socket) {
  if (socket.udp != nullptr) return ImageSocket{{}, sockrepair::from_c(*socket.udp)};
  return ImageSocket{{}, sockrepair::from_c(*socket.tcp)};
}

Result<void> write_all(int fd, const sockrepair_socket* sockets, std::size_t count,
                       const sockrepair_time_wait* connections) {
  for (std::size_t i = 0; i < count; ++i)
    SOCKREPAIR_TRY(check_socket("sockrepair_image_write", sockets[i], i));
  SOCKREPAIR_TRY_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(fd));
  SOCKREPAIR_TRY(writer.add(this_process()));
  for (std::size_t i = 0; i < count; ++i) SOCKREPAIR_TRY(writer.add(entry_of(sockets[i])));
  if (connections != nullptr)
    for (const TcpTimeWait& one : sockrepair::from_c(*connections)) SOCKREPAIR_TRY(writer.add(one));
  return writer.finish();
}

// What is in an image, as objects.
struct Content {
  Owned sockets;
  std::vector<TcpTimeWait> connections;
};

Result<Content> read_all(int fd) {
  SOCKREPAIR_TRY_ASSIGN(ImageReader reader, ImageReader::from_descriptor(fd));
  Content content;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) return content;
    if (auto* connection = std::get_if<TcpTimeWait>(&*entry))
      content.connections.push_back(std::move(*connection));
    else if (auto* socket = std::get_if<ImageSocket>(&*entry))
      SOCKREPAIR_TRY(content.sockets.add(std::move(*socket)));
  }
}

}  // namespace

int sockrepair_image_write(int fd, const struct sockrepair_socket* sockets, size_t count,
                           const sockrepair_time_wait* connections, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (sockets == nullptr && count != 0) return null_pointer("sockrepair_image_write", "sockets");
    return write_all(fd, sockets, count, connections);
  });
}

int sockrepair_image_read(int fd, struct sockrepair_socket** sockets, size_t* count,
                          sockrepair_time_wait** connections, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    const char* call = "sockrepair_image_read";
    if (sockets == nullptr) return null_pointer(call, "sockets");
    if (count == nullptr) return null_pointer(call, "count");
    *sockets = nullptr;
    *count = 0;
    if (connections != nullptr) *connections = nullptr;
    SOCKREPAIR_TRY_ASSIGN(Content content, read_all(fd));
    const std::size_t size = content.sockets.size();
    TimeWaitList list;
    if (connections != nullptr) {
      list.reset(sockrepair::to_c(std::move(content.connections)));
      if (list == nullptr) return Error{ENOMEM, "allocation"};
    } else if (!content.connections.empty()) {
      return Error{EPROTONOSUPPORT, std::string(call) + ": the image has " +
                                        std::to_string(content.connections.size()) +
                                        " connections in TIME_WAIT, and connections is NULL"};
    }
    SOCKREPAIR_TRY_ASSIGN(*sockets, content.sockets.release());
    *count = size;
    if (connections != nullptr) *connections = list.release();
    return {};
  });
}

void sockrepair_image_free(struct sockrepair_socket* sockets, size_t count) {
  if (sockets == nullptr) return;
  std::for_each(sockets, sockets + count, free_both);
  free(sockets);
}

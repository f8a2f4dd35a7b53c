// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
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
using sockrepair::UdpSocket;
using sockrepair::internal::c_call;
using sockrepair::internal::null_pointer;

namespace {

struct Free {
  void operator()(sockrepair_udp* socket) const { sockrepair_udp_free(socket); }
};
using Owned = std::unique_ptr<sockrepair_udp, Free>;

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

Result<void> write_all(int fd, const sockrepair_udp* const* sockets, std::size_t count) {
  SOCKREPAIR_TRY_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(fd));
  SOCKREPAIR_TRY(writer.add(this_process()));
  for (std::size_t i = 0; i < count; ++i) {
    if (sockets[i] == nullptr) return null_pointer("sockrepair_image_write", "one of the sockets");
    SOCKREPAIR_TRY(writer.add(ImageSocket{{}, sockrepair::from_c(*sockets[i])}));
  }
  return writer.finish();
}

Result<std::vector<Owned>> read_all(int fd) {
  SOCKREPAIR_TRY_ASSIGN(ImageReader reader, ImageReader::from_descriptor(fd));
  std::vector<Owned> sockets;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) return sockets;
    auto* socket = std::get_if<ImageSocket>(&*entry);
    if (socket == nullptr) continue;
    auto* udp = std::get_if<UdpSocket>(&socket->socket);
    if (udp == nullptr) {
      return Error{EPROTONOSUPPORT, "sockrepair_image_read(): socket " +
                                        std::to_string(sockets.size() + 1) + " is of TCP"};
    }
    sockets.emplace_back(sockrepair::to_c(std::move(*udp)));
    if (!sockets.back()) return Error{ENOMEM, "allocation"};
  }
}

}  // namespace

int sockrepair_image_write(int fd, const sockrepair_udp* const* sockets, size_t count,
                           sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (sockets == nullptr && count != 0) return null_pointer("sockrepair_image_write", "sockets");
    return write_all(fd, sockets, count);
  });
}

int sockrepair_image_read(int fd, sockrepair_udp*** sockets, size_t* count,
                          sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    if (sockets == nullptr) return null_pointer("sockrepair_image_read", "sockets");
    if (count == nullptr) return null_pointer("sockrepair_image_read", "count");
    *sockets = nullptr;
    *count = 0;
    SOCKREPAIR_TRY_ASSIGN(std::vector<Owned> read, read_all(fd));
    if (read.empty()) return {};
    auto** array = static_cast<sockrepair_udp**>(calloc(read.size(), sizeof(sockrepair_udp*)));
    if (array == nullptr) return Error{ENOMEM, "allocation"};
    for (std::size_t i = 0; i < read.size(); ++i) array[i] = read[i].release();
    *sockets = array;
    *count = read.size();
    return {};
  });
}

void sockrepair_image_free(sockrepair_udp** sockets, size_t count) {
  if (sockets == nullptr) return;
  for (size_t i = 0; i < count; ++i) sockrepair_udp_free(sockets[i]);
  free(sockets);
}

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "sockrepair/udp_receive_queue.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "no_throw.h"
#include "receive_queue_stock.h"
#include "receive_queue_target.h"
#include "receive_queue_wire.h"
#include "sockrepair/syscall.h"
#include "sockrepair/udp_send_queue.h"
#include "try.h"
#include "uapi.h"

namespace sockrepair {

namespace {

// Holds the longest datagram and small queues whole: most dumps take one call.
constexpr std::size_t kFirstDumpSize = 80 * 1024;
// For what the first call leaves. Of this memory only what the queue fills is touched.
constexpr std::size_t kNextDumpSize = 4 * 1024 * 1024;

// Repair mode for a while, where it was off.
class RepairMode {
 public:
  explicit RepairMode(int fd) : fd_(fd) {}
  RepairMode(const RepairMode&) = delete;
  RepairMode& operator=(const RepairMode&) = delete;
  ~RepairMode() { (void)put_back(); }

  Result<void> switch_on() {
    SOCKREPAIR_TRY(set_udp_repair(fd_, true));
    on_ = true;
    return {};
  }
  Result<void> put_back() {
    if (!std::exchange(on_, false)) return {};
    return set_udp_repair(fd_, false);
  }

 private:
  int fd_;
  bool on_ = false;
};

// --- kKernel ---

// Appends entries from `first` on to `datagrams`.
Result<internal::DumpProgress> read_entries(int fd, std::uint32_t first, std::uint8_t* buffer,
                                            std::size_t size,
                                            std::vector<ReceivedDatagram>& datagrams) {
  udp_repair_recv_queue header{};
  header.size = sizeof(header);
  header.entry_size = sizeof(udp_repair_datagram);
  header.first = first;
  memcpy(buffer, &header, sizeof(header));
  SOCKREPAIR_TRY_ASSIGN(socklen_t written,
                        sys::getsockopt_bytes(fd, SOL_UDP, UDP_REPAIR_RECV_QUEUE, buffer,
                                              static_cast<socklen_t>(size)));
  return internal::parse_receive_queue({buffer, written}, datagrams);
}

Result<ReceiveQueueDump> dump_by_kernel(int fd) {
  ReceiveQueueDump dump;
  dump.method = Method::kKernel;
  dump.complete = true;
  std::vector<ReceivedDatagram>& datagrams = dump.queue.datagrams;
  std::size_t size = kFirstDumpSize;
  std::unique_ptr<std::uint8_t[]> buffer(new std::uint8_t[size]);

  // Most callers are not in repair mode: the first call finds out, and whether the kernel has it.
  RepairMode mode(fd);
  Result<internal::DumpProgress> progress = read_entries(fd, 0, buffer.get(), size, datagrams);
  if (!progress && progress.error().code == EPERM) {
    SOCKREPAIR_TRY(mode.switch_on());
    progress = read_entries(fd, 0, buffer.get(), size, datagrams);
  }
  while (progress && progress->next_len != 0) {
    std::size_t needed = sizeof(udp_repair_recv_queue) + progress->next_len;
    if (size < std::max(kNextDumpSize, needed)) {
      size = std::max(kNextDumpSize, needed);
      buffer.reset(new std::uint8_t[size]);
    }
    std::size_t before = datagrams.size();
    std::uint32_t first = progress->next;
    progress = read_entries(fd, first, buffer.get(), size, datagrams);
    if (progress && datagrams.size() == before && progress->next == first &&
        progress->next_len <= needed - sizeof(udp_repair_recv_queue) && progress->next_len != 0)
      return Error{EPROTO, "UDP_REPAIR_RECV_QUEUE: no entry in a buffer of " +
                               std::to_string(size) + " bytes, which is large enough"};
  }
  if (!progress) return progress.error();
  SOCKREPAIR_TRY(mode.put_back());
  return dump;
}

Error stopped_after(const Error& error, std::size_t put) {
  return Error{error.code, error.what + "; " + std::to_string(put) +
                               " datagrams were put into the queue before"};
}

// On an error `report.restored` says how far it got.
Result<void> restore_by_kernel(int fd, const ReceiveQueue& queue, ReceiveQueueReport& report) {
  RepairMode mode(fd);
  SOCKREPAIR_TRY_ASSIGN(bool was_on, get_udp_repair(fd));
  if (!was_on) SOCKREPAIR_TRY(mode.switch_on());

  internal::LargerBuffer room(fd);
  std::vector<std::uint8_t> entry;
  for (const ReceivedDatagram& datagram : queue.datagrams) {
    internal::encode_datagram(datagram, entry);
    auto put = [&] {
      return sys::setsockopt_bytes(fd, SOL_UDP, UDP_REPAIR_RECV_QUEUE, entry.data(),
                                   static_cast<socklen_t>(entry.size()));
    };
    Result<void> result = put();
    if (!result && result.error().code == ENOBUFS && room.enlarge()) result = put();
    if (!result) {
      Error refused =
          internal::refuse_datagram(result.error().code, report.restored, result.error().what);
      if (result.error().code == ENOBUFS)
        refused.what += ": the receive buffer (SO_RCVBUF) has no room";
      return stopped_after(refused, report.restored);
    }
    ++report.restored;
  }
  Result<void> put_back = room.put_back();
  if (!put_back) return stopped_after(put_back.error(), report.restored);
  put_back = mode.put_back();
  if (!put_back) return stopped_after(put_back.error(), report.restored);
  return {};
}

// --- the choice ---

// Whether the kernel's refusal leaves the other way.
bool use_stock(std::optional<Method> wanted, const Error& error) {
  return !wanted && (error.code == ENOPROTOOPT || error.code == EPERM);
}

Result<ReceiveQueueDump> dump(int fd, const ReceiveQueueDumpOptions& options) {
  std::optional<Error> refused;
  if (options.method != Method::kStock) {
    Result<ReceiveQueueDump> result = dump_by_kernel(fd);
    if (result) return result;
    refused = result.error();
  }
  // Of another socket there is more to say than that it lacks an option.
  SOCKREPAIR_TRY(internal::udp_domain(fd));
  if (refused && !use_stock(options.method, *refused)) return *refused;
  return internal::dump_by_peeking(fd);
}

Result<ReceiveQueueReport> restore(int fd, const ReceiveQueue& queue,
                                   const ReceiveQueueRestoreOptions& options) {
  SOCKREPAIR_TRY_ASSIGN(int domain, internal::udp_domain(fd));
  SOCKREPAIR_TRY(internal::check_receive_queue(fd, domain, queue));
  ReceiveQueueReport report;
  report.method = options.method.value_or(Method::kKernel);
  if (queue.datagrams.empty()) return report;
  if (options.method != Method::kStock) {
    Result<void> result = restore_by_kernel(fd, queue, report);
    if (result) return report;
    if (report.restored != 0 || !use_stock(options.method, result.error())) return result.error();
  }
  return internal::restore_by_packets(fd, domain, queue);
}

}  // namespace

Result<ReceiveQueueDump> dump_receive_queue(int fd, const ReceiveQueueDumpOptions& options) {
  return internal::no_throw([&] { return dump(fd, options); });
}

Result<ReceiveQueueReport> restore_receive_queue(int fd, const ReceiveQueue& queue,
                                                 const ReceiveQueueRestoreOptions& options) {
  return internal::no_throw([&] { return restore(fd, queue, options); });
}

}  // namespace sockrepair

// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "borrowed_batch.h"
#include "c_call.h"
#include "c_objects.h"
#include "no_throw.h"
#include "sockrepair/batch.h"
#include "sockrepair/bridge.h"
#include "sockrepair/sockrepair.h"
#include "try.h"

using sockrepair::AnySocket;
using sockrepair::BatchOptions;
using sockrepair::BatchReport;
using sockrepair::DumpBatchOptions;
using sockrepair::DumpSink;
using sockrepair::Error;
using sockrepair::RestoreBatchOptions;
using sockrepair::RestoredTcpSocket;
using sockrepair::RestoreSink;
using sockrepair::Result;
using sockrepair::TcpSocket;
using sockrepair::UdpSocket;
using sockrepair::internal::c_call;
using sockrepair::internal::check_flags;
using sockrepair::internal::check_socket;
using sockrepair::internal::copy_options;
using sockrepair::internal::no_throw;
using sockrepair::internal::null_pointer;

struct sockrepair_batch_report {
  BatchReport what;
  // Of `what`; nullptr also when there is no memory for it.
  std::unique_ptr<const sockrepair_error> no_io_uring;
};

namespace {

// What a callback says; `who` and `number` name it in an error.
Result<void> answer(int code, const char* call, const char* who,
                    std::optional<std::size_t> number = std::nullopt) {
  if (code == 0) return {};
  return Error{code, std::string(call) + ": " + who + (number ? std::to_string(*number) : "")};
}

// What the options of both batches have in common.
template <typename Given>
Result<BatchOptions> batch_options(const char* call, const Given& in, void* context) {
  SOCKREPAIR_TRY(check_flags(call, in.flags, SOCKREPAIR_BATCH_ALL_OR_NONE));
  if (in.in_flight > BatchOptions::kInFlightMax)
    return Error{EINVAL, std::string(call) +
                             ": options, in_flight: " + std::to_string(in.in_flight) +
                             ", must be 0 to " + std::to_string(BatchOptions::kInFlightMax)};
  BatchOptions options;
  if ((in.flags & SOCKREPAIR_BATCH_ALL_OR_NONE) != 0)
    options.on_failure = sockrepair::OnFailure::kNone;
  if (in.in_flight != 0) options.in_flight = in.in_flight;
  if (in.io_uring_from != 0) options.io_uring_from = in.io_uring_from;
  if (in.progress != nullptr)
    options.progress = [call, context, progress = in.progress](std::size_t done) {
      return no_throw([&] { return answer(progress(context, done), call, "progress ", done); });
    };
  return options;
}

Result<DumpBatchOptions> dump_options(const char* call, const sockrepair_batch_dump_options* given,
                                      void* context) {
  SOCKREPAIR_TRY_ASSIGN(sockrepair_batch_dump_options in, copy_options(call, given));
  DumpBatchOptions options;
  SOCKREPAIR_TRY_ASSIGN(static_cast<BatchOptions&>(options), batch_options(call, in, context));
  const std::string member = std::string(call) + ": options";
  SOCKREPAIR_TRY_ASSIGN(options.udp, sockrepair::internal::udp_dump_options(
                                         (member + ", udp_flags").c_str(), in.udp_flags));
  SOCKREPAIR_TRY_ASSIGN(options.tcp,
                        sockrepair::internal::tcp_dump_options((member + ", tcp").c_str(), in.tcp));
  return options;
}

Result<RestoreBatchOptions> restore_options(const char* call,
                                            const sockrepair_batch_restore_options* given,
                                            void* context) {
  SOCKREPAIR_TRY_ASSIGN(sockrepair_batch_restore_options in, copy_options(call, given));
  RestoreBatchOptions options;
  SOCKREPAIR_TRY_ASSIGN(static_cast<BatchOptions&>(options), batch_options(call, in, context));
  const std::string member = std::string(call) + ": options";
  SOCKREPAIR_TRY_ASSIGN(options.udp, sockrepair::internal::udp_restore_options(
                                         (member + ", udp_flags").c_str(), in.udp_flags));
  SOCKREPAIR_TRY_ASSIGN(
      options.tcp, sockrepair::internal::tcp_restore_options((member + ", tcp").c_str(), in.tcp));
  if (in.all_made != nullptr)
    options.all_made = [call, context, all_made = in.all_made] {
      return no_throw([&] { return answer(all_made(context), call, "all_made"); });
    };
  return options;
}

// Takes the value out of `socket`.
Result<sockrepair_socket> object_of(AnySocket& socket) {
  sockrepair_socket object{};
  if (auto* udp = std::get_if<UdpSocket>(&socket))
    object.udp = sockrepair::to_c(std::move(*udp));
  else
    object.tcp = sockrepair::to_c(std::move(std::get<TcpSocket>(socket)));
  if (object.udp == nullptr && object.tcp == nullptr) return Error{ENOMEM, "allocation"};
  return object;
}

constexpr char kSink[] = "sink, socket ";

DumpSink dump_sink(const char* call, sockrepair_batch_dump_sink sink, void* context) {
  return [=](std::size_t index, Result<AnySocket> socket) {
    return no_throw([&]() -> Result<void> {
      if (!socket) {
        const sockrepair_error error(socket.error());
        return answer(sink(context, index, {}, &error), call, kSink, index);
      }
      SOCKREPAIR_TRY_ASSIGN(sockrepair_socket object, object_of(*socket));
      return answer(sink(context, index, object, nullptr), call, kSink, index);
    });
  };
}

// nullptr: there is no memory for them.
std::unique_ptr<const sockrepair_losses> losses_of(const RestoredTcpSocket& made) {
  try {
    return std::make_unique<const sockrepair_losses>(made.losses);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

RestoreSink restore_sink(const char* call, sockrepair_batch_restore_sink sink, void* context) {
  return [=](std::size_t index, Result<RestoredTcpSocket> made) {
    return no_throw([&]() -> Result<void> {
      if (!made) {
        const sockrepair_error error(made.error());
        return answer(sink(context, index, -1, nullptr, &error), call, kSink, index);
      }
      const auto losses = losses_of(*made);
      return answer(sink(context, index, made->fd.release(), losses.get(), nullptr), call, kSink,
                    index);
    });
  };
}

// Made before the batch, so that nothing that was done is lost for want of memory; nullptr: nobody
// wants one.
std::unique_ptr<sockrepair_batch_report> report_for(sockrepair_batch_report** report) {
  return report == nullptr ? nullptr : std::make_unique<sockrepair_batch_report>();
}

void hand_over(std::unique_ptr<sockrepair_batch_report> report, BatchReport what,
               sockrepair_batch_report** to) {
  if (report == nullptr) return;
  if (what.no_io_uring) report->no_io_uring.reset(sockrepair::to_c(*std::move(what.no_io_uring)));
  report->what = std::move(what);
  *to = report.release();
}

}  // namespace

int sockrepair_batch_dump(const int* fds, size_t count,
                          const struct sockrepair_batch_dump_options* options,
                          sockrepair_batch_dump_sink sink, void* context,
                          sockrepair_batch_report** report, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    const char* call = "sockrepair_batch_dump";
    if (report != nullptr) *report = nullptr;
    if (fds == nullptr && count != 0) return null_pointer(call, "fds");
    if (sink == nullptr) return null_pointer(call, "sink");
    SOCKREPAIR_TRY_ASSIGN(DumpBatchOptions how, dump_options(call, options, context));
    auto object = report_for(report);
    SOCKREPAIR_TRY_ASSIGN(BatchReport done, sockrepair::dump_sockets(
                                                {fds, count}, how, dump_sink(call, sink, context)));
    hand_over(std::move(object), std::move(done), report);
    return {};
  });
}

int sockrepair_batch_restore(const struct sockrepair_socket* sockets, size_t count,
                             const struct sockrepair_batch_restore_options* options,
                             sockrepair_batch_restore_sink sink, void* context,
                             sockrepair_batch_report** report, sockrepair_error** error) {
  return c_call(error, [&]() -> Result<void> {
    const char* call = "sockrepair_batch_restore";
    if (report != nullptr) *report = nullptr;
    if (sockets == nullptr && count != 0) return null_pointer(call, "sockets");
    if (sink == nullptr) return null_pointer(call, "sink");
    SOCKREPAIR_TRY_ASSIGN(RestoreBatchOptions how, restore_options(call, options, context));
    std::vector<const AnySocket*> values;
    values.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      SOCKREPAIR_TRY(check_socket(call, sockets[i], i));
      values.push_back(sockets[i].udp != nullptr ? &sockets[i].udp->any : &sockets[i].tcp->any);
    }
    auto object = report_for(report);
    SOCKREPAIR_TRY_ASSIGN(BatchReport done, sockrepair::internal::restore_borrowed(
                                                values, how, restore_sink(call, sink, context)));
    hand_over(std::move(object), std::move(done), report);
    return {};
  });
}

size_t sockrepair_batch_report_sockets(const sockrepair_batch_report* report) {
  return report == nullptr ? 0 : report->what.sockets;
}

size_t sockrepair_batch_report_failed(const sockrepair_batch_report* report) {
  return report == nullptr ? 0 : report->what.failed;
}

uint64_t sockrepair_batch_report_carried(const sockrepair_batch_report* report) {
  return report == nullptr ? 0 : report->what.carried;
}

uint64_t sockrepair_batch_report_submissions(const sockrepair_batch_report* report) {
  return report == nullptr ? 0 : report->what.submissions;
}

const sockrepair_error* sockrepair_batch_report_no_io_uring(const sockrepair_batch_report* report) {
  return report == nullptr ? nullptr : report->no_io_uring.get();
}

void sockrepair_batch_report_free(sockrepair_batch_report* report) {
  delete report;
}

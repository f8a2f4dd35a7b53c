// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_BATCH_H_
#define SOCKREPAIR_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <variant>

#include "sockrepair/export.h"
#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"
#include "sockrepair/udp_socket.h"

// Many sockets in one call.
//
//   DumpBatchOptions how;
//   how.tcp.leave_in_repair = true;
//   Result<BatchReport> dumped = dump_sockets(fds, how, [&](std::size_t, Result<AnySocket> socket)
//   {
//     return socket ? writer.add(*std::move(socket)) : Result<void>(socket.error());
//   });
//   ... close them ...
//   Result<BatchReport> again = restore_sockets(sockets, {}, [&](std::size_t index, auto restored)
//   {
//     if (restored) fds[index] = std::move(restored->fd);
//     return Result<void>();
//   });
//
// What comes out is what dump_tcp_socket(), dump_udp_socket(), restore_tcp_socket() and
// restore_udp_socket() would give for each socket, errors included. What is different:
//
//   * The sockets are worked on side by side, and what they ask of the kernel at the same time goes
//     into one call of io_uring_enter(2), as far as the kernel has requests for it, for many
//     (BatchOptions::io_uring_from). Where it has none, or a filter forbids io_uring, or liburing
//     is not installed, the system calls are made one by one, with the same result.
//   * What is the same for all of them is asked once: sock_diag, and how a new socket is.
//   * Sockets are restored in the order that they need: bound ones, listeners, then the other
//     members of groups that share a port by their rank, and connections last. The order that they
//     are given in does not matter.
//
// Memory: values of at most BatchOptions::in_flight sockets at a time, and for each of them
// 256 KiB of address space, of which some 16 KiB are used. In addition: for a dump what sock_diag
// tells of all sockets of their namespaces, some 200 bytes a socket; for a restore the values of
// what shares a port by rank (UdpSocket::reuseport_rank and TcpSocket::reuseport_rank above 0), and
// of each socket that is made and not handed over its descriptor and the bytes that it never sent.
//
// Functions do not throw, and are thread-safe for different sockets. Callbacks are called by the
// calling thread and must not throw. An Error that a callback returns ends the batch as soon as the
// sockets that are being worked on are done; it is what the batch returns.
namespace SOCKREPAIR_EXPORT sockrepair {

using AnySocket = std::variant<UdpSocket, TcpSocket>;

// What becomes of the others when one cannot be dumped or restored.
enum class OnFailure : std::uint8_t {
  // They are dumped or restored as if nothing had been; the sink is told of each that was not.
  kKeepRest,
  // The batch fails. Restored sockets are closed, and no connection has sent a segment. Sources
  // that were left in repair mode go on as they were.
  kNone,
};

struct BatchOptions {
  OnFailure on_failure = OnFailure::kKeepRest;
  // How many sockets are worked on at the same time, 1 to kInFlightMax.
  unsigned in_flight = 64;
  // For so many sockets and more io_uring is used, if there is one; 0: always, SIZE_MAX: never.
  // Fewer system calls are not less time: by bench-tcp it makes only restores of a thousand and
  // more faster, by little.
  std::size_t io_uring_from = 1000;
  // Called when another socket has been dumped or made, or was not, with the number of those.
  std::function<Result<void>(std::size_t done)> progress;

  static constexpr unsigned kInFlightMax = 1024;
};

// What a batch did. A value.
struct BatchReport {
  std::size_t sockets = 0;  // that were dumped or restored
  std::size_t failed = 0;   // that were not

  // Calls that io_uring made in the place of system calls, and calls of io_uring_enter(2) for them.
  std::uint64_t carried = 0;
  std::uint64_t submissions = 0;
  // Why io_uring was not used although it was to be.
  std::optional<Error> no_io_uring;
};

// --- dump ---

struct DumpBatchOptions : BatchOptions {
  TcpDumpOptions tcp;  // with a survey of its own the batch takes none
  UdpDumpOptions udp;
};

// Takes the socket that was dumped from the descriptor at `index`, or why it was not. Called once
// for each, by ascending index.
using DumpSink = std::function<Result<void>(std::size_t index, Result<AnySocket> socket)>;

// Dumps the sockets `fds`, UDP and TCP of any network namespace. They stay the caller's.
//
// Errors are those of the socket, with OnFailure::kNone "socket INDEX: " in front; of a callback;
// EINVAL: BatchOptions::in_flight. After an error of the batch no source is in repair mode that was
// not before, whatever TcpDumpOptions::leave_in_repair says.
//
// EPROTONOSUPPORT, of a socket: neither UDP nor TCP of AF_INET or AF_INET6.
Result<BatchReport> dump_sockets(std::span<const int> fds, const DumpBatchOptions& options,
                                 const DumpSink& sink);

// --- restore ---

struct RestoreBatchOptions : BatchOptions {
  // With TcpRestoreOptions::keep_repair the caller ends repair mode itself.
  TcpRestoreOptions tcp;
  UdpRestoreOptions udp;
  // Called once, when all sockets are made and none of their connections has sent a segment: the
  // place to let segments pass again.
  std::function<Result<void>()> all_made;
};

// Where the sockets of a restore come from, one at a time; read from its beginning several times.
class SocketSource {
 public:
  virtual ~SocketSource() = default;
  // The next socket; nothing at the end.
  virtual Result<std::optional<AnySocket>> next() = 0;
  // Goes back to the first one. The same sockets follow in the same order.
  virtual Result<void> rewind() = 0;
};

// Takes the socket that was made from the value at `index` (of the source, from 0 on), or why there
// is none. Called once for each, in any order; TcpMethod::kNone for UDP. With OnFailure::kNone, and
// when the batch fails, it is only called for what failed. An Error of its for one that was
// made does not keep the others from it: they have gone on.
using RestoreSink = std::function<Result<void>(std::size_t index, Result<RestoredTcpSocket> made)>;

// Makes the sockets of `source` again, in the network namespace of the calling thread. No net.*
// sysctl should change meanwhile: options that have the value of a new socket are not set.
//
// All are made first, connections in repair mode; then, unless the caller does it, repair mode ends
// for all of them. What fails there is closed without a word to its peer and reported to the sink,
// also with OnFailure::kNone: others have gone on.
//
// Errors are those of the socket, with OnFailure::kNone "socket INDEX: " in front; of a callback or
// of the source; EINVAL: BatchOptions::in_flight.
Result<BatchReport> restore_sockets(SocketSource& source, const RestoreBatchOptions& options,
                                    const RestoreSink& sink);
// From memory, which has to be there until the function returns.
Result<BatchReport> restore_sockets(std::span<const AnySocket> sockets,
                                    const RestoreBatchOptions& options, const RestoreSink& sink);

}  // namespace sockrepair

#endif  // SOCKREPAIR_BATCH_H_
